//! Several changes in one call: all or none (`atomic`), or each for itself (`independent`).
//! An atomic batch is refused whole, naming every operation that can't be done.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sqlx::{Connection, PgConnection};

use super::error::{OperationFailure, StockError};
use super::ledger::Ledger;
use super::model::{Movement, Witness};
use super::operation::{Operation, Wanted};
use crate::app::App;
use crate::db::DbError;
use crate::http::answer::Answer;
use crate::http::auth::Caller;
use crate::http::extract::Body;
use crate::http::problem::{FieldError, Problem};
use crate::idempotency::{self, Claim, IN_HAND_WAIT, IdempotencyError};
use crate::locks::{Evidence, LockKeys};
use crate::section::{Section, Verb};

/// The most operations one batch may have.
const OPERATIONS_MAX: usize = 1_000;

/// `POST /inventory/batch`
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(rename = "StockBatch")]
pub struct Batch {
    mode: Mode,
    #[schemars(length(min = 1, max = OPERATIONS_MAX))]
    operations: Vec<Operation>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "StockBatchMode")]
enum Mode {
    Atomic,
    Independent,
}

/// What one operation came to.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[schemars(rename = "StockBatchResult")]
struct OneResult {
    status: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Movement>")]
    movement: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<OneError>")]
    error: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    replayed: bool,
}

#[derive(Debug, Clone, Serialize, JsonSchema)]
#[schemars(rename = "StockBatchError")]
struct OneError {
    code: &'static str,
    detail: String,
    errors: Vec<FieldError>,
}

/// What a batch came to.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "StockBatchResults")]
pub struct Results {
    results: Vec<OneResult>,
    lock: Evidence,
}

/// # Errors
/// [`Problem`].
pub async fn batch(
    State(app): State<Arc<App>>,
    caller: Caller,
    body: Body<Batch>,
) -> Result<Answer, Problem> {
    let claim = body.keyed.map(|keyed| Claim::of_subject(&caller.principal.subject, keyed));
    let wanted = read(&caller, &body.value.operations, claim.as_ref())?;
    Ok(change_all(&app, &caller, body.value.mode, &wanted, claim.as_ref()).await?)
}

/// Checks every operation on its own before anything is locked.
fn read(caller: &Caller, operations: &[Operation], claim: Option<&Claim>) -> Result<Vec<Wanted>, Problem> {
    if !(1..=OPERATIONS_MAX).contains(&operations.len()) {
        return Err(Problem::invalid("operations", format!("must be 1 to {OPERATIONS_MAX} operations")));
    }
    let mut keys: HashSet<String> = claim.map(|claim| claim.key.clone()).into_iter().collect();
    let mut all = Vec::with_capacity(operations.len());
    for (index, operation) in operations.iter().enumerate() {
        let at = format!("operations[{index}]");
        let wanted = operation.read(caller, &at)?;
        if let Some(claim) = &wanted.claim
            && !keys.insert(claim.key.clone())
        {
            let message = "is the key of another operation, or of the batch itself";
            return Err(Problem::invalid(format!("{at}.key"), message));
        }
        all.push(wanted);
    }
    Ok(all)
}

async fn change_all(
    app: &App,
    caller: &Caller,
    mode: Mode,
    wanted: &[Wanted],
    claim: Option<&Claim>,
) -> Result<Answer, StockError> {
    let keys = LockKeys::variants(wanted.iter().map(|wanted| wanted.variant_id))?;
    let section = Section { app, caller, claim, success: StatusCode::OK };
    section.run(&keys, &Changes { mode, wanted, keys: &keys }).await
}

struct Changes<'a> {
    mode: Mode,
    wanted: &'a [Wanted],
    keys: &'a LockKeys,
}

impl Verb for Changes<'_> {
    type Done = Results;
    type Error = StockError;

    async fn in_tx(&self, conn: &mut PgConnection, witness: Witness<'_>) -> Result<Results, StockError> {
        // A refused batch gives back the claims of its operations, and keeps its own.
        let mut attempt = conn.begin().await.map_err(DbError::from)?;
        let outcome = batch_in_tx(&mut attempt, self.mode, self.wanted, self.keys, witness).await;
        let ended = if outcome.is_ok() { attempt.commit().await } else { attempt.rollback().await };
        ended.map_err(DbError::from)?;
        outcome
    }
}

/// Claims the operations' own keys, locks all rows, decides one operation after another on the level the
/// one before it left, and writes what may be done.
async fn batch_in_tx(
    conn: &mut PgConnection,
    mode: Mode,
    wanted: &[Wanted],
    keys: &LockKeys,
    witness: Witness<'_>,
) -> Result<Results, StockError> {
    let mut results = HashMap::new();
    let mut failures = Vec::new();
    claim_each(conn, wanted, &mut results, &mut failures).await?;
    let mut ledger = Ledger::lock_in_tx(conn, &keys.variant_ids()).await?;
    let mut decided = Vec::new();
    for (index, wanted) in wanted.iter().enumerate() {
        if results.contains_key(&index) || failures.iter().any(|(failed, _)| *failed == index) {
            continue;
        }
        match ledger.decide(wanted.variant_id, wanted.change, wanted.occasion.clone(), witness) {
            Ok(()) => decided.push(index),
            Err(refusal) => failures.push((index, OperationFailure::Refused(refusal))),
        }
    }
    if mode == Mode::Atomic && !failures.is_empty() {
        failures.sort_unstable_by_key(|(index, _)| *index);
        return Err(StockError::Batch(failures));
    }
    let movements = ledger.write_in_tx(conn).await?;
    results.extend(decided.into_iter().zip(movements.iter().map(OneResult::moved)));
    results.extend(failures.iter().map(|(index, failure)| (*index, OneResult::failed(failure))));
    keep_each(conn, wanted, &results, &failures).await?;
    let results = (0..wanted.len()).filter_map(|index| results.remove(&index)).collect();
    Ok(Results { results, lock: witness.lock })
}

/// Claims the operations' keys. What was done before is in `results` then, what can't be in `failures`.
async fn claim_each(
    conn: &mut PgConnection,
    wanted: &[Wanted],
    results: &mut HashMap<usize, OneResult>,
    failures: &mut Vec<(usize, OperationFailure)>,
) -> Result<(), StockError> {
    let (indices, claims): (Vec<_>, Vec<_>) =
        wanted.iter().enumerate().filter_map(|(index, wanted)| Some((index, wanted.claim.as_ref()?))).unzip();
    let found = idempotency::begin_all_in_tx(conn, &claims, IN_HAND_WAIT).await?;
    let found = found.ok_or(IdempotencyError::InFlight)?;
    for (index, found) in indices.into_iter().zip(found) {
        match found {
            Ok(None) => {}
            Ok(Some(first)) => {
                results.insert(index, OneResult::replayed(&first));
            }
            Err(IdempotencyError::Reused(_)) => failures.push((index, OperationFailure::KeyReused)),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Keeps the result of each operation that has a key and was done or refused just now. The keys of those
/// that failed otherwise stay free.
async fn keep_each(
    conn: &mut PgConnection,
    wanted: &[Wanted],
    results: &HashMap<usize, OneResult>,
    failures: &[(usize, OperationFailure)],
) -> Result<(), StockError> {
    let fails_openly = |index: usize| {
        failures.iter().any(|(failed, failure)| *failed == index && !failure.code().is_refusal())
    };
    let reused = |index: usize| {
        failures.iter().any(|(failed, failure)| *failed == index && *failure == OperationFailure::KeyReused)
    };
    let (mut kept, mut freed) = (Vec::new(), Vec::new());
    for (index, wanted) in wanted.iter().enumerate() {
        let (Some(claim), Some(result)) = (&wanted.claim, results.get(&index)) else { continue };
        if result.replayed || reused(index) {
            continue;
        }
        if fails_openly(index) {
            freed.push(claim);
        } else {
            kept.push((claim, result.answer()));
        }
    }
    let kept: Vec<_> = kept.iter().map(|(claim, answer)| (*claim, answer)).collect();
    idempotency::finish_all_in_tx(conn, &kept, &freed).await.map_err(StockError::from)
}

impl OneResult {
    fn moved(movement: &Movement) -> Self {
        let movement = serde_json::value::to_raw_value(movement).ok();
        Self { status: 200, movement, error: None, replayed: false }
    }

    fn failed(failure: &OperationFailure) -> Self {
        let status = failure.code().status().as_u16();
        let error = OneError {
            code: failure.code().as_str(),
            detail: failure.to_string(),
            errors: vec![failure.field_error()],
        };
        Self { status, movement: None, error: serde_json::value::to_raw_value(&error).ok(), replayed: false }
    }

    fn replayed(first: &Answer) -> Self {
        let body = serde_json::from_slice::<Box<RawValue>>(first.body()).ok();
        let (movement, error) = if first.status().is_success() { (body, None) } else { (None, body) };
        Self { status: first.status().as_u16(), movement, error, replayed: true }
    }

    /// What a repetition of this operation is to be answered with.
    fn answer(&self) -> Answer {
        let body = self.movement.as_ref().or(self.error.as_ref()).map_or("null", |body| body.get());
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        Answer::stored(status, body.as_bytes().to_vec())
    }
}
