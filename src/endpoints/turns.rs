//! The SQL of whose turn it is: what is taken, what is put aside, and what is called. No decisions here: rows in, rows out.
//!
//! What must stay true: whatever is aside has an earlier delivery about the same thing that is pending. So whoever puts one
//! aside, or ends one, has locked its endpoint; and whoever ends one calls the next.

use std::time::Duration;

use sqlx::PgConnection;
use uuid::Uuid;

use super::store::seconds;
use crate::db::DbError;

/// A delivery that is to be sent now.
pub(super) struct Due {
    pub(super) delivery_id: Uuid,
    pub(super) endpoint_id: Uuid,
    pub(super) event_id: Uuid,
    /// What it is about.
    pub(super) aggregate: String,
    pub(super) body: String,
    /// The request that made the event, in its trace.
    pub(super) traceparent: Option<String>,
    /// This attempt's number.
    pub(super) attempts: i32,
    pub(super) url: String,
    pub(super) secret: String,
    pub(super) old_secret: Option<String>,
    /// Now, in seconds since 1970.
    pub(super) now: i64,
}

/// An endpoint of which attempts are under way.
pub(super) struct Place {
    pub(super) endpoint_id: Uuid,
    /// How many are.
    pub(super) running: i32,
}

/// So many of an endpoint's that are due are looked at to find those that can be sent.
const LOOKED_AT: i64 = 32;

/// Takes deliveries that are due, until so many of each endpoint are under way, and one only of an endpoint that failed again
/// and again: the first that is pending of each thing they are about. Each is an attempt that has begun; if nobody says how
/// it ended within `lost_after`, it is due again.
///
/// Of each endpoint it looks at the few that have been due for longest: so what it costs does not grow with how many wait.
/// Where those stand behind others, they are to be [put aside](put_aside_in_tx) first.
pub(super) async fn take_due_in_tx(
    conn: &mut PgConnection,
    places: &[Place],
    each: i32,
    failing: i32,
    lost_after: Duration,
) -> Result<Vec<Due>, DbError> {
    Ok(sqlx::query_as!(
        Due,
        r#"WITH due AS MATERIALIZED (
            SELECT first.delivery_id, e.url, e.secret,
                   CASE WHEN e.old_secret_till > clock_timestamp() THEN e.old_secret END AS old_secret
            FROM webhook_endpoints e
            LEFT JOIN UNNEST($1::uuid[], $2::int[]) AS place (endpoint_id, running) USING (endpoint_id)
            CROSS JOIN LATERAL (
                SELECT next.delivery_id FROM (
                    SELECT delivery_id, aggregate, position, next_attempt_at FROM webhook_deliveries d
                    WHERE d.endpoint_id = e.endpoint_id AND d.state = 'pending' AND NOT d.is_behind
                      AND d.next_attempt_at <= (SELECT clock_timestamp())
                    ORDER BY d.next_attempt_at LIMIT $6
                ) AS next
                WHERE next.position = (
                    SELECT b.position FROM webhook_deliveries b
                    WHERE b.endpoint_id = e.endpoint_id AND b.state = 'pending' AND b.aggregate = next.aggregate
                    ORDER BY b.position LIMIT 1)
                ORDER BY next.next_attempt_at
                LIMIT greatest(0, CASE WHEN e.failures >= $4 THEN 1 ELSE $3 END - coalesce(place.running, 0))
            ) AS first
            WHERE gone_at IS NULL AND (paused_until IS NULL OR paused_until <= clock_timestamp())
         )
         UPDATE webhook_deliveries d SET attempts = attempts + 1,
             next_attempt_at = clock_timestamp() + $5::bigint * interval '1 second'
         FROM due
         WHERE d.delivery_id = due.delivery_id AND d.state = 'pending' AND d.next_attempt_at <= clock_timestamp()
         RETURNING d.delivery_id, d.endpoint_id, d.event_id, d.aggregate, d.body, d.traceparent, d.attempts, due.url AS "url!",
             due.secret AS "secret!", due.old_secret,
             extract(epoch FROM clock_timestamp())::bigint AS "now!""#,
        &places.iter().map(|place| place.endpoint_id).collect::<Vec<_>>(),
        &places.iter().map(|place| place.running).collect::<Vec<_>>(),
        each,
        failing,
        seconds(lost_after),
        LOOKED_AT,
    )
    .fetch_all(conn)
    .await?)
}

/// The endpoints of which all that would be looked at is due, and fewer than `each` of that can be sent.
pub(super) async fn find_crowded(conn: &mut PgConnection, each: i32) -> Result<Vec<Uuid>, DbError> {
    Ok(sqlx::query_scalar!(
        "SELECT e.endpoint_id FROM webhook_endpoints e CROSS JOIN LATERAL (
            SELECT count(*) AS due, count(*) FILTER (WHERE next.position = (
                SELECT b.position FROM webhook_deliveries b
                WHERE b.endpoint_id = e.endpoint_id AND b.state = 'pending' AND b.aggregate = next.aggregate
                ORDER BY b.position LIMIT 1)) AS firsts
            FROM (
                SELECT aggregate, position FROM webhook_deliveries d
                WHERE d.endpoint_id = e.endpoint_id AND d.state = 'pending' AND NOT d.is_behind
                  AND d.next_attempt_at <= (SELECT clock_timestamp())
                ORDER BY d.next_attempt_at LIMIT $1
            ) AS next
         ) AS seen
         WHERE gone_at IS NULL AND (paused_until IS NULL OR paused_until <= clock_timestamp())
           AND seen.due >= $1 AND seen.firsts < $2
         ORDER BY e.endpoint_id",
        LOOKED_AT,
        i64::from(each),
    )
    .fetch_all(conn)
    .await?)
}

/// Puts aside what stands behind others, of the next `limit` that are due of each of these endpoints. They are locked: so
/// nobody ends what something stands behind and does not see it.
pub(super) async fn put_aside_in_tx(
    conn: &mut PgConnection,
    endpoints: &[Uuid],
    limit: i64,
) -> Result<u64, DbError> {
    let aside = sqlx::query!(
        "UPDATE webhook_deliveries d SET is_behind = true
         FROM (
            SELECT next.delivery_id FROM UNNEST($1::uuid[]) AS e (endpoint_id) CROSS JOIN LATERAL (
                SELECT delivery_id, aggregate, position FROM webhook_deliveries d
                WHERE d.endpoint_id = e.endpoint_id AND d.state = 'pending' AND NOT d.is_behind
                  AND d.next_attempt_at <= (SELECT clock_timestamp())
                ORDER BY d.next_attempt_at LIMIT $2
            ) AS next
            WHERE next.position > (
                SELECT b.position FROM webhook_deliveries b
                WHERE b.endpoint_id = e.endpoint_id AND b.state = 'pending' AND b.aggregate = next.aggregate
                ORDER BY b.position LIMIT 1)
         ) AS behind
         WHERE d.delivery_id = behind.delivery_id",
        endpoints,
        limit,
    );
    Ok(aside.execute(conn).await?.rows_affected())
}

/// Lets what comes first now have its turn, of each of these things of these endpoints, which are locked. It is due from now on,
/// or when it would have been if that is later: so nothing that waited behind others goes before what came meanwhile.
pub(super) async fn call_next_in_tx(
    conn: &mut PgConnection,
    endpoints: &[Uuid],
    aggregates: &[String],
) -> Result<(), DbError> {
    sqlx::query!(
        "UPDATE webhook_deliveries d SET is_behind = false,
             next_attempt_at = greatest(d.next_attempt_at, clock_timestamp())
         FROM (SELECT DISTINCT * FROM UNNEST($1::uuid[], $2::text[])) AS ended (endpoint_id, aggregate)
         CROSS JOIN LATERAL (
            SELECT b.delivery_id FROM webhook_deliveries b
            WHERE b.endpoint_id = ended.endpoint_id AND b.state = 'pending' AND b.aggregate = ended.aggregate
            ORDER BY b.position LIMIT 1
         ) AS first
         WHERE d.delivery_id = first.delivery_id",
        endpoints,
        aggregates,
    )
    .execute(conn)
    .await?;
    Ok(())
}
