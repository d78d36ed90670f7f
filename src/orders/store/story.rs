//! What an order's story is read from. No decisions here: rows in, rows out.

use sqlx::PgConnection;
use uuid::Uuid;

use crate::db::DbError;
use crate::orders::history::{CameEarly, Cancelled, Entry, Told};

/// How an order was placed.
pub(in crate::orders) struct Placing {
    pub(in crate::orders) idempotency_key: String,
    pub(in crate::orders) placed_by: String,
    pub(in crate::orders) request_id: String,
    pub(in crate::orders) hold_id: Option<Uuid>,
}

pub(in crate::orders) async fn find_placing(
    conn: &mut PgConnection,
    order_id: Uuid,
) -> Result<Option<Placing>, DbError> {
    Ok(sqlx::query_as!(
        Placing,
        r#"SELECT idempotency_key, o.subject AS placed_by, o.request_id, hold_id AS "hold_id?"
           FROM orders o LEFT JOIN holds h USING (order_id) WHERE order_id = $1"#,
        order_id,
    )
    .fetch_optional(conn)
    .await?)
}

pub(in crate::orders) async fn find_early(
    conn: &mut PgConnection,
    user_id: &str,
    key: &str,
) -> Result<Option<CameEarly>, DbError> {
    Ok(sqlx::query_as!(
        CameEarly,
        "SELECT reason, subject AS cancelled_by, request_id, came_at FROM early_cancellations
         WHERE user_id = $1 AND idempotency_key = $2",
        user_id,
        key,
    )
    .fetch_optional(conn)
    .await?)
}

pub(in crate::orders) async fn list_cancellations(
    conn: &mut PgConnection,
    order_id: Uuid,
) -> Result<Vec<Cancelled>, DbError> {
    Ok(sqlx::query_as!(
        Cancelled,
        "SELECT cancellation_id, line_id, quantity, reason, subject AS cancelled_by, request_id, cancelled_at
         FROM order_cancellations WHERE order_id = $1 ORDER BY cancelled_at, cancellation_id",
        order_id,
    )
    .fetch_all(conn)
    .await?)
}

/// Those that were carried out on it. One that came before it is told as [`CameEarly`].
pub(in crate::orders) async fn list_entries(
    conn: &mut PgConnection,
    order_id: Uuid,
) -> Result<Vec<Entry>, DbError> {
    Ok(sqlx::query_as!(
        Entry,
        "SELECT entry_id, scheme, event_id, state, request_id, received_at
         FROM webhook_inbox WHERE order_id = $1 ORDER BY received_at, entry_id",
        order_id,
    )
    .fetch_all(conn)
    .await?)
}

/// Who was told of it by webhook, in the order of the events, and so many at most.
pub(in crate::orders) async fn list_deliveries(
    conn: &mut PgConnection,
    order_id: Uuid,
    limit: i64,
) -> Result<Vec<Told>, DbError> {
    Ok(sqlx::query_as!(
        Told,
        "SELECT delivery_id, endpoint_id, event_id, type, state, attempts, last_status, last_error, created_at, delivered_at
         FROM webhook_deliveries WHERE aggregate = 'order:' || $1::uuid AND aggregate LIKE 'order:%'
         ORDER BY position, delivery_id LIMIT $2",
        order_id,
        limit,
    )
    .fetch_all(conn)
    .await?)
}
