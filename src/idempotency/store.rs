//! The claims' SQL. No decisions here: rows in, rows out.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use axum::http::StatusCode;
use sqlx::PgConnection;

use super::outline::Outline;
use super::{Answer, Claim, Stored};
use crate::db::{DbError, ROW_LOCK_TIMEOUT_MIN};

/// True if the key was free and is now ours. Waits for a transaction that holds it.
pub(crate) async fn claim(conn: &mut PgConnection, claim: &Claim) -> Result<bool, DbError> {
    let made = sqlx::query!(
        "INSERT INTO idempotency_keys (scope, key, request_hash, outline) VALUES ($1, $2, $3, $4)
         ON CONFLICT DO NOTHING",
        claim.scope,
        claim.key,
        claim.fingerprint.0.as_slice(),
        claim.outline.as_ref().map(Outline::as_str),
    )
    .execute(conn)
    .await?;
    Ok(made.rows_affected() == 1)
}

/// True if nobody's session has this key, and now this one has. By a name that no other lock has.
pub(super) async fn take_for_session(conn: &mut PgConnection, claim: &Claim) -> Result<bool, DbError> {
    Ok(sqlx::query_scalar!(
        r#"SELECT pg_try_advisory_lock(hashtextextended('key ' || $2::text || ' of ' || $1::text, 0)) AS "taken!""#,
        claim.scope,
        claim.key,
    )
    .fetch_one(conn)
    .await?)
}

/// Lets go of it.
pub(super) async fn free_for_session(conn: &mut PgConnection, claim: &Claim) -> Result<(), DbError> {
    let freed = sqlx::query_scalar!(
        r#"SELECT pg_advisory_unlock(hashtextextended('key ' || $2::text || ' of ' || $1::text, 0)) AS "freed!""#,
        claim.scope,
        claim.key,
    )
    .fetch_one(conn)
    .await?;
    if freed { Ok(()) } else { Err(DbError::Unexpected(sqlx::Error::RowNotFound)) }
}

/// The key's row, with its answer. Answers are kept for 24 hours by the database's clock.
pub(crate) async fn find(conn: &mut PgConnection, scope: &str, key: &str) -> Result<Option<Stored>, DbError> {
    let row = sqlx::query!(
        r#"SELECT request_hash, outline, status AS "status!", body AS "body!", first_seen,
                  first_seen < clock_timestamp() - interval '24 hours' AS "expired!"
           FROM idempotency_keys WHERE scope = $1 AND key = $2 AND status IS NOT NULL"#,
        scope,
        key,
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|row| Stored {
        fingerprint: row.request_hash,
        outline: row.outline.map(Outline::kept),
        status: stored_status(row.status),
        body: row.body,
        expired: row.expired,
        first_seen: row.first_seen,
    }))
}

/// Keeps the answer with the claim.
pub(crate) async fn answer(conn: &mut PgConnection, claim: &Claim, answer: &Answer) -> Result<(), DbError> {
    let status = i16::try_from(answer.status().as_u16()).unwrap_or(500);
    let kept = sqlx::query!(
        "UPDATE idempotency_keys SET status = $3, body = $4 WHERE scope = $1 AND key = $2 AND status IS NULL",
        claim.scope,
        claim.key,
        status,
        answer.body(),
    )
    .execute(conn)
    .await?;
    if kept.rows_affected() == 1 { Ok(()) } else { Err(DbError::Unexpected(sqlx::Error::RowNotFound)) }
}

/// Claims keys, in one order for everybody, and gives those that are ours now. It waits no longer than `limit` for whoever has
/// one of them in hand. (What the session waits for a row is what it was again, once all are claimed.)
pub(super) async fn claim_all(
    conn: &mut PgConnection,
    claims: &[&Claim],
    limit: Duration,
) -> Result<HashSet<Owned>, DbError> {
    let (scopes, keys) = scopes_and_keys(claims);
    let hashes: Vec<_> = claims.iter().map(|claim| claim.fingerprint.0.as_slice()).collect();
    let outlines: Vec<_> = claims.iter().map(|claim| claim.outline.as_ref().map(Outline::as_str)).collect();
    let ours = sqlx::query!(
        r#"WITH patience AS MATERIALIZED (
            SELECT current_setting('lock_timeout') AS before,
                   set_config('lock_timeout', $5, true)
         ),
         ours AS (
            INSERT INTO idempotency_keys (scope, key, request_hash, outline)
            SELECT c.* FROM patience, UNNEST($1::text[], $2::text[], $3::bytea[], $4::text[])
                AS c (scope, key, request_hash, outline)
            ORDER BY c.scope, c.key ON CONFLICT DO NOTHING RETURNING scope, key
         )
         SELECT coalesce(array_agg(scope), '{}') AS "scopes!", coalesce(array_agg(key), '{}') AS "keys!",
                set_config('lock_timeout', (SELECT before FROM patience), true) FROM ours"#,
        &scopes as &[&str],
        &keys as &[&str],
        &hashes as &[&[u8]],
        &outlines as &[Option<&str>],
        format!("{}ms", limit.max(ROW_LOCK_TIMEOUT_MIN).as_millis()),
    )
    .fetch_one(conn)
    .await?;
    Ok(ours.scopes.into_iter().zip(ours.keys).collect())
}

/// Forgets those of these claims' answers whose time is over.
pub(super) async fn forget_all(conn: &mut PgConnection, claims: &[&Claim]) -> Result<(), DbError> {
    let (scopes, keys) = scopes_and_keys(claims);
    sqlx::query!(
        "WITH old AS MATERIALIZED (
            SELECT k.scope, k.key FROM UNNEST($1::text[], $2::text[]) AS c (scope, key)
            JOIN idempotency_keys k ON k.scope = c.scope AND k.key = c.key
            WHERE first_seen < clock_timestamp() - interval '24 hours' ORDER BY k.scope, k.key FOR UPDATE OF k
         )
         DELETE FROM idempotency_keys AS k USING old WHERE k.scope = old.scope AND k.key = old.key",
        &scopes as &[&str],
        &keys as &[&str],
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// The rows of these keys that have an answer.
pub(super) async fn find_all(
    conn: &mut PgConnection,
    claims: &[&Claim],
) -> Result<HashMap<Owned, Stored>, DbError> {
    let (scopes, keys) = scopes_and_keys(claims);
    let rows = sqlx::query!(
        r#"SELECT k.scope, k.key, request_hash, outline, status AS "status!", body AS "body!", first_seen,
                  first_seen < clock_timestamp() - interval '24 hours' AS "expired!"
           FROM UNNEST($1::text[], $2::text[]) AS c (scope, key)
           JOIN idempotency_keys k ON k.scope = c.scope AND k.key = c.key WHERE status IS NOT NULL"#,
        &scopes as &[&str],
        &keys as &[&str],
    )
    .fetch_all(conn)
    .await?;
    let mut found = HashMap::with_capacity(rows.len());
    for row in rows {
        let stored = Stored {
            fingerprint: row.request_hash,
            outline: row.outline.map(Outline::kept),
            status: stored_status(row.status),
            body: row.body,
            expired: row.expired,
            first_seen: row.first_seen,
        };
        found.insert((row.scope, row.key), stored);
    }
    Ok(found)
}

/// Keeps the answers with their claims.
pub(super) async fn answer_all(conn: &mut PgConnection, kept: &[(&Claim, &Answer)]) -> Result<(), DbError> {
    let claims: Vec<_> = kept.iter().map(|(claim, _)| *claim).collect();
    let (scopes, keys) = scopes_and_keys(&claims);
    let bodies: Vec<_> = kept.iter().map(|(_, answer)| answer.body()).collect();
    let updated = sqlx::query!(
        "UPDATE idempotency_keys AS k SET status = a.status, body = a.body
         FROM UNNEST($1::text[], $2::text[], $3::smallint[], $4::bytea[]) AS a (scope, key, status, body)
         WHERE k.scope = a.scope AND k.key = a.key AND k.status IS NULL",
        &scopes as &[&str],
        &keys as &[&str],
        &kept.iter().map(|(_, a)| i16::try_from(a.status().as_u16()).unwrap_or(500)).collect::<Vec<_>>(),
        &bodies as &[&[u8]],
    )
    .execute(conn)
    .await?;
    let whole = updated.rows_affected() == kept.len() as u64;
    if whole { Ok(()) } else { Err(DbError::Unexpected(sqlx::Error::RowNotFound)) }
}

/// Takes claims back that have no answer.
pub(super) async fn free_all(conn: &mut PgConnection, freed: &[&Claim]) -> Result<(), DbError> {
    let (scopes, keys) = scopes_and_keys(freed);
    sqlx::query!(
        "DELETE FROM idempotency_keys AS k USING UNNEST($1::text[], $2::text[]) AS c (scope, key)
         WHERE k.scope = c.scope AND k.key = c.key AND k.status IS NULL",
        &scopes as &[&str],
        &keys as &[&str],
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// A claim's scope and key.
pub(super) type Owned = (String, String);

fn scopes_and_keys<'a>(claims: &[&'a Claim]) -> (Vec<&'a str>, Vec<&'a str>) {
    claims.iter().map(|claim| (claim.scope.as_str(), claim.key.as_str())).unzip()
}

/// Locks the key's row, or one made for the purpose. Nothing is ever updated: the conflict only locks.
pub(super) async fn hold(conn: &mut PgConnection, scope: &str, key: &str) -> Result<(), DbError> {
    sqlx::query!(
        "INSERT INTO idempotency_keys (scope, key, request_hash) VALUES ($1, $2, '')
         ON CONFLICT ON CONSTRAINT idempotency_key_is_claimed_once DO UPDATE SET key = excluded.key WHERE false",
        scope,
        key,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Deletes the row that [`hold`] made, if it made one.
pub(super) async fn let_go(conn: &mut PgConnection, scope: &str, key: &str) -> Result<(), DbError> {
    sqlx::query!(
        "DELETE FROM idempotency_keys WHERE scope = $1 AND key = $2 AND status IS NULL",
        scope,
        key,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Deletes so many keys at most that were first seen so long ago, but for those that a request has in hand. (The moment
/// is a query of its own, told once: only so is it looked up in the index.)
pub(crate) async fn purge_in_tx(conn: &mut PgConnection, age: Duration, limit: i64) -> Result<u64, DbError> {
    let purged = sqlx::query!(
        "WITH old AS MATERIALIZED (
            SELECT scope, key FROM idempotency_keys
            WHERE first_seen < (SELECT clock_timestamp() - $1::bigint * interval '1 second')
            ORDER BY first_seen LIMIT $2 FOR UPDATE SKIP LOCKED
         )
         DELETE FROM idempotency_keys AS keys USING old WHERE keys.scope = old.scope AND keys.key = old.key",
        i64::try_from(age.as_secs()).unwrap_or(i64::MAX),
        limit,
    )
    .execute(conn)
    .await?;
    Ok(purged.rows_affected())
}

/// A status read back.
pub(crate) fn stored_status(status: i16) -> StatusCode {
    let status = u16::try_from(status).ok().and_then(|status| StatusCode::from_u16(status).ok());
    status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

/// Forgets an answer whose time is over.
pub(crate) async fn forget(conn: &mut PgConnection, claim: &Claim) -> Result<(), DbError> {
    sqlx::query!(
        "DELETE FROM idempotency_keys
         WHERE scope = $1 AND key = $2 AND first_seen < clock_timestamp() - interval '24 hours'",
        claim.scope,
        claim.key,
    )
    .execute(conn)
    .await?;
    Ok(())
}
