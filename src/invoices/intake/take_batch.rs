//! Takes many invoices in, in one transaction, with an answer for each.
//! One that is in already, or twice in the batch, is told so, and keeps no other out.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sqlx::PgConnection;

use super::error::{IntakeError, duplicate};
use super::model::{GivenInvoice, Invoice, Verdict, locks_of};
use super::take_in::{check_given, fade_markers, take_all_in_tx};
use crate::app::App;
use crate::http::answer::Answer;
use crate::http::auth::Caller;
use crate::http::extract::Body;
use crate::http::problem::Problem;
use crate::idempotency::Claim;
use crate::inventory::model::Witness;
use crate::locks::Evidence;
use crate::section::{Section, Verb};

/// The most invoices a batch may have.
const INVOICES_MAX: usize = 100;

/// `POST /invoices/batch`
#[derive(Debug, Deserialize, JsonSchema)]
pub struct TakeBatch {
    #[schemars(length(min = 1, max = INVOICES_MAX))]
    invoices: Vec<GivenInvoice>,
}

/// What came of a batch.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "InvoiceBatchResults")]
pub struct Results {
    results: Vec<OneResult>,
    lock: Evidence,
}

#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "InvoiceBatchResult")]
struct OneResult {
    status: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    invoice: Option<Box<Invoice>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<Value>,
}

impl OneResult {
    fn of(taken: Result<Invoice, Box<Verdict>>) -> Self {
        match taken {
            Ok(invoice) => {
                Self { status: StatusCode::CREATED.as_u16(), invoice: Some(Box::new(invoice)), error: None }
            }
            Err(verdict) => {
                let problem = duplicate(&verdict);
                let error = serde_json::json!({
                    "code": problem.code.as_str(), "detail": problem.detail, "verdict": verdict,
                });
                Self { status: problem.code.status().as_u16(), invoice: None, error: Some(error) }
            }
        }
    }
}

/// # Errors
/// [`Problem`].
pub async fn take_batch(
    State(app): State<Arc<App>>,
    caller: Caller,
    body: Body<TakeBatch>,
) -> Result<Answer, Problem> {
    let given = body.value.invoices;
    if !(1..=INVOICES_MAX).contains(&given.len()) {
        return Err(Problem::invalid("invoices", format!("must be 1 to {INVOICES_MAX} invoices")));
    }
    for (index, given) in given.iter().enumerate() {
        check_given(given, &format!("invoices[{index}]."))?;
    }
    let claim = body.keyed.map(|keyed| Claim::of_subject(&caller.principal.subject, keyed));
    Ok(take_all_in(&app, &caller, &given, claim.as_ref()).await?)
}

/// Takes in under the locks of everything that could be the same as one of them.
///
/// # Errors
/// [`IntakeError`].
async fn take_all_in(
    app: &App,
    caller: &Caller,
    given: &[GivenInvoice],
    claim: Option<&Claim>,
) -> Result<Answer, IntakeError> {
    let facts: Vec<_> = given.iter().map(|given| given.facts(None)).collect();
    let keys = locks_of(given.iter().zip(&facts).map(|(given, facts)| (given.account_id.as_str(), facts)))?;
    let section = Section { app, caller, claim, success: StatusCode::OK };
    let answer = section.run(&keys, &TakingAllIn { app, given }).await.map_err(IntakeError::of_an_upload)?;
    fade_markers(app, given).await;
    Ok(answer)
}

struct TakingAllIn<'a> {
    app: &'a App,
    given: &'a [GivenInvoice],
}

impl Verb for TakingAllIn<'_> {
    type Done = Results;
    type Error = IntakeError;

    fn name(&self) -> &'static str {
        "invoices.take_batch"
    }

    async fn in_tx(&self, conn: &mut PgConnection, witness: Witness<'_>) -> Result<Results, IntakeError> {
        let taken =
            take_all_in_tx(conn, self.app, self.given, witness).await.map_err(|error| match error {
                IntakeError::TooFarAhead(index) => IntakeError::OneTooFarAhead(index),
                error => error,
            })?;
        Ok(Results { results: taken.into_iter().map(OneResult::of).collect(), lock: witness.lock })
    }
}
