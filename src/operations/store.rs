//! The SQL of operators.

use sqlx::PgConnection;

use super::lock_status::DatabaseWait;
use super::release_lock::{Outcome, Release};
use crate::db::DbError;

/// The sessions that wait for a lock now, the longest first: at most a thousand.
pub(super) async fn database_waits(conn: &mut PgConnection) -> Result<Vec<DatabaseWait>, DbError> {
    let waits = sqlx::query_as!(
        DatabaseWait,
        r#"SELECT activity.pid AS "pid!", coalesce(activity.wait_event, 'lock') AS "waiting_for!",
                  left(coalesce(activity.query, ''), 200) AS "query!",
                  pg_blocking_pids(activity.pid) AS "blocked_by!",
                  extract(epoch FROM clock_timestamp()
                      - coalesce(waits.waitstart, activity.query_start, clock_timestamp()))::float8 AS "seconds!"
           FROM pg_stat_activity AS activity
           LEFT JOIN LATERAL (SELECT min(waitstart) AS waitstart FROM pg_locks
                              WHERE pg_locks.pid = activity.pid AND NOT granted) AS waits ON true
           WHERE activity.datname = current_database() AND activity.wait_event_type = 'Lock'
           ORDER BY 5 DESC LIMIT 1000"#,
    )
    .fetch_all(conn)
    .await?;
    Ok(waits)
}

/// Writes down that a lock was taken away, or may have been.
pub(super) async fn insert_release_in_tx(
    conn: &mut PgConnection,
    release: &Release,
    outcome: Outcome,
    subject: &str,
    request_id: &str,
) -> Result<(), DbError> {
    sqlx::query!(
        "INSERT INTO lock_releases (release_id, key, owner, reason, outcome, subject, request_id)
         VALUES ($1, $2, $3, $4, $5, $6, $7)",
        release.release_id,
        release.key,
        release.owner,
        release.reason,
        outcome.as_str(),
        subject,
        request_id,
    )
    .execute(conn)
    .await?;
    Ok(())
}
