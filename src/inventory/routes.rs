//! The paths of stock and catalogue, and who may use them.

use std::sync::Arc;

use axum::Router;
use axum::routing::{get, post};

use super::{adjust, audit, audits, batch, check_stock, create_variant, decrement, increment, levels};
use crate::app::App;
use crate::http::auth::Scope::{Operator, Storefront, Warehouse};
use crate::http::open_to;

/// Routes under `/api/v1`.
pub fn routes(app: &Arc<App>) -> Router<Arc<App>> {
    let readers = open_to(app, &[Storefront, Warehouse]);
    let storefront = open_to(app, &[Storefront]);
    let warehouse = open_to(app, &[Warehouse]);
    let operator = open_to(app, &[Operator]);
    Router::new()
        .route("/variants", get(levels::list_variants).route_layer(readers.clone()))
        .route("/variants", post(create_variant::create_variant).route_layer(operator.clone()))
        .route("/variants/{variant_id}", get(levels::get_variant).route_layer(readers.clone()))
        .route("/inventory/audit", get(audit::audit).route_layer(operator.clone()))
        .route("/inventory/audits", get(audits::list_audits).route_layer(operator))
        .route("/inventory/batch", post(batch::batch).route_layer(readers.clone()))
        .route(
            "/inventory/check-stock/bulk",
            post(check_stock::check_stock_bulk).route_layer(readers.clone()),
        )
        .route(
            "/inventory/check-stock/{variant_id}",
            get(check_stock::check_stock).route_layer(readers.clone()),
        )
        .route("/inventory/{variant_id}", get(levels::get_level).route_layer(readers.clone()))
        .route("/inventory/{variant_id}/movements", get(levels::list_movements).route_layer(readers))
        .route("/inventory/{variant_id}/adjust", post(adjust::adjust).route_layer(warehouse))
        .route(
            "/inventory/{variant_id}/decrement",
            post(decrement::decrement).route_layer(storefront.clone()),
        )
        .route("/inventory/{variant_id}/increment", post(increment::increment).route_layer(storefront))
}
