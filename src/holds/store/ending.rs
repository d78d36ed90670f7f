//! How holds end: what is written then, which are due, and which are forgotten.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use super::missing;
use crate::db::DbError;
use crate::holds::KEPT_FOR;
use crate::holds::model::{HoldState, HoldTtl};

/// Writes down what became of a hold that is held, and takes its lines out of what is held.
pub(in super::super) async fn resolve_in_tx(
    conn: &mut PgConnection,
    hold_id: Uuid,
    state: HoldState,
    order_id: Option<Uuid>,
) -> Result<(), DbError> {
    resolve_all_in_tx(conn, state, &[(hold_id, order_id)]).await
}

/// The same for several, with the orders that they became.
pub(in super::super) async fn resolve_all_in_tx(
    conn: &mut PgConnection,
    state: HoldState,
    resolved: &[(Uuid, Option<Uuid>)],
) -> Result<(), DbError> {
    let ended = end_all_in_tx(conn, state, resolved).await?;
    if ended.len() == resolved.len() { Ok(()) } else { Err(missing()) }
}

/// The same for some that may be over already: of those nothing changes. Gives which ended.
pub(in super::super) async fn end_all_in_tx(
    conn: &mut PgConnection,
    state: HoldState,
    holds: &[(Uuid, Option<Uuid>)],
) -> Result<Vec<Uuid>, DbError> {
    let (ids, orders): (Vec<Uuid>, Vec<Option<Uuid>>) = holds.iter().copied().unzip();
    let ended = sqlx::query!(
        r#"WITH ended AS (
            UPDATE holds AS h SET state = $2, order_id = e.order_id, resolved_at = clock_timestamp()
            FROM UNNEST($1::uuid[], $3::uuid[]) AS e (hold_id, order_id)
            WHERE h.hold_id = e.hold_id AND h.state = 'held' RETURNING h.hold_id
        ), closed AS (
            UPDATE hold_lines SET open = false FROM ended
            WHERE hold_lines.hold_id = ended.hold_id AND open RETURNING ended.hold_id, variant_id, quantity
        ), by_variant AS MATERIALIZED (
            SELECT variant_id, sum(quantity)::bigint AS quantity FROM closed GROUP BY variant_id
        ), freed AS (
            UPDATE stock SET held = stock.held - c.quantity, updated_at = clock_timestamp()
            FROM by_variant AS c WHERE stock.variant_id = c.variant_id
            RETURNING 1
        )
        SELECT ARRAY(SELECT hold_id FROM ended) AS "ended!",
               (SELECT count(DISTINCT hold_id) FROM closed) AS "closed!",
               (SELECT count(*) FROM freed) = (SELECT count(*) FROM by_variant) AS "freed_all!""#,
        &ids,
        state.as_str(),
        &orders as &[Option<Uuid>],
    )
    .fetch_one(conn)
    .await?;
    // Each hold has lines, and those of one that was held are open.
    let whole = ended.ended.len() as i64 == ended.closed && ended.freed_all;
    if whole { Ok(ended.ended) } else { Err(missing()) }
}

/// Lets a hold last for `ttl` from now. Gives its end.
pub(in super::super) async fn set_end_in_tx(
    conn: &mut PgConnection,
    hold_id: Uuid,
    ttl: HoldTtl,
) -> Result<DateTime<Utc>, DbError> {
    let set = sqlx::query!(
        r#"WITH moment AS MATERIALIZED (SELECT clock_timestamp() + make_interval(secs => $2) AS till),
        lasting AS (
            UPDATE holds SET expires_at = till FROM moment WHERE hold_id = $1 AND state = 'held' RETURNING expires_at
        ), lined AS (
            UPDATE hold_lines SET expires_at = till FROM moment WHERE hold_id = $1 AND open RETURNING 1
        )
        SELECT expires_at, (SELECT count(*) FROM lined) AS "lines!" FROM lasting"#,
        hold_id,
        ttl.seconds(),
    )
    .fetch_one(conn)
    .await?;
    if set.lines >= 1 { Ok(set.expires_at) } else { Err(missing()) }
}

/// A hold whose time is over and of which nobody has written that down.
#[derive(Debug, Clone)]
pub(in super::super) struct Due {
    pub(in super::super) hold_id: Uuid,
    expires_at: DateTime<Utc>,
    /// What it is of.
    pub(in super::super) variants: Vec<Uuid>,
}

impl Due {
    /// Where it stands among those that are due.
    pub(in super::super) fn place(&self) -> (DateTime<Utc>, Uuid) {
        (self.expires_at, self.hold_id)
    }
}

/// Those that are due after a place, the oldest first.
pub(in super::super) async fn find_due(
    conn: &mut PgConnection,
    after: Option<(DateTime<Utc>, Uuid)>,
    limit: i64,
) -> Result<Vec<Due>, DbError> {
    let (ended, hold_id) = after.unwrap_or((DateTime::UNIX_EPOCH, Uuid::nil()));
    Ok(sqlx::query_as!(
        Due,
        r#"SELECT hold_id, expires_at,
                  (SELECT array_agg(DISTINCT variant_id) FROM hold_lines l WHERE l.hold_id = h.hold_id) AS "variants!"
           FROM holds h
           WHERE state = 'held' AND expires_at <= (SELECT clock_timestamp())
             -- The first is found in the index, the second parts those of one moment.
             AND expires_at >= $2 AND (expires_at, hold_id) > ($2, $3)
           ORDER BY expires_at, hold_id LIMIT $1"#,
        limit,
        ended,
        hold_id,
    )
    .fetch_all(conn)
    .await?)
}

/// Deletes so many holds at most that came to nothing and were resolved so long ago. One of which nobody has written
/// down that it is over is kept until somebody has: its lines are part of `stock.held`.
pub(crate) async fn purge_in_tx(conn: &mut PgConnection, limit: i64) -> Result<u64, DbError> {
    let purged = sqlx::query!(
        "WITH old AS MATERIALIZED (
            SELECT hold_id FROM holds
            WHERE state IN ('released', 'expired')
              AND resolved_at < (SELECT clock_timestamp() - $1::bigint * interval '1 second')
            ORDER BY resolved_at LIMIT $2 FOR UPDATE SKIP LOCKED
         ), lines AS (
            DELETE FROM hold_lines USING old WHERE hold_lines.hold_id = old.hold_id
         )
         DELETE FROM holds USING old WHERE holds.hold_id = old.hold_id",
        i64::try_from(KEPT_FOR.as_secs()).unwrap_or(i64::MAX),
        limit,
    )
    .execute(conn)
    .await?;
    Ok(purged.rows_affected())
}
