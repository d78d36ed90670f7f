//! The SQL of events. No decisions here: rows in, rows out.

use serde::Serialize;
use sqlx::PgConnection;

use super::KEPT_FOR;
use super::model::{About, Event, EventKind, NewEvent, Subject};
use crate::db::DbError;
use crate::inventory::store as stock;
use crate::orders::store as orders;

/// Of orders so many are read at once: each may have 2,000 lines.
const ORDERS_MAX: i64 = 100;

/// Appends an event beside the write that it tells of: call it after that write, in its transaction.
///
/// # Errors
/// [`DbError`].
pub async fn append_in_tx(
    conn: &mut PgConnection,
    kind: EventKind,
    about: About<'_>,
    data: &impl Serialize,
) -> Result<(), DbError> {
    append_all_in_tx(conn, &[NewEvent::new(kind, about, data)?]).await
}

/// The same for several, in their order, in one statement. None if there are none.
///
/// # Errors
/// [`DbError`].
pub async fn append_all_in_tx(conn: &mut PgConnection, events: &[NewEvent]) -> Result<(), DbError> {
    if events.is_empty() {
        return Ok(());
    }
    let kinds: Vec<_> = events.iter().map(|event| event.kind.as_str()).collect();
    let abouts: Vec<_> = events.iter().map(|event| event.about).collect();
    let about_ids: Vec<_> = events.iter().map(|event| event.about_id.as_deref()).collect();
    let data: Vec<_> = events.iter().map(|event| event.data.as_str()).collect();
    let traceparents: Vec<_> = events.iter().map(|event| event.traceparent.as_deref()).collect();
    let appended = sqlx::query!(
        "INSERT INTO events (event_id, kind, about, about_id, data, traceparent)
         SELECT e.event_id, e.kind, e.about, e.about_id, e.data::json, e.traceparent
         FROM UNNEST($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[])
             AS e (event_id, kind, about, about_id, data, traceparent)",
        &events.iter().map(|event| event.event_id).collect::<Vec<_>>(),
        &kinds as &[&str],
        &abouts as &[Option<&str>],
        &about_ids as &[Option<&str>],
        &data as &[&str],
        &traceparents as &[Option<&str>],
    )
    .execute(conn)
    .await?;
    let whole = appended.rows_affected() == events.len() as u64;
    if whole { Ok(()) } else { Err(DbError::Unexpected(sqlx::Error::RowNotFound)) }
}

/// The last position drawn, and, if that is beyond `known`, what was so after it.
pub(super) struct Drawn {
    pub(super) position: i64,
    /// A transaction id that was drawn,
    pub(super) fence: Option<i64>,
    /// and how far the log was written.
    pub(super) written: i64,
}

/// Looks how far positions were drawn. The FROM is what makes the order certain: first the position, then the others.
pub(super) async fn look_in(conn: &mut PgConnection, known: i64) -> Result<Drawn, DbError> {
    Ok(sqlx::query_as!(
        Drawn,
        r#"SELECT coalesce(drawn, 0) AS "position!",
                  CASE WHEN drawn > $1 THEN pg_current_xact_id()::text::bigint END AS fence,
                  (pg_current_wal_insert_lsn() - '0/0'::pg_lsn)::bigint AS "written!"
           FROM pg_sequence_last_value('event_positions') AS drawn"#,
        known,
    )
    .fetch_one(conn)
    .await?)
}

/// What has ended and what lasts, by now.
pub(super) struct Past {
    /// The oldest transaction that has not ended, of all that write in this server; if there is none, the next.
    pub(super) oldest_running: i64,
    /// Up to where the log would outlast a crash.
    pub(super) flushed: i64,
}

/// Looks which fences are past.
pub(super) async fn find_past(conn: &mut PgConnection) -> Result<Past, DbError> {
    Ok(sqlx::query_as!(
        Past,
        r#"SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint AS "oldest_running!",
                  (pg_current_wal_flush_lsn() - '0/0'::pg_lsn)::bigint AS "flushed!""#
    )
    .fetch_one(conn)
    .await?)
}

/// The advisory lock of whoever does what one of all replicas does.
const ROLE: i64 = 7_305_041_118;

/// Takes the role that one of all sessions has, if nobody has it. It ends with the session.
pub(super) async fn take_role(conn: &mut PgConnection) -> Result<bool, DbError> {
    Ok(sqlx::query_scalar!(r#"SELECT pg_try_advisory_lock($1) AS "taken!""#, ROLE).fetch_one(conn).await?)
}

/// How far positions were drawn, and up to where the stream was forgotten.
pub(super) struct Bounds {
    pub(super) drawn: i64,
    pub(super) horizon: i64,
}

/// Between which positions a cursor may be.
pub(super) async fn find_bounds(conn: &mut PgConnection) -> Result<Bounds, DbError> {
    Ok(sqlx::query_as!(
        Bounds,
        r#"SELECT coalesce(drawn, 0) AS "drawn!", position AS horizon
           FROM event_horizon, pg_sequence_last_value('event_positions') AS drawn"#
    )
    .fetch_one(conn)
    .await?)
}

/// Up to where the stream was forgotten.
pub(crate) async fn find_horizon(conn: &mut PgConnection) -> Result<i64, DbError> {
    Ok(sqlx::query_scalar!("SELECT position FROM event_horizon").fetch_one(conn).await?)
}

/// Events after one position up to another, in their order, and the position they end at.
pub(crate) struct Read {
    pub(crate) events: Vec<Event>,
    pub(crate) end: i64,
}

/// Reads so many at most of each sort, which are merged up to where all that was read is complete.
pub(crate) async fn read_between(
    conn: &mut PgConnection,
    after: i64,
    until: i64,
    limit: i64,
) -> Result<Read, DbError> {
    let movements = stock::movements_between(conn, after, until, limit).await?;
    let orders = orders::placed_between(conn, after, until, limit.min(ORDERS_MAX)).await?;
    let others = appended_between(conn, after, until, limit).await?;
    let mut end = until;
    for (found, asked, last) in [
        (movements.len(), limit, movements.last().map(|(position, _)| *position)),
        (orders.len(), limit.min(ORDERS_MAX), orders.last().map(|(position, ..)| *position)),
        (others.len(), limit, others.last().map(|event| event.position)),
    ] {
        if found as i64 == asked {
            end = end.min(last.unwrap_or(end));
        }
    }
    let mut events = others;
    for (position, movement) in movements {
        events.push(Event {
            position,
            event_id: movement.movement_id,
            kind: EventKind::StockChanged.as_str().into(),
            data: json_of(&movement)?,
            subject: Subject::of_variant(movement.variant_id),
            about: Some(("variant".to_owned(), movement.variant_id.to_string())),
            traceparent: None,
        });
    }
    for (position, traceparent, order) in orders {
        events.push(Event {
            position,
            event_id: order.order_id,
            kind: EventKind::OrderPlaced.as_str().into(),
            data: json_of(&order)?,
            subject: Subject::of_order(order.user_id.clone(), order.lines.iter().map(|line| line.variant_id)),
            about: Some(("order".to_owned(), order.order_id.to_string())),
            traceparent,
        });
    }
    events.retain(|event| event.position <= end);
    events.sort_unstable_by_key(|event| event.position);
    Ok(Read { events, end })
}

async fn appended_between(
    conn: &mut PgConnection,
    after: i64,
    until: i64,
    limit: i64,
) -> Result<Vec<Event>, DbError> {
    let rows = sqlx::query!(
        r#"SELECT position, event_id, kind, about, about_id, data::text AS "data!", traceparent
           FROM events WHERE position > $1 AND position <= $2 ORDER BY position LIMIT $3"#,
        after,
        until,
        limit,
    )
    .fetch_all(conn)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| Event {
            position: row.position,
            event_id: row.event_id,
            subject: Subject::of(&row.data),
            kind: row.kind.into(),
            // As it was written it is one line; whoever inserted by hand may have written several.
            data: row.data.replace(['\n', '\r'], " "),
            about: row.about.zip(row.about_id),
            traceparent: row.traceparent,
        })
        .collect())
}

/// Forgets so many of the oldest events at most that happened so long ago, and remembers up to where.
pub(crate) async fn purge_in_tx(conn: &mut PgConnection, limit: i64) -> Result<u64, DbError> {
    let purged = sqlx::query_scalar!(
        r#"WITH old AS MATERIALIZED (
            SELECT position, happened_at FROM events ORDER BY position LIMIT $2
         ), forgotten AS (
            DELETE FROM events USING old WHERE events.position = old.position
                AND old.happened_at < (SELECT clock_timestamp() - $1::bigint * interval '1 second')
            RETURNING events.position
         ), horizon AS (
            UPDATE event_horizon SET position = greatest(event_horizon.position, f.position)
            FROM (SELECT max(position) AS position FROM forgotten) AS f WHERE f.position IS NOT NULL
         )
         SELECT count(*) AS "purged!" FROM forgotten"#,
        i64::try_from(KEPT_FOR.as_secs()).unwrap_or(i64::MAX),
        limit,
    )
    .fetch_one(conn)
    .await?;
    Ok(purged.unsigned_abs())
}

fn json_of(told: &impl Serialize) -> Result<String, DbError> {
    serde_json::to_string(told).map_err(|error| DbError::Unexpected(sqlx::Error::Encode(Box::new(error))))
}
