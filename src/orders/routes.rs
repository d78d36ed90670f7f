//! The paths of orders, and who may use them.

use std::sync::Arc;

use axum::Router;
use axum::routing::{get, post};

use super::{cancel, history, look_up_key, place, read};
use crate::app::App;
use crate::http::auth::Scope::Storefront;
use crate::http::open_to;

/// Routes under `/api/v1`.
pub fn routes(app: &Arc<App>) -> Router<Arc<App>> {
    let storefront = open_to(app, &[Storefront]);
    Router::new()
        .route("/orders", get(read::list_orders).post(place::place))
        .route("/orders/{order_id}", get(read::get_order))
        .route("/orders/{order_id}/history", get(history::get_history))
        .route("/orders/{order_id}/cancel", post(cancel::cancel))
        .route("/idempotency-keys/{key}", get(look_up_key::look_up_key))
        .route_layer(storefront)
}
