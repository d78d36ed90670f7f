//! The SQL of the locks: where a name is locked that has no row.

use sha2::{Digest, Sha256};
use sqlx::PgConnection;

use super::LockKeys;
use crate::db::DbError;

/// Locks the names among `keys` until the transaction ends: to a name what `FOR UPDATE` is to a row. It waits no longer
/// than for a row. Two names of one number only wait for each other; in lock order, so never in a circle.
///
/// # Errors
/// [`DbError`].
pub async fn lock_names_in_tx(conn: &mut PgConnection, keys: &LockKeys) -> Result<(), DbError> {
    let mut numbers: Vec<i64> = keys.names().map(number_of).collect();
    if numbers.is_empty() {
        return Ok(());
    }
    numbers.sort_unstable();
    numbers.dedup();
    // An unnested array is read in its order, and so the locks are taken.
    sqlx::query!(
        r#"SELECT pg_advisory_xact_lock(number) AS "locked!: ()" FROM UNNEST($1::bigint[]) AS number"#,
        &numbers
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// The number under which Postgres locks a name.
fn number_of(name: &str) -> i64 {
    let hash = Sha256::digest(name.as_bytes());
    hash[..8].iter().fold(0, |number, byte| number << 8 | i64::from(*byte))
}
