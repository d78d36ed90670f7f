//! Takes units of a variant back.
//! Refuses if more would be in stock than can be.

use std::sync::Arc;

use axum::extract::State;
use schemars::JsonSchema;
use serde::Deserialize;
use uuid::Uuid;

use super::change::{StockChange, change};
use super::error::StockError;
use super::model::{Occasion, Quantity};
use super::rules::Change;
use crate::app::App;
use crate::http::answer::Answer;
use crate::http::auth::Caller;
use crate::http::extract::{Body, InPath};
use crate::idempotency::Claim;
use crate::text::{Reason, Reference};

/// `POST /inventory/{variant_id}/increment`
#[derive(Debug, Deserialize, JsonSchema)]
pub struct Increment {
    quantity: Quantity,
    reason: Option<Reason>,
    reference: Option<Reference>,
}

/// # Errors
/// [`StockError`].
pub async fn increment(
    State(app): State<Arc<App>>,
    caller: Caller,
    InPath(variant_id): InPath<Uuid>,
    body: Body<Increment>,
) -> Result<Answer, StockError> {
    let Increment { quantity, reason, reference } = body.value;
    let cmd = StockChange {
        variant_id,
        change: Change::Return(quantity),
        occasion: Occasion { reason, reference, ..Occasion::default() },
        claim: body.keyed.map(|keyed| Claim::of_subject(&caller.principal.subject, keyed)),
    };
    change(&app, &caller, cmd).await
}
