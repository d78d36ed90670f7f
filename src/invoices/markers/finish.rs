//! Says that a file is worked off. Whoever takes its invoice in says so there, in one transaction.
//! Refuses whoever was followed by another, work that has ended, and work of somebody else: a claim is finished once.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use schemars::JsonSchema;
use serde::Deserialize;

use super::error::MarkerError;
use super::model::{Ended, MarkerName};
use crate::app::App;
use crate::db::DbError;
use crate::http::answer::Answer;
use crate::http::auth::Caller;
use crate::http::extract::{Body, InPath};
use crate::http::problem::Problem;
use crate::idempotency::{self, Claim};
use crate::leases::{Ending, Fence, Leases};
use crate::text::Reason;

/// `POST /invoices/processing/{marker}/finish`
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(rename = "MarkerFinish")]
pub struct Finish {
    fence: Fence,
}

/// # Errors
/// [`Problem`].
pub async fn finish(
    State(app): State<Arc<App>>,
    caller: Caller,
    InPath(marker): InPath<MarkerName>,
    body: Body<Finish>,
) -> Result<Answer, Problem> {
    let claim = body.keyed.map(|keyed| Claim::of_subject(&caller.principal.subject, keyed));
    Ok(end_once(&app, &caller, &marker, body.value.fence, None, claim.as_ref()).await?)
}

/// Ends the work in the transaction that keeps the answer: as failed, if there is a reason.
///
/// # Errors
/// [`MarkerError`].
pub(super) async fn end_once(
    app: &App,
    caller: &Caller,
    marker: &MarkerName,
    fence: Fence,
    failure: Option<&Reason>,
    claim: Option<&Claim>,
) -> Result<Answer, MarkerError> {
    let mut tx = app.db.begin_within(caller.patience.left()).await?;
    let answer = match idempotency::begin_in_tx::<MarkerError>(&mut tx, claim).await? {
        Some(first) => first,
        None => {
            let owner = &caller.principal.subject;
            let ended = match (Leases::check_owner(&mut tx, marker.get(), fence, owner).await, failure) {
                (Err(not_theirs), _) => Err(not_theirs),
                (Ok(()), None) => app.leases.finish_in_tx(&mut tx, marker.get(), fence).await,
                (Ok(()), Some(why)) => app.leases.fail_in_tx(&mut tx, marker.get(), fence, why).await,
            };
            let ending = if failure.is_some() { Ending::Failed } else { Ending::Finished };
            let name = marker.get().name().as_str().to_owned();
            let outcome = ended.map_err(MarkerError::from);
            let outcome = outcome.map(|()| Ended { marker: name, fence, ending: ending.as_str() });
            idempotency::finish_in_tx(&mut tx, claim, &caller.request_id, StatusCode::OK, outcome).await?
        }
    };
    tx.commit().await.map_err(DbError::from)?;
    app.leases.fade(marker.get().name(), fence).await;
    Ok(answer)
}
