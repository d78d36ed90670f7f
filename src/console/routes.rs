//! The paths of the console, open to anyone: its files say nothing that is not in this repository.

use std::sync::Arc;

use axum::Router;
use axum::routing::get;

use crate::app::App;

/// Routes under no prefix.
pub fn routes() -> Router<Arc<App>> {
    Router::new().route("/", get(super::page)).route("/console/{file}", get(super::file))
}
