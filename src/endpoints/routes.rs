//! The paths of endpoints, and who may use them.

use std::sync::Arc;

use axum::Router;
use axum::routing::{get, post};

use super::{read, register, remove, replay, rotate};
use crate::app::App;
use crate::http::auth::Scope::Operator;
use crate::http::open_to;

/// Routes under `/api/v1`.
pub fn routes(app: &Arc<App>) -> Router<Arc<App>> {
    Router::new()
        .route("/webhook-endpoints", get(read::list_endpoints).post(register::register))
        .route("/webhook-endpoints/{endpoint_id}", get(read::get_endpoint).delete(remove::remove))
        .route("/webhook-endpoints/{endpoint_id}/deliveries", get(read::list_deliveries))
        .route("/webhook-endpoints/{endpoint_id}/replay", post(replay::replay))
        .route("/webhook-endpoints/{endpoint_id}/rotate", post(rotate::rotate))
        .route_layer(open_to(app, &[Operator]))
}
