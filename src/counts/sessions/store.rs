//! The SQL of sessions. No decisions here: rows in, rows out.

use std::collections::HashSet;

use sqlx::PgConnection;
use uuid::Uuid;

use super::model::{Decisions, Line, NewLine, Present, Session};
use super::{LASTS_FOR, PRESENT_FOR, SERIALS_KEPT_FOR};
use crate::counts::error::{self, CountError};
use crate::counts::records::rules::AGE_MAX;
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

/// Opens a session, or notes that it was heard of. True if it was opened.
pub(in crate::counts) async fn open_in_tx(
    conn: &mut PgConnection,
    session_id: &SessionId,
    user_id: &str,
) -> Result<bool, CountError> {
    let opened = sqlx::query_scalar!(
        r#"INSERT INTO count_sessions (session_id, user_id) VALUES ($1, $2)
           ON CONFLICT (session_id) DO UPDATE SET last_seen_at = clock_timestamp()
               WHERE count_sessions.user_id = excluded.user_id
           RETURNING xmax = 0 AS "is_new!""#,
        session_id.as_str(),
        user_id,
    )
    .fetch_optional(conn)
    .await
    .map_err(DbError::from)?;
    opened.ok_or_else(error::not_session_owner)
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
            WHERE s.session_id = $1 AND s.user_id = $2 AND NOT s.is_over AND r.paused_at IS NULL
        ), renewed AS (
            UPDATE leases SET renewed_at = clock_timestamp(),
                   -- Never earlier: it may have been paused since `wanted` was read.
                   expires_at = greatest(expires_at, clock_timestamp() + make_interval(secs => wanted.ttl_seconds))
            FROM wanted WHERE name = 'rack:lock:' || wanted.rack_id AND owner = $1 AND ended_at IS NULL
            RETURNING wanted.rack_id, fence, token,
                      extract(epoch FROM expires_at - clock_timestamp())::float8 AS seconds_left
        ), renewals AS MATERIALIZED (SELECT count(*) AS n FROM renewed),
        seen AS (
            UPDATE count_sessions SET last_seen_at = clock_timestamp()
            FROM renewals WHERE session_id = $1 AND user_id = $2 AND NOT is_over AND renewals.n >= 0 RETURNING 1
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
                  (SELECT count(*) FROM count_records r WHERE r.session_id = s.session_id AND status = 'finalized')
                      AS "finalized_records!",
                  (SELECT count(*) FROM count_records r WHERE r.session_id = s.session_id AND status = 'draft')
                      AS "draft_records!",
                  (SELECT count(*) FROM count_conflicts c WHERE c.session_id = s.session_id AND resolution IS NULL)
                      AS "open_conflicts!"
           FROM count_sessions s WHERE session_id = ANY($1) OR posted_as = ANY($1) ORDER BY session_id"#,
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
                  (SELECT count(*) FROM count_records r WHERE r.session_id = s.session_id AND status = 'finalized')
                      AS "finalized_records!",
                  (SELECT count(*) FROM count_records r WHERE r.session_id = s.session_id AND status = 'draft')
                      AS "draft_records!",
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
           ) AS s ORDER BY last_seen_at DESC, session_id DESC"#,
        user_id,
        state,
        before,
        limit,
        LASTS_FOR.as_secs_f64(),
    )
    .fetch_all(conn)
    .await?)
}

/// A session that is to be posted.
pub(super) struct Posted {
    pub(super) session_id: String,
    pub(super) posted_as: Option<String>,
    pub(super) is_over: bool,
}

/// Locks those of these sessions that are there, sorted by their ids.
pub(super) async fn lock_to_post_in_tx(
    conn: &mut PgConnection,
    sessions: &[&str],
) -> Result<Vec<Posted>, DbError> {
    Ok(sqlx::query_as!(
        Posted,
        "SELECT session_id, posted_as, is_over FROM count_sessions WHERE session_id = ANY($1)
         ORDER BY session_id FOR NO KEY UPDATE",
        sessions as &[&str],
    )
    .fetch_all(conn)
    .await?)
}

/// Lets nothing enter these sessions any more, which are locked, and keeps the decisions of whoever posts them.
pub(super) async fn freeze_in_tx(
    conn: &mut PgConnection,
    sessions: &[&str],
    posted_as: &SessionId,
    decisions: &Decisions,
) -> Result<(), DbError> {
    let frozen = sqlx::query!(
        "UPDATE count_sessions SET posting_at = clock_timestamp(), posted_as = $2, decisions = $3
         WHERE session_id = ANY($1) AND NOT is_over",
        sessions as &[&str],
        posted_as.as_str(),
        serde_json::to_value(decisions).map_err(unwritable)?,
    )
    .execute(conn)
    .await?;
    let whole = frozen.rows_affected() == sessions.len() as u64;
    if whole { Ok(()) } else { Err(DbError::Unexpected(sqlx::Error::RowNotFound)) }
}

/// What is posted as one count.
pub(super) struct Frozen {
    pub(super) sessions: Vec<String>,
    pub(super) decisions: Decisions,
    pub(super) is_posted: bool,
}

/// What is posted in a session's name.
pub(super) async fn find_frozen(conn: &mut PgConnection, posted_as: &str) -> Result<Frozen, DbError> {
    let row = sqlx::query!(
        r#"SELECT decisions AS "decisions!", posted_at IS NOT NULL AS "is_posted!",
                  ARRAY(SELECT session_id FROM count_sessions WHERE posted_as = $1 ORDER BY session_id) AS "sessions!"
           FROM count_sessions WHERE session_id = $1 AND posting_at IS NOT NULL"#,
        posted_as,
    )
    .fetch_one(conn)
    .await?;
    let decisions = serde_json::from_value(row.decisions).map_err(unwritable)?;
    Ok(Frozen { sessions: row.sessions, decisions, is_posted: row.is_posted })
}

/// The items of these sessions' finalized records that have no line yet, by id.
pub(super) async fn find_open_items(
    conn: &mut PgConnection,
    sessions: &[String],
    posted_as: &str,
) -> Result<Vec<Uuid>, DbError> {
    Ok(sqlx::query_scalar!(
        "SELECT DISTINCT variant_id FROM count_records r
         WHERE session_id = ANY($1) AND status = 'finalized' AND NOT EXISTS (
             SELECT FROM count_lines l WHERE (l.session_id, l.variant_id) = ($2, r.variant_id))
         ORDER BY variant_id",
        sessions,
        posted_as,
    )
    .fetch_all(conn)
    .await?)
}

/// Which of these items have finalized records in these sessions.
pub(super) async fn find_counted(
    conn: &mut PgConnection,
    sessions: &[String],
    skus: &[&str],
) -> Result<HashSet<String>, DbError> {
    let found = sqlx::query_scalar!(
        "SELECT sku FROM variants WHERE sku = ANY($2) AND EXISTS (
             SELECT FROM count_records r
             WHERE r.session_id = ANY($1) AND r.variant_id = variants.variant_id AND status = 'finalized')",
        sessions,
        skus as &[&str],
    )
    .fetch_all(conn)
    .await?;
    Ok(found.into_iter().collect())
}

/// What was counted of an item, by all its records in these sessions, what moved since, and what is known against it.
pub(super) struct Total {
    pub(super) variant_id: Uuid,
    pub(super) sku: String,
    pub(super) records: i64,
    pub(super) units: i64,
    pub(super) damaged: i64,
    pub(super) first_version: i64,
    pub(super) last_version: i64,
    /// Between the first and the last record.
    pub(super) went_out: i64,
    /// After the last.
    pub(super) moved_after: i64,
    /// Whether several of these sessions counted it in one rack.
    pub(super) counted_twice: bool,
    /// Whether a count was posted that is as new or newer.
    pub(super) counted_since: bool,
    /// Other sessions that counted it, within the time of one count, in racks where these did not.
    pub(super) also_in: Vec<String>,
    /// Stock now.
    pub(super) on_hand: i64,
}

/// The totals of these items, or of all, that have no line yet. What moved after the last record is read off the levels,
/// however many movements there were. Of other sessions count those that are not posted, and those that were as lately as
/// serial numbers stay with their records, unless somebody gave them up or rejected the item there.
pub(super) async fn find_totals(
    conn: &mut PgConnection,
    sessions: &[String],
    posted_as: &str,
    variants: Option<&[Uuid]>,
) -> Result<Vec<Total>, DbError> {
    Ok(sqlx::query_as!(
        Total,
        r#"SELECT c.variant_id AS "variant_id!", sku, records AS "records!", units AS "units!", damaged AS "damaged!",
                  first_version AS "first_version!", last_version AS "last_version!", on_hand,
                  counted_twice AS "counted_twice!",
                  (on_hand - coalesce(last.on_hand_after, 0) - coalesce((
                      SELECT sum(delta) FROM stock_movements m
                      WHERE m.variant_id = c.variant_id AND kind = 'count' AND m.version > c.last_version
                  ), 0))::bigint AS "moved_after!",
                  coalesce((
                      SELECT sum(delta) FROM stock_movements m
                      WHERE m.variant_id = c.variant_id AND m.version > c.first_version
                        AND m.version <= c.last_version AND delta < 0 AND kind <> 'count'
                  ), 0)::bigint AS "went_out!",
                  EXISTS (
                      SELECT FROM count_lines l
                      WHERE l.variant_id = c.variant_id AND outcome = 'posted' AND l.last_version >= c.last_version
                  ) AS "counted_since!",
                  ARRAY(
                      SELECT DISTINCT o.session_id FROM count_records o JOIN count_sessions s USING (session_id)
                          LEFT JOIN count_lines l ON (l.session_id, l.variant_id) = (s.posted_as, o.variant_id)
                      WHERE o.variant_id = c.variant_id AND o.status = 'finalized' AND o.verified_qty > 0
                        AND o.counted_at > (SELECT clock_timestamp() - make_interval(secs => $4))
                        AND o.session_id <> ALL ($1) AND coalesce(o.rack_id, '') <> ALL (c.racks)
                        AND discarded_at IS NULL
                        AND (s.posted_at IS NULL OR l.outcome IN ('posted', 'recount')
                             AND s.posted_at > (SELECT clock_timestamp() - make_interval(secs => $5)))
                      ORDER BY 1 LIMIT 20
                  ) AS "also_in!"
           FROM (
               SELECT variant_id, count(*) AS records, sum(verified_qty)::bigint AS units,
                      sum(damage_qty)::bigint AS damaged, min(counted_version) AS first_version,
                      max(counted_version) AS last_version, array_agg(DISTINCT coalesce(rack_id, '')) AS racks,
                      count(DISTINCT (session_id, coalesce(rack_id, ''))) > count(DISTINCT coalesce(rack_id, ''))
                          AS counted_twice
               FROM count_records r
               WHERE session_id = ANY($1) AND status = 'finalized' AND ($3::uuid[] IS NULL OR variant_id = ANY($3))
                 AND NOT EXISTS (SELECT FROM count_lines l
                                 WHERE (l.session_id, l.variant_id) = ($2, r.variant_id))
               GROUP BY variant_id
           ) AS c
           JOIN variants USING (variant_id) JOIN stock USING (variant_id)
           LEFT JOIN stock_movements last ON (last.variant_id, last.version) = (c.variant_id, c.last_version)
           ORDER BY c.variant_id"#,
        sessions,
        posted_as,
        variants,
        AGE_MAX.as_secs_f64(),
        SERIALS_KEPT_FOR.as_secs_f64(),
    )
    .fetch_all(conn)
    .await?)
}

/// Writes lines that were just decided on, beside their movements.
pub(super) async fn write_lines_in_tx(
    conn: &mut PgConnection,
    posted_as: &str,
    lines: &[NewLine],
) -> Result<(), DbError> {
    let written = sqlx::query!(
        "INSERT INTO count_lines (session_id, variant_id, records, counted_qty, damage_qty, first_version, last_version,
             moved_since, expected_qty, outcome, recount_because, reason, shortfall, previous_quantity, new_quantity,
             movement_id, damage_movement_id)
         SELECT $1, variant_id, records, counted_qty, damage_qty, first_version, last_version, moved_since, expected_qty,
             outcome, recount_because, reason, shortfall, previous_quantity, new_quantity, movement_id, damage_movement_id
         FROM jsonb_to_recordset($2) AS l (variant_id uuid, records bigint, counted_qty bigint, damage_qty bigint,
             first_version bigint, last_version bigint, moved_since bigint, expected_qty bigint, outcome text,
             recount_because text, reason text, shortfall bigint, previous_quantity bigint, new_quantity bigint, movement_id uuid, damage_movement_id uuid)",
        posted_as,
        serde_json::to_value(lines).map_err(unwritable)?,
    )
    .execute(conn)
    .await?;
    let whole = written.rows_affected() == lines.len() as u64;
    if whole { Ok(()) } else { Err(DbError::Unexpected(sqlx::Error::RowNotFound)) }
}

/// Notes that all that is posted in a session's name is posted, and from when on the serial numbers may be counted anew: at
/// once where nothing was posted of them. False if somebody has noted that.
pub(super) async fn finish_in_tx(
    conn: &mut PgConnection,
    posted_as: &str,
    by: &str,
) -> Result<bool, DbError> {
    let done = sqlx::query!(
        r#"WITH posted AS (
            UPDATE count_sessions SET posted_at = clock_timestamp(), posted_by = $2
            WHERE posted_as = $1 AND posted_at IS NULL RETURNING session_id, posted_at
        ), freed AS (
            UPDATE count_serials n SET free_from = posted.posted_at + make_interval(
                secs => CASE WHEN r.status = 'finalized' AND l.outcome = 'posted' THEN $3::float8 ELSE 0::float8 END)
            FROM posted JOIN count_records r USING (session_id)
                LEFT JOIN count_lines l ON (l.session_id, l.variant_id) = ($1, r.variant_id)
            WHERE (n.session_id, n.client_record_id) = (r.session_id, r.client_record_id)
        )
        SELECT EXISTS (SELECT FROM posted) AS "now!""#,
        posted_as,
        by,
        SERIALS_KEPT_FOR.as_secs_f64(),
    )
    .fetch_one(conn)
    .await?;
    Ok(done.now)
}

/// Gives up a session: nothing enters it any more, nothing of it is posted, its serial numbers are free and its conflicts
/// closed. False if it is over. Its row is locked.
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
        ), freed AS (
            UPDATE count_serials n SET free_from = discarded_at FROM discarded d WHERE n.session_id = d.session_id
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

/// The lines that were written in a session's name, by item.
pub(super) async fn find_lines(conn: &mut PgConnection, posted_as: &str) -> Result<Vec<Line>, DbError> {
    Ok(sqlx::query_as!(
        Line,
        r#"SELECT variant_id, sku AS item_code, records, counted_qty, damage_qty, moved_since AS "moved_since?",
                  expected_qty AS "expected_qty?", counted_qty - expected_qty AS "variance?",
                  previous_quantity AS "previous_quantity?", new_quantity AS "new_quantity?", shortfall,
                  outcome AS "outcome?", recount_because, '{}'::text[] AS "also_in!", reason, movement_id,
                  damage_movement_id
           FROM count_lines JOIN variants USING (variant_id) WHERE session_id = $1 ORDER BY variant_id"#,
        posted_as,
    )
    .fetch_all(conn)
    .await?)
}

fn unwritable(error: serde_json::Error) -> DbError {
    DbError::Unexpected(sqlx::Error::Encode(error.into()))
}
