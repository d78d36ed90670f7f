//! Whether the schema is the one that this program was built for.

use sqlx::PgConnection;
use sqlx::migrate::Migration;

use super::Finding;

struct Applied {
    version: i64,
    success: bool,
    checksum: Vec<u8>,
}

/// What is wrong with the schema, and whether queries will find what they need.
pub(super) async fn look(conn: &mut PgConnection) -> sqlx::Result<(Finding, bool)> {
    let table: Option<String> =
        sqlx::query_scalar("SELECT to_regclass('_sqlx_migrations')::text").fetch_one(&mut *conn).await?;
    let applied = match table {
        None => Vec::new(),
        Some(_) => sqlx::query_as::<_, (i64, bool, Vec<u8>)>(
            "SELECT version, success, checksum FROM _sqlx_migrations ORDER BY version",
        )
        .fetch_all(conn)
        .await?
        .into_iter()
        .map(|(version, success, checksum)| Applied { version, success, checksum })
        .collect(),
    };
    let migrator = sqlx::migrate!();
    let wanted: Vec<_> =
        migrator.iter().filter(|migration| !migration.migration_type.is_down_migration()).collect();
    Ok(judge(&wanted, &applied))
}

fn judge(wanted: &[&Migration], applied: &[Applied]) -> (Finding, bool) {
    let done = |migration: &&&Migration| {
        applied.iter().any(|applied| applied.version == migration.version && applied.success)
    };
    let other_form = |applied: &&Applied| {
        let same = wanted.iter().find(|migration| migration.version == applied.version);
        same.is_some_and(|migration| *migration.checksum != *applied.checksum)
    };
    let unknown = |applied: &&Applied| wanted.iter().all(|migration| migration.version != applied.version);
    let count = wanted.iter().filter(done).count();
    if let Some(broken) = applied.iter().find(|applied| !applied.success) {
        let text = format!(
            "schema: migration {} broke off; put right what its error says, delete its row of _sqlx_migrations, and run \
             `holdfast migrate`",
            broken.version
        );
        return (Finding::error(text), false);
    }
    if let Some(other) = applied.iter().find(other_form) {
        let text = format!(
            "schema: migration {} is not the one that this program knows: the database is another build's",
            other.version
        );
        return (Finding::error(text), false);
    }
    if count < wanted.len() {
        let text = format!("schema: {count} of {} migrations applied; run `holdfast migrate`", wanted.len());
        return (Finding::error(text), false);
    }
    match applied.iter().find(unknown) {
        Some(newer) => {
            let text = format!(
                "schema: migration {} is of a newer program than this; let all replicas be as new",
                newer.version
            );
            (Finding::warning(text), true)
        }
        None => (Finding::good(format!("schema: {count} migrations applied")), true),
    }
}
