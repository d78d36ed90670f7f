//! The SQL of endpoints, and of deliveries on their way. No decisions here: rows in, rows out.

use std::collections::HashSet;
use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use super::model::Endpoint;
use crate::db::DbError;

/// An endpoint about to be made.
pub(super) struct NewEndpoint<'a> {
    pub(super) endpoint_id: Uuid,
    pub(super) url: &'a str,
    pub(super) types: &'a [String],
    pub(super) secret: &'a str,
    pub(super) subject: &'a str,
    /// After which it is told.
    pub(super) position: i64,
}

/// Makes an endpoint, unless there are so many already. Gives when it was made.
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
         SELECT $1, $2, $3, $4, $5, $6 WHERE (SELECT count(*) FROM webhook_endpoints) < $7
         RETURNING created_at",
        new.endpoint_id,
        new.url,
        new.types,
        new.secret,
        new.subject,
        new.position,
        at_most,
    )
    .fetch_optional(conn)
    .await?)
}

/// So many of its deliveries are counted; of more it is not known how many.
const COUNTED_MAX: i64 = 10_000;

/// All endpoints, in the order they were made; or the one of this id.
pub(super) async fn list_endpoints(
    conn: &mut PgConnection,
    endpoint_id: Option<Uuid>,
) -> Result<Vec<Endpoint>, DbError> {
    Ok(sqlx::query_as!(
        Endpoint,
        r#"SELECT endpoint_id, url, types, failures, created_at, skipped_at,
                  skipped_from::text AS skipped_from, skipped_to::text AS skipped_to,
                  CASE WHEN gone_at IS NOT NULL THEN 'gone' WHEN paused_until > clock_timestamp() THEN 'open'
                       ELSE 'closed' END AS "breaker!",
                  (SELECT count(*) FROM (SELECT FROM webhook_deliveries d
                   WHERE d.endpoint_id = e.endpoint_id AND state = 'pending' LIMIT $2) AS its) AS "pending!",
                  (SELECT count(*) FROM (SELECT FROM webhook_deliveries d
                   WHERE d.endpoint_id = e.endpoint_id AND state = 'dead' LIMIT $2) AS its) AS "dead!"
           FROM webhook_endpoints e WHERE $1::uuid IS NULL OR endpoint_id = $1 ORDER BY endpoint_id"#,
        endpoint_id,
        COUNTED_MAX,
    )
    .fetch_all(conn)
    .await?)
}

/// Whether there is an endpoint of this id.
pub(super) async fn is_registered(conn: &mut PgConnection, endpoint_id: Uuid) -> Result<bool, DbError> {
    let found = sqlx::query_scalar!(
        r#"SELECT EXISTS (SELECT FROM webhook_endpoints WHERE endpoint_id = $1) AS "found!""#,
        endpoint_id,
    );
    Ok(found.fetch_one(conn).await?)
}

/// Locks all endpoints.
pub(super) async fn lock_all_in_tx(conn: &mut PgConnection) -> Result<(), DbError> {
    sqlx::query!("SELECT endpoint_id FROM webhook_endpoints ORDER BY endpoint_id FOR UPDATE")
        .fetch_all(conn)
        .await?;
    Ok(())
}

/// Deletes an endpoint; its deliveries go with the next purges. False if there is none.
pub(super) async fn delete_endpoint(conn: &mut PgConnection, endpoint_id: Uuid) -> Result<bool, DbError> {
    let deleted = sqlx::query!("DELETE FROM webhook_endpoints WHERE endpoint_id = $1", endpoint_id);
    Ok(deleted.execute(conn).await?.rows_affected() == 1)
}

/// Opens the way to an endpoint, whatever was wrong with it, and locks it. False if there is none.
pub(super) async fn open_in_tx(conn: &mut PgConnection, endpoint_id: Uuid) -> Result<bool, DbError> {
    let opened = sqlx::query!(
        "UPDATE webhook_endpoints SET failures = 0, paused_until = NULL, gone_at = NULL WHERE endpoint_id = $1",
        endpoint_id,
    );
    Ok(opened.execute(conn).await?.rows_affected() == 1)
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
    /// Up to where its last gap went.
    pub(super) skipped_to: Option<i64>,
}

/// Of those who are behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Which {
    /// Those who have come furthest.
    Foremost,
    /// Those who are furthest back.
    Rearmost,
}

/// Locks those whose position is below `at` and the same, the highest there is or the lowest, for whoever writes their
/// deliveries.
pub(super) async fn lock_behind_in_tx(
    conn: &mut PgConnection,
    at: i64,
    which: Which,
) -> Result<Vec<Behind>, DbError> {
    Ok(sqlx::query_as!(
        Behind,
        "SELECT endpoint_id, types, position, skipped_to FROM webhook_endpoints
         WHERE gone_at IS NULL AND position = (
            SELECT CASE WHEN $2 THEN max(position) ELSE min(position) END FROM webhook_endpoints
            WHERE position < $1 AND gone_at IS NULL)
         ORDER BY endpoint_id FOR UPDATE",
        at,
        which == Which::Foremost,
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
    /// The request that made the event, in its trace.
    pub(super) traceparent: Option<String>,
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
    let traceparents: Vec<_> = new.iter().map(|new| new.traceparent.as_deref()).collect();
    let moved = sqlx::query!(
        "WITH written AS (
            INSERT INTO webhook_deliveries (delivery_id, endpoint_id, position, event_id, type, aggregate, body,
                traceparent)
            SELECT * FROM UNNEST($1::uuid[], $2::uuid[], $3::bigint[], $4::uuid[], $5::text[], $6::text[], $7::text[],
                $10::text[])
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
        &traceparents as &[Option<&str>],
    )
    .execute(conn)
    .await?;
    all_of(moved.rows_affected(), endpoints.len())
}

/// How an attempt ended.
pub(super) struct Ended {
    pub(super) delivery_id: Uuid,
    pub(super) endpoint_id: Uuid,
    /// What it is about.
    pub(super) aggregate: String,
    /// Which attempt it was.
    pub(super) attempts: i32,
    pub(super) state: &'static str,
    pub(super) status: Option<i16>,
    pub(super) error: Option<String>,
    /// Until when the delivery waits.
    pub(super) pause: Duration,
    /// Whether the endpoint wants nothing any more.
    pub(super) is_gone: bool,
}

/// Locks these endpoints, those of them that are still there, and tells how often each has failed in a row. Whoever writes
/// deliveries and endpoints locks the endpoints first.
pub(super) async fn lock_failures_in_tx(
    conn: &mut PgConnection,
    endpoints: &[Uuid],
) -> Result<Vec<(Uuid, i32)>, DbError> {
    let rows = sqlx::query!(
        "SELECT endpoint_id, failures FROM webhook_endpoints WHERE endpoint_id = ANY($1)
         ORDER BY endpoint_id FOR UPDATE",
        endpoints,
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|row| (row.endpoint_id, row.failures)).collect())
}

/// Writes down how attempts ended, of those that no other attempt has followed. Gives the deliveries of these.
pub(super) async fn end_attempts_in_tx(
    conn: &mut PgConnection,
    ended: &[Ended],
) -> Result<HashSet<Uuid>, DbError> {
    let states: Vec<_> = ended.iter().map(|ended| ended.state).collect();
    let errors: Vec<_> = ended.iter().map(|ended| ended.error.as_deref()).collect();
    let statuses: Vec<_> = ended.iter().map(|ended| ended.status).collect();
    let said = sqlx::query_scalar!(
        "UPDATE webhook_deliveries d SET state = e.state, last_status = e.status, last_error = e.error,
             delivered_at = CASE WHEN e.state = 'delivered' THEN clock_timestamp() END,
             next_attempt_at = clock_timestamp() + e.pause * interval '1 millisecond'
         FROM UNNEST($1::uuid[], $2::int[], $3::text[], $4::smallint[], $5::text[], $6::bigint[])
             AS e (delivery_id, attempts, state, status, error, pause)
         WHERE d.delivery_id = e.delivery_id AND d.attempts = e.attempts AND d.state = 'pending'
         RETURNING d.delivery_id",
        &ended.iter().map(|ended| ended.delivery_id).collect::<Vec<_>>(),
        &ended.iter().map(|ended| ended.attempts).collect::<Vec<_>>(),
        &states as &[&str],
        &statuses as &[Option<i16>],
        &errors as &[Option<&str>],
        &ended.iter().map(|ended| millis(ended.pause)).collect::<Vec<_>>(),
    )
    .fetch_all(conn)
    .await?;
    Ok(said.into_iter().collect())
}

/// What its attempts say of an endpoint.
pub(super) struct Health {
    pub(super) endpoint_id: Uuid,
    /// In a row.
    pub(super) failures: i32,
    /// How long it is left alone.
    pub(super) rest: Option<Duration>,
    /// Whether it wants nothing any more.
    pub(super) is_gone: bool,
}

/// Writes down how endpoints are. They are locked.
pub(super) async fn set_health_in_tx(conn: &mut PgConnection, health: &[Health]) -> Result<(), DbError> {
    let rests: Vec<_> = health.iter().map(|health| health.rest.map(millis)).collect();
    let set = sqlx::query!(
        "UPDATE webhook_endpoints e SET failures = h.failures,
             paused_until = clock_timestamp() + h.rest * interval '1 millisecond',
             gone_at = CASE WHEN h.is_gone THEN clock_timestamp() ELSE gone_at END
         FROM UNNEST($1::uuid[], $2::int[], $3::bigint[], $4::boolean[]) AS h (endpoint_id, failures, rest, is_gone)
         WHERE e.endpoint_id = h.endpoint_id",
        &health.iter().map(|health| health.endpoint_id).collect::<Vec<_>>(),
        &health.iter().map(|health| health.failures).collect::<Vec<_>>(),
        &rests as &[Option<i64>],
        &health.iter().map(|health| health.is_gone).collect::<Vec<_>>(),
    );
    all_of(set.execute(conn).await?.rows_affected(), health.len())
}

/// What an endpoint was not told: after the one position up to the other.
pub(super) struct Gap {
    pub(super) endpoint_id: Uuid,
    pub(super) from: i64,
    pub(super) to: i64,
}

/// Writes down gaps, of endpoints that are locked.
pub(super) async fn set_gaps_in_tx(conn: &mut PgConnection, gaps: &[Gap]) -> Result<(), DbError> {
    if gaps.is_empty() {
        return Ok(());
    }
    let set = sqlx::query!(
        "UPDATE webhook_endpoints e SET skipped_from = g.from_position, skipped_to = g.to_position,
             skipped_at = clock_timestamp()
         FROM UNNEST($1::uuid[], $2::bigint[], $3::bigint[]) AS g (endpoint_id, from_position, to_position)
         WHERE e.endpoint_id = g.endpoint_id",
        &gaps.iter().map(|gap| gap.endpoint_id).collect::<Vec<_>>(),
        &gaps.iter().map(|gap| gap.from).collect::<Vec<_>>(),
        &gaps.iter().map(|gap| gap.to).collect::<Vec<_>>(),
    );
    all_of(set.execute(conn).await?.rows_affected(), gaps.len())
}

fn all_of(written: u64, asked: usize) -> Result<(), DbError> {
    if written == asked as u64 { Ok(()) } else { Err(DbError::Unexpected(sqlx::Error::RowNotFound)) }
}

pub(super) fn seconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_secs()).unwrap_or(i64::MAX)
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
