//! What cancelling an order locks and writes.

use sqlx::PgConnection;
use uuid::Uuid;

use super::super::model::OrderStatus;
use crate::db::DbError;
use crate::inventory::model::Witness;

/// Locks an order's row. What is read of the order afterwards stays true until the commit.
pub(in crate::orders) async fn lock_order_in_tx(
    conn: &mut PgConnection,
    order_id: Uuid,
) -> Result<(), DbError> {
    sqlx::query!("SELECT order_id FROM orders WHERE order_id = $1 FOR UPDATE", order_id)
        .fetch_optional(conn)
        .await?;
    Ok(())
}

/// One line's cancellation.
pub(in crate::orders) struct Cancellation {
    pub(in crate::orders) cancellation_id: Uuid,
    pub(in crate::orders) line_id: Uuid,
    pub(in crate::orders) quantity: i64,
}

/// Keeps the cancellations, adds them to their lines, and sets the order's status.
pub(in crate::orders) async fn insert_cancellations_in_tx(
    conn: &mut PgConnection,
    order_id: Uuid,
    cancellations: &[Cancellation],
    reason: Option<&str>,
    status: OrderStatus,
    witness: Witness<'_>,
) -> Result<(), DbError> {
    let line_ids: Vec<_> = cancellations.iter().map(|cancellation| cancellation.line_id).collect();
    let quantities: Vec<_> = cancellations.iter().map(|cancellation| cancellation.quantity).collect();
    let written = sqlx::query!(
        r#"WITH kept AS (
            INSERT INTO order_cancellations (cancellation_id, order_id, line_id, quantity, reason, subject, request_id)
            SELECT c.cancellation_id, $1, c.line_id, c.quantity, $5, $6, $7
            FROM UNNEST($2::uuid[], $3::uuid[], $4::bigint[]) AS c (cancellation_id, line_id, quantity)
            RETURNING 1
        ), added AS (
            UPDATE order_lines SET cancelled_quantity = cancelled_quantity + c.quantity
            FROM UNNEST($3::uuid[], $4::bigint[]) AS c (line_id, quantity)
            WHERE order_id = $1 AND order_lines.line_id = c.line_id
            RETURNING 1
        ), turned AS (
            UPDATE orders SET status = $8 WHERE order_id = $1 RETURNING 1
        )
        SELECT (SELECT count(*) FROM kept) AS "kept!", (SELECT count(*) FROM added) AS "added!",
               (SELECT count(*) FROM turned) AS "turned!""#,
        order_id,
        &cancellations.iter().map(|cancellation| cancellation.cancellation_id).collect::<Vec<_>>(),
        &line_ids,
        &quantities,
        reason,
        witness.subject,
        witness.request_id,
        status.as_str(),
    )
    .fetch_one(conn)
    .await?;
    let n = cancellations.len() as i64;
    let whole = written.kept == n && written.added == n && written.turned == 1;
    if whole { Ok(()) } else { Err(DbError::Unexpected(sqlx::Error::RowNotFound)) }
}

/// Keeps a cancellation that came before its order. One that is there already stays as it is.
pub(in crate::orders) async fn insert_early_cancellation_in_tx(
    conn: &mut PgConnection,
    user_id: &str,
    key: &str,
    reason: Option<&str>,
    witness: Witness<'_>,
) -> Result<(), DbError> {
    sqlx::query!(
        "INSERT INTO early_cancellations (user_id, idempotency_key, reason, subject, request_id)
         VALUES ($1, $2, $3, $4, $5) ON CONFLICT ON CONSTRAINT order_is_cancelled_early_once DO NOTHING",
        user_id,
        key,
        reason,
        witness.subject,
        witness.request_id,
    )
    .execute(conn)
    .await?;
    Ok(())
}
