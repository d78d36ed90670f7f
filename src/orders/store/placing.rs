//! What placing an order locks and writes.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use super::super::model::Order;
use super::super::rules::Offered;
use crate::db::DbError;
use crate::idempotency::Claim;
use crate::inventory::model::{Level, Witness};
use crate::inventory::store::{forget_lapsed_in_tx, stored_currency};

/// What an order is made of, under lock.
pub(crate) struct Locked {
    /// The levels under lock; those of unknown variants are missing.
    pub(crate) levels: HashMap<Uuid, Level>,
    /// What the same variants are and cost.
    pub(crate) catalogue: HashMap<Uuid, Offered>,
    /// Whether the order's cancellation came before it.
    pub(crate) is_cancelled: bool,
}

/// As [`lock_levels_in_tx`](crate::inventory::store::lock_levels_in_tx), with the catalogue's name and price. Only
/// the level is locked: prices are as last committed when the statement began. If an order is placed, by `claim`,
/// whether it was cancelled before it came is read along; that it stays so until the commit is what the claim, taken
/// before, is for.
pub(crate) async fn lock_items_in_tx(
    conn: &mut PgConnection,
    ids: &[Uuid],
    claim: Option<&Claim>,
) -> Result<Locked, DbError> {
    let rows = sqlx::query!(
        r#"SELECT variant_id, on_hand, held, version, sku, price, currency,
                  EXISTS (SELECT FROM early_cancellations WHERE user_id = $2 AND idempotency_key = $3)
                      AS "is_cancelled!"
           FROM stock JOIN variants USING (variant_id)
           WHERE variant_id = ANY($1) ORDER BY variant_id FOR UPDATE OF stock"#,
        ids,
        claim.and_then(Claim::user_id),
        claim.map(|claim| claim.key.as_str()),
    )
    .fetch_all(&mut *conn)
    .await?;
    let is_cancelled = rows.first().is_some_and(|row| row.is_cancelled);
    let mut levels = HashMap::with_capacity(rows.len());
    let mut catalogue = HashMap::with_capacity(rows.len());
    for row in rows {
        let (variant_id, on_hand, held, version) = (row.variant_id, row.on_hand, row.held, row.version);
        levels.insert(variant_id, Level { variant_id, on_hand, held, version });
        let currency = stored_currency(&row.currency)?;
        catalogue.insert(variant_id, Offered { sku: row.sku, price: row.price, currency });
    }
    forget_lapsed_in_tx(conn, levels.values_mut()).await?;
    Ok(Locked { levels, catalogue, is_cancelled })
}

/// An order about to be written, and the key that makes it.
#[derive(Debug)]
pub(crate) struct NewOrder<'a> {
    pub(crate) order: &'a Order,
    pub(crate) claim: &'a Claim,
    pub(crate) witness: Witness<'a>,
}

/// Inserts orders and their lines, all at one time by the database's clock, which is returned.
pub(crate) async fn insert_orders_in_tx(
    conn: &mut PgConnection,
    new: &[NewOrder<'_>],
) -> Result<DateTime<Utc>, DbError> {
    let lines: Vec<_> = new
        .iter()
        .flat_map(|new| {
            (1_i32..).zip(&new.order.lines).map(|(place, line)| (new.order.order_id, place, line))
        })
        .collect();
    let users: Vec<_> = new.iter().map(|new| new.order.user_id.as_str()).collect();
    let keys: Vec<_> = new.iter().map(|new| new.claim.key.as_str()).collect();
    let hashes: Vec<_> = new.iter().map(|new| new.claim.fingerprint.0.as_slice()).collect();
    let statuses: Vec<_> = new.iter().map(|new| new.order.status.as_str()).collect();
    let currencies: Vec<_> = new.iter().map(|new| new.order.currency.code()).collect();
    let metadata: Vec<_> = new.iter().map(|new| new.order.metadata.as_ref()).collect();
    let subjects: Vec<_> = new.iter().map(|new| new.witness.subject).collect();
    let requests: Vec<_> = new.iter().map(|new| new.witness.request_id).collect();
    let modes: Vec<_> = new.iter().map(|new| new.witness.lock.mode.as_str()).collect();
    let traceparents: Vec<_> = new.iter().map(|new| new.witness.traceparent).collect();
    let skus: Vec<_> = lines.iter().map(|(_, _, line)| line.sku.as_str()).collect();
    let inserted = sqlx::query!(
        r#"WITH moment AS MATERIALIZED (SELECT clock_timestamp() AS at),
        placed AS (
            INSERT INTO orders (order_id, user_id, idempotency_key, request_hash, status, currency, total, metadata,
                subject, request_id, lock_mode, lock_wait_ms, traceparent, placed_at)
            SELECT o.*, moment.at FROM moment, UNNEST($1::uuid[], $2::text[], $3::text[], $4::bytea[], $5::text[],
                $6::text[], $7::numeric[], $8::jsonb[], $9::text[], $10::text[], $11::text[], $12::int[], $22::text[]) AS o
            RETURNING 1
        ), lined AS (
            INSERT INTO order_lines (order_id, position, line_id, variant_id, sku, quantity, unit_price, line_total,
                cancelled_quantity)
            SELECT * FROM UNNEST($13::uuid[], $14::int[], $15::uuid[], $16::uuid[], $17::text[], $18::bigint[],
                $19::numeric[], $20::numeric[], $21::bigint[])
            RETURNING 1
        )
        SELECT at AS "at!", (SELECT count(*) FROM placed) AS "placed!", (SELECT count(*) FROM lined) AS "lines!"
        FROM moment"#,
        &new.iter().map(|new| new.order.order_id).collect::<Vec<_>>(),
        &users as &[&str],
        &keys as &[&str],
        &hashes as &[&[u8]],
        &statuses as &[&str],
        &currencies as &[&str],
        &new.iter().map(|new| new.order.total).collect::<Vec<_>>(),
        &metadata as &[Option<&serde_json::Value>],
        &subjects as &[&str],
        &requests as &[&str],
        &modes as &[&str],
        &new.iter().map(|new| new.witness.wait_ms()).collect::<Vec<_>>(),
        &lines.iter().map(|(order_id, _, _)| *order_id).collect::<Vec<_>>(),
        &lines.iter().map(|(_, place, _)| *place).collect::<Vec<_>>(),
        &lines.iter().map(|(_, _, line)| line.line_id).collect::<Vec<_>>(),
        &lines.iter().map(|(_, _, line)| line.variant_id).collect::<Vec<_>>(),
        &skus as &[&str],
        &lines.iter().map(|(_, _, line)| line.quantity).collect::<Vec<_>>(),
        &lines.iter().map(|(_, _, line)| line.unit_price).collect::<Vec<_>>(),
        &lines.iter().map(|(_, _, line)| line.line_total).collect::<Vec<_>>(),
        &lines.iter().map(|(_, _, line)| line.cancelled_quantity).collect::<Vec<_>>(),
        &traceparents as &[Option<&str>],
    )
    .fetch_one(conn)
    .await?;
    let whole = inserted.placed == new.len() as i64 && inserted.lines == lines.len() as i64;
    if whole { Ok(inserted.at) } else { Err(DbError::Unexpected(sqlx::Error::RowNotFound)) }
}

/// What the orders of a section are made of, under lock, and what became of their keys before.
#[derive(Default)]
pub(crate) struct LockedTogether {
    /// The levels that were locked.
    pub(crate) levels: HashMap<Uuid, Level>,
    /// What the same variants are and cost.
    pub(crate) catalogue: HashMap<Uuid, Offered>,
    /// The claims, by their place among them, whose orders were cancelled before they came.
    pub(crate) cancelled: Vec<usize>,
    /// Those whose orders are there already.
    pub(crate) placed: Vec<usize>,
}

/// As [`lock_items_in_tx`] for the orders of several claims, which were taken before; but for those rows that somebody has
/// locked: they are missing too.
pub(crate) async fn lock_free_items_in_tx(
    conn: &mut PgConnection,
    ids: &[Uuid],
    claims: &[&Claim],
) -> Result<LockedTogether, DbError> {
    let users: Vec<_> = claims.iter().map(|claim| claim.user_id().unwrap_or_default()).collect();
    let keys: Vec<_> = claims.iter().map(|claim| claim.key.as_str()).collect();
    let rows = sqlx::query!(
        r#"SELECT variant_id, on_hand, held, version, sku, price, currency,
                  ARRAY(SELECT c.place FROM UNNEST($2::text[], $3::text[]) WITH ORDINALITY AS c (user_id, key, place)
                        JOIN early_cancellations e ON e.user_id = c.user_id AND e.idempotency_key = c.key)
                      AS "cancelled!",
                  ARRAY(SELECT c.place FROM UNNEST($2::text[], $3::text[]) WITH ORDINALITY AS c (user_id, key, place)
                        JOIN orders o ON o.user_id = c.user_id AND o.idempotency_key = c.key)
                      AS "placed!"
           FROM stock JOIN variants USING (variant_id)
           WHERE variant_id = ANY($1) ORDER BY variant_id FOR UPDATE OF stock SKIP LOCKED"#,
        ids,
        &users as &[&str],
        &keys as &[&str],
    )
    .fetch_all(&mut *conn)
    .await?;
    let places = |all: &[i64]| all.iter().filter_map(|place| usize::try_from(place - 1).ok()).collect();
    let (mut levels, mut catalogue) =
        (HashMap::with_capacity(rows.len()), HashMap::with_capacity(rows.len()));
    let first = rows.first();
    let cancelled = first.map(|row| places(&row.cancelled)).unwrap_or_default();
    let placed = first.map(|row| places(&row.placed)).unwrap_or_default();
    for row in rows {
        let (variant_id, on_hand, held, version) = (row.variant_id, row.on_hand, row.held, row.version);
        levels.insert(variant_id, Level { variant_id, on_hand, held, version });
        let currency = stored_currency(&row.currency)?;
        catalogue.insert(variant_id, Offered { sku: row.sku, price: row.price, currency });
    }
    forget_lapsed_in_tx(conn, levels.values_mut()).await?;
    Ok(LockedTogether { levels, catalogue, cancelled, placed })
}

/// What variants are and cost; unknown ones are missing.
pub(crate) async fn read_catalogue_in_tx(
    conn: &mut PgConnection,
    ids: &[Uuid],
) -> Result<HashMap<Uuid, Offered>, DbError> {
    let rows =
        sqlx::query!("SELECT variant_id, sku, price, currency FROM variants WHERE variant_id = ANY($1)", ids)
            .fetch_all(conn)
            .await?;
    let mut catalogue = HashMap::with_capacity(rows.len());
    for row in rows {
        let currency = stored_currency(&row.currency)?;
        catalogue.insert(row.variant_id, Offered { sku: row.sku, price: row.price, currency });
    }
    Ok(catalogue)
}

/// Whether the cancellation of the order that `claim` is about to place came before it.
pub(crate) async fn is_cancelled_early_in_tx(
    conn: &mut PgConnection,
    claim: &Claim,
) -> Result<bool, DbError> {
    Ok(sqlx::query_scalar!(
        r#"SELECT EXISTS (SELECT FROM early_cancellations WHERE user_id = $1 AND idempotency_key = $2)
                  AS "is_cancelled!""#,
        claim.user_id(),
        claim.key,
    )
    .fetch_one(conn)
    .await?)
}
