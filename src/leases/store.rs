//! The SQL of leases. No decisions here: rows in, rows out. What the clock says is read in a statement after the one
//! that waited for the row.

use std::collections::HashMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::model::{Ending, Fence, Granted, Holder, LeaseName, LeaseTtl};
use super::rules::Newest;
use crate::db::DbError;

/// Locks a lease's row, or makes it, against everyone: what is read of it afterwards stays true until the commit.
pub(super) async fn make_or_lock_in_tx(
    conn: &mut PgConnection,
    name: &LeaseName,
    owner: &str,
) -> Result<(), DbError> {
    // Where the row is there it is locked, FOR UPDATE since the key would be set, and not changed.
    sqlx::query!(
        "INSERT INTO leases (name, fence, owner, token, claimed_at, renewed_at, expires_at)
         SELECT $1, 0, $2, 'none yet', now, now, now FROM clock_timestamp() AS now
         ON CONFLICT (name) DO UPDATE SET name = excluded.name WHERE false",
        name.as_str(),
        owner,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// A lease's newest claim, and what is told of it.
pub(super) struct Found {
    pub(super) newest: Newest,
    pub(super) token: String,
    pub(super) claimed_at: DateTime<Utc>,
    pub(super) progress: Option<i16>,
}

/// Reads a lease.
pub(super) async fn find(conn: &mut PgConnection, name: &LeaseName) -> Result<Option<Found>, DbError> {
    let row = sqlx::query!(
        r#"SELECT fence, owner, token, claimed_at, ending, progress,
                  ceil(extract(epoch FROM expires_at - clock_timestamp()) * 1000)::bigint AS "left_ms!"
           FROM leases WHERE name = $1"#,
        name.as_str(),
    )
    .fetch_optional(conn)
    .await?;
    let Some(row) = row else { return Ok(None) };
    let ending = stored_ending(row.ending)?;
    let newest = Newest { fence: Fence(row.fence), owner: row.owner, left_ms: row.left_ms, ending };
    Ok(Some(Found { newest, token: row.token, claimed_at: row.claimed_at, progress: row.progress }))
}

/// Grants a lease whose row is locked: here its fence is drawn.
pub(super) async fn grant_in_tx(
    conn: &mut PgConnection,
    name: &LeaseName,
    owner: &str,
    ttl: LeaseTtl,
    token: &str,
) -> Result<Granted, DbError> {
    let row = sqlx::query!(
        "UPDATE leases SET fence = nextval('lease_fences'), owner = $2, token = $3, claimed_at = now, renewed_at = now,
                expires_at = now + $4::bigint * interval '1 millisecond',
                ended_at = NULL, ending = NULL, reason = NULL, progress = NULL
         FROM clock_timestamp() AS now WHERE name = $1 RETURNING fence, expires_at, token",
        name.as_str(),
        owner,
        token,
        ttl.millis(),
    )
    .fetch_one(conn)
    .await?;
    Ok(Granted { fence: Fence(row.fence), expires_at: row.expires_at, token: row.token, took_over: false })
}

/// Gives a lease whose row is locked its time again.
pub(super) async fn renew_in_tx(
    conn: &mut PgConnection,
    name: &LeaseName,
    ttl: LeaseTtl,
    progress: Option<i16>,
) -> Result<Granted, DbError> {
    let row = sqlx::query!(
        "UPDATE leases SET renewed_at = now, expires_at = now + $2::bigint * interval '1 millisecond',
                progress = coalesce($3, progress)
         FROM clock_timestamp() AS now WHERE name = $1 RETURNING fence, expires_at, token",
        name.as_str(),
        ttl.millis(),
        progress,
    )
    .fetch_one(conn)
    .await?;
    Ok(Granted { fence: Fence(row.fence), expires_at: row.expires_at, token: row.token, took_over: false })
}

/// Ends a claim whose row is locked.
pub(super) async fn end_in_tx(
    conn: &mut PgConnection,
    name: &LeaseName,
    ending: Ending,
    reason: Option<&str>,
) -> Result<(), DbError> {
    let ended = sqlx::query!(
        "UPDATE leases SET ended_at = clock_timestamp(), ending = $2, reason = $3 WHERE name = $1",
        name.as_str(),
        ending.as_str(),
        reason,
    )
    .execute(conn)
    .await?;
    if ended.rows_affected() == 1 { Ok(()) } else { Err(DbError::Unexpected(sqlx::Error::RowNotFound)) }
}

/// The newest fence of a name, and how its claim ended.
pub(super) type Standing = Option<(Fence, Option<Ending>)>;

/// Holds a lease's row for a write under it: claims and ends wait for the commit.
pub(super) async fn hold_in_tx(conn: &mut PgConnection, name: &LeaseName) -> Result<Standing, DbError> {
    let row = sqlx::query!("SELECT fence, ending FROM leases WHERE name = $1 FOR KEY SHARE", name.as_str())
        .fetch_optional(conn)
        .await?;
    row.map(|row| Ok((Fence(row.fence), stored_ending(row.ending)?))).transpose()
}

/// Locks a lease's row for a renewal, which need not wait for writes.
pub(super) async fn lock_to_renew_in_tx(
    conn: &mut PgConnection,
    name: &LeaseName,
) -> Result<Standing, DbError> {
    let row =
        sqlx::query!("SELECT fence, ending FROM leases WHERE name = $1 FOR NO KEY UPDATE", name.as_str())
            .fetch_optional(conn)
            .await?;
    row.map(|row| Ok((Fence(row.fence), stored_ending(row.ending)?))).transpose()
}

/// Locks a lease's row for its end, which waits for the writes under it.
pub(super) async fn lock_to_end_in_tx(
    conn: &mut PgConnection,
    name: &LeaseName,
) -> Result<Standing, DbError> {
    let row = sqlx::query!("SELECT fence, ending FROM leases WHERE name = $1 FOR UPDATE", name.as_str())
        .fetch_optional(conn)
        .await?;
    row.map(|row| Ok((Fence(row.fence), stored_ending(row.ending)?))).transpose()
}

/// Locks the rows of leases for their ends, by name, and tells of each its newest fence, its owner, and how it ended.
pub(super) async fn lock_all_to_end_in_tx(
    conn: &mut PgConnection,
    names: &[&str],
) -> Result<HashMap<String, (Fence, String, Option<Ending>)>, DbError> {
    let rows = sqlx::query!(
        "SELECT name, fence, owner, ending FROM leases WHERE name = ANY($1) ORDER BY name FOR UPDATE",
        names as &[&str],
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|row| Ok((row.name, (Fence(row.fence), row.owner, stored_ending(row.ending)?))))
        .collect()
}

/// Ends claims whose rows are locked: what they were for is done.
pub(super) async fn finish_all_in_tx(conn: &mut PgConnection, names: &[&str]) -> Result<(), DbError> {
    let ended = sqlx::query!(
        "UPDATE leases SET ended_at = clock_timestamp(), ending = $2, reason = NULL WHERE name = ANY($1)",
        names as &[&str],
        Ending::Finished.as_str(),
    )
    .execute(conn)
    .await?;
    let all = ended.rows_affected() == names.len() as u64;
    if all { Ok(()) } else { Err(DbError::Unexpected(sqlx::Error::RowNotFound)) }
}

/// Those of these claims that have ended.
pub(super) async fn find_ended(
    conn: &mut PgConnection,
    claims: &[(&str, Fence)],
) -> Result<Vec<String>, DbError> {
    let (names, fences): (Vec<_>, Vec<_>) = claims.iter().map(|(name, fence)| (*name, fence.0)).unzip();
    Ok(sqlx::query_scalar!(
        "SELECT l.name FROM leases l JOIN UNNEST($1::text[], $2::bigint[]) AS c (name, fence)
             ON l.name = c.name AND l.fence = c.fence
         WHERE l.ending IS NOT NULL",
        &names as &[&str],
        &fences,
    )
    .fetch_all(conn)
    .await?)
}

/// Deletes leases that lapsed or ended so long ago, at most `limit` of them, and none that somebody is at.
pub(crate) async fn purge_in_tx(conn: &mut PgConnection, age: Duration, limit: i64) -> Result<u64, DbError> {
    let purged = sqlx::query!(
        "WITH old AS MATERIALIZED (
            SELECT name FROM leases
            WHERE least(ended_at, expires_at) < clock_timestamp() - $1::bigint * interval '1 second'
            LIMIT $2 FOR UPDATE SKIP LOCKED
         )
         DELETE FROM leases USING old WHERE leases.name = old.name",
        i64::try_from(age.as_secs()).unwrap_or(i64::MAX),
        limit,
    )
    .execute(conn)
    .await?;
    Ok(purged.rows_affected())
}

fn stored_ending(stored: Option<String>) -> Result<Option<Ending>, DbError> {
    let named = |name: String| Ending::named(&name).ok_or(DbError::Unexpected(sqlx::Error::RowNotFound));
    stored.map(named).transpose()
}

impl Found {
    /// Who holds it.
    pub(super) fn holder(&self) -> Holder {
        let Newest { fence, owner, left_ms, .. } = &self.newest;
        let expires_in = Duration::from_millis(u64::try_from(*left_ms).unwrap_or_default());
        Holder { owner: owner.clone(), fence: *fence, expires_in }
    }
}
