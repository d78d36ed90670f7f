//! `POST /locks/{key}/release`: takes a lock away from its holder, for emergencies. What the holder still writes is
//! protected by its row lock. A lease of [`crate::leases`] is ended: what would be written under it is refused. Refuses a
//! name that is not a lock's, and a lock that nobody holds; and says so, here and on record, where Redis does not tell
//! what became of it.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use sqlx::{Connection, PgConnection};
use uuid::Uuid;

use super::error::OperationsError;
use super::store;
use crate::app::App;
use crate::counts::racks::take_away::take_away_in_tx;
use crate::db::DbError;
use crate::http::answer::Answer;
use crate::http::auth::Caller;
use crate::http::extract::{Body, InPath};
use crate::idempotency::{self, Claim, KeyedRequest};
use crate::ids;
use crate::leases::release::end_by_hand_in_tx;
use crate::locks::keys::{in_logs, is_published};
use crate::locks::redis::Fault;
use crate::locks::status::owner_hash;
use crate::text::Reason;

/// Why.
#[derive(Debug, Deserialize, JsonSchema)]
pub struct ReleaseLock {
    reason: Reason,
}

/// What was done.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "LockRelease")]
pub struct Release {
    /// Its record.
    pub release_id: Uuid,
    /// The lock.
    pub key: String,
    /// Whose it was: a hash of the token.
    pub owner: String,
    /// Why it was taken away.
    pub reason: String,
}

/// What became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Its holder's token was deleted.
    Released,
    /// Redis was told to delete it, and gave no answer.
    Unknown,
}

impl Outcome {
    /// Its name in the record.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Released => "released",
            Self::Unknown => "unknown",
        }
    }
}

/// # Errors
/// [`OperationsError`].
pub async fn release_lock(
    State(app): State<Arc<App>>,
    caller: Caller,
    InPath(key): InPath<String>,
    body: Body<ReleaseLock>,
) -> Result<Answer, OperationsError> {
    if !is_published(&key) {
        return Err(OperationsError::NotALock);
    }
    let reason = body.value.reason;
    let claim = body.keyed.map(|keyed| {
        // Names of locks differ by case, which a path's fingerprint does not see.
        let meant = json!({"key": key, "reason": reason.as_str()});
        let keyed = KeyedRequest::new(keyed.key, "POST", "release lock", &meant);
        Claim::of_subject(&caller.principal.subject, keyed)
    });
    release(&app, &caller, key, &reason, claim.as_ref()).await
}

/// Writes down, then deletes the very token that was seen, then commits. Where the commit fails, the lock may be gone
/// without its record, and then the log has it. Nobody waits for the rows that are locked meanwhile but a repetition of
/// this request, so Redis may be asked under them.
///
/// An unknown outcome is kept with the request's key like a refusal: a repetition that looked for a holder anew might
/// find, and hit, one who came since.
async fn release(
    app: &App,
    caller: &Caller,
    key: String,
    reason: &Reason,
    claim: Option<&Claim>,
) -> Result<Answer, OperationsError> {
    let mut tx = app.db.begin_within(caller.patience.left()).await?;
    if let Some(first) = idempotency::begin_in_tx::<OperationsError>(&mut tx, claim).await? {
        return Ok(first);
    }
    // The truth of a lease is its row, with Redis and without; what Redis shows of it goes after the commit.
    let lease = end_by_hand_in_tx(&mut tx, &key).await?;
    let done = match &lease {
        Some(lease) => {
            let release = Release::of(key, &lease.token, reason);
            record_in_tx(&mut tx, caller, &release, Outcome::Released).await?;
            take_away_in_tx(&mut tx, &lease.name, lease.fence).await?;
            log(caller, &release);
            Ok(release)
        }
        None => {
            let holder = app.locks.holder_of(&key).await.map_err(|_| OperationsError::LocksUnavailable)?;
            let holder = holder.ok_or(OperationsError::NotHeld)?;
            let release = Release::of(key, &holder, reason);
            match break_on_record_in_tx(&mut tx, app, caller, &release, &holder).await? {
                Outcome::Released => Ok(release),
                Outcome::Unknown => Err(OperationsError::ReleaseUnknown { owner: release.owner }),
            }
        }
    };
    let answer = idempotency::finish_in_tx(&mut tx, claim, &caller.request_id, StatusCode::OK, done).await?;
    tx.commit().await.map_err(DbError::from)?;
    if let Some(lease) = lease {
        app.leases.fade(&lease.name, lease.fence).await;
    }
    Ok(answer)
}

impl Release {
    fn of(key: String, token: &str, reason: &Reason) -> Self {
        let (release_id, owner) = (ids::fresh(), owner_hash(token));
        Self { release_id, key, owner, reason: reason.as_str().to_owned() }
    }
}

async fn record_in_tx(
    conn: &mut PgConnection,
    caller: &Caller,
    release: &Release,
    outcome: Outcome,
) -> Result<(), DbError> {
    let subject = &caller.principal.subject;
    store::insert_release_in_tx(conn, release, outcome, subject, &caller.request_id).await
}

/// Before it is done, so that the log has it whatever comes of the call and of the commit.
fn log(caller: &Caller, release: &Release) {
    tracing::warn!(
        lock.key = in_logs(&release.key),
        lock.owner = release.owner,
        subject = caller.principal.subject,
        reason = release.reason,
        "an operator takes a lock away"
    );
}

async fn break_on_record_in_tx(
    conn: &mut PgConnection,
    app: &App,
    caller: &Caller,
    release: &Release,
    holder: &str,
) -> Result<Outcome, OperationsError> {
    // What can't be written down is not done. Records are never changed, so if it comes out otherwise, this one has
    // never been.
    let mut record = conn.begin().await.map_err(DbError::from)?;
    record_in_tx(&mut record, caller, release, Outcome::Released).await?;
    log(caller, release);
    match app.locks.break_lock(&release.key, holder).await {
        Ok(true) => {
            record.commit().await.map_err(DbError::from)?;
            Ok(Outcome::Released)
        }
        Ok(false) => Err(OperationsError::NotHeld),
        // Nothing was sent.
        Err(Fault::Unreachable(_)) => Err(OperationsError::LocksUnavailable),
        Err(fault) => {
            tracing::warn!(
                lock.key = in_logs(&release.key),
                why = fault.describe(),
                "nobody knows whether it is gone"
            );
            record.rollback().await.map_err(DbError::from)?;
            record_in_tx(conn, caller, release, Outcome::Unknown).await?;
            Ok(Outcome::Unknown)
        }
    }
}
