//! The paths of invoices, and who may use them.

use std::sync::Arc;

use axum::Router;
use axum::routing::{get, post};

use super::intake::{check, override_verdict, receive, set_policy, take_batch, take_in, void};
use super::markers::{beat, clear, fail, finish, start};
use super::pos::{save, submit, take_back};
use super::{intake, markers, pos};
use crate::app::App;
use crate::http::auth::Scope::Finance;
use crate::http::open_to;

/// Routes under `/api/v1`.
pub fn routes(app: &Arc<App>) -> Router<Arc<App>> {
    let finance = open_to(app, &[Finance]);
    Router::new()
        .route("/pos/invoices/{name}", get(pos::read::get_invoice).put(save::save))
        .route("/pos/invoices/{name}/history", get(pos::read::list_history))
        .route("/pos/invoices/{name}/submit", post(submit::submit))
        .route("/pos/invoices/{name}/return", post(take_back::take_back))
        .route("/invoices", get(intake::read::list_invoices).post(take_in::take_in))
        .route("/invoices/batch", post(take_batch::take_batch))
        .route("/invoices/check", post(check::check))
        .route("/invoices/policies/{account_id}", get(set_policy::get_policy).put(set_policy::set_policy))
        .route(
            "/invoices/processing",
            get(markers::read::get_of_file).post(start::start).delete(clear::clear_of_file),
        )
        .route("/invoices/processing/{marker}", get(markers::read::get_marker).delete(clear::clear_marker))
        .route("/invoices/processing/{marker}/beat", post(beat::beat))
        .route("/invoices/processing/{marker}/finish", post(finish::finish))
        .route("/invoices/processing/{marker}/fail", post(fail::fail))
        .route("/invoices/{invoice_id}", get(intake::read::get_invoice))
        .route("/invoices/{invoice_id}/override", post(override_verdict::override_verdict))
        .route("/invoices/{invoice_id}/void", post(void::void))
        .route("/invoices/{invoice_id}/receive", post(receive::receive))
        .route_layer(finance)
}
