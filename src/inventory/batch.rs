//! Several changes in one call: all or none (`atomic`), or each for itself (`independent`).
//! An atomic batch is refused whole, naming every operation that can't be done.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sqlx::{Acquire, PgConnection};
use tokio::time::Instant;
use uuid::Uuid;

use super::error::StockError;
use super::ledger::Ledger;
use super::model::{Delta, Movement, Occasion, OnHand, Quantity, Witness};
use super::rules::{Change, Refusal};
use crate::app::App;
use crate::db::{DbError, retrying};
use crate::http::answer::Answer;
use crate::http::auth::{Caller, Scope};
use crate::http::extract::Body;
use crate::http::problem::{Code, FieldError, Problem};
use crate::idempotency::{self, Claim, Fingerprint, IdempotencyError, KeyedRequest};
use crate::locks::{Evidence, LockKeys};
use crate::text::{Reason, Reference};

/// The most operations one batch may have.
const OPERATIONS_MAX: usize = 1_000;

/// `POST /inventory/batch`
#[derive(Debug, Deserialize)]
pub struct Batch {
    mode: Mode,
    operations: Vec<Operation>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Mode {
    Atomic,
    Independent,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Verb {
    Adjust,
    Decrement,
    Increment,
}

/// One operation: the fields of the verb it names.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Operation {
    op: Verb,
    variant_id: Uuid,
    delta: Option<Delta>,
    quantity: Option<Quantity>,
    change_from: Option<OnHand>,
    reason: Option<Reason>,
    reference: Option<Reference>,
    key: Option<String>,
}

/// An operation that has been read and makes sense.
#[derive(Debug, Clone)]
struct Wanted {
    variant_id: Uuid,
    change: Change,
    occasion: Occasion,
    claim: Option<Claim>,
}

/// What one operation came to.
#[derive(Debug, Clone, Serialize)]
struct OneResult {
    status: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    movement: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    replayed: bool,
}

#[derive(Debug, Clone, Serialize)]
struct OneError {
    code: &'static str,
    detail: String,
    errors: Vec<FieldError>,
}

#[derive(Debug, Serialize)]
struct Results {
    results: Vec<OneResult>,
    lock: Evidence,
}

/// # Errors
/// [`StockError`].
pub async fn batch(
    State(app): State<Arc<App>>,
    caller: Caller,
    body: Body<Batch>,
) -> Result<Answer, StockError> {
    let claim = body
        .keyed
        .map(|keyed| Claim::of_subject(&caller.principal.subject, keyed));
    let wanted =
        read(&caller, &body.value.operations).map_err(|problem| StockError::Batch(Box::new(problem)))?;
    run(&app, &caller, body.value.mode, &wanted, claim.as_ref()).await
}

/// Checks every operation on its own before anything is locked.
fn read(caller: &Caller, operations: &[Operation]) -> Result<Vec<Wanted>, Problem> {
    if !(1..=OPERATIONS_MAX).contains(&operations.len()) {
        return Err(Problem::invalid(
            "operations",
            format!("must be 1 to {OPERATIONS_MAX} operations"),
        ));
    }
    let mut keys = HashSet::new();
    let mut wanted = Vec::with_capacity(operations.len());
    for (index, operation) in operations.iter().enumerate() {
        let at = |field: &str| format!("operations[{index}].{field}");
        let needed = match operation.op {
            Verb::Adjust => Scope::Warehouse,
            Verb::Decrement | Verb::Increment => Scope::Storefront,
        };
        if !caller.principal.may(&[needed]) {
            let detail = format!(
                "{} needs a key with scope {} or operator.",
                at("op"),
                needed.as_str()
            );
            return Err(Problem::new(Code::Forbidden, detail));
        }
        let change = change_of(operation).map_err(|(field, message)| Problem::invalid(at(field), message))?;
        if operation.key.as_ref().is_some_and(|key| !keys.insert(key)) {
            return Err(Problem::invalid(
                at("key"),
                "is used by another operation of this batch",
            ));
        }
        let claim = claim_of(caller, operation)
            .map_err(|_| Problem::invalid(at("key"), "must be 1 to 255 visible ASCII characters"))?;
        let occasion = Occasion {
            reason: operation.reason.clone(),
            reference: operation.reference.clone(),
            ..Occasion::default()
        };
        wanted.push(Wanted {
            variant_id: operation.variant_id,
            change,
            occasion,
            claim,
        });
    }
    Ok(wanted)
}

/// The change an operation wants, or which field is wrong and why.
fn change_of(operation: &Operation) -> Result<Change, (&'static str, &'static str)> {
    let Operation {
        op,
        delta,
        quantity,
        change_from,
        reason,
        ..
    } = operation;
    if *op == Verb::Adjust {
        let delta = delta.ok_or(("delta", "is required by adjust"))?;
        if reason.is_none() {
            return Err(("reason", "is required by adjust"));
        }
        if quantity.is_some() {
            return Err(("quantity", "is not a field of adjust; use delta"));
        }
        return Ok(Change::Adjust {
            delta,
            believed: *change_from,
        });
    }
    if delta.is_some() {
        return Err(("delta", "is a field of adjust alone; use quantity"));
    }
    if change_from.is_some() {
        return Err(("change_from", "is a field of adjust alone"));
    }
    let quantity = quantity.ok_or(("quantity", "is required"))?;
    Ok(if *op == Verb::Decrement {
        Change::Sell(quantity)
    } else {
        Change::Return(quantity)
    })
}

fn claim_of(caller: &Caller, operation: &Operation) -> Result<Option<Claim>, IdempotencyError> {
    let Some(key) = &operation.key else {
        return Ok(None);
    };
    let key = idempotency::parse_key(key)?.to_owned();
    let body = serde_json::to_vec(operation).unwrap_or_default();
    let keyed = KeyedRequest {
        key,
        fingerprint: Fingerprint::of("POST", "batch operation", &body),
    };
    Ok(Some(Claim::of_subject(&caller.principal.subject, keyed)))
}

async fn run(
    app: &App,
    caller: &Caller,
    mode: Mode,
    wanted: &[Wanted],
    claim: Option<&Claim>,
) -> Result<Answer, StockError> {
    retrying(async || {
        let keys = LockKeys::variants(wanted.iter().map(|wanted| wanted.variant_id))?;
        let lease = app.locks.acquire(keys.clone(), &caller.gone).await?;
        let evidence = lease.evidence();
        lease
            .release_after(section(app, caller, mode, wanted, (claim, &keys, evidence)))
            .await
    })
    .await
}

async fn section(
    app: &App,
    caller: &Caller,
    mode: Mode,
    wanted: &[Wanted],
    (claim, keys, lock): (Option<&Claim>, &LockKeys, Evidence),
) -> Result<Answer, StockError> {
    let started = Instant::now();
    let mut tx = app.db.begin().await?;
    let answer = match idempotency::begin_in_tx::<StockError>(&mut tx, claim).await? {
        Some(first) => first,
        None => {
            let witness = Witness {
                subject: &caller.principal.subject,
                request_id: &caller.request_id,
                lock,
            };
            // A refused batch gives back the claims of its operations, and keeps its own.
            let mut attempt = tx.begin().await.map_err(DbError::from)?;
            let outcome = batch_in_tx(&mut attempt, mode, wanted, keys, witness).await;
            let ended = if outcome.is_ok() {
                attempt.commit().await
            } else {
                attempt.rollback().await
            };
            ended.map_err(DbError::from)?;
            idempotency::finish_in_tx(&mut tx, claim, &caller.request_id, StatusCode::OK, outcome).await?
        }
    };
    tx.commit().await.map_err(DbError::from)?;
    Ok(answer.guarded(lock, started.elapsed()))
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
    let mut results = claim_each(conn, wanted).await?;
    let mut ledger = Ledger::lock_in_tx(conn, &keys.variant_ids()).await?;
    let mut refusals = Vec::new();
    let mut decided = Vec::new();
    for (index, wanted) in wanted.iter().enumerate() {
        if results.contains_key(&index) {
            continue;
        }
        match ledger.decide(wanted.variant_id, wanted.change, wanted.occasion.clone()) {
            Ok(()) => decided.push(index),
            Err(refusal) => refusals.push((index, refusal)),
        }
    }
    if mode == Mode::Atomic && !refusals.is_empty() {
        return Err(StockError::Batch(Box::new(refused_whole(&refusals))));
    }
    let movements = ledger.write_in_tx(conn, witness).await?;
    results.extend(decided.into_iter().zip(movements.iter().map(OneResult::moved)));
    results.extend(
        refusals
            .iter()
            .map(|(index, refusal)| (*index, OneResult::refused(refusal))),
    );
    let results: Vec<_> = (0..wanted.len())
        .filter_map(|index| results.remove(&index))
        .collect();
    store_each(conn, wanted, &results).await?;
    Ok(Results {
        results,
        lock: witness.lock,
    })
}

/// Claims each operation's key, in one order for all batches, and gives the results of those that were
/// done before.
async fn claim_each(
    conn: &mut PgConnection,
    wanted: &[Wanted],
) -> Result<HashMap<usize, OneResult>, StockError> {
    let mut claims: Vec<_> = wanted
        .iter()
        .enumerate()
        .filter_map(|(index, wanted)| Some((wanted.claim.as_ref()?, index)))
        .collect();
    claims.sort_unstable_by_key(|(claim, _)| &claim.key);
    let mut done = HashMap::new();
    for (claim, index) in claims {
        if let Some(first) = idempotency::begin_in_tx::<StockError>(conn, Some(claim)).await? {
            done.insert(index, OneResult::replayed(&first));
        }
    }
    Ok(done)
}

/// Keeps the result of each operation that has a key and was done or refused just now.
async fn store_each(
    conn: &mut PgConnection,
    wanted: &[Wanted],
    results: &[OneResult],
) -> Result<(), StockError> {
    for (wanted, result) in wanted.iter().zip(results) {
        let Some(claim) = wanted.claim.as_ref().filter(|_| !result.replayed) else {
            continue;
        };
        let status = StatusCode::from_u16(result.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let body = result
            .movement
            .as_ref()
            .or(result.error.as_ref())
            .map_or("null", |body| body.get());
        let answer = Answer::stored(status, body.as_bytes().to_vec());
        idempotency::store::answer(conn, claim, &answer).await?;
    }
    Ok(())
}

impl OneResult {
    fn moved(movement: &Movement) -> Self {
        let movement = serde_json::value::to_raw_value(movement).ok();
        Self {
            status: 200,
            movement,
            error: None,
            replayed: false,
        }
    }

    fn refused(refusal: &Refusal) -> Self {
        let problem = refusal.problem();
        let error = OneError {
            code: problem.code.as_str(),
            detail: problem.detail,
            errors: problem.errors,
        };
        let status = problem.code.status().as_u16();
        Self {
            status,
            movement: None,
            error: serde_json::value::to_raw_value(&error).ok(),
            replayed: false,
        }
    }

    fn replayed(first: &Answer) -> Self {
        let body = serde_json::from_slice::<Box<RawValue>>(first.body()).ok();
        let (movement, error) = if first.status().is_success() {
            (body, None)
        } else {
            (None, body)
        };
        Self {
            status: first.status().as_u16(),
            movement,
            error,
            replayed: true,
        }
    }
}

fn refused_whole(refusals: &[(usize, Refusal)]) -> Problem {
    let first = refusals
        .first()
        .map_or(Code::BatchRefused, |(_, refusal)| refusal.code());
    let alike =
        first == Code::InsufficientStock && refusals.iter().all(|(_, refusal)| refusal.code() == first);
    let code = if alike { first } else { Code::BatchRefused };
    let errors = refusals.iter().map(|(index, refusal)| {
        let error = refusal.field_error("quantity");
        FieldError {
            field: format!("operations[{index}].{}", error.field),
            code: Some(refusal.code().as_str()),
            ..error
        }
    });
    let detail = match refusals {
        [(_, only)] => only.to_string(),
        several => format!("{} operations can't be done, so none was.", several.len()),
    };
    Problem::new(code, detail).with_errors(errors.collect())
}
