//! Tells what an invoice would be judged as, and writes nothing. It promises nothing either: only taking it in does.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use schemars::JsonSchema;
use serde::Serialize;
use sqlx::PgConnection;

use super::case::open_cases;
use super::error::IntakeError;
use super::model::{GivenInvoice, Verdict};
use super::take_in::check_given;
use crate::app::App;
use crate::db::DbError;
use crate::http::answer::Answer;
use crate::http::auth::Caller;
use crate::http::extract::Body;
use crate::http::problem::Problem;
use crate::idempotency::{self, Claim};

/// What an invoice would be judged as.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "InvoiceCheck")]
pub struct Checked {
    verdict: Verdict,
}

/// `POST /invoices/check`
///
/// # Errors
/// [`Problem`].
pub async fn check(
    State(app): State<Arc<App>>,
    caller: Caller,
    body: Body<GivenInvoice>,
) -> Result<Answer, Problem> {
    check_given(&body.value, "")?;
    let claim = body.keyed.map(|keyed| Claim::of_subject(&caller.principal.subject, keyed));
    let claim = claim.as_ref();
    let mut tx = app.db.begin_within(caller.patience.left()).await?;
    let answer = match idempotency::begin_in_tx::<IntakeError>(&mut tx, claim).await? {
        Some(first) => first,
        None => {
            let outcome = check_one(&mut tx, &body.value).await;
            idempotency::finish_in_tx(&mut tx, claim, &caller.request_id, StatusCode::OK, outcome).await?
        }
    };
    tx.commit().await.map_err(DbError::from)?;
    Ok(answer)
}

async fn check_one(conn: &mut PgConnection, given: &GivenInvoice) -> Result<Checked, IntakeError> {
    let cases = open_cases(conn, std::slice::from_ref(given)).await?;
    let case = cases.first().ok_or(IntakeError::NotFound)?;
    Ok(Checked { verdict: case.judge()?.verdict })
}
