//! Takes a batch of records: turn → limit of batches → begin → taken (`take`) → commit. An [import](super::import) is a batch
//! too.
//! Refuses only what is wrong with the whole: each record is kept, in conflict or in error by itself.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::time::Instant;

use super::model::{Conflict, Fault, RECORDS_MAX};
use super::store;
use super::take::{Taken, take_in_tx};
use crate::app::App;
use crate::counts::error::{self, CountError};
use crate::counts::keyed::{self, Begun};
use crate::db::run_again_if_it_collides;
use crate::http::answer::Answer;
use crate::http::auth::Caller;
use crate::http::extract::Body;
use crate::http::problem::Problem;
use crate::idempotency::{self, Claim};
use crate::ids;
use crate::inventory::model::StoredTime;
use crate::text::ClientId;

/// `POST /sync/batch`
#[derive(Debug, Deserialize, JsonSchema)]
pub struct SyncBatch {
    #[schemars(length(min = 1, max = RECORDS_MAX))]
    records: Vec<Value>,
    batch_id: Option<ClientId>,
    /// What the device's clock said when it sent this: by that a clock that is ahead is known.
    sent_at: Option<StoredTime>,
}

/// What a batch came to.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Synced {
    ok: Vec<String>,
    conflicts: Vec<Conflict>,
    errors: Vec<Fault>,
    batch_id: String,
    processing_time_ms: f64,
    total_records: usize,
}

/// Records that are taken together.
pub(super) trait Batch: Sync {
    /// What is told of it.
    type Told: Serialize + Send;

    /// Whether it is a file: its racks are held against the register, for a spreadsheet writes `1` for `001`, and a row
    /// that says the same again is the same, whenever that comes.
    const IS_FILE: bool = false;

    /// The records as they were sent.
    fn records(&self) -> &[Value];

    /// What its sender's clock said when it was sent.
    fn sent_at(&self) -> Option<DateTime<Utc>> {
        None
    }

    /// Whether this is to be written, for what would become of its records.
    fn is_wanted(&self, _: &[Taken]) -> bool {
        true
    }

    /// What is told of it, in how many milliseconds it was taken.
    fn tell(&self, taken: Vec<Taken>, took_ms: f64) -> Self::Told;
}

impl Batch for SyncBatch {
    type Told = Synced;

    fn records(&self) -> &[Value] {
        &self.records
    }

    fn sent_at(&self) -> Option<DateTime<Utc>> {
        self.sent_at.map(StoredTime::get)
    }

    fn tell(&self, taken: Vec<Taken>, took_ms: f64) -> Synced {
        let mut synced = Synced {
            ok: Vec::new(),
            conflicts: Vec::new(),
            errors: Vec::new(),
            batch_id: self.batch_id.clone().map_or_else(|| ids::fresh().to_string(), String::from),
            processing_time_ms: took_ms,
            total_records: taken.len(),
        };
        for (place, taken) in taken.into_iter().enumerate() {
            match taken {
                Taken::Kept { id, .. } => synced.ok.push(id),
                Taken::Conflict(conflict) => synced.conflicts.push(conflict),
                Taken::Fault(fault) => synced.errors.push(fault),
                Taken::Unreadable(fault) => {
                    let message = format!("records[{place}]: {}", fault.message);
                    synced.errors.push(Fault { message, ..fault });
                }
            }
        }
        synced
    }
}

/// # Errors
/// [`Problem`].
pub async fn sync(
    State(app): State<Arc<App>>,
    caller: Caller,
    body: Body<SyncBatch>,
) -> Result<Answer, Problem> {
    let claim = keyed::claim_of(&caller, "sync", body.keyed);
    let batch = body.value;
    if !(1..=RECORDS_MAX).contains(&batch.records.len()) {
        return Err(Problem::invalid("records", format!("must be 1 to {RECORDS_MAX} records")));
    }
    take_batch(&app, &caller, claim.as_ref(), &batch).await
}

/// Takes a batch, unless its user has had those of this minute; again if that collided.
///
/// # Errors
/// [`Problem`].
pub(super) async fn take_batch<B: Batch>(
    app: &App,
    caller: &Caller,
    claim: Option<&Claim>,
    batch: &B,
) -> Result<Answer, Problem> {
    if let Some(claim) = claim
        && let Some(first) = idempotency::known_answer::<CountError>(&app.db, claim).await?
    {
        return Ok(first);
    }
    let longest = app.locks.longest_wait();
    let _turn = app.batches.take(batch.records().len(), caller, longest).await.map_err(CountError::from)?;
    within_limit(app, &caller.principal.subject).await?;
    Ok(run_again_if_it_collides(|| take(app, caller, claim, batch)).await?)
}

/// Counts the batch, over all replicas, before it takes anything else.
async fn within_limit(app: &App, user_id: &str) -> Result<(), CountError> {
    let (limit, mut conn) = (app.sync_batches_per_minute, app.db.read().await?);
    let (batches, pause) = store::count_batch(&mut conn, user_id).await?;
    if batches > limit { Err(error::too_many_batches(limit, pause)) } else { Ok(()) }
}

async fn take<B: Batch>(
    app: &App,
    caller: &Caller,
    claim: Option<&Claim>,
    batch: &B,
) -> Result<Answer, CountError> {
    let began = Instant::now();
    let mut work = match keyed::begin(app, caller, claim).await? {
        Begun::Known(first) => return Ok(first),
        Begun::New(work) => work,
    };
    let counter = (&*caller.principal.subject, app.blind_counts);
    let taken = take_in_tx(&mut work.tx, counter, batch).await;
    let is_wanted = taken.as_ref().is_ok_and(|taken| batch.is_wanted(taken));
    let told = taken.map(|taken| {
        let took_ms = (began.elapsed().as_secs_f64() * 10_000.0).round() / 10.0;
        batch.tell(taken, took_ms)
    });
    match told {
        Ok(told) if !is_wanted => work.finish_unwritten(StatusCode::OK, told).await,
        told => work.finish(StatusCode::OK, told).await,
    }
}
