//! The SQL of conflicts. No decisions here: rows in, rows out.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::PgConnection;
use uuid::Uuid;

use super::model::Kept;
use crate::db::DbError;

/// Conflicts, the oldest first: open ones or resolved ones, all or of one session.
pub(super) async fn list(
    conn: &mut PgConnection,
    one: Option<Uuid>,
    session_id: Option<&str>,
    is_open: Option<bool>,
    after: Option<Uuid>,
    limit: i64,
) -> Result<Vec<Kept>, DbError> {
    Ok(sqlx::query_as!(
        Kept,
        "SELECT conflict_id, session_id, client_record_id, user_id, conflict_type, message, details, local, server,
                updated_at, counted_at, detected_at, resolution, merged, resolved_by, policy, reason, resolved_at
         FROM count_conflicts JOIN count_sessions USING (session_id)
         WHERE ($1::uuid IS NULL OR conflict_id = $1) AND ($2::text IS NULL OR session_id = $2)
           AND ($3::boolean IS NULL OR (resolution IS NULL) = $3) AND conflict_id > $4
         ORDER BY conflict_id LIMIT $5",
        one,
        session_id,
        is_open,
        after.unwrap_or(Uuid::nil()),
        limit,
    )
    .fetch_all(conn)
    .await?)
}

/// Locks a conflict's session, and those that have one of these serial numbers, by their ids, so that nothing of them is
/// written or posted meanwhile. Gives each, and whether it is posted.
pub(super) async fn lock_sessions_in_tx(
    conn: &mut PgConnection,
    session_id: &str,
    serials: &[&str],
) -> Result<HashMap<String, bool>, DbError> {
    let rows = sqlx::query!(
        "SELECT session_id, is_over FROM count_sessions
         WHERE session_id = $1
            OR session_id IN (SELECT s.session_id FROM count_serials s WHERE serial_number = ANY($2))
         ORDER BY session_id FOR NO KEY UPDATE",
        session_id,
        serials as &[&str],
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|row| (row.session_id, row.is_over)).collect())
}

/// How a conflict was resolved.
#[derive(Debug)]
pub(super) struct Resolved<'a> {
    pub(super) resolution: &'a str,
    pub(super) merged: Option<&'a Value>,
    pub(super) by: &'a str,
    pub(super) policy: Option<&'a str>,
    pub(super) reason: Option<&'a str>,
}

/// Notes that an open conflict is resolved.
pub(super) async fn resolve_in_tx(
    conn: &mut PgConnection,
    conflict_id: Uuid,
    how: &Resolved<'_>,
) -> Result<(), DbError> {
    let noted = sqlx::query!(
        "UPDATE count_conflicts SET resolution = $2, merged = $3, resolved_by = $4, policy = $5, reason = $6,
                resolved_at = clock_timestamp()
         WHERE conflict_id = $1 AND resolution IS NULL",
        conflict_id,
        how.resolution,
        how.merged,
        how.by,
        how.policy,
        how.reason,
    )
    .execute(conn)
    .await?;
    if noted.rows_affected() == 1 { Ok(()) } else { Err(DbError::Unexpected(sqlx::Error::RowNotFound)) }
}

/// Closes open conflicts over earlier versions of a record than one that was just accepted: they would undo it.
pub(super) async fn close_earlier_in_tx(
    conn: &mut PgConnection,
    (session_id, client_record_id): (&str, &str),
    updated_at: DateTime<Utc>,
    by: &str,
) -> Result<(), DbError> {
    sqlx::query!(
        "UPDATE count_conflicts SET resolution = 'accept_server', resolved_by = $4, policy = 'synced_later',
             reason = 'a later version was accepted', resolved_at = clock_timestamp()
         WHERE session_id = $1 AND client_record_id = $2 AND updated_at < $3 AND resolution IS NULL",
        session_id,
        client_record_id,
        updated_at,
        by,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Takes serial numbers, and the units that they number, out of the records that have them, but for one record. The sessions
/// of all of them are locked. False if one of them was posted already: then nothing is to be committed.
pub(super) async fn take_serials_in_tx(
    conn: &mut PgConnection,
    serials: &[String],
    session_id: &str,
    client_record_id: &str,
) -> Result<bool, DbError> {
    let row = sqlx::query!(
        r#"WITH taken AS MATERIALIZED (
            SELECT session_id, client_record_id, array_agg(serial_number) AS numbers, count(*) AS n
            FROM count_serials WHERE serial_number = ANY($1) AND session_id IS NOT NULL
              AND (session_id, client_record_id) IS DISTINCT FROM ($2, $3)
              AND coalesce(free_from > clock_timestamp(), true)
            GROUP BY session_id, client_record_id
        ), lessened AS (
            UPDATE count_records r SET serial_numbers = serial_numbers - taken.numbers,
                   verified_qty = greatest(verified_qty - taken.n, 0),
                   damage_qty = least(damage_qty, greatest(verified_qty - taken.n, 0))
            FROM taken JOIN count_sessions s USING (session_id)
            WHERE (r.session_id, r.client_record_id) = (taken.session_id, taken.client_record_id)
              AND NOT s.is_over
            RETURNING 1
        )
        SELECT (SELECT count(*) FROM taken) = (SELECT count(*) FROM lessened) AS "whole!""#,
        serials,
        session_id,
        client_record_id,
    )
    .fetch_one(conn)
    .await?;
    Ok(row.whole)
}
