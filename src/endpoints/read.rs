//! Reads: endpoints, and what became of their deliveries. Secrets are not shown.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::error::EndpointError;
use super::model::{Delivery, DeliveryState, Endpoint};
use super::{log, store};
use crate::app::App;
use crate::http::extract::{InPath, Params};
use crate::http::page::{Limit, Page};

/// All there are: at most a hundred.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "EndpointList")]
pub struct Endpoints {
    items: Vec<Endpoint>,
}

/// # Errors
/// [`EndpointError`].
pub async fn list_endpoints(State(app): State<Arc<App>>) -> Result<Json<Endpoints>, EndpointError> {
    Ok(Json(Endpoints { items: store::list_endpoints(&mut *app.db.read().await?, None).await? }))
}

/// # Errors
/// [`EndpointError`].
pub async fn get_endpoint(
    State(app): State<Arc<App>>,
    InPath(endpoint_id): InPath<Uuid>,
) -> Result<Json<Endpoint>, EndpointError> {
    let found = store::list_endpoints(&mut *app.db.read().await?, Some(endpoint_id)).await?.pop();
    Ok(Json(found.ok_or(EndpointError::NotFound)?))
}

/// `GET /webhook-endpoints/{endpoint_id}/deliveries?state=&limit=&cursor=`
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ListDeliveries {
    state: Option<DeliveryState>,
    #[serde(default)]
    limit: Limit,
    cursor: Option<Uuid>,
}

/// # Errors
/// [`EndpointError`].
pub async fn list_deliveries(
    State(app): State<Arc<App>>,
    InPath(endpoint_id): InPath<Uuid>,
    Params(query): Params<ListDeliveries>,
) -> Result<Json<Page<Delivery>>, EndpointError> {
    let mut conn = app.db.read().await?;
    // Its deliveries outlast it for a while.
    if !store::is_registered(&mut conn, endpoint_id).await? {
        return Err(EndpointError::NotFound);
    }
    let (state, limit) = (query.state.map(DeliveryState::as_str), query.limit.and_one());
    let found = log::list_deliveries(&mut conn, endpoint_id, state, query.cursor, limit).await?;
    Ok(Json(Page::of(found, query.limit, |delivery| delivery.delivery_id.to_string())))
}
