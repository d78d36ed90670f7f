//! The inbox's SQL. No decisions here: rows in, rows out.

use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::PgConnection;
use uuid::Uuid;

use super::KEPT_FOR;
use super::model::{Entry, Event, Receipt, State, Which};
use super::signature::Scheme;
use crate::db::DbError;
use crate::inventory::model::{LockSeen, Witness};
use crate::text::Reason;

/// Whether a moment, in seconds since 1970, is within 5 minutes of now by the database's clock.
pub(super) async fn is_recent(conn: &mut PgConnection, signed_at: i64) -> Result<bool, DbError> {
    Ok(sqlx::query_scalar!(
        r#"SELECT abs(extract(epoch FROM clock_timestamp()) - $1::bigint) <= 300 AS "is_recent!""#,
        signed_at,
    )
    .fetch_one(conn)
    .await?)
}

/// What is kept of an event that came before.
pub(super) struct Kept {
    pub(super) entry_id: Uuid,
    pub(super) fingerprint: Vec<u8>,
    /// What it was answered with; `refused` if nothing was done.
    pub(super) receipt: Receipt,
}

/// The event's entry.
pub(super) async fn find(conn: &mut PgConnection, event: &Event) -> Result<Option<Kept>, DbError> {
    let row = sqlx::query_as!(
        KeptRow,
        "SELECT entry_id, fingerprint, state, order_id, lock_mode, lock_wait_ms
         FROM webhook_inbox WHERE scheme = $1 AND event_id = $2",
        event.scheme.as_str(),
        event.event_id,
    )
    .fetch_optional(conn)
    .await?;
    row.map(kept).transpose()
}

/// Enters the event, as one that nothing has been done about. False if it has an entry. Waits for another delivery
/// of it that has not ended.
pub(super) async fn enter_in_tx(
    conn: &mut PgConnection,
    entry_id: Uuid,
    event: &Event,
    witness: Witness<'_>,
) -> Result<bool, DbError> {
    let entered = sqlx::query!(
        "INSERT INTO webhook_inbox (entry_id, scheme, event_id, fingerprint, data, lock_mode, lock_wait_ms, request_id)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT ON CONSTRAINT event_is_received_once DO NOTHING",
        entry_id,
        event.scheme.as_str(),
        event.event_id,
        event.fingerprint.0.as_slice(),
        event.data,
        witness.lock.mode.as_str(),
        i32::try_from(witness.lock.wait_ms).unwrap_or(i32::MAX),
        witness.request_id,
    )
    .execute(conn)
    .await?;
    Ok(entered.rows_affected() == 1)
}

/// Locks the entry of an event that has one, and reads it as it is then. If it was forgotten in this very moment, the
/// whole is to be run again.
pub(super) async fn lock_in_tx(conn: &mut PgConnection, event: &Event) -> Result<Kept, DbError> {
    let row = sqlx::query_as!(
        KeptRow,
        "SELECT entry_id, fingerprint, state, order_id, lock_mode, lock_wait_ms
         FROM webhook_inbox WHERE scheme = $1 AND event_id = $2 FOR UPDATE",
        event.scheme.as_str(),
        event.event_id,
    )
    .fetch_optional(conn)
    .await?;
    kept(row.ok_or(DbError::Collision(sqlx::Error::RowNotFound))?)
}

/// Writes down what was done about an event. An entry is settled once.
pub(super) async fn settle_in_tx(
    conn: &mut PgConnection,
    entry_id: Uuid,
    which: &Which,
    receipt: &Receipt,
) -> Result<(), DbError> {
    let (user_id, key) = match which {
        Which::Id(_) => (None, None),
        Which::Key(user_id, key) => (Some(user_id.as_str()), Some(key.as_str())),
    };
    let settled = sqlx::query!(
        "UPDATE webhook_inbox SET state = $2, order_id = $3, user_id = $4, idempotency_key = $5, lock_mode = $6,
             lock_wait_ms = $7
         WHERE entry_id = $1 AND state = 'refused'",
        entry_id,
        receipt.result.as_str(),
        receipt.order_id,
        user_id,
        key,
        receipt.lock.mode,
        receipt.lock.wait_ms,
    )
    .execute(conn)
    .await?;
    if settled.rows_affected() == 1 { Ok(()) } else { Err(DbError::Unexpected(sqlx::Error::RowNotFound)) }
}

struct KeptRow {
    entry_id: Uuid,
    fingerprint: Vec<u8>,
    state: String,
    order_id: Option<Uuid>,
    lock_mode: String,
    lock_wait_ms: i32,
}

fn kept(row: KeptRow) -> Result<Kept, DbError> {
    let lock = LockSeen { mode: row.lock_mode, wait_ms: row.lock_wait_ms };
    let result = State::named(&row.state).ok_or_else(|| unknown("state"))?;
    let receipt = Receipt { result, order_id: row.order_id, lock, duplicate: true };
    Ok(Kept { entry_id: row.entry_id, fingerprint: row.fingerprint, receipt })
}

fn unknown(what: &str) -> DbError {
    DbError::Unexpected(sqlx::Error::Decode(format!("a stored {what} is not one of a webhook").into()))
}

/// What an entry keeps of its event.
pub(super) async fn find_event(
    conn: &mut PgConnection,
    entry_id: Uuid,
) -> Result<Option<(Scheme, String, Value)>, DbError> {
    let row = sqlx::query!("SELECT scheme, event_id, data FROM webhook_inbox WHERE entry_id = $1", entry_id)
        .fetch_optional(conn)
        .await?;
    let Some(row) = row else { return Ok(None) };
    let scheme = Scheme::named(&row.scheme).ok_or_else(|| unknown("scheme"))?;
    Ok(Some((scheme, row.event_id, row.data)))
}

/// Writes down that an operator ran an entry again, and why.
pub(super) async fn insert_replay_in_tx(
    conn: &mut PgConnection,
    replay_id: Uuid,
    entry_id: Uuid,
    reason: Option<&Reason>,
    witness: Witness<'_>,
) -> Result<(), DbError> {
    sqlx::query!(
        "INSERT INTO webhook_replays (replay_id, entry_id, subject, request_id, reason) VALUES ($1, $2, $3, $4, $5)",
        replay_id,
        entry_id,
        witness.subject,
        witness.request_id,
        reason.map(Reason::as_str),
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Where a page of the inbox ends: when its last entry came, and which that is.
pub(crate) type Place = (DateTime<Utc>, Uuid);

/// What became of a page of old entries.
pub(crate) struct PurgedPage {
    pub(crate) deleted: u64,
    /// Its end; `None` if it was empty.
    pub(crate) last: Option<Place>,
}

/// Of the next entries that are old enough, so many at most, deletes those whose order is wholly cancelled.
pub(crate) async fn purge_in_tx(
    conn: &mut PgConnection,
    after: Option<Place>,
    limit: i64,
) -> Result<PurgedPage, DbError> {
    let (came, entry_id) = after.unwrap_or((DateTime::UNIX_EPOCH, Uuid::nil()));
    let page = sqlx::query!(
        r#"WITH old AS MATERIALIZED (
               SELECT entry_id, received_at, order_id, user_id, idempotency_key FROM webhook_inbox
               WHERE state <> 'refused' AND (received_at, entry_id) > ($3, $4)
                 AND received_at < (SELECT clock_timestamp() - $1::bigint * interval '1 second')
               ORDER BY received_at, entry_id LIMIT $2 FOR UPDATE SKIP LOCKED
           ), over AS (
               SELECT entry_id FROM old JOIN orders USING (order_id) WHERE status = 'cancelled'
               UNION ALL
               SELECT entry_id FROM old JOIN orders USING (user_id, idempotency_key)
               WHERE old.order_id IS NULL AND status = 'cancelled'
           ), forgotten AS (
               DELETE FROM webhook_inbox USING over WHERE webhook_inbox.entry_id = over.entry_id RETURNING 1
           )
           SELECT received_at, entry_id, (SELECT count(*) FROM forgotten) AS "deleted!"
           FROM old ORDER BY received_at DESC, entry_id DESC LIMIT 1"#,
        i64::try_from(KEPT_FOR.as_secs()).unwrap_or(i64::MAX),
        limit,
        came,
        entry_id,
    )
    .fetch_optional(conn)
    .await?;
    Ok(match page {
        Some(last) => {
            PurgedPage { deleted: last.deleted.unsigned_abs(), last: Some((last.received_at, last.entry_id)) }
        }
        None => PurgedPage { deleted: 0, last: None },
    })
}

/// Entries, newest first. One that waited for an order that has come since is cancelled.
pub(super) async fn list(
    conn: &mut PgConnection,
    state: Option<State>,
    before: Option<Uuid>,
    limit: i64,
) -> Result<Vec<Entry>, DbError> {
    // Of the three parts one is read: that of what is few, by its own index, or that of all else.
    Ok(sqlx::query_as!(
        Entry,
        r#"SELECT entry_id AS "entry_id!", scheme AS "scheme!", event_id AS "event_id!", state AS "state!", order_id,
                  data AS "data!", request_id AS "request_id!", received_at AS "received_at!"
           FROM (
               (SELECT entry_id, scheme, event_id, state, order_id, data, request_id, received_at
                FROM webhook_inbox
                WHERE $2 = 'refused' AND state = 'refused' AND entry_id < $1
                ORDER BY entry_id DESC LIMIT $3)
               UNION ALL
               (SELECT entry_id, scheme, event_id, state, order_id, data, request_id, received_at
                FROM webhook_inbox i
                WHERE $2 = 'waiting_for_order' AND state = 'waiting_for_order' AND entry_id < $1 AND NOT EXISTS (
                    SELECT FROM orders o WHERE o.user_id = i.user_id AND o.idempotency_key = i.idempotency_key)
                ORDER BY entry_id DESC LIMIT $3)
               UNION ALL
               (SELECT entry_id, scheme, event_id, now.state, coalesce(i.order_id, o.order_id), data, i.request_id,
                       received_at
                FROM webhook_inbox i
                LEFT JOIN orders o ON i.state = 'waiting_for_order' AND o.user_id = i.user_id
                    AND o.idempotency_key = i.idempotency_key
                CROSS JOIN LATERAL (
                    SELECT CASE WHEN o.order_id IS NULL THEN i.state ELSE 'cancelled' END AS state) AS now
                WHERE coalesce($2::text NOT IN ('refused', 'waiting_for_order'), true) AND entry_id < $1
                  AND ($2 IS NULL OR now.state = $2)
                ORDER BY entry_id DESC LIMIT $3)
           ) AS found ORDER BY entry_id DESC LIMIT $3"#,
        before.unwrap_or(Uuid::max()),
        state.map(State::as_str),
        limit,
    )
    .fetch_all(conn)
    .await?)
}
