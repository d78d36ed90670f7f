//! The SQL of sessions. No decisions here: rows in, rows out.

use sqlx::PgConnection;

use super::model::{Present, Session};
use super::{LASTS_FOR, PRESENT_FOR};
use crate::counts::error::{self, CountError};
use crate::db::DbError;
use crate::text::{RackId, SessionId};

/// Refuses a session that is there and is another user's, or that nothing enters any more.
pub(in crate::counts) async fn check_open(
    conn: &mut PgConnection,
    session_id: &SessionId,
    user_id: &str,
) -> Result<(), CountError> {
    let found = sqlx::query!(
        r#"SELECT user_id, posting_at IS NOT NULL AS "is_over!" FROM count_sessions WHERE session_id = $1"#,
        session_id.as_str(),
    )
    .fetch_optional(conn)
    .await
    .map_err(DbError::from)?;
    match found {
        Some(session) if session.user_id != user_id => Err(error::not_session_owner()),
        Some(session) if session.is_over => Err(error::session_posted()),
        _ => Ok(()),
    }
}

/// Opens a session with a choice. False if it is there.
pub(super) async fn insert_in_tx(
    conn: &mut PgConnection,
    session_id: &SessionId,
    user_id: &str,
    blind: bool,
) -> Result<bool, DbError> {
    let inserted = sqlx::query!(
        "INSERT INTO count_sessions (session_id, user_id, blind) VALUES ($1, $2, $3)
         ON CONFLICT (session_id) DO NOTHING",
        session_id.as_str(),
        user_id,
        blind,
    )
    .execute(conn)
    .await?;
    Ok(inserted.rows_affected() == 1)
}

/// Opens a session, or notes that it was heard of.
pub(in crate::counts) async fn open_in_tx(
    conn: &mut PgConnection,
    session_id: &SessionId,
    user_id: &str,
) -> Result<(), CountError> {
    let opened = sqlx::query!(
        "INSERT INTO count_sessions (session_id, user_id) VALUES ($1, $2)
         ON CONFLICT (session_id) DO UPDATE SET last_seen_at = clock_timestamp()
             WHERE count_sessions.user_id = excluded.user_id",
        session_id.as_str(),
        user_id,
    )
    .execute(conn)
    .await
    .map_err(DbError::from)?;
    if opened.rows_affected() == 1 { Ok(()) } else { Err(error::not_session_owner()) }
}

/// What a heartbeat came to.
pub(super) struct Beat {
    /// Whether the session is there and the caller's.
    pub(super) is_known: bool,
    /// When, in seconds since 1970.
    pub(super) at: f64,
    pub(super) rack_id: Option<String>,
    pub(super) fence: Option<i64>,
    pub(super) token: Option<String>,
    pub(super) ttl_seconds: Option<i32>,
}

/// Renews session, presence and the claim of a rack in one statement, each if it is the session's. A claim is renewed as
/// [`crate::leases`] would: if it is the newest and has not ended, whether or not it lapsed. One that is paused keeps its
/// end. The lease's row comes before the session's, as everywhere.
pub(super) async fn beat(
    conn: &mut PgConnection,
    session_id: &SessionId,
    user_id: &str,
    rack_id: Option<&RackId>,
    or_the_last: bool,
) -> Result<Beat, DbError> {
    Ok(sqlx::query_as!(
        Beat,
        r#"WITH wanted AS MATERIALIZED (
            SELECT r.rack_id, r.ttl_seconds FROM count_sessions s
                JOIN racks r ON r.rack_id = CASE WHEN $4 THEN coalesce($3, s.rack_id) ELSE $3 END
            WHERE s.session_id = $1 AND s.user_id = $2 AND r.paused_at IS NULL
        ), renewed AS (
            UPDATE leases SET renewed_at = clock_timestamp(),
                   expires_at = clock_timestamp() + make_interval(secs => wanted.ttl_seconds)
            FROM wanted WHERE name = 'rack:lock:' || wanted.rack_id AND owner = $1 AND ended_at IS NULL
            RETURNING wanted.rack_id, fence, token, wanted.ttl_seconds
        ), renewals AS MATERIALIZED (SELECT count(*) AS n FROM renewed),
        seen AS (
            UPDATE count_sessions SET last_seen_at = clock_timestamp()
            FROM renewals WHERE session_id = $1 AND user_id = $2 AND renewals.n >= 0 RETURNING 1
        )
        SELECT EXISTS (SELECT FROM seen) AS "is_known!",
               extract(epoch FROM clock_timestamp())::float8 AS "at!",
               renewed.rack_id AS "rack_id?", renewed.fence AS "fence?", renewed.token AS "token?",
               renewed.ttl_seconds AS "ttl_seconds?"
        FROM (SELECT 1) AS one LEFT JOIN renewed ON true"#,
        session_id.as_str(),
        user_id,
        rack_id.map(RackId::as_str),
        or_the_last,
    )
    .fetch_one(conn)
    .await?)
}

/// Who was heard of a moment ago.
pub(super) async fn list_present(conn: &mut PgConnection, limit: i64) -> Result<Vec<Present>, DbError> {
    Ok(sqlx::query_as!(
        Present,
        "SELECT user_id, session_id, rack_id, last_seen_at AS last_heartbeat_at FROM count_sessions
         WHERE last_seen_at > (SELECT clock_timestamp() - make_interval(secs => $1))
         ORDER BY last_seen_at DESC LIMIT $2",
        PRESENT_FOR.as_secs_f64(),
        limit,
    )
    .fetch_all(conn)
    .await?)
}

/// One session, as of now.
pub(super) async fn find(
    conn: &mut PgConnection,
    session_id: &SessionId,
) -> Result<Option<Session>, DbError> {
    Ok(sqlx::query_as!(
        Session,
        r#"SELECT session_id, user_id, blind, rack_id, opened_at, last_seen_at AS last_heartbeat_at, posted_at,
                  CASE WHEN posted_at IS NOT NULL THEN 'posted' WHEN posting_at IS NOT NULL THEN 'posting'
                       WHEN last_seen_at > clock_timestamp() - make_interval(secs => $2) THEN 'open'
                       ELSE 'lapsed' END AS "state!"
           FROM count_sessions s WHERE session_id = $1"#,
        session_id.as_str(),
        LASTS_FOR.as_secs_f64(),
    )
    .fetch_optional(conn)
    .await?)
}
