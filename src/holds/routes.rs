//! The paths of holds, and who may use them.

use std::sync::Arc;

use axum::Router;
use axum::routing::{get, post};

use super::{capture, extend, hold, read, release};
use crate::app::App;
use crate::http::auth::Scope::Storefront;
use crate::http::open_to;

/// Routes under `/api/v1`.
pub fn routes(app: &Arc<App>) -> Router<Arc<App>> {
    let storefront = open_to(app, &[Storefront]);
    Router::new()
        .route("/holds", get(read::list_holds).post(hold::hold))
        .route("/holds/{hold_id}", get(read::get_hold))
        .route("/holds/{hold_id}/capture", post(capture::capture))
        .route("/holds/{hold_id}/release", post(release::release))
        .route("/holds/{hold_id}/extend", post(extend::extend))
        .route_layer(storefront)
}
