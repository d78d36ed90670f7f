//! What posting reads and writes.

use std::collections::HashSet;

use sqlx::PgConnection;
use uuid::Uuid;

use crate::counts::records::times::AGE_MAX;
use crate::counts::sessions::SERIALS_KEPT_FOR;
use crate::counts::sessions::model::{Decisions, Line, NewLine};
use crate::db::DbError;
use crate::text::SessionId;

/// A session that is to be posted.
pub(in super::super) struct Posted {
    pub(in super::super) session_id: String,
    pub(in super::super) user_id: String,
    pub(in super::super) blind: bool,
    pub(in super::super) posted_as: Option<String>,
    pub(in super::super) is_over: bool,
}

/// Locks those of these sessions that are there, sorted by their ids.
pub(in super::super) async fn lock_to_post_in_tx(
    conn: &mut PgConnection,
    sessions: &[&str],
) -> Result<Vec<Posted>, DbError> {
    Ok(sqlx::query_as!(
        Posted,
        "SELECT session_id, user_id, blind, posted_as, is_over FROM count_sessions WHERE session_id = ANY($1)
         ORDER BY session_id FOR NO KEY UPDATE",
        sessions as &[&str],
    )
    .fetch_all(conn)
    .await?)
}

/// Lets nothing enter these sessions any more, which are locked, and keeps the decisions of whoever posts them.
pub(in super::super) async fn freeze_in_tx(
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
pub(in super::super) struct Frozen {
    pub(in super::super) sessions: Vec<String>,
    pub(in super::super) decisions: Decisions,
    pub(in super::super) is_posted: bool,
}

/// What is posted in a session's name.
pub(in super::super) async fn find_frozen(
    conn: &mut PgConnection,
    posted_as: &str,
) -> Result<Frozen, DbError> {
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

/// Which of many items are looked at, by their ids: all, or so many after one of them.
#[derive(Debug, Clone, Copy, Default)]
pub(in super::super) struct Within {
    pub(in super::super) after: Option<Uuid>,
    pub(in super::super) limit: Option<i64>,
}

/// The items of these sessions' finalized records that have no line yet, by id.
pub(in super::super) async fn find_open_items(
    conn: &mut PgConnection,
    sessions: &[String],
    posted_as: &str,
    within: Within,
) -> Result<Vec<Uuid>, DbError> {
    Ok(sqlx::query_scalar!(
        "SELECT DISTINCT variant_id FROM unnest($1::text[]) AS asked (session_id) JOIN count_records r USING (session_id)
         WHERE status = 'finalized' AND NOT EXISTS (
             SELECT FROM count_lines l WHERE (l.session_id, l.variant_id) = ($2, r.variant_id))
           AND ($3::uuid IS NULL OR variant_id > $3)
         ORDER BY variant_id LIMIT $4",
        sessions,
        posted_as,
        within.after,
        within.limit,
    )
    .fetch_all(conn)
    .await?)
}

/// Which of these items have finalized records in these sessions.
pub(in super::super) async fn find_counted(
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
pub(in super::super) struct Total {
    pub(in super::super) variant_id: Uuid,
    pub(in super::super) sku: String,
    pub(in super::super) records: i64,
    pub(in super::super) units: i64,
    pub(in super::super) damaged: i64,
    /// Of the newest count of it that was posted.
    pub(in super::super) damaged_before: i64,
    pub(in super::super) first_version: i64,
    pub(in super::super) last_version: i64,
    /// Between when the first of its records was counted at the earliest and the last at the latest.
    pub(in super::super) went_out: i64,
    /// After the last.
    pub(in super::super) moved_after: i64,
    /// Whether several of these sessions counted it in one rack, or some records say where and others do not.
    pub(in super::super) counted_twice: bool,
    /// Whether a count was posted that is as new or newer.
    pub(in super::super) counted_since: bool,
    /// Other sessions that counted it, within the time of one count, in racks where these did not.
    pub(in super::super) also_in: Vec<String>,
    /// Stock now.
    pub(in super::super) on_hand: i64,
}

/// The totals of those of these items that have no line yet. What moved after the last record is read off the levels,
/// however many movements there were. Of other sessions count those that are not posted, and those that were as lately as
/// serial numbers stay with their records, unless somebody gave them up or rejected the item there.
pub(in super::super) async fn find_totals(
    conn: &mut PgConnection,
    sessions: &[String],
    posted_as: &str,
    variants: &[Uuid],
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
                  coalesce((
                      SELECT damage_qty FROM count_lines l WHERE l.variant_id = c.variant_id AND outcome = 'posted'
                      ORDER BY l.last_version DESC, posted_at DESC LIMIT 1
                  ), 0) AS "damaged_before!",
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
           FROM unnest($3::uuid[]) AS asked (variant_id) CROSS JOIN LATERAL (
               -- Item by item, of which few records are so new, and not session by session, of which many are told of.
               SELECT r.variant_id, count(*) AS records, sum(verified_qty)::bigint AS units,
                      sum(damage_qty)::bigint AS damaged, min(counted_version) AS first_version,
                      max(coalesce(latest_version, counted_version)) AS last_version, array_agg(DISTINCT coalesce(rack_id, '')) AS racks,
                      count(DISTINCT (session_id, coalesce(rack_id, ''))) > count(DISTINCT coalesce(rack_id, ''))
                          OR bool_or(rack_id IS NULL AND verified_qty > 0) AND bool_or(rack_id IS NOT NULL AND verified_qty > 0)
                          AS counted_twice
               FROM count_records r
               WHERE r.variant_id = asked.variant_id AND status = 'finalized' AND session_id = ANY($1)
                 AND counted_at >= (SELECT min(opened_at) - 2 * make_interval(secs => $4) FROM count_sessions
                                    WHERE session_id = ANY($1))
                 AND NOT EXISTS (SELECT FROM count_lines l
                                 WHERE (l.session_id, l.variant_id) = ($2, r.variant_id))
               GROUP BY r.variant_id
           ) AS c
           JOIN variants ON variants.variant_id = c.variant_id JOIN stock ON stock.variant_id = c.variant_id
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

/// The lines of one outcome, summed up.
pub(in super::super) struct Tally {
    pub(in super::super) outcome: String,
    pub(in super::super) items: i64,
    pub(in super::super) variance: i64,
    pub(in super::super) shortfall: i64,
}

/// Sums up the lines that were written in a session's name, by their outcomes.
pub(in super::super) async fn tally_lines(
    conn: &mut PgConnection,
    posted_as: &str,
) -> Result<Vec<Tally>, DbError> {
    Ok(sqlx::query_as!(
        Tally,
        r#"SELECT outcome, count(*) AS "items!", sum(counted_qty - expected_qty)::bigint AS "variance!",
                  sum(shortfall)::bigint AS "shortfall!"
           FROM count_lines WHERE session_id = $1 GROUP BY outcome ORDER BY outcome"#,
        posted_as,
    )
    .fetch_all(conn)
    .await?)
}

/// Writes lines that were just decided on, beside their movements.
pub(in super::super) async fn write_lines_in_tx(
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

/// The most serial numbers that one statement frees.
const SERIALS_AT_ONCE: i64 = 1_000;

/// Says from when on serial numbers of a session that is over, or all of whose lines are written, may be counted anew: some
/// time from now where something was posted of them, else at once. So many of them, from those of one record on; gives the
/// record from which on there may be more. They are locked in the order in which batches lock them.
pub(in super::super) async fn free_serials(
    conn: &mut PgConnection,
    session_id: &str,
    from: &str,
) -> Result<Option<String>, DbError> {
    Ok(sqlx::query_scalar!(
        r#"WITH page AS MATERIALIZED (
            SELECT serial_number, client_record_id FROM count_serials
            WHERE session_id = $1 AND client_record_id >= $2 AND free_from IS NULL
            ORDER BY client_record_id LIMIT $4
        ), held AS MATERIALIZED (
            SELECT serial_number FROM count_serials JOIN page USING (serial_number)
            ORDER BY serial_number FOR UPDATE OF count_serials
        ), freed AS (
            UPDATE count_serials n SET free_from = clock_timestamp() + make_interval(
                secs => CASE WHEN r.status = 'finalized' AND l.outcome = 'posted' THEN $3::float8 ELSE 0::float8 END)
            FROM held, count_sessions s JOIN count_records r USING (session_id)
                LEFT JOIN count_lines l ON (l.session_id, l.variant_id) = (s.posted_as, r.variant_id)
            WHERE n.serial_number = held.serial_number AND r.session_id = $1
              AND (n.session_id, n.client_record_id) = (r.session_id, r.client_record_id)
        )
        SELECT CASE WHEN count(*) = $4 THEN max(client_record_id) END FROM page"#,
        session_id,
        from,
        SERIALS_KEPT_FOR.as_secs_f64(),
        SERIALS_AT_ONCE,
    )
    .fetch_one(conn)
    .await?)
}

/// Notes that all that is posted in a session's name is posted. False if somebody has noted that.
pub(in super::super) async fn finish_in_tx(
    conn: &mut PgConnection,
    posted_as: &str,
    by: &str,
) -> Result<bool, DbError> {
    let done = sqlx::query!(
        "UPDATE count_sessions SET posted_at = clock_timestamp(), posted_by = $2
         WHERE posted_as = $1 AND posted_at IS NULL",
        posted_as,
        by,
    )
    .execute(conn)
    .await?;
    // Of sessions that were posted as one count there are several.
    Ok(done.rows_affected() > 0)
}

/// The lines that were written in a session's name, by item.
pub(in super::super) async fn find_lines(
    conn: &mut PgConnection,
    posted_as: &str,
    within: Within,
) -> Result<Vec<Line>, DbError> {
    Ok(sqlx::query_as!(
        Line,
        r#"SELECT variant_id, sku AS item_code, records, counted_qty, damage_qty, moved_since AS "moved_since?",
                  expected_qty AS "expected_qty?", counted_qty - expected_qty AS "variance?",
                  previous_quantity AS "previous_quantity?", new_quantity AS "new_quantity?", shortfall,
                  outcome AS "outcome?", recount_because, '{}'::text[] AS "also_in!", reason, movement_id,
                  damage_movement_id
           FROM count_lines JOIN variants USING (variant_id)
           WHERE session_id = $1 AND ($2::uuid IS NULL OR variant_id > $2) ORDER BY variant_id LIMIT $3"#,
        posted_as,
        within.after,
        within.limit,
    )
    .fetch_all(conn)
    .await?)
}

fn unwritable(error: serde_json::Error) -> DbError {
    DbError::Unexpected(sqlx::Error::Encode(error.into()))
}
