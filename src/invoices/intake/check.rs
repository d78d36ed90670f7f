//! Tells what an invoice would be judged as, and writes nothing: its transaction can't. It promises nothing either: only
//! taking it in does.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use schemars::JsonSchema;
use serde::Serialize;

use super::case::open_cases;
use super::error::IntakeError;
use super::model::{GivenInvoice, Verdict};
use super::take_in::check_given;
use crate::app::App;
use crate::db::DbError;
use crate::http::extract::Body;
use crate::http::problem::Problem;

/// What an invoice would be judged as.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "InvoiceCheck")]
pub struct Checked {
    verdict: Verdict,
}

/// `POST /invoices/check`. An idempotency key is passed over: to keep an answer would be to write it.
///
/// # Errors
/// [`Problem`].
pub async fn check(State(app): State<Arc<App>>, body: Body<GivenInvoice>) -> Result<Json<Checked>, Problem> {
    check_given(&body.value, "")?;
    Ok(Json(check_one(&app, &body.value).await?))
}

async fn check_one(app: &App, given: &GivenInvoice) -> Result<Checked, IntakeError> {
    let mut tx = app.db.snapshot().await?;
    let cases = open_cases(&mut tx, std::slice::from_ref(given)).await?;
    let case = cases.first().ok_or(IntakeError::NotFound)?;
    let verdict = case.judge()?.verdict;
    tx.commit().await.map_err(DbError::from)?;
    Ok(Checked { verdict })
}
