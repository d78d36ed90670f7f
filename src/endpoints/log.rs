//! The SQL of the delivery log: what is listed, sent again and forgotten. No decisions here: rows in, rows out.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use super::KEPT_FOR;
use super::model::Delivery;
use super::store::{lock_all_in_tx, seconds};
use super::turns::call_next_in_tx;
use crate::db::DbError;
use crate::ids;

/// Deliveries of an endpoint, newest first, of one state or of each.
pub(super) async fn list_deliveries(
    conn: &mut PgConnection,
    endpoint_id: Uuid,
    state: Option<&str>,
    before: Option<Uuid>,
    limit: i64,
) -> Result<Vec<Delivery>, DbError> {
    Ok(sqlx::query_as!(
        Delivery,
        r#"SELECT found.delivery_id, found.event_id, found.type, found.state, found.attempts, found.last_status,
                  found.last_error, found.created_at, found.delivered_at,
                  CASE WHEN found.state = 'pending' THEN found.next_attempt_at END AS next_attempt_at
           FROM UNNEST(ARRAY['pending', 'delivered', 'dead']) AS wanted (state) CROSS JOIN LATERAL (
              SELECT delivery_id, event_id, type, state, attempts, last_status, last_error, created_at, delivered_at,
                     next_attempt_at
              FROM webhook_deliveries d
              WHERE d.endpoint_id = $1 AND d.state = wanted.state AND d.delivery_id < $3
              ORDER BY d.delivery_id DESC LIMIT $4
           ) AS found
           WHERE wanted.state = coalesce($2, wanted.state)
           ORDER BY found.delivery_id DESC LIMIT $4"#,
        endpoint_id,
        state,
        before.unwrap_or(Uuid::max()),
        limit,
    )
    .fetch_all(conn)
    .await?)
}

/// Which deliveries are sent again: of those after one position up to another.
pub(super) struct Range {
    pub(super) delivery_id: Option<Uuid>,
    pub(super) state: Option<&'static str>,
    pub(super) from: Option<DateTime<Utc>>,
    pub(super) to: Option<DateTime<Utc>>,
    pub(super) after: i64,
    pub(super) until: i64,
}

/// At which position a delivery of this endpoint stands, if there is one of this id.
pub(super) async fn find_position(
    conn: &mut PgConnection,
    endpoint_id: Uuid,
    delivery_id: Uuid,
) -> Result<Option<i64>, DbError> {
    Ok(sqlx::query_scalar!(
        "SELECT position FROM webhook_deliveries WHERE endpoint_id = $1 AND delivery_id = $2",
        endpoint_id,
        delivery_id,
    )
    .fetch_optional(conn)
    .await?)
}

/// What a batch came to.
pub(super) struct Batch {
    /// How many are sent again.
    pub(super) replayed: i64,
    /// After which position more is to be looked at, if there may be more.
    pub(super) next: Option<i64>,
}

/// Makes deliveries due anew, with all their attempts before them: of the next `limit` of the range by their positions, those
/// that are meant. Those of one position are never parted.
pub(super) async fn replay_in_tx(
    conn: &mut PgConnection,
    endpoint_id: Uuid,
    range: &Range,
    limit: i64,
) -> Result<Batch, DbError> {
    Ok(sqlx::query_as!(
        Batch,
        r#"WITH next AS MATERIALIZED (
            SELECT found.delivery_id, found.position, found.created_at
            FROM UNNEST(ARRAY['pending', 'delivered', 'dead']) AS wanted (state) CROSS JOIN LATERAL (
                SELECT delivery_id, position, created_at FROM webhook_deliveries d
                WHERE d.endpoint_id = $1 AND d.state = wanted.state AND d.position > $2 AND d.position <= $3
                ORDER BY d.position FETCH FIRST ($4) ROWS WITH TIES
            ) AS found
            WHERE wanted.state = coalesce($5, wanted.state)
            ORDER BY found.position FETCH FIRST ($4) ROWS WITH TIES
         ), again AS (
            UPDATE webhook_deliveries d SET state = 'pending', attempts = 0, delivered_at = NULL, is_behind = false,
                next_attempt_at = clock_timestamp(), pending_since = clock_timestamp()
            FROM next WHERE d.delivery_id = next.delivery_id AND next.delivery_id = coalesce($6, next.delivery_id)
              AND next.created_at >= coalesce($7::timestamptz, '-infinity')
              AND next.created_at < coalesce($8::timestamptz, 'infinity')
            RETURNING 1
         )
         SELECT (SELECT count(*) FROM again) AS "replayed!",
                (SELECT max(position) FROM next HAVING count(*) >= $4) AS next"#,
        endpoint_id,
        range.after,
        range.until,
        limit,
        range.state,
        range.delivery_id,
        range.from,
        range.to,
    )
    .fetch_one(conn)
    .await?)
}

/// Writes down who had a batch of them sent again, and why.
pub(super) async fn note_replay_in_tx(
    conn: &mut PgConnection,
    endpoint_id: Uuid,
    range: &Range,
    (replayed, reason): (i64, Option<&str>),
    (subject, request_id): (&str, &str),
) -> Result<(), DbError> {
    sqlx::query!(
        "INSERT INTO delivery_replays (replay_id, endpoint_id, delivery_id, state, found_from, found_to, replayed, reason,
            subject, request_id)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
        ids::fresh(),
        endpoint_id,
        range.delivery_id,
        range.state,
        range.from,
        range.to,
        replayed,
        reason,
        subject,
        request_id,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Gives up so many deliveries at most that have waited for as long as they are kept, with nothing under way for them: they
/// stand behind one that is not taken, or their endpoint is gone.
pub(crate) async fn give_up_in_tx(conn: &mut PgConnection, limit: i64) -> Result<u64, DbError> {
    // As whoever writes deliveries does: what stands behind them is called.
    lock_all_in_tx(conn).await?;
    let given_up = sqlx::query!(
        "UPDATE webhook_deliveries d SET state = 'dead', next_attempt_at = clock_timestamp(), is_behind = false,
             last_error = 'it was not taken for as long as deliveries are kept'
         FROM (
            SELECT delivery_id FROM webhook_deliveries
            WHERE state = 'pending' AND pending_since < (SELECT clock_timestamp() - $1::bigint * interval '1 second')
              AND next_attempt_at <= clock_timestamp()
            ORDER BY pending_since LIMIT $2 FOR UPDATE SKIP LOCKED
         ) AS old WHERE d.delivery_id = old.delivery_id
         RETURNING d.endpoint_id, d.aggregate",
        seconds(KEPT_FOR),
        limit,
    )
    .fetch_all(&mut *conn)
    .await?;
    let count = given_up.len() as u64;
    let (endpoints, aggregates): (Vec<_>, Vec<_>) =
        given_up.into_iter().map(|row| (row.endpoint_id, row.aggregate)).unzip();
    call_next_in_tx(conn, &endpoints, &aggregates).await?;
    Ok(count)
}

/// Deletes so many deliveries at most, of the taken and of the dead each, that have been so for so long.
pub(crate) async fn purge_in_tx(conn: &mut PgConnection, limit: i64) -> Result<u64, DbError> {
    let purged = sqlx::query!(
        "WITH taken AS MATERIALIZED (
            SELECT delivery_id FROM webhook_deliveries
            WHERE state = 'delivered' AND delivered_at < (SELECT clock_timestamp() - $1::bigint * interval '1 second')
            ORDER BY delivered_at LIMIT $2 FOR UPDATE SKIP LOCKED
         ), dead AS MATERIALIZED (
            SELECT delivery_id FROM webhook_deliveries
            WHERE state = 'dead' AND next_attempt_at < (SELECT clock_timestamp() - $1::bigint * interval '1 second')
            ORDER BY next_attempt_at LIMIT $2 FOR UPDATE SKIP LOCKED
         )
         DELETE FROM webhook_deliveries d USING (TABLE taken UNION ALL TABLE dead) AS old
         WHERE d.delivery_id = old.delivery_id",
        seconds(KEPT_FOR),
        limit,
    );
    Ok(purged.execute(conn).await?.rows_affected())
}

/// Deletes so many deliveries at most of endpoints that were removed. It goes from endpoint to endpoint by an index.
pub(crate) async fn purge_removed_in_tx(conn: &mut PgConnection, limit: i64) -> Result<u64, DbError> {
    let purged = sqlx::query!(
        "WITH RECURSIVE told (endpoint_id) AS (
            (SELECT endpoint_id FROM webhook_deliveries ORDER BY endpoint_id LIMIT 1)
            UNION ALL
            SELECT (SELECT d.endpoint_id FROM webhook_deliveries d WHERE d.endpoint_id > told.endpoint_id
                    ORDER BY d.endpoint_id LIMIT 1)
            FROM told WHERE told.endpoint_id IS NOT NULL
         ), old AS MATERIALIZED (
            SELECT its.delivery_id FROM told CROSS JOIN LATERAL (
                SELECT d.delivery_id FROM webhook_deliveries d WHERE d.endpoint_id = told.endpoint_id LIMIT $1
            ) AS its
            WHERE NOT EXISTS (SELECT FROM webhook_endpoints e WHERE e.endpoint_id = told.endpoint_id)
            LIMIT $1
         )
         DELETE FROM webhook_deliveries d USING old WHERE d.delivery_id = old.delivery_id",
        limit,
    );
    Ok(purged.execute(conn).await?.rows_affected())
}
