//! The SQL of operators.

use sqlx::PgConnection;

use super::backlog::Backlog;
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

/// So many of anything are counted; of more it is not known how many.
const COUNTED_MAX: i64 = 10_000;

/// What waits for somebody or something. Each part is found by an index over just that, and deliveries endpoint by endpoint:
/// what is left of those that were removed, or want nothing any more, is not looked at. How far deliveries are written is how
/// far those are who have come furthest: whoever lags behind them comes back from long ago.
pub(super) async fn find_backlog(conn: &mut PgConnection) -> Result<Backlog, DbError> {
    Ok(sqlx::query_as!(
        Backlog,
        r#"SELECT
             (SELECT extract(epoch FROM clock_timestamp() - min(told.at))::float8
              FROM (SELECT max(position) AS position FROM webhook_endpoints WHERE gone_at IS NULL) AS e
              CROSS JOIN LATERAL (
                (SELECT created_at AS at FROM stock_movements m WHERE m.position > e.position ORDER BY m.position LIMIT 1)
                UNION ALL
                (SELECT placed_at FROM orders o WHERE o.position > e.position ORDER BY o.position LIMIT 1)
                UNION ALL
                (SELECT happened_at FROM events v WHERE v.position > e.position ORDER BY v.position LIMIT 1)
              ) AS told) AS unpublished_age,
             (SELECT extract(epoch FROM clock_timestamp() - min(oldest.pending_since))::float8
              FROM webhook_endpoints e CROSS JOIN LATERAL (
                SELECT d.pending_since FROM webhook_deliveries d
                WHERE d.endpoint_id = e.endpoint_id AND d.state = 'pending' ORDER BY d.pending_since LIMIT 1
              ) AS oldest WHERE e.gone_at IS NULL) AS oldest_pending_age,
             (SELECT count(*) FROM (SELECT FROM webhook_endpoints e CROSS JOIN LATERAL (
                SELECT FROM webhook_deliveries d WHERE d.endpoint_id = e.endpoint_id AND d.state = 'pending' LIMIT $1
              ) AS its WHERE e.gone_at IS NULL LIMIT $1) AS s) AS "pending!",
             (SELECT count(*) FROM (SELECT FROM webhook_endpoints e CROSS JOIN LATERAL (
                SELECT FROM webhook_deliveries d WHERE d.endpoint_id = e.endpoint_id AND d.state = 'dead' LIMIT $1
              ) AS its WHERE e.gone_at IS NULL LIMIT $1) AS s) AS "dead!",
             (SELECT count(*) FROM webhook_endpoints WHERE paused_until > clock_timestamp()) AS "paused!",
             (SELECT count(*) FROM webhook_endpoints WHERE gone_at IS NOT NULL) AS "gone!",
             (SELECT count(*) FROM (SELECT FROM webhook_inbox WHERE state = 'refused' LIMIT $1) AS s) AS "refused!",
             (SELECT count(*) FROM (SELECT FROM count_conflicts WHERE resolution IS NULL LIMIT $1) AS s) AS "conflicts!",
             (SELECT count(*) FROM (SELECT FROM invoices WHERE state = 'flagged' LIMIT $1) AS s) AS "flagged!""#,
        COUNTED_MAX,
    )
    .fetch_one(conn)
    .await?)
}
