//! What placing an order writes.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::super::model::Order;
use crate::db::DbError;
use crate::idempotency::Claim;
use crate::inventory::model::Witness;

/// Inserts an order and its lines. Gives the time, by the database's clock.
pub(in crate::orders) async fn insert_order_in_tx(
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
            INSERT INTO order_lines (order_id, line_id, position, variant_id, sku, quantity, unit_price, line_total)
            SELECT $1, l.line_id, l.position, l.variant_id, l.sku, l.quantity, l.unit_price, l.line_total
            FROM UNNEST($13::uuid[], $14::uuid[], $15::text[], $16::bigint[], $17::numeric[], $18::numeric[])
                WITH ORDINALITY AS l (line_id, variant_id, sku, quantity, unit_price, line_total, position)
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
    )
    .fetch_one(conn)
    .await?;
    if inserted.lines == lines.len() as i64 {
        Ok(inserted.placed_at)
    } else {
        Err(DbError::Unexpected(sqlx::Error::RowNotFound))
    }
}
