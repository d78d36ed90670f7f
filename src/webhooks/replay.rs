//! Carries out an entry of the inbox again, at an operator's word and on the record. An event that was carried out
//! is not carried out twice: its first answer is told.

use std::sync::Arc;

use axum::extract::State;
use schemars::JsonSchema;
use serde::Deserialize;
use uuid::Uuid;

use super::deliver::{Trigger, carry_out};
use super::error::WebhookError;
use super::model::Event;
use super::store;
use crate::app::App;
use crate::http::answer::Answer;
use crate::http::auth::Caller;
use crate::http::extract::{InPath, OrDefault};
use crate::http::problem::Problem;
use crate::idempotency::Claim;
use crate::text::Reason;

/// `POST /webhooks/inbox/{entry_id}/replay`, which needs no body.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[schemars(rename = "ReplayEntry")]
pub struct Replay {
    /// Why; kept with the caller's name.
    reason: Option<Reason>,
}

/// # Errors
/// [`Problem`].
pub async fn replay(
    State(app): State<Arc<App>>,
    caller: Caller,
    InPath(entry_id): InPath<Uuid>,
    OrDefault(body): OrDefault<Replay>,
) -> Result<Answer, Problem> {
    let claim = body.keyed.map(|keyed| Claim::of_subject(&caller.principal.subject, keyed));
    let kept = store::find_event(&mut *app.db.read().await?, entry_id).await?;
    let (scheme, event_id, data) = kept.ok_or(WebhookError::EntryNotFound)?;
    let event = Event::kept(scheme, event_id, data)?;
    Ok(carry_out(&app, &caller, &event, Trigger::Replay(claim.as_ref(), body.value.reason.as_ref())).await?)
}
