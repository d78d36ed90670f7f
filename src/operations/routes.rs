//! The paths of operators, and who may use them.

use std::sync::Arc;

use axum::Router;
use axum::routing::{get, post};

use super::{lock_status, metrics, process_status, release_lock};
use crate::app::App;
use crate::http::auth::Scope::Operator;
use crate::http::open_to;

/// Routes under `/api/v1`.
pub fn routes(app: &Arc<App>) -> Router<Arc<App>> {
    Router::new()
        .route("/status", get(process_status::process_status))
        .route("/locks/status", get(lock_status::lock_status))
        .route("/locks/{key}/release", post(release_lock::release_lock))
        .route_layer(open_to(app, &[Operator]))
}

/// Routes under no prefix.
pub fn root_routes(app: &Arc<App>) -> Router<Arc<App>> {
    Router::new().route("/metrics", get(metrics::metrics)).route_layer(open_to(app, &[Operator]))
}
