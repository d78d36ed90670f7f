//! Forgets what counting keeps for a time only, some rows at a time: minutes in which batches were counted, serial numbers
//! that may be counted anew, and, long after their session was posted or discarded, its records and the conflicts that were
//! resolved.
//! Sessions, claims and lines are evidence, and stay.

use std::time::Duration;

use sqlx::PgConnection;

use crate::db::DbError;

/// For how long records and conflicts are kept after their session was posted: longer than from one stocktaking of a year
/// to the next. A record that comes again after that is told that its session is posted.
pub const KEPT_FOR: Duration = Duration::from_secs(400 * 24 * 60 * 60);

/// Deletes minutes that are over.
pub(crate) async fn purge_minutes_in_tx(conn: &mut PgConnection, limit: i64) -> Result<u64, DbError> {
    let deleted = sqlx::query!(
        "DELETE FROM sync_minutes WHERE user_id IN (
             SELECT user_id FROM sync_minutes WHERE began_at < clock_timestamp() - interval '1 hour'
             LIMIT $1 FOR UPDATE SKIP LOCKED)",
        limit,
    );
    Ok(deleted.execute(conn).await?.rows_affected())
}

/// Deletes serial numbers that nobody has any more.
pub(crate) async fn purge_serials_in_tx(conn: &mut PgConnection, limit: i64) -> Result<u64, DbError> {
    let deleted = sqlx::query!(
        "DELETE FROM count_serials WHERE serial_number IN (
             SELECT serial_number FROM count_serials WHERE free_from <= clock_timestamp()
             LIMIT $1 FOR UPDATE SKIP LOCKED)",
        limit,
    );
    Ok(deleted.execute(conn).await?.rows_affected())
}

/// Deletes resolved conflicts of sessions that were over long ago.
pub(crate) async fn purge_conflicts_in_tx(conn: &mut PgConnection, limit: i64) -> Result<u64, DbError> {
    let deleted = sqlx::query!(
        "DELETE FROM count_conflicts WHERE conflict_id IN (
             SELECT conflict_id FROM count_conflicts JOIN count_sessions USING (session_id)
             WHERE resolution IS NOT NULL AND coalesce(posted_at, discarded_at) < clock_timestamp() - make_interval(secs => $2) LIMIT $1)",
        limit,
        KEPT_FOR.as_secs_f64(),
    );
    Ok(deleted.execute(conn).await?.rows_affected())
}

/// Deletes records of sessions that were over long ago. Their serial numbers were free long before.
pub(crate) async fn purge_records_in_tx(conn: &mut PgConnection, limit: i64) -> Result<u64, DbError> {
    let deleted = sqlx::query!(
        "DELETE FROM count_records WHERE (session_id, client_record_id) IN (
             SELECT r.session_id, r.client_record_id FROM count_records r JOIN count_sessions s USING (session_id)
             WHERE coalesce(posted_at, discarded_at) < clock_timestamp() - make_interval(secs => $2) AND NOT EXISTS (
                 SELECT FROM count_serials n
                 WHERE (n.session_id, n.client_record_id) = (r.session_id, r.client_record_id))
             LIMIT $1)",
        limit,
        KEPT_FOR.as_secs_f64(),
    );
    Ok(deleted.execute(conn).await?.rows_affected())
}
