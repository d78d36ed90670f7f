//! Corrects a level by hand, up or down, with a reason.
//! Refuses if less than nothing would be left, or if the stock is not what the caller believed.

use std::sync::Arc;

use axum::extract::State;
use schemars::JsonSchema;
use serde::Deserialize;
use uuid::Uuid;

use super::change::{StockChange, change};
use super::error::StockError;
use super::model::{Delta, Occasion, OnHand};
use super::rules::Change;
use crate::app::App;
use crate::http::answer::Answer;
use crate::http::auth::Caller;
use crate::http::extract::{Body, InPath};
use crate::idempotency::Claim;
use crate::text::{Reason, Reference};

/// `POST /inventory/{variant_id}/adjust`
#[derive(Debug, Deserialize, JsonSchema)]
pub struct Adjust {
    delta: Delta,
    reason: Reason,
    reference: Option<Reference>,
    change_from: Option<OnHand>,
}

/// # Errors
/// [`StockError`].
pub async fn adjust(
    State(app): State<Arc<App>>,
    caller: Caller,
    InPath(variant_id): InPath<Uuid>,
    body: Body<Adjust>,
) -> Result<Answer, StockError> {
    let Adjust { delta, reason, reference, change_from } = body.value;
    let cmd = StockChange {
        variant_id,
        change: Change::Adjust { delta, believed: change_from },
        occasion: Occasion { reason: Some(reason), reference, ..Occasion::default() },
        claim: body.keyed.map(|keyed| Claim::of_subject(&caller.principal.subject, keyed)),
    };
    change(&app, &caller, cmd).await
}
