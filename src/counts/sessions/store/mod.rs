//! The SQL of sessions; of posting in a file of its own. No decisions here: rows in, rows out.

mod posting;

use sqlx::PgConnection;

pub(super) use self::posting::{
    Frozen, Posted, Tally, Total, Within, find_counted, find_frozen, find_lines, find_open_items,
    find_totals, finish_in_tx, free_serials, freeze_in_tx, lock_to_post_in_tx, tally_lines,
    write_lines_in_tx,
};
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
        "SELECT user_id, is_over FROM count_sessions WHERE session_id = $1",
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

/// Opens a session, or notes that it was heard of. True if it was opened. Refuses one that is over: it may have been posted
/// while a claim of it waited.
pub(in crate::counts) async fn open_in_tx(
    conn: &mut PgConnection,
    session_id: &SessionId,
    user_id: &str,
    blind: bool,
) -> Result<bool, CountError> {
    let opened = sqlx::query!(
        r#"INSERT INTO count_sessions (session_id, user_id, blind) VALUES ($1, $2, $3)
           ON CONFLICT (session_id) DO UPDATE SET last_seen_at = clock_timestamp()
               WHERE count_sessions.user_id = excluded.user_id
           RETURNING xmax = 0 AS "is_new!", is_over"#,
        session_id.as_str(),
        user_id,
        blind,
    )
    .fetch_optional(conn)
    .await
    .map_err(DbError::from)?;
    match opened {
        None => Err(error::not_session_owner()),
        Some(session) if session.is_over => Err(error::session_posted()),
        Some(session) => Ok(session.is_new),
    }
}

/// Notes that a session was heard of, unless it is over. Whoever has its row, as a batch has, notes that itself: this does not
/// wait for it.
pub(in crate::counts) async fn note_seen_in_tx(
    conn: &mut PgConnection,
    session_id: &SessionId,
) -> Result<(), DbError> {
    // So there need not be a row to change.
    sqlx::query!(
        "UPDATE count_sessions SET last_seen_at = clock_timestamp() WHERE session_id IN (
             SELECT session_id FROM count_sessions WHERE session_id = $1 AND NOT is_over FOR NO KEY UPDATE SKIP LOCKED)",
        session_id.as_str(),
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// What a heartbeat came to.
pub(super) struct Beat {
    /// Whether the session is there, the caller's, and not over.
    pub(super) is_known: bool,
    /// When, in seconds since 1970.
    pub(super) at: f64,
    pub(super) rack_id: Option<String>,
    pub(super) fence: Option<i64>,
    pub(super) token: Option<String>,
    /// How long the rack is held from then on.
    pub(super) seconds_left: Option<f64>,
}

/// Renews session, presence and the claim of a rack in one statement, each if it is the session's. A claim is renewed as
/// [`crate::leases`] would: if it is the newest and has not ended, whether or not it lapsed. One that is paused keeps its
/// end. The lease's row comes before the session's, as everywhere. The disk is not waited for: a heartbeat that a crash of
/// Postgres takes back is one that did not come, and the next one is due in half a minute.
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
            WHERE s.session_id = $1 AND s.user_id = $2 AND NOT s.is_over AND r.paused_at IS NULL
        ), renewed AS (
            UPDATE leases SET renewed_at = clock_timestamp(),
                   -- Never earlier: it may have been paused since `wanted` was read.
                   expires_at = greatest(expires_at, clock_timestamp() + make_interval(secs => wanted.ttl_seconds))
            FROM wanted WHERE name = 'rack:lock:' || wanted.rack_id AND owner = $1 AND ended_at IS NULL
            RETURNING wanted.rack_id, fence, token,
                      extract(epoch FROM expires_at - clock_timestamp())::float8 AS seconds_left
        ), renewals AS MATERIALIZED (
            SELECT (SELECT count(*) FROM renewed) AS n, set_config('synchronous_commit', 'off', true) AS at_leisure
        ),
        seen AS (
            UPDATE count_sessions SET last_seen_at = clock_timestamp()
            FROM renewals WHERE session_id = $1 AND user_id = $2 AND NOT is_over AND renewals.n >= 0
              AND at_leisure = 'off' RETURNING 1
        )
        SELECT EXISTS (SELECT FROM seen) AS "is_known!",
               extract(epoch FROM clock_timestamp())::float8 AS "at!",
               renewed.rack_id AS "rack_id?", renewed.fence AS "fence?", renewed.token AS "token?",
               renewed.seconds_left AS "seconds_left?"
        FROM (SELECT 1) AS one LEFT JOIN renewed ON true"#,
        session_id.as_str(),
        user_id,
        rack_id.map(RackId::as_str),
        or_the_last,
    )
    .fetch_one(conn)
    .await?)
}

/// A session of which something else is told from now on.
pub(in crate::counts) struct Turned {
    pub(in crate::counts) session_id: String,
    pub(in crate::counts) user_id: String,
    pub(in crate::counts) has_lapsed: bool,
}

/// Notes of up to so many sessions that it is told of them whether they have lapsed. Those that somebody is changing are
/// passed over.
pub(in crate::counts) async fn tell_of_lapses_in_tx(
    conn: &mut PgConnection,
    limit: i64,
) -> Result<Vec<Turned>, DbError> {
    Ok(sqlx::query_as!(
        Turned,
        r#"WITH over AS MATERIALIZED (SELECT clock_timestamp() - make_interval(secs => $2) AS at), due AS MATERIALIZED (
            SELECT session_id, NOT lapse_told AS has_lapsed FROM count_sessions, over
            WHERE NOT is_over AND (NOT lapse_told AND last_seen_at <= at OR lapse_told AND last_seen_at > at)
            ORDER BY session_id LIMIT $1 FOR NO KEY UPDATE OF count_sessions SKIP LOCKED
        )
        UPDATE count_sessions s SET lapse_told = has_lapsed FROM due WHERE s.session_id = due.session_id
        RETURNING s.session_id, user_id, has_lapsed AS "has_lapsed!""#,
        limit,
        LASTS_FOR.as_secs_f64(),
    )
    .fetch_all(conn)
    .await?)
}

/// Who was heard of a moment ago.
pub(super) async fn list_present(conn: &mut PgConnection, limit: i64) -> Result<Vec<Present>, DbError> {
    Ok(sqlx::query_as!(
        Present,
        "SELECT user_id, session_id, rack_id, last_seen_at AS last_heartbeat_at FROM count_sessions
         WHERE last_seen_at > (SELECT clock_timestamp() - make_interval(secs => $1)) AND NOT is_over
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
    let found = find_each(conn, &[session_id.as_str()]).await?;
    Ok(found.into_iter().find(|session| session.session_id == session_id.as_str()))
}

/// These sessions and all that are posted in their names, as of now, by id.
pub(super) async fn find_each(conn: &mut PgConnection, sessions: &[&str]) -> Result<Vec<Session>, DbError> {
    Ok(sqlx::query_as!(
        Session,
        r#"SELECT session_id, user_id, blind, rack_id, opened_at, last_seen_at AS last_heartbeat_at, posted_at, posted_by,
                  posted_as, discarded_at,
                  CASE WHEN posted_at IS NOT NULL THEN 'posted' WHEN posting_at IS NOT NULL THEN 'posting'
                       WHEN discarded_at IS NOT NULL THEN 'discarded'
                       WHEN last_seen_at > clock_timestamp() - make_interval(secs => $2) THEN 'open'
                       ELSE 'lapsed' END AS "state!",
                  finalized AS "finalized_records!", drafts AS "draft_records!",
                  (SELECT count(*) FROM count_conflicts c WHERE c.session_id = s.session_id AND resolution IS NULL)
                      AS "open_conflicts!"
           FROM count_sessions s CROSS JOIN LATERAL (
               SELECT count(*) FILTER (WHERE status = 'finalized') AS finalized,
                      count(*) FILTER (WHERE status = 'draft') AS drafts
               FROM count_records r WHERE r.session_id = s.session_id
           ) AS sent
           WHERE session_id = ANY($1) OR posted_as = ANY($1) ORDER BY session_id"#,
        sessions as &[&str],
        LASTS_FOR.as_secs_f64(),
    )
    .fetch_all(conn)
    .await?)
}

/// Sessions, the last heard of first: all, or a user's, or those in a state. Which it is of one that is listed is judged
/// before its records are counted.
pub(super) async fn list(
    conn: &mut PgConnection,
    user_id: Option<&str>,
    state: Option<&str>,
    before: Option<&str>,
    limit: i64,
) -> Result<Vec<Session>, DbError> {
    Ok(sqlx::query_as!(
        Session,
        r#"SELECT session_id, user_id, blind, rack_id, opened_at, last_seen_at AS last_heartbeat_at, posted_at, posted_by,
                  posted_as, discarded_at, state AS "state!",
                  finalized AS "finalized_records!", drafts AS "draft_records!",
                  (SELECT count(*) FROM count_conflicts c WHERE c.session_id = s.session_id AND resolution IS NULL)
                      AS "open_conflicts!"
           FROM (
               SELECT * FROM count_sessions CROSS JOIN LATERAL (
                   SELECT CASE WHEN posted_at IS NOT NULL THEN 'posted' WHEN posting_at IS NOT NULL THEN 'posting'
                               WHEN discarded_at IS NOT NULL THEN 'discarded'
                               WHEN last_seen_at > clock_timestamp() - make_interval(secs => $5) THEN 'open'
                               ELSE 'lapsed' END AS state) AS judged
               WHERE (last_seen_at, session_id)
                       < (coalesce((SELECT last_seen_at FROM count_sessions WHERE session_id = $3), 'infinity'), coalesce($3, ''))
                 AND ($1::text IS NULL OR user_id = $1) AND ($2::text IS NULL OR state = $2)
               ORDER BY last_seen_at DESC, session_id DESC LIMIT $4
           ) AS s CROSS JOIN LATERAL (
               SELECT count(*) FILTER (WHERE status = 'finalized') AS finalized,
                      count(*) FILTER (WHERE status = 'draft') AS drafts
               FROM count_records r WHERE r.session_id = s.session_id
           ) AS sent
           ORDER BY last_seen_at DESC, session_id DESC"#,
        user_id,
        state,
        before,
        limit,
        LASTS_FOR.as_secs_f64(),
    )
    .fetch_all(conn)
    .await?)
}

/// Gives up a session: nothing enters it any more, nothing of it is posted, and its conflicts are closed. False if it is over.
/// Its row is locked.
pub(super) async fn discard_in_tx(
    conn: &mut PgConnection,
    session_id: &SessionId,
    by: &str,
    reason: Option<&str>,
) -> Result<bool, DbError> {
    let done = sqlx::query!(
        r#"WITH discarded AS (
            UPDATE count_sessions SET discarded_at = clock_timestamp(), discarded_by = $2, discard_reason = $3
            WHERE session_id = $1 AND NOT is_over RETURNING session_id, discarded_at
        ), closed AS (
            UPDATE count_conflicts c SET resolution = 'ignore', resolved_by = $2, resolved_at = discarded_at,
                   reason = 'the session was discarded'
            FROM discarded d WHERE c.session_id = d.session_id AND resolution IS NULL
        )
        SELECT EXISTS (SELECT FROM discarded) AS "now!""#,
        session_id.as_str(),
        by,
        reason,
    )
    .fetch_one(conn)
    .await?;
    Ok(done.now)
}
