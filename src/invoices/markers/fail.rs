//! Gives the work on a file up, and keeps why: the next one may begin at once.
//! Refuses whoever was followed by another, work that has ended, and work of somebody else.

use std::sync::Arc;

use axum::extract::State;
use schemars::JsonSchema;
use serde::Deserialize;

use super::finish::end_once;
use super::model::MarkerName;
use crate::app::App;
use crate::http::answer::Answer;
use crate::http::auth::Caller;
use crate::http::extract::{Body, InPath};
use crate::http::problem::Problem;
use crate::idempotency::Claim;
use crate::leases::Fence;
use crate::text::Reason;

/// `POST /invoices/processing/{marker}/fail`
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(rename = "MarkerFail")]
pub struct Fail {
    fence: Fence,
    reason: Reason,
}

/// # Errors
/// [`Problem`].
pub async fn fail(
    State(app): State<Arc<App>>,
    caller: Caller,
    InPath(marker): InPath<MarkerName>,
    body: Body<Fail>,
) -> Result<Answer, Problem> {
    let claim = body.keyed.map(|keyed| Claim::of_subject(&caller.principal.subject, keyed));
    let (fence, reason) = (body.value.fence, &body.value.reason);
    Ok(end_once(&app, &caller, &marker, fence, Some(reason), claim.as_ref()).await?)
}
