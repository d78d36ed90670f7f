//! How much is in a database, whatever it is.

use std::collections::BTreeMap;

use sqlx::PgPool;

/// The rows of every table there is.
pub async fn rows(pool: &PgPool) -> BTreeMap<String, i64> {
    let tables =
        "SELECT relname::text FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'";
    let tables: Vec<String> = sqlx::query_scalar(tables).fetch_all(pool).await.unwrap();
    let mut rows = BTreeMap::new();
    for table in tables {
        let count = format!("SELECT count(*) FROM \"{table}\"");
        let count = sqlx::query_scalar(&count).fetch_one(pool).await.unwrap();
        rows.insert(table, count);
    }
    rows
}
