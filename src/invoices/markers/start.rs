//! Begins work on a file, unless somebody is at it: the caller itself, too.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use schemars::JsonSchema;
use serde::Deserialize;

use super::error::MarkerError;
use super::model::{MarkerTtl, OfFile, Started, TTL_SECONDS};
use crate::app::App;
use crate::db::DbError;
use crate::http::answer::Answer;
use crate::http::auth::Caller;
use crate::http::extract::Body;
use crate::http::problem::Problem;
use crate::idempotency::{self, Claim};
use crate::leases::marker::Marker;
use crate::leases::{Again, Claimed, Wanted, claim_in_tx};
use crate::text::{AccountId, FileHash, LeaseOwner};

/// `POST /invoices/processing`
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(rename = "MarkerStart")]
pub struct StartWork {
    account_id: AccountId,
    file_hash: FileHash,
    ttl_seconds: Option<MarkerTtl>,
}

/// # Errors
/// [`Problem`].
pub async fn start(
    State(app): State<Arc<App>>,
    caller: Caller,
    body: Body<StartWork>,
) -> Result<Answer, Problem> {
    let StartWork { account_id, file_hash, ttl_seconds } = body.value;
    let unreadable = |field: &str| Problem::invalid(field, "can't be part of a marker's name");
    let ttl = match ttl_seconds {
        Some(ttl) => ttl,
        None => MarkerTtl::try_from(TTL_SECONDS).map_err(|_| unreadable("ttl_seconds"))?,
    };
    let marker = OfFile { account_id, file_hash }.marker().ok_or_else(|| unreadable("file_hash"))?;
    let owner = LeaseOwner::try_from(caller.principal.subject.clone()).map_err(|_| unreadable("subject"))?;
    let claim = body.keyed.map(|keyed| Claim::of_subject(&caller.principal.subject, keyed));
    let wanted = Wanted { name: marker.name(), owner: &owner, ttl: ttl.get(), again: Again::Refused };
    Ok(start_work(&app, &caller, &marker, &wanted, claim.as_ref()).await?)
}

/// Asks strangers in Redis, then claims in the transaction that keeps the answer.
async fn start_work(
    app: &App,
    caller: &Caller,
    marker: &Marker,
    wanted: &Wanted<'_>,
    claim: Option<&Claim>,
) -> Result<Answer, MarkerError> {
    if let Some(claim) = claim
        && let Some(first) = idempotency::known_answer::<MarkerError>(&app.db, claim).await?
    {
        return Ok(first);
    }
    let door = app.leases.ask_strangers(wanted.name).await.ok_or(MarkerError::Running(None))?;
    let mut claimed = None;
    let answer = claim_once(app, caller, marker, wanted, claim, &mut claimed).await;
    app.leases.settle(door, wanted, claimed.as_ref().filter(|_| answer.is_ok())).await;
    answer
}

async fn claim_once(
    app: &App,
    caller: &Caller,
    marker: &Marker,
    wanted: &Wanted<'_>,
    claim: Option<&Claim>,
    claimed: &mut Option<Claimed>,
) -> Result<Answer, MarkerError> {
    let mut tx = app.db.begin_within(caller.patience.left()).await?;
    let answer = match idempotency::begin_in_tx::<MarkerError>(&mut tx, claim).await? {
        Some(first) => first,
        None => {
            let outcome = match claimed.insert(claim_in_tx(&mut tx, wanted).await?) {
                Claimed::Granted(granted) => Ok(Started {
                    marker: marker.name().as_str().to_owned(),
                    fence: granted.fence,
                    expires_at: granted.expires_at,
                }),
                Claimed::HeldBy(holder) => Err(MarkerError::Running(Some(holder.clone()))),
                Claimed::HeldByStranger => Err(MarkerError::Running(None)),
            };
            idempotency::finish_in_tx(&mut tx, claim, &caller.request_id, StatusCode::CREATED, outcome)
                .await?
        }
    };
    tx.commit().await.map_err(DbError::from)?;
    Ok(answer)
}
