//! Reads: one order, and lists of them. An order and its lines as of one moment, without a lock.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use schemars::JsonSchema;
use serde::Deserialize;
use uuid::Uuid;

use super::error::OrderError;
use super::model::{Order, OrderStatus};
use super::store;
use crate::app::App;
use crate::http::extract::{InPath, Params};
use crate::http::page::{Limit, Page};
use crate::http::problem::Problem;
use crate::inventory::model::StoredTime;
use crate::text::UserId;

/// The most orders on a page, whatever is asked for.
const PAGE_MAX: u16 = 100;

/// One order.
///
/// # Errors
/// [`OrderError`].
pub async fn get_order(
    State(app): State<Arc<App>>,
    InPath(order_id): InPath<Uuid>,
) -> Result<Json<Order>, OrderError> {
    let mut conn = app.db.snapshot().await?;
    Ok(Json(store::find_order(&mut conn, order_id).await?.ok_or(OrderError::NotFound)?))
}

/// `GET /orders?user_id=&status=&from=&to=&limit=&cursor=`
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ListOrders {
    user_id: Option<UserId>,
    status: Option<OrderStatus>,
    /// Placed then or later.
    from: Option<StoredTime>,
    /// Placed earlier.
    to: Option<StoredTime>,
    #[serde(default)]
    limit: Limit,
    cursor: Option<Uuid>,
}

/// Orders, newest first.
///
/// # Errors
/// [`Problem`].
pub async fn list_orders(
    State(app): State<Arc<App>>,
    Params(query): Params<ListOrders>,
) -> Result<Json<Page<Order>>, Problem> {
    let mut conn = app.db.snapshot().await?;
    let before = match query.cursor {
        Some(last) => {
            let placed_at = store::when_placed(&mut conn, last).await?;
            Some((placed_at.ok_or_else(|| Problem::invalid("cursor", "is of no page"))?, last))
        }
        None => None,
    };
    let filter = store::Filter {
        user_id: query.user_id.as_ref().map(UserId::as_str),
        status: query.status,
        from: query.from.map(StoredTime::get),
        to: query.to.map(StoredTime::get),
        before,
    };
    let limit = query.limit.at_most(PAGE_MAX);
    let (items, more) = store::list_orders(&mut conn, &filter, limit).await?;
    let next_cursor = items.last().filter(|_| more).map(|order| order.order_id.to_string());
    Ok(Json(Page { items, next_cursor }))
}
