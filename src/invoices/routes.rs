//! The paths of invoices, and who may use them.

use std::sync::Arc;

use axum::Router;
use axum::routing::{get, post};

use super::pos::{read, save, submit, take_back};
use crate::app::App;
use crate::http::auth::Scope::Finance;
use crate::http::open_to;

/// Routes under `/api/v1`.
pub fn routes(app: &Arc<App>) -> Router<Arc<App>> {
    let finance = open_to(app, &[Finance]);
    Router::new()
        .route("/pos/invoices/{name}", get(read::get_invoice).put(save::save))
        .route("/pos/invoices/{name}/history", get(read::list_history))
        .route("/pos/invoices/{name}/submit", post(submit::submit))
        .route("/pos/invoices/{name}/return", post(take_back::take_back))
        .route_layer(finance)
}
