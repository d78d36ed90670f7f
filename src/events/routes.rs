//! The paths of events, and who may use them.

use std::sync::Arc;

use axum::Router;
use axum::routing::get;

use super::stream;
use crate::app::App;
use crate::http::auth::Scope::{Finance, Storefront, Warehouse};
use crate::http::open_to;

/// Routes under `/api/v1`. What each scope sees is for [`Choice`](super::choice::Choice) to say.
pub fn routes(app: &Arc<App>) -> Router<Arc<App>> {
    Router::new()
        .route("/events", get(stream::stream))
        .route_layer(open_to(app, &[Storefront, Warehouse, Finance]))
}
