//! What placing an order locks and writes.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;
use sqlx::PgConnection;
use uuid::Uuid;

use super::super::model::Order;
use crate::db::DbError;
use crate::idempotency::Claim;
use crate::inventory::model::{Level, Witness};
use crate::inventory::store::{forget_lapsed_in_tx, stored_currency};
use crate::money::Currency;

/// What an order is made of, under lock.
pub(crate) struct Locked {
    /// The variants; unknown ones are missing.
    pub(crate) items: HashMap<Uuid, Item>,
    /// Whether the order's cancellation came before it.
    pub(crate) is_cancelled: bool,
}

/// A variant as an order sees it: its level under lock, and what it costs.
pub(crate) struct Item {
    pub(crate) level: Level,
    pub(crate) sku: String,
    pub(crate) price: Decimal,
    pub(crate) currency: Currency,
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
    let mut items = HashMap::with_capacity(rows.len());
    for row in rows {
        let (variant_id, on_hand, held, version) = (row.variant_id, row.on_hand, row.held, row.version);
        let level = Level { variant_id, on_hand, held, version };
        let currency = stored_currency(&row.currency)?;
        items.insert(variant_id, Item { level, sku: row.sku, price: row.price, currency });
    }
    forget_lapsed_in_tx(conn, items.values_mut().map(|item| &mut item.level)).await?;
    Ok(Locked { items, is_cancelled })
}

/// Inserts an order and its lines. Gives the time, by the database's clock.
pub(crate) async fn insert_order_in_tx(
    conn: &mut PgConnection,
    order: &Order,
    claim: &Claim,
    witness: Witness<'_>,
) -> Result<DateTime<Utc>, DbError> {
    let lines = &order.lines;
    let inserted = sqlx::query!(
        r#"WITH placed AS (
            INSERT INTO orders (order_id, user_id, idempotency_key, request_hash, status, currency, total, metadata,
                subject, request_id, lock_mode, lock_wait_ms)
            VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
            RETURNING placed_at
        ), lined AS (
            INSERT INTO order_lines (order_id, line_id, position, variant_id, sku, quantity, unit_price, line_total,
                cancelled_quantity)
            SELECT $1, l.line_id, l.position, l.variant_id, l.sku, l.quantity, l.unit_price, l.line_total, l.cancelled
            FROM UNNEST($13::uuid[], $14::uuid[], $15::text[], $16::bigint[], $17::numeric[], $18::numeric[],
                $19::bigint[]) WITH ORDINALITY
                AS l (line_id, variant_id, sku, quantity, unit_price, line_total, cancelled, position)
            RETURNING 1
        )
        SELECT placed_at, (SELECT count(*) FROM lined) AS "lines!" FROM placed"#,
        order.order_id,
        order.user_id,
        claim.key,
        claim.fingerprint.0.as_slice(),
        order.status.as_str(),
        order.currency.code(),
        order.total,
        order.metadata,
        witness.subject,
        witness.request_id,
        witness.lock.mode.as_str(),
        i32::try_from(witness.lock.wait_ms).unwrap_or(i32::MAX),
        &lines.iter().map(|line| line.line_id).collect::<Vec<_>>(),
        &lines.iter().map(|line| line.variant_id).collect::<Vec<_>>(),
        &lines.iter().map(|line| line.sku.clone()).collect::<Vec<_>>(),
        &lines.iter().map(|line| line.quantity).collect::<Vec<_>>(),
        &lines.iter().map(|line| line.unit_price).collect::<Vec<_>>(),
        &lines.iter().map(|line| line.line_total).collect::<Vec<_>>(),
        &lines.iter().map(|line| line.cancelled_quantity).collect::<Vec<_>>(),
    )
    .fetch_one(conn)
    .await?;
    if inserted.lines == lines.len() as i64 {
        Ok(inserted.placed_at)
    } else {
        Err(DbError::Unexpected(sqlx::Error::RowNotFound))
    }
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
