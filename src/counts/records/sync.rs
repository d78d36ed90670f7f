//! Takes a batch of records: batch limit → begin → claims held → sessions entered → items, records and serial numbers found → each
//! record judged → all written, in one transaction and a fixed number of statements.
//! Refuses only what is wrong with the whole: each record is kept, in conflict or in error by itself.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sqlx::PgConnection;
use tokio::time::Instant;

use super::model::{Conflict, Fault, Kept, RECORDS_MAX, Record, RecordKey, Refusal, said};
use super::rules::{self, Own, Serials, Standing, There};
use super::store::{self, Item};
use super::times;
use crate::app::App;
use crate::counts::error::{self, CountError};
use crate::counts::keyed::{self, Begun};
use crate::db::{ATTEMPTS, Collides, pause_after_collision};
use crate::events::{self, About, EventKind, NewEvent};
use crate::http::answer::Answer;
use crate::http::auth::Caller;
use crate::http::extract::Body;
use crate::http::problem::Problem;
use crate::idempotency::{self, Claim};
use crate::ids;
use crate::inventory::model::StoredTime;
use crate::text::{ClientId, RackId};

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
    let claim = claim.as_ref();
    if let Some(claim) = claim
        && let Some(first) = idempotency::known_answer::<CountError>(&app.db, claim).await?
    {
        return Ok(first);
    }
    within_limit(&app, &caller.principal.subject).await?;
    let mut attempt = 1;
    loop {
        match take(&app, &caller, claim, &batch).await {
            Err(error) if error.collided() && attempt < ATTEMPTS => {
                pause_after_collision(attempt).await;
                attempt += 1;
            }
            outcome => return Ok(outcome?),
        }
    }
}

/// Counts the batch, over all replicas, before it takes anything else.
async fn within_limit(app: &App, user_id: &str) -> Result<(), CountError> {
    let (limit, mut conn) = (app.sync_batches_per_minute, app.db.read().await?);
    let (batches, pause) = store::count_batch(&mut conn, user_id).await?;
    if batches > limit { Err(error::too_many_batches(limit, pause)) } else { Ok(()) }
}

async fn take(
    app: &App,
    caller: &Caller,
    claim: Option<&Claim>,
    batch: &SyncBatch,
) -> Result<Answer, CountError> {
    let began = Instant::now();
    let user_id = &caller.principal.subject;
    let mut work = match keyed::begin(app, caller, claim).await? {
        Begun::Known(first) => return Ok(first),
        Begun::New(work) => work,
    };
    let outcome = sync_in_tx(&mut work.tx, user_id, batch).await.map(|mut synced| {
        synced.batch_id = batch.batch_id.clone().map_or_else(|| ids::fresh().to_string(), String::from);
        synced.processing_time_ms = (began.elapsed().as_secs_f64() * 10_000.0).round() / 10.0;
        synced
    });
    work.finish(StatusCode::OK, outcome).await
}

/// What is known of everything that the records of a batch name, while none of it can change.
struct Known {
    now: DateTime<Utc>,
    sessions: HashMap<String, store::Into>,
    claims: HashMap<String, Standing>,
    own: HashMap<(String, String), Own>,
    there: HashMap<RecordKey, There>,
    resolved: HashMap<RecordKey, Vec<(DateTime<Utc>, Value)>>,
    serials: Serials,
}

/// A record that could be read, and where it stands.
struct Read<'a> {
    record: Record,
    sent: &'a Value,
    item: Option<Item>,
    counted_at: Result<DateTime<Utc>, Refusal>,
}

impl Read<'_> {
    /// The claims that its session had of its rack.
    fn own(&self, all: &HashMap<(String, String), Own>) -> Option<Own> {
        let rack_id = self.record.rack_id.as_ref()?.as_str().to_owned();
        all.get(&(self.record.session_id.as_str().to_owned(), rack_id)).copied()
    }

    /// Whether there is anything that can be kept, be it as a conflict.
    fn is_sound(&self) -> bool {
        self.item.is_some() && self.counted_at.is_ok()
    }
}

/// # Errors
/// [`CountError`]: faults of the whole.
async fn sync_in_tx(conn: &mut PgConnection, user_id: &str, batch: &SyncBatch) -> Result<Synced, CountError> {
    let sent = &batch.records;
    let now = store::now(conn).await?;
    let mut synced = Synced {
        ok: Vec::new(),
        conflicts: Vec::new(),
        errors: Vec::new(),
        batch_id: String::new(),
        processing_time_ms: 0.0,
        total_records: sent.len(),
    };
    let sent_at = batch.sent_at.map(StoredTime::get);
    let mut read = read_each(sent, now, sent_at, &mut synced.errors);
    let mut known = look_up_in_tx(conn, user_id, &mut read, now).await?;

    let mut kept: HashMap<RecordKey, Kept> = HashMap::new();
    let (mut conflicts, mut against) = (Vec::new(), HashMap::new());
    for read in &read {
        let (key, id) = (read.record.key(), read.record.client_record_id.as_str().to_owned());
        match known.judge(read) {
            Ok(None) => synced.ok.push(id),
            Ok(Some(record)) => {
                known.there.insert(key.clone(), There::from(&record));
                kept.insert(key, record);
                synced.ok.push(id);
            }
            Err(Refusal::Fault { error_type, message }) => {
                synced.errors.push(Fault { client_record_id: Some(id), error_type, message });
            }
            Err(Refusal::Conflict { kind, message, details }) => {
                if let Some(there) = known.there.get(&key) {
                    against.insert(key, there.said.clone());
                }
                let conflict = Conflict { client_record_id: id, conflict_type: kind, message, details };
                synced.conflicts.push(conflict.clone());
                conflicts.push((read, conflict));
            }
        }
    }
    let kept: Vec<_> = kept.into_values().collect();
    store::write_records_in_tx(conn, &kept).await?;
    store::settle_serials_in_tx(conn, &known.serials).await?;
    store::close_conflicts_in_tx(conn, &kept, user_id).await?;
    let conflicts: Vec<_> = conflicts
        .iter()
        .map(|(read, told)| store::NewConflict {
            record: &read.record,
            sent: read.sent,
            counted_at: read.counted_at.as_ref().ok().copied(),
            told,
        })
        .collect();
    store::keep_conflicts_in_tx(conn, &conflicts, &against).await?;
    Ok(synced)
}

/// Reads each record by itself; those that can't be read are in error.
fn read_each<'a>(
    sent: &'a [Value],
    now: DateTime<Utc>,
    sent_at: Option<DateTime<Utc>>,
    errors: &mut Vec<Fault>,
) -> Vec<Read<'a>> {
    let mut all = Vec::with_capacity(sent.len());
    for (place, sent) in sent.iter().enumerate() {
        let record = if sent.is_object() {
            Record::read(sent)
        } else {
            Err(Problem::invalid("", "must be an object"))
        };
        match record {
            Ok(record) => {
                let counted_at = times::counted_at(&record, now, sent_at);
                all.push(Read { record, sent, item: None, counted_at });
            }
            Err(problem) => {
                let id = sent["client_record_id"].as_str().map(str::to_owned);
                let id = id.and_then(|id| ClientId::try_from(id).ok()).map(String::from);
                let message = format!("records[{place}]: {}", problem.detail);
                errors.push(Fault { client_record_id: id, error_type: "validation_error", message });
            }
        }
    }
    all
}

/// Locks and looks up all that the records name, in the one order of locks.
async fn look_up_in_tx(
    conn: &mut PgConnection,
    user_id: &str,
    read: &mut [Read<'_>],
    now: DateTime<Utc>,
) -> Result<Known, CountError> {
    let distinct = |each: &dyn Fn(&Record) -> Vec<String>| -> Vec<String> {
        let all: BTreeSet<_> = read.iter().flat_map(|read| each(&read.record)).collect();
        all.into_iter().collect()
    };
    let racks = distinct(&|record| record.rack_id.iter().map(|rack| rack.as_str().to_owned()).collect());
    let sessions = distinct(&|record| vec![record.session_id.as_str().to_owned()]);
    let serials = distinct(&|record| record.serial_numbers.iter().cloned().map(String::from).collect());
    let keys: BTreeSet<_> = read.iter().map(|read| read.record.key()).collect();
    let keys: Vec<_> = keys.into_iter().collect();
    let leases: Vec<_> =
        racks.iter().filter_map(|rack| RackId::try_from(rack.clone()).ok()?.lease()).collect();

    let claims = store::hold_claims_in_tx(conn, &leases).await?;
    let own = store::find_own_claims(conn, &sessions, &racks).await?;
    for read in read.iter_mut() {
        let own = read.own(&own);
        let counted_at = std::mem::replace(&mut read.counted_at, Ok(now));
        read.counted_at = counted_at.and_then(|at| times::since_claim(&read.record, at, own));
    }
    let skus: Vec<_> = read.iter().map(|read| read.record.item_code.as_str()).collect();
    let times: Vec<_> = read.iter().map(|read| *read.counted_at.as_ref().unwrap_or(&now)).collect();
    let items = store::find_items(conn, &skus, &times).await?;
    for (read, item) in read.iter_mut().zip(items) {
        read.item = item;
    }
    // A session of which nothing can be kept is not opened.
    let sound: HashSet<_> =
        read.iter().filter(|read| read.is_sound()).map(|read| read.record.session_id.as_str()).collect();
    let may_open: Vec<_> = sessions.iter().map(|session| sound.contains(session.as_str())).collect();
    let entered = store::enter_sessions_in_tx(conn, &sessions, &may_open, user_id).await?;
    let started = entered.iter().filter(|(_, session)| session.is_new).map(|(session_id, _)| {
        let told = json!({"session_id": session_id, "user_id": user_id});
        NewEvent::new(EventKind::SessionStarted, About::SessionNamed(session_id), &told)
    });
    events::append_all_in_tx(conn, &started.collect::<Result<Vec<_>, _>>()?).await?;
    let there = store::find_records(conn, &keys).await?;
    let resolved = store::find_resolved(conn, &keys).await?;
    let serials = store::lock_serials_in_tx(conn, &serials).await?;
    Ok(Known { now, sessions: entered, claims, own, there, resolved, serials })
}

impl Known {
    /// What becomes of a record: it is to be written, is there already, or is refused.
    fn judge(&mut self, read: &Read<'_>) -> Result<Option<Kept>, Refusal> {
        let Read { record, sent, item, counted_at } = read;
        let key = record.key();
        let found = item.ok_or_else(|| Refusal::fault("unknown_item", "no item has this item_code"));
        let Some(session) = self.sessions.get(record.session_id.as_str()) else {
            // It is another's; or it is not there, and nothing is sound that would open it.
            found.and(counted_at.clone())?;
            return Err(Refusal::fault("not_session_owner", "the session belongs to another user"));
        };
        let there = self.there.get(&key);
        let this = (record.updated_at.get(), said(sent));
        if there.is_some_and(|there| there.is(record, &this.1))
            || self.resolved.get(&key).is_some_and(|resolved| resolved.contains(&this))
        {
            return Ok(None);
        }
        if session.is_over {
            return Err(Refusal::fault(
                "session_posted",
                "the session has been posted or discarded: count on in another one",
            ));
        }
        let item = found?;
        let counted_at = counted_at.clone()?;
        rules::check_quantities(record)?;
        let lease = record.rack_id.as_ref().and_then(RackId::lease);
        let fence = match (&record.rack_id, &lease) {
            (Some(_), Some(lease)) => {
                let newest = self.claims.get(lease.as_str());
                rules::under_claim(record, counted_at, newest, read.own(&self.own))?
            }
            _ => None,
        };
        there.map_or(Ok(()), |there| there.is_replaced_by(record))?;
        let before = there.map(|there| there.serials.clone()).unwrap_or_default();
        let (counted_at, counted_version) =
            match there.and_then(|there| there.counted_before(record, item.variant_id)) {
                Some(anchor) => anchor,
                None => times::anchor(record, counted_at, self.now, (item.version, item.newest))?,
            };
        self.serials.give(record, &before)?;
        Ok(Some(Kept {
            session_id: key.0,
            client_record_id: key.1,
            variant_id: item.variant_id,
            rack_id: record.rack_id.clone().map(String::from),
            floor: record.floor.clone().map(String::from),
            verified_qty: record.verified_qty,
            damage_qty: record.damage_qty,
            serial_numbers: record.serial_numbers.iter().map(|serial| serial.as_str().to_owned()).collect(),
            status: record.status,
            lease_name: fence.and_then(|_| Some(lease?.as_str().to_owned())),
            fence,
            counted_at,
            counted_version,
            updated_at: record.updated_at.get(),
            sent: (*sent).clone(),
        }))
    }
}
