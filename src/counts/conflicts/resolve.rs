//! Resolves conflicts: one by hand, or those that are open by a policy. What is accepted of a device, or merged, is written
//! as a record that a person has looked at, without a claim.
//! Refuses what was resolved otherwise, what can't be a record, and to write into a session that is posted.

use std::collections::HashMap;
use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use chrono::TimeDelta;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use sqlx::PgConnection;
use uuid::Uuid;

use super::model::{Kept, Policy, Resolution};
use super::store::{self, Resolved};
use crate::app::App;
use crate::counts::error::{self, CountError};
use crate::counts::keyed::{self, Begun};
use crate::counts::records::model::{Item, Kept as Written, Record, Refusal, SERIALS_MAX};
use crate::counts::records::rules::{self, There};
use crate::counts::records::{store as records, times};
use crate::db::{Collides, DbError, run_again_if_it_collides};
use crate::events::{self, About, EventKind};
use crate::http::answer::Answer;
use crate::http::auth::Caller;
use crate::http::extract::{Body, InPath};
use crate::http::problem::Problem;
use crate::idempotency::{self, Claim};
use crate::text::{Reason, SessionId};

/// The most conflicts that one call resolves by a policy.
const AT_ONCE_MAX: usize = 100;

/// `POST /sync/conflicts/{conflict_id}/resolve`
#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub struct ResolveConflict {
    resolution: Resolution,
    merged: Option<Map<String, Value>>,
    reason: Option<Reason>,
}

/// # Errors
/// [`Problem`].
pub async fn resolve(
    State(app): State<Arc<App>>,
    caller: Caller,
    InPath(conflict_id): InPath<Uuid>,
    body: Body<ResolveConflict>,
) -> Result<Answer, Problem> {
    let cmd = body.value;
    if (cmd.resolution == Resolution::Merge) != cmd.merged.is_some() {
        return Err(Problem::invalid("merged", "is what to keep: needed for merge, and for nothing else"));
    }
    let claim = keyed::claim_of(&caller, "resolve", body.keyed);
    let resolved =
        run_again_if_it_collides(|| resolve_one(&app, &caller, claim.as_ref(), conflict_id, &cmd)).await;
    Ok(resolved?)
}

async fn resolve_one(
    app: &App,
    caller: &Caller,
    claim: Option<&Claim>,
    conflict_id: Uuid,
    cmd: &ResolveConflict,
) -> Result<Answer, CountError> {
    let mut work = match keyed::begin(app, caller, claim).await? {
        Begun::Known(first) => return Ok(first),
        Begun::New(work) => work,
    };
    let by = By { user_id: &caller.principal.subject, policy: None, reason: cmd.reason.as_ref() };
    let merged = cmd.merged.as_ref();
    let outcome = resolve_in_tx(&mut work.tx, conflict_id, Some(cmd.resolution), merged, &by).await;
    work.finish(StatusCode::OK, outcome).await
}

/// `POST /sync/conflicts/auto-resolve`
#[derive(Debug, Deserialize, JsonSchema)]
pub struct AutoResolve {
    strategy: Policy,
    session_id: Option<SessionId>,
    reason: Option<Reason>,
    /// Those after this one.
    cursor: Option<Uuid>,
}

/// What a policy could do.
#[derive(Debug, Serialize, JsonSchema)]
pub struct AutoResolved {
    resolved: Vec<Uuid>,
    /// Those that need a person.
    left: Vec<Uuid>,
    /// Give this as `cursor` to go on behind them; null where there are no more.
    next_cursor: Option<Uuid>,
}

/// Each by itself: one that can't be resolved by the policy is left as it is.
///
/// # Errors
/// [`CountError`].
pub async fn auto_resolve(
    State(app): State<Arc<App>>,
    caller: Caller,
    body: Body<AutoResolve>,
) -> Result<Answer, CountError> {
    let claim = keyed::claim_of(&caller, "auto-resolve", body.keyed);
    if let Some(claim) = &claim
        && let Some(first) = idempotency::known_answer::<CountError>(&app.db, claim).await?
    {
        return Ok(first);
    }
    let done = resolve_open(&app, &caller, body.value).await?;
    match keyed::begin(&app, &caller, claim.as_ref()).await? {
        Begun::Known(first) => Ok(first),
        Begun::New(work) => work.finish(StatusCode::OK, Ok(done)).await,
    }
}

async fn resolve_open(app: &App, caller: &Caller, cmd: AutoResolve) -> Result<AutoResolved, CountError> {
    let AutoResolve { strategy, session_id, reason, cursor } = cmd;
    let mut open = {
        let mut conn = app.db.read().await?;
        let session_id = session_id.as_ref().map(SessionId::as_str);
        store::list(&mut conn, None, session_id, Some(true), cursor, AT_ONCE_MAX as i64 + 1).await?
    };
    let is_more = open.len() > AT_ONCE_MAX;
    open.truncate(AT_ONCE_MAX);
    let next_cursor = open.last().filter(|_| is_more).map(|conflict| conflict.conflict_id);
    let mut done = AutoResolved { resolved: Vec::new(), left: Vec::new(), next_cursor };
    let by = By { user_id: &caller.principal.subject, policy: Some(strategy), reason: reason.as_ref() };
    for conflict in open {
        let mut tx = app.db.begin().await?;
        let id = conflict.conflict_id;
        match resolve_in_tx(&mut tx, id, None, None, &by).await {
            Ok(_) => {
                tx.commit().await.map_err(DbError::from)?;
                done.resolved.push(id);
            }
            Err(CountError::Refused(_)) => done.left.push(id),
            // Somebody is at it right now.
            Err(error) if error.collided() => done.left.push(id),
            Err(error) => return Err(error),
        }
    }
    Ok(done)
}

/// Who resolves, by which policy if by one, and why.
struct By<'a> {
    user_id: &'a str,
    policy: Option<Policy>,
    reason: Option<&'a Reason>,
}

/// Locks the sessions that it touches, looks again, writes what is to be kept, and notes how it was resolved: as a person says,
/// or as the policy has it.
async fn resolve_in_tx(
    conn: &mut PgConnection,
    conflict_id: Uuid,
    resolution: Option<Resolution>,
    merged: Option<&Map<String, Value>>,
    by: &By<'_>,
) -> Result<Kept, CountError> {
    // What was sent never changes: before the lock only that is read.
    let Kept { session_id, client_record_id, local, .. } = find(conn, conflict_id).await?;
    let merged = merged.map(|merged| over(&local, merged.clone()));
    let keeps = merged.as_ref().unwrap_or(&local);
    let serials = keeps["serial_numbers"].as_array().into_iter().flatten();
    let serials: Vec<_> = serials.filter_map(Value::as_str).take(SERIALS_MAX).collect();
    let locked = store::lock_sessions_in_tx(conn, &session_id, &serials).await?;
    let found = find(conn, conflict_id).await?;
    let key = (session_id, client_record_id);
    let there = records::find_records(conn, std::slice::from_ref(&key)).await?.remove(&key);
    let by_policy = by
        .policy
        .map(|policy| policy.resolution(found.updated_at, there.as_ref().map(|there| there.updated_at)));
    let resolution = resolution.or(by_policy).unwrap_or(Resolution::AcceptServer);
    let (session_id, client_record_id) = key;
    if let Some(before) = &found.resolution {
        // The same again is the same answer; what was resolved meanwhile needs no policy.
        let is_same = before == resolution.as_str() && found.merged == merged;
        return if is_same || by.policy.is_some() {
            Ok(found)
        } else {
            Err(error::conflict_resolved(before))
        };
    }
    let is_kept = matches!(resolution, Resolution::AcceptLocal | Resolution::Merge);
    if is_kept {
        if locked.get(&session_id).is_none_or(|is_over| *is_over) {
            return Err(error::session_posted());
        }
        keep_in_tx(conn, &found, keeps, &locked, there).await?;
    }
    let how = Resolved {
        resolution: resolution.as_str(),
        merged: merged.as_ref(),
        by: by.user_id,
        policy: by.policy.map(Policy::as_str),
        reason: by.reason.map(Reason::as_str),
    };
    store::resolve_in_tx(conn, conflict_id, &how).await?;
    if is_kept {
        let record = (session_id.as_str(), client_record_id.as_str());
        store::close_earlier_in_tx(conn, record, found.updated_at, by.user_id).await?;
    }
    let told = json!({"session_id": session_id, "user_id": found.user_id, "conflict_id": conflict_id,
                      "resolution": how.resolution, "resolved_by": how.by});
    events::append_in_tx(conn, EventKind::SessionUpdated, About::SessionNamed(&session_id), &told).await?;
    find(conn, conflict_id).await
}

async fn find(conn: &mut PgConnection, conflict_id: Uuid) -> Result<Kept, CountError> {
    let found = store::list(conn, Some(conflict_id), None, None, None, 1).await?;
    found.into_iter().next().ok_or_else(error::conflict_not_found)
}

/// The record as it was sent, with these fields instead of its own.
fn over(local: &Value, merged: Map<String, Value>) -> Value {
    let mut whole = local.clone();
    if let Value::Object(fields) = &mut whole {
        fields.extend(merged);
    }
    whole
}

/// Writes what a person accepted. Units whose serial numbers are in other records leave those.
async fn keep_in_tx(
    conn: &mut PgConnection,
    conflict: &Kept,
    sent: &Value,
    locked: &HashMap<String, bool>,
    there: Option<There>,
) -> Result<(), CountError> {
    let record = Record::read(sent)?;
    let key = record.key();
    if key != (conflict.session_id.clone(), conflict.client_record_id.clone()) {
        return Err(Problem::invalid("merged", "must be the same record of the same session").into());
    }
    rules::check_quantities(&record).map_err(told)?;
    // As of when it came: what was sold while it waited was sold after it was counted.
    let came = conflict.detected_at;
    let is_as_sent = |field: &str| sent[field] == conflict.local[field];
    let counted_at = match conflict.counted_at {
        Some(at) if is_as_sent("counted_at") && is_as_sent("updated_at") => at,
        _ => times::counted_at(&record, came, None).map_err(told)?,
    };
    let numbers: Vec<String> = record.serial_numbers.iter().cloned().map(String::from).collect();
    let mut sorted = numbers.clone();
    sorted.sort_unstable();
    sorted.dedup();
    let mut serials = records::lock_serials_in_tx(conn, &sorted).await?;
    if serials.0.values().flatten().any(|(session_id, _)| !locked.contains_key(session_id)) {
        let moved = "a serial number came to another session before it was locked";
        return Err(DbError::Collision(sqlx::Error::Protocol(moved.into())).into());
    }
    if !store::take_serials_in_tx(conn, &sorted, &key.0, &key.1).await? {
        return Err(error::session_posted());
    }
    serials.0.values_mut().for_each(|owner| *owner = None);
    // A version that was sent before and comes again is not later than what a person decided on.
    let updated_at = record.updated_at.get();
    let updated_at = there.as_ref().map_or(updated_at, |there| updated_at.max(there.updated_at));
    let before = there.as_ref().map(|there| there.serials.clone()).unwrap_or_default();
    serials.give(&record, &before).map_err(told)?;
    let skus = [record.item_code.as_str(); 2];
    let items = records::find_items(conn, &skus, &[counted_at, came], TimeDelta::zero()).await?;
    let [Some(item), Some(then)] = items[..] else {
        return Err(Problem::invalid("item_code", "is of no item").into());
    };
    let anchor = match there.and_then(|there| there.counted_before(&record, item.variant_id)) {
        Some(anchor) => anchor,
        None => {
            // An item that came to be since is known from now on.
            let newest = if then.version > 0 { then.version } else { item.newest };
            times::anchor(&record, counted_at, came, Item { newest, ..item }).map_err(told)?
        }
    };
    let written = Written {
        session_id: key.0,
        client_record_id: key.1,
        variant_id: item.variant_id,
        rack_id: record.rack_id.map(String::from),
        floor: record.floor.map(String::from),
        verified_qty: record.verified_qty,
        damage_qty: record.damage_qty,
        serial_numbers: numbers,
        status: record.status,
        lease_name: None,
        fence: None,
        counted_at: anchor.at,
        counted_version: anchor.version,
        latest_version: anchor.latest_version,
        updated_at,
        sent: sent.clone(),
    };
    records::write_records_in_tx(conn, &[written]).await?;
    Ok(records::settle_serials_in_tx(conn, &serials).await?)
}

/// Why this can't be a record.
fn told(refusal: Refusal) -> CountError {
    let (Refusal::Conflict { message, .. } | Refusal::Fault { message, .. }) = refusal;
    Problem::invalid("merged", format!("{message}: correct it, by merge")).into()
}
