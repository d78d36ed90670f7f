//! Takes many invoices in, with an answer for each: in the order in which they are given, one beside another, some at a
//! time, so that no batch locks all that others need.
//! One that is wrong, in already, or twice in the batch, is told so, and keeps no other out.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sqlx::PgConnection;
use tokio::time::Instant;

use super::error::IntakeError;
use super::model::{GivenInvoice, Invoice, locks_of};
use super::take_in::{check_given, fade_markers, take_all_in_tx};
use crate::app::App;
use crate::http::answer::Answer;
use crate::http::auth::Caller;
use crate::http::extract::{Body, fields};
use crate::http::problem::Problem;
use crate::idempotency::{Claim, Refuses};
use crate::inventory::model::Witness;
use crate::locks::{Evidence, LockMode};
use crate::section::{Section, Verb};

/// The most invoices a batch may have.
const INVOICES_MAX: usize = 100;
/// So many are taken in at once: each locks up to eight names, for which Postgres has room for some thousands.
const AT_ONCE: usize = 20;

/// `POST /invoices/batch`
#[derive(Debug, Deserialize, JsonSchema)]
pub struct TakeBatch {
    /// Each as the body of `POST /invoices`. It is read for itself: a wrong one has its own 422, and the others are taken in.
    #[schemars(length(min = 1, max = INVOICES_MAX))]
    invoices: Vec<Value>,
}

/// What came of some of a batch, as it is kept with the batch's key.
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
    fn of(taken: Result<Invoice, IntakeError>) -> Self {
        match taken {
            Ok(invoice) => {
                Self { status: StatusCode::CREATED.as_u16(), invoice: Some(Box::new(invoice)), error: None }
            }
            Err(error) => Self::refused(&error.problem()),
        }
    }

    fn refused(problem: &Problem) -> Self {
        let mut error = json!({"code": problem.code.as_str(), "detail": problem.detail});
        if !problem.errors.is_empty() {
            error["errors"] = serde_json::to_value(&problem.errors).unwrap_or_default();
        }
        for (name, value) in &problem.more {
            error[name] = value.clone();
        }
        Self { status: problem.code.status().as_u16(), invoice: None, error: Some(error) }
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
    let claim = body.keyed.map(|keyed| Claim::of_subject(&caller.principal.subject, keyed));
    let mut results = Vec::with_capacity(given.len());
    let (mut places, mut right) = (Vec::new(), Vec::new());
    for (place, given) in given.iter().enumerate() {
        let read = fields::<GivenInvoice>(given).and_then(|given| check_given(&given, "").map(|()| given));
        match read {
            Ok(given) => {
                results.push(Value::Null);
                places.push(place);
                right.push(given);
            }
            Err(problem) => results.push(json!(OneResult::refused(&problem))),
        }
    }
    let taken = take_in_sections(&app, &caller, &right, claim.as_ref()).await?;
    for (place, result) in places.into_iter().zip(taken.results) {
        results[place] = result;
    }
    let lock = Evidence { mode: taken.mode, wait_ms: taken.wait_ms };
    let answer = Answer::json(StatusCode::OK, &json!({"results": results, "lock": lock}));
    let answer = if taken.is_replayed { answer.replayed() } else { answer };
    Ok(answer.guarded(lock, taken.began.elapsed()))
}

/// What came of all sections of a batch.
struct Taken {
    results: Vec<Value>,
    mode: LockMode,
    wait_ms: u32,
    is_replayed: bool,
    began: Instant,
}

/// Takes in some at a time. If not even the first can be done the batch is refused; what can't be done later is told of
/// those it is true of, and no key remembers it: the batch sent again does the rest.
async fn take_in_sections(
    app: &App,
    caller: &Caller,
    given: &[GivenInvoice],
    claim: Option<&Claim>,
) -> Result<Taken, IntakeError> {
    let mut all = Taken {
        results: Vec::with_capacity(given.len()),
        mode: LockMode::TwoLayer,
        wait_ms: 0,
        is_replayed: !given.is_empty(),
        began: Instant::now(),
    };
    if given.is_empty() {
        all.mode = app.locks.mode();
    }
    for (number, some) in given.chunks(AT_ONCE).enumerate() {
        match take_some_in(app, caller, some, claim.map(|claim| claim.part(number)).as_ref()).await {
            Ok(answer) => all.add(&answer),
            Err(error) if number == 0 => return Err(error),
            Err(error) => {
                let refused = json!(OneResult::refused(&error.problem()));
                all.results.extend(some.iter().map(|_| refused.clone()));
                all.is_replayed = false;
            }
        }
    }
    Ok(all)
}

impl Taken {
    fn add(&mut self, answer: &Answer) {
        let mut told: Value = serde_json::from_slice(answer.body()).unwrap_or_default();
        if let Some(Value::Array(results)) = told.get_mut("results").map(Value::take) {
            self.results.extend(results);
        }
        if told["lock"]["mode"] == LockMode::DatabaseOnly.as_str() {
            self.mode = LockMode::DatabaseOnly;
        }
        let waited = told["lock"]["wait_ms"].as_u64().and_then(|wait_ms| u32::try_from(wait_ms).ok());
        self.wait_ms = self.wait_ms.saturating_add(waited.unwrap_or(u32::MAX));
        self.is_replayed &= answer.is_replayed();
    }
}

/// Takes in under the locks of everything that could be the same as one of them.
///
/// # Errors
/// [`IntakeError`].
async fn take_some_in(
    app: &App,
    caller: &Caller,
    given: &[GivenInvoice],
    claim: Option<&Claim>,
) -> Result<Answer, IntakeError> {
    let facts: Vec<_> = given.iter().map(|given| given.facts(None)).collect();
    let keys = locks_of(given.iter().zip(&facts).map(|(given, facts)| (given.account_id.as_str(), facts)))?;
    let section = Section { app, caller, claim, success: StatusCode::OK };
    let answer = section.run(&keys, &TakingSomeIn { app, given }).await.map_err(IntakeError::of_an_upload)?;
    fade_markers(app, given).await;
    Ok(answer)
}

struct TakingSomeIn<'a> {
    app: &'a App,
    given: &'a [GivenInvoice],
}

impl Verb for TakingSomeIn<'_> {
    type Done = Results;
    type Error = IntakeError;

    async fn in_tx(&self, conn: &mut PgConnection, witness: Witness<'_>) -> Result<Results, IntakeError> {
        let taken = take_all_in_tx(conn, self.app, self.given, witness).await?;
        Ok(Results { results: taken.into_iter().map(OneResult::of).collect(), lock: witness.lock })
    }
}
