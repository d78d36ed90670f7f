//! The story of an order: the key it was placed with and whether its answer is still kept, what was cancelled of it and
//! by whom, the webhooks that came for it, and, for operators, who was told of it. Refuses only what is not there.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::Serialize;
use uuid::Uuid;

use super::error::OrderError;
use super::model::Order;
use super::store::{self, story};
use crate::app::App;
use crate::http::auth::Caller;
use crate::http::extract::InPath;
use crate::idempotency;

/// The most deliveries that are told.
const DELIVERIES_MAX: i64 = 200;

/// All that is known of an order.
#[derive(Debug, Serialize, JsonSchema)]
pub struct OrderHistory {
    /// The order as it is.
    pub order: Order,
    /// The key it was placed with.
    pub idempotency_key: String,
    /// The answer that is kept with the key; null once it is not any more.
    pub claim: Option<KeptClaim>,
    /// The subject of the API key that placed it.
    pub placed_by: String,
    /// The request that placed it.
    pub request_id: String,
    /// The hold it captured.
    pub hold_id: Option<Uuid>,
    /// The cancellation that came before it.
    pub born_cancelled: Option<CameEarly>,
    /// What was cancelled of it, oldest first.
    pub cancellations: Vec<Cancelled>,
    /// Webhooks that came for it, oldest first.
    pub webhooks: Vec<Entry>,
    /// Who was told of it by webhook, as long as that is kept: the first 200. Only for operators, as endpoints are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deliveries: Option<Vec<Told>>,
}

/// An answer that is kept.
#[derive(Debug, Serialize, JsonSchema)]
pub struct KeptClaim {
    /// Its HTTP status.
    pub status: u16,
    /// When its first request came.
    pub first_seen: DateTime<Utc>,
}

/// A cancellation that came before its order.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "CancelledEarly")]
pub struct CameEarly {
    /// Why.
    pub reason: Option<String>,
    /// By whom.
    pub cancelled_by: String,
    /// The request that told of it.
    pub request_id: String,
    /// When.
    pub came_at: DateTime<Utc>,
}

/// Some of a line that was cancelled.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "CancelledLine")]
pub struct Cancelled {
    /// Its id: the `source_id` of the movement that returned its stock.
    pub cancellation_id: Uuid,
    /// Of which line.
    pub line_id: Uuid,
    /// How many.
    pub quantity: i64,
    /// Why.
    pub reason: Option<String>,
    /// By whom.
    pub cancelled_by: String,
    /// The request that did it.
    pub request_id: String,
    /// When.
    pub cancelled_at: DateTime<Utc>,
}

/// A webhook's entry in the inbox.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "OrderWebhook")]
pub struct Entry {
    /// Its id.
    pub entry_id: Uuid,
    /// How it was signed.
    pub scheme: String,
    /// Its sender's own id of it.
    pub event_id: String,
    /// What became of it.
    pub state: String,
    /// The request that carried it out.
    pub request_id: String,
    /// When it came.
    pub received_at: DateTime<Utc>,
}

/// An event of it on its way to an endpoint.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "OrderDelivery")]
pub struct Told {
    /// Its id.
    pub delivery_id: Uuid,
    /// Who is told.
    pub endpoint_id: Uuid,
    /// The event's id.
    pub event_id: Uuid,
    /// The event's type.
    pub r#type: String,
    /// What became of it: `pending`, `delivered` or `dead`.
    pub state: String,
    /// How often it was sent.
    pub attempts: i32,
    /// How the last attempt was answered.
    pub last_status: Option<i16>,
    /// Why it was not taken.
    pub last_error: Option<String>,
    /// When it was found.
    pub created_at: DateTime<Utc>,
    /// When it was taken.
    pub delivered_at: Option<DateTime<Utc>>,
}

/// `GET /orders/{order_id}/history`
///
/// # Errors
/// [`OrderError`].
pub async fn get_history(
    State(app): State<Arc<App>>,
    caller: Caller,
    InPath(order_id): InPath<Uuid>,
) -> Result<Json<OrderHistory>, OrderError> {
    let mut conn = app.db.snapshot().await?;
    let order = store::find_order(&mut conn, order_id).await?.ok_or(OrderError::NotFound)?;
    let placing = story::find_placing(&mut conn, order_id).await?.ok_or(OrderError::NotFound)?;
    let scope = idempotency::user_scope(&order.user_id);
    let stored = idempotency::store::find(&mut conn, &scope, &placing.idempotency_key).await?;
    let kept = stored.filter(|stored| !stored.expired);
    let cancellations = story::list_cancellations(&mut conn, order_id).await?;
    let webhooks = story::list_entries(&mut conn, order_id).await?;
    let deliveries = if caller.principal.may(&[]) {
        Some(story::list_deliveries(&mut conn, order_id, DELIVERIES_MAX).await?)
    } else {
        None
    };
    Ok(Json(OrderHistory {
        claim: kept.map(|kept| KeptClaim { status: kept.status.as_u16(), first_seen: kept.first_seen }),
        born_cancelled: story::find_early(&mut conn, &order.user_id, &placing.idempotency_key).await?,
        order,
        idempotency_key: placing.idempotency_key,
        placed_by: placing.placed_by,
        request_id: placing.request_id,
        hold_id: placing.hold_id,
        cancellations,
        webhooks,
        deliveries,
    }))
}
