//! The SQL of endpoints and deliveries. No decisions here: rows in, rows out.

use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use super::KEPT_FOR;
use super::model::{Delivery, Endpoint};
use crate::db::DbError;

/// An endpoint about to be made.
pub(super) struct NewEndpoint<'a> {
    pub(super) endpoint_id: Uuid,
    pub(super) url: &'a str,
    pub(super) types: &'a [String],
    pub(super) secret: &'a str,
    pub(super) subject: &'a str,
}

/// Makes an endpoint, unless there are so many already: it is told what happens from now on. Gives when it was made.
pub(super) async fn insert_endpoint_in_tx(
    conn: &mut PgConnection,
    new: &NewEndpoint<'_>,
    at_most: i64,
) -> Result<Option<DateTime<Utc>>, DbError> {
    sqlx::query!(
        r#"SELECT 1 AS "one!" FROM pg_advisory_xact_lock(hashtextextended('webhook endpoints', 0))"#
    )
    .fetch_one(&mut *conn)
    .await?;
    Ok(sqlx::query_scalar!(
        "INSERT INTO webhook_endpoints (endpoint_id, url, types, secret, subject, position)
         SELECT $1, $2, $3, $4, $5, coalesce(drawn, 0)
         FROM pg_sequence_last_value('event_positions') AS drawn
         WHERE (SELECT count(*) FROM webhook_endpoints) < $6
         RETURNING created_at",
        new.endpoint_id,
        new.url,
        new.types,
        new.secret,
        new.subject,
        at_most,
    )
    .fetch_optional(conn)
    .await?)
}

/// All endpoints, in the order they were made; or the one of this id.
pub(super) async fn list_endpoints(
    conn: &mut PgConnection,
    endpoint_id: Option<Uuid>,
) -> Result<Vec<Endpoint>, DbError> {
    Ok(sqlx::query_as!(
        Endpoint,
        r#"SELECT endpoint_id, url, types, failures, created_at,
                  CASE WHEN gone_at IS NOT NULL THEN 'gone' WHEN paused_until > clock_timestamp() THEN 'open'
                       ELSE 'closed' END AS "breaker!",
                  (SELECT count(*) FROM webhook_deliveries d
                   WHERE d.endpoint_id = e.endpoint_id AND state = 'pending') AS "pending!",
                  (SELECT count(*) FROM webhook_deliveries d
                   WHERE d.endpoint_id = e.endpoint_id AND state = 'dead') AS "dead!"
           FROM webhook_endpoints e WHERE $1::uuid IS NULL OR endpoint_id = $1 ORDER BY endpoint_id"#,
        endpoint_id,
    )
    .fetch_all(conn)
    .await?)
}

/// Deletes an endpoint and its deliveries. False if there is none.
pub(super) async fn delete_endpoint(conn: &mut PgConnection, endpoint_id: Uuid) -> Result<bool, DbError> {
    let deleted = sqlx::query!("DELETE FROM webhook_endpoints WHERE endpoint_id = $1", endpoint_id);
    Ok(deleted.execute(conn).await?.rows_affected() == 1)
}

/// Gives an endpoint another secret; the one it had signs too until `old_for` is over. False if there is no endpoint.
pub(super) async fn set_secret_in_tx(
    conn: &mut PgConnection,
    endpoint_id: Uuid,
    secret: &str,
    old_for: Duration,
) -> Result<bool, DbError> {
    let set = sqlx::query!(
        "UPDATE webhook_endpoints SET secret = $2, old_secret = secret,
             old_secret_till = clock_timestamp() + $3::bigint * interval '1 second'
         WHERE endpoint_id = $1",
        endpoint_id,
        secret,
        seconds(old_for),
    );
    Ok(set.execute(conn).await?.rows_affected() == 1)
}

/// An endpoint that has not been given all deliveries yet.
pub(super) struct Behind {
    pub(super) endpoint_id: Uuid,
    pub(super) types: Vec<String>,
    pub(super) position: i64,
}

/// Locks those whose position is below `at`, for whoever writes their deliveries.
pub(super) async fn lock_behind_in_tx(conn: &mut PgConnection, at: i64) -> Result<Vec<Behind>, DbError> {
    Ok(sqlx::query_as!(
        Behind,
        "SELECT endpoint_id, types, position FROM webhook_endpoints
         WHERE position < $1 AND gone_at IS NULL ORDER BY endpoint_id FOR UPDATE",
        at,
    )
    .fetch_all(conn)
    .await?)
}

/// A delivery about to be written.
pub(super) struct NewDelivery {
    pub(super) delivery_id: Uuid,
    pub(super) endpoint_id: Uuid,
    pub(super) position: i64,
    pub(super) event_id: Uuid,
    pub(super) kind: String,
    pub(super) aggregate: String,
    pub(super) body: String,
}

/// Writes deliveries, and that the endpoints are given all up to `end`.
pub(super) async fn insert_deliveries_in_tx(
    conn: &mut PgConnection,
    new: &[NewDelivery],
    endpoints: &[Uuid],
    end: i64,
) -> Result<(), DbError> {
    let kinds: Vec<_> = new.iter().map(|new| new.kind.as_str()).collect();
    let aggregates: Vec<_> = new.iter().map(|new| new.aggregate.as_str()).collect();
    let bodies: Vec<_> = new.iter().map(|new| new.body.as_str()).collect();
    let moved = sqlx::query!(
        "WITH written AS (
            INSERT INTO webhook_deliveries (delivery_id, endpoint_id, position, event_id, type, aggregate, body)
            SELECT * FROM UNNEST($1::uuid[], $2::uuid[], $3::bigint[], $4::uuid[], $5::text[], $6::text[], $7::text[])
            ON CONFLICT ON CONSTRAINT event_is_delivered_once DO NOTHING
         )
         UPDATE webhook_endpoints SET position = greatest(position, $9) WHERE endpoint_id = ANY($8)",
        &new.iter().map(|new| new.delivery_id).collect::<Vec<_>>(),
        &new.iter().map(|new| new.endpoint_id).collect::<Vec<_>>(),
        &new.iter().map(|new| new.position).collect::<Vec<_>>(),
        &new.iter().map(|new| new.event_id).collect::<Vec<_>>(),
        &kinds as &[&str],
        &aggregates as &[&str],
        &bodies as &[&str],
        endpoints,
        end,
    )
    .execute(conn)
    .await?;
    let whole = moved.rows_affected() == endpoints.len() as u64;
    if whole { Ok(()) } else { Err(DbError::Unexpected(sqlx::Error::RowNotFound)) }
}

/// A delivery that is to be sent now.
pub(super) struct Due {
    pub(super) delivery_id: Uuid,
    pub(super) endpoint_id: Uuid,
    pub(super) event_id: Uuid,
    pub(super) body: String,
    /// This attempt's number.
    pub(super) attempts: i32,
    pub(super) url: String,
    pub(super) secret: String,
    pub(super) old_secret: Option<String>,
    /// Of the endpoint, in a row, before this attempt.
    pub(super) failures: i32,
    /// Now, in seconds since 1970.
    pub(super) now: i64,
}

/// Takes deliveries that are due, so many of each endpoint at most, and one only of an endpoint that failed again and again:
/// the first that is pending of each thing they are about. Each is an attempt that has begun; if nobody says how it
/// ended within `lost_after`, it is due again.
pub(super) async fn take_due_in_tx(
    conn: &mut PgConnection,
    each: i32,
    failing: i32,
    lost_after: Duration,
) -> Result<Vec<Due>, DbError> {
    Ok(sqlx::query_as!(
        Due,
        r#"WITH due AS MATERIALIZED (
            SELECT first.delivery_id, e.url, e.secret, e.failures,
                   CASE WHEN e.old_secret_till > clock_timestamp() THEN e.old_secret END AS old_secret
            FROM webhook_endpoints e CROSS JOIN LATERAL (
                SELECT delivery_id FROM webhook_deliveries d
                WHERE d.endpoint_id = e.endpoint_id AND state = 'pending'
                  AND next_attempt_at <= (SELECT clock_timestamp())
                  AND NOT EXISTS (
                      SELECT FROM webhook_deliveries b WHERE b.endpoint_id = d.endpoint_id AND b.state = 'pending'
                          AND b.aggregate = d.aggregate AND b.position < d.position)
                ORDER BY position LIMIT CASE WHEN e.failures >= $2 THEN 1 ELSE $1 END
                FOR UPDATE SKIP LOCKED
            ) AS first
            WHERE gone_at IS NULL AND (paused_until IS NULL OR paused_until <= clock_timestamp())
         )
         UPDATE webhook_deliveries d SET attempts = attempts + 1,
             next_attempt_at = clock_timestamp() + $3::bigint * interval '1 second'
         FROM due WHERE d.delivery_id = due.delivery_id
         RETURNING d.delivery_id, d.endpoint_id, d.event_id, d.body, d.attempts, due.url AS "url!",
             due.secret AS "secret!", due.old_secret, due.failures AS "failures!",
             extract(epoch FROM clock_timestamp())::bigint AS "now!""#,
        each,
        failing,
        seconds(lost_after),
    )
    .fetch_all(conn)
    .await?)
}

/// How an attempt ended.
pub(super) struct Ended<'a> {
    pub(super) state: &'static str,
    pub(super) status: Option<i16>,
    pub(super) error: Option<&'a str>,
    /// Until when the delivery waits.
    pub(super) pause: Duration,
    /// Until when its endpoint is left alone.
    pub(super) rest: Option<Duration>,
    /// Whether the endpoint wants nothing any more.
    pub(super) is_gone: bool,
}

/// Writes down how an attempt ended, unless another one has begun since, and what that says of the endpoint.
pub(super) async fn end_attempt_in_tx(
    conn: &mut PgConnection,
    due: &Due,
    ended: &Ended<'_>,
) -> Result<(), DbError> {
    sqlx::query!(
        "WITH said AS (
            UPDATE webhook_deliveries SET state = $3, last_status = $4, last_error = $5,
                delivered_at = CASE WHEN $3 = 'delivered' THEN clock_timestamp() END,
                next_attempt_at = clock_timestamp() + $6::bigint * interval '1 millisecond'
            WHERE delivery_id = $1 AND attempts = $2 AND state = 'pending' RETURNING endpoint_id
         )
         UPDATE webhook_endpoints e SET failures = CASE WHEN $3 = 'delivered' THEN 0 ELSE failures + 1 END,
             paused_until = CASE WHEN $7::bigint IS NOT NULL
                                 THEN clock_timestamp() + $7 * interval '1 millisecond' END,
             gone_at = CASE WHEN $8 THEN clock_timestamp() ELSE gone_at END
         FROM said WHERE e.endpoint_id = said.endpoint_id",
        due.delivery_id,
        due.attempts,
        ended.state,
        ended.status,
        ended.error,
        millis(ended.pause),
        ended.rest.map(millis),
        ended.is_gone,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Deliveries of an endpoint, newest first.
pub(super) async fn list_deliveries(
    conn: &mut PgConnection,
    endpoint_id: Uuid,
    state: Option<&str>,
    before: Option<Uuid>,
    limit: i64,
) -> Result<Vec<Delivery>, DbError> {
    Ok(sqlx::query_as!(
        Delivery,
        r#"SELECT delivery_id, event_id, type, state, attempts, last_status, last_error, created_at, delivered_at,
                  CASE WHEN state = 'pending' THEN next_attempt_at END AS next_attempt_at
           FROM webhook_deliveries
           WHERE endpoint_id = $1 AND ($2::text IS NULL OR state = $2) AND delivery_id < $3
           ORDER BY delivery_id DESC LIMIT $4"#,
        endpoint_id,
        state,
        before.unwrap_or(Uuid::max()),
        limit,
    )
    .fetch_all(conn)
    .await?)
}

/// Which deliveries are sent again.
pub(super) struct Range {
    pub(super) delivery_id: Option<Uuid>,
    pub(super) state: Option<&'static str>,
    pub(super) from: Option<DateTime<Utc>>,
    pub(super) to: Option<DateTime<Utc>>,
}

/// Makes deliveries due anew, with all their attempts before them, and opens the way to their endpoint. Gives how many.
pub(super) async fn replay_in_tx(
    conn: &mut PgConnection,
    endpoint_id: Uuid,
    range: &Range,
) -> Result<i64, DbError> {
    let replayed = sqlx::query_scalar!(
        r#"WITH again AS (
            UPDATE webhook_deliveries SET state = 'pending', attempts = 0, delivered_at = NULL,
                next_attempt_at = clock_timestamp()
            WHERE endpoint_id = $1 AND ($2::uuid IS NULL OR delivery_id = $2) AND ($3::text IS NULL OR state = $3)
              AND created_at >= coalesce($4::timestamptz, '-infinity')
              AND created_at < coalesce($5::timestamptz, 'infinity')
            RETURNING 1
         ), opened AS (
            UPDATE webhook_endpoints SET failures = 0, paused_until = NULL, gone_at = NULL WHERE endpoint_id = $1
         )
         SELECT count(*) AS "again!" FROM again"#,
        endpoint_id,
        range.delivery_id,
        range.state,
        range.from,
        range.to,
    );
    Ok(replayed.fetch_one(conn).await?)
}

/// Deletes so many deliveries at most that are so old.
pub(crate) async fn purge_in_tx(conn: &mut PgConnection, limit: i64) -> Result<u64, DbError> {
    let purged = sqlx::query!(
        "DELETE FROM webhook_deliveries USING (
            SELECT delivery_id FROM webhook_deliveries
            WHERE created_at < (SELECT clock_timestamp() - $1::bigint * interval '1 second')
            ORDER BY created_at LIMIT $2 FOR UPDATE SKIP LOCKED
         ) AS old WHERE webhook_deliveries.delivery_id = old.delivery_id",
        seconds(KEPT_FOR),
        limit,
    );
    Ok(purged.execute(conn).await?.rows_affected())
}

fn seconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_secs()).unwrap_or(i64::MAX)
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
