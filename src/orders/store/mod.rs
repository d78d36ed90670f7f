//! The SQL of orders: what is read here, what placing and cancelling lock and write in files of their own. No
//! decisions here: rows in, rows out.

mod cancelling;
mod placing;
pub(super) mod story;

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

pub(super) use self::cancelling::{Cancellation, insert_early_cancellation_in_tx};
pub(crate) use self::cancelling::{
    NewCancellation, insert_cancellations_in_tx, lock_free_orders_in_tx, lock_order_in_tx,
};
pub(crate) use self::placing::{
    Locked, LockedTogether, NewOrder, insert_orders_in_tx, is_cancelled_early_in_tx, lock_free_items_in_tx,
    lock_items_in_tx, read_catalogue_in_tx,
};
use super::model::{Line, Order, OrderStatus};
use crate::db::DbError;
use crate::http::page::{Limit, cut_to_a_page};
use crate::idempotency::outline::Outline;
use crate::idempotency::store::stored_status;
use crate::idempotency::{Stored, user_scope};
use crate::inventory::model::LockSeen;
use crate::inventory::store::stored_currency;

/// What is known of a user's key.
pub(super) struct KnownKey {
    /// The answer its first request had, while that is kept.
    pub(super) answer: Option<Stored>,
    /// The order it placed, for ever.
    pub(super) order: Option<PlacedBefore>,
}

/// The order a key placed, and the fingerprint of the request that did.
pub(super) struct PlacedBefore {
    pub(super) order_id: Uuid,
    pub(super) request_hash: Vec<u8>,
}

/// What is known of a user's key, however long ago it was used.
pub(super) async fn find_by_key(
    conn: &mut PgConnection,
    user_id: &str,
    key: &str,
) -> Result<KnownKey, DbError> {
    let row = sqlx::query!(
        r#"SELECT order_id AS "order_id?", o.request_hash AS "order_hash?", i.request_hash AS "hash?",
                  i.outline AS "outline?", i.status AS "status?", body AS "body?", first_seen AS "first_seen?"
           FROM (SELECT 1) AS one
           LEFT JOIN orders o ON user_id = $1 AND idempotency_key = $2
           LEFT JOIN idempotency_keys i ON scope = $3 AND key = $2 AND i.status IS NOT NULL
               AND first_seen >= clock_timestamp() - interval '24 hours'"#,
        user_id,
        key,
        user_scope(user_id),
    )
    .fetch_one(conn)
    .await?;
    let answer = match (row.hash, row.status, row.body, row.first_seen) {
        (Some(fingerprint), Some(status), Some(body), Some(first_seen)) => {
            let (outline, status) = (row.outline.map(Outline::kept), stored_status(status));
            Some(Stored { fingerprint, outline, status, body, expired: false, first_seen })
        }
        _ => None,
    };
    let order = row.order_id.zip(row.order_hash);
    Ok(KnownKey {
        answer,
        order: order.map(|(order_id, request_hash)| PlacedBefore { order_id, request_hash }),
    })
}

/// The order that a user placed with a key.
pub(crate) async fn find_id_by_key(
    conn: &mut PgConnection,
    user_id: &str,
    key: &str,
) -> Result<Option<Uuid>, DbError> {
    let found = sqlx::query_scalar!(
        "SELECT order_id FROM orders WHERE user_id = $1 AND idempotency_key = $2",
        user_id,
        key,
    );
    Ok(found.fetch_optional(conn).await?)
}

/// The variants of an order's lines, which never change.
pub(crate) async fn variants_of(conn: &mut PgConnection, order_id: Uuid) -> Result<Vec<Uuid>, DbError> {
    Ok(sqlx::query_scalar!("SELECT variant_id FROM order_lines WHERE order_id = $1", order_id)
        .fetch_all(conn)
        .await?)
}

/// One order with its lines.
pub(super) async fn find_order(conn: &mut PgConnection, order_id: Uuid) -> Result<Option<Order>, DbError> {
    Ok(find_orders(conn, &[order_id]).await?.pop())
}

/// Orders with their lines; unknown ones are missing.
pub(crate) async fn find_orders(conn: &mut PgConnection, ids: &[Uuid]) -> Result<Vec<Order>, DbError> {
    let rows = sqlx::query_as!(
        OrderRow,
        "SELECT order_id, user_id, status, currency, total, metadata, placed_at, lock_mode, lock_wait_ms
         FROM orders WHERE order_id = ANY($1)",
        ids,
    )
    .fetch_all(&mut *conn)
    .await?;
    if rows.is_empty() { Ok(Vec::new()) } else { with_lines(conn, rows).await }
}

/// When an order was placed.
pub(super) async fn when_placed(
    conn: &mut PgConnection,
    order_id: Uuid,
) -> Result<Option<DateTime<Utc>>, DbError> {
    let placed = sqlx::query_scalar!("SELECT placed_at FROM orders WHERE order_id = $1", order_id);
    Ok(placed.fetch_optional(conn).await?)
}

/// Which orders are listed.
pub(super) struct Filter<'a> {
    pub(super) user_id: Option<&'a str>,
    pub(super) status: Option<OrderStatus>,
    pub(super) from: Option<DateTime<Utc>>,
    pub(super) to: Option<DateTime<Utc>>,
    /// The last one of the page before.
    pub(super) before: Option<(DateTime<Utc>, Uuid)>,
}

/// Up to so many orders with their lines, newest first, and whether there are more.
pub(super) async fn list_orders(
    conn: &mut PgConnection,
    filter: &Filter<'_>,
    limit: Limit,
) -> Result<(Vec<Order>, bool), DbError> {
    let mut rows = list_rows(&mut *conn, filter, limit.and_one()).await?;
    let ids: Vec<_> = rows.iter().map(|row| row.order_id).collect();
    let counted = sqlx::query_scalar!(
        r#"SELECT (SELECT count(*) FROM order_lines l WHERE l.order_id = listed.order_id) AS "lines!"
           FROM unnest($1::uuid[]) WITH ORDINALITY AS listed (order_id, place) ORDER BY place"#,
        &ids,
    )
    .fetch_all(&mut *conn)
    .await?;
    let more = cut_to_a_page(&mut rows, &counted, limit);
    Ok((with_lines(conn, rows).await?, more))
}

async fn list_rows(
    conn: &mut PgConnection,
    filter: &Filter<'_>,
    limit: i64,
) -> Result<Vec<OrderRow>, DbError> {
    // Reading begins with the end of the range, or after the page before, and so reads nothing that is newer.
    let (at, id) = filter.before.or(filter.to.map(|to| (to, Uuid::nil()))).unzip();
    let status = filter.status.map(OrderStatus::as_str);
    // Three statements, each with its index: a user's few orders, the few that were cancelled, or those of a time.
    Ok(match (filter.user_id, filter.status) {
        (Some(user_id), _) => sqlx::query_as!(
            OrderRow,
            "SELECT order_id, user_id, status, currency, total, metadata, placed_at, lock_mode, lock_wait_ms
             FROM orders
             WHERE user_id = $6 AND ($3::text IS NULL OR status = $3)
               AND (placed_at, order_id)
                       < (coalesce($1::timestamptz, 'infinity'),
                          coalesce($2::uuid, '00000000-0000-0000-0000-000000000000'))
               AND placed_at >= coalesce($4::timestamptz, '-infinity') AND placed_at < coalesce($5::timestamptz, 'infinity')
             ORDER BY placed_at DESC, order_id DESC LIMIT $7",
            at,
            id,
            status,
            filter.from,
            filter.to,
            user_id,
            limit,
        )
        .fetch_all(&mut *conn)
        .await?,
        (None, Some(OrderStatus::Cancelled | OrderStatus::PartlyCancelled)) => sqlx::query_as!(
            OrderRow,
            "SELECT order_id, user_id, status, currency, total, metadata, placed_at, lock_mode, lock_wait_ms
             FROM orders
             WHERE status = $3 AND status <> 'placed'
               AND (placed_at, order_id)
                       < (coalesce($1::timestamptz, 'infinity'),
                          coalesce($2::uuid, '00000000-0000-0000-0000-000000000000'))
               AND placed_at >= coalesce($4::timestamptz, '-infinity') AND placed_at < coalesce($5::timestamptz, 'infinity')
             ORDER BY placed_at DESC, order_id DESC LIMIT $6",
            at,
            id,
            status,
            filter.from,
            filter.to,
            limit,
        )
        .fetch_all(&mut *conn)
        .await?,
        (None, _) => sqlx::query_as!(
            OrderRow,
            "SELECT order_id, user_id, status, currency, total, metadata, placed_at, lock_mode, lock_wait_ms
             FROM orders
             WHERE ($3::text IS NULL OR status = $3)
               AND (placed_at, order_id)
                       < (coalesce($1::timestamptz, 'infinity'),
                          coalesce($2::uuid, '00000000-0000-0000-0000-000000000000'))
               AND placed_at >= coalesce($4::timestamptz, '-infinity') AND placed_at < coalesce($5::timestamptz, 'infinity')
             ORDER BY placed_at DESC, order_id DESC LIMIT $6",
            at,
            id,
            status,
            filter.from,
            filter.to,
            limit,
        )
        .fetch_all(&mut *conn)
        .await?,
    })
}

/// Orders after one position up to another, as events are read, with their positions: each as it was when it was placed,
/// whatever was cancelled of it since.
pub(crate) async fn placed_between(
    conn: &mut PgConnection,
    after: i64,
    until: i64,
    limit: i64,
) -> Result<Vec<(i64, Option<String>, Order)>, DbError> {
    let rows = sqlx::query!(
        r#"SELECT position AS "position!", order_id, user_id, currency, total, metadata, placed_at, lock_mode, lock_wait_ms,
                  traceparent,
                  CASE WHEN EXISTS (SELECT FROM early_cancellations e WHERE e.user_id = o.user_id
                                        AND e.idempotency_key = o.idempotency_key)
                       THEN 'cancelled' ELSE 'placed' END AS "status!"
           FROM orders o WHERE position > $1 AND position <= $2 ORDER BY position LIMIT $3"#,
        after,
        until,
        limit,
    )
    .fetch_all(&mut *conn)
    .await?;
    if rows.is_empty() {
        return Ok(Vec::new());
    }
    let marks: Vec<_> = rows.iter().map(|row| (row.position, row.traceparent.clone())).collect();
    let placed = rows.into_iter().map(|row| OrderRow {
        order_id: row.order_id,
        user_id: row.user_id,
        status: row.status,
        currency: row.currency,
        total: row.total,
        metadata: row.metadata,
        placed_at: row.placed_at,
        lock_mode: row.lock_mode,
        lock_wait_ms: row.lock_wait_ms,
    });
    let mut orders = with_lines(conn, placed.collect()).await?;
    for order in &mut orders {
        let is_born_cancelled = order.status == OrderStatus::Cancelled;
        for line in &mut order.lines {
            line.cancelled_quantity = if is_born_cancelled { line.quantity } else { 0 };
        }
    }
    let marked = marks.into_iter().zip(orders);
    Ok(marked.map(|((position, traceparent), order)| (position, traceparent, order)).collect())
}

struct OrderRow {
    order_id: Uuid,
    user_id: String,
    status: String,
    currency: String,
    total: rust_decimal::Decimal,
    metadata: Option<serde_json::Value>,
    placed_at: DateTime<Utc>,
    lock_mode: String,
    lock_wait_ms: i32,
}

async fn with_lines(conn: &mut PgConnection, orders: Vec<OrderRow>) -> Result<Vec<Order>, DbError> {
    let ids: Vec<_> = orders.iter().map(|order| order.order_id).collect();
    let rows = sqlx::query!(
        "SELECT order_id, line_id, variant_id, sku, quantity, unit_price, line_total, cancelled_quantity
         FROM order_lines WHERE order_id = ANY($1) ORDER BY order_id, position",
        &ids,
    )
    .fetch_all(conn)
    .await?;
    let mut lines: HashMap<Uuid, Vec<Line>> = HashMap::new();
    for row in rows {
        lines.entry(row.order_id).or_default().push(Line {
            line_id: row.line_id,
            variant_id: row.variant_id,
            sku: row.sku,
            quantity: row.quantity,
            unit_price: row.unit_price,
            line_total: row.line_total,
            cancelled_quantity: row.cancelled_quantity,
        });
    }
    orders.into_iter().map(|row| order(lines.remove(&row.order_id).unwrap_or_default(), row)).collect()
}

/// Amounts are written as when they were stored: the database does not keep the zeros of a zero.
fn order(mut lines: Vec<Line>, row: OrderRow) -> Result<Order, DbError> {
    let currency = stored_currency(&row.currency)?;
    let unknown =
        || DbError::Unexpected(sqlx::Error::Decode("a stored status is not one of an order".into()));
    let status = OrderStatus::named(&row.status).ok_or_else(unknown)?;
    for line in &mut lines {
        line.unit_price = currency.written(line.unit_price);
        line.line_total = currency.written(line.line_total);
    }
    Ok(Order {
        order_id: row.order_id,
        user_id: row.user_id,
        status,
        currency,
        total: currency.written(row.total),
        lines,
        metadata: row.metadata,
        placed_at: row.placed_at,
        lock: LockSeen { mode: row.lock_mode, wait_ms: row.lock_wait_ms },
    })
}
