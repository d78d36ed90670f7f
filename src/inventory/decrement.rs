//! Sells units of a variant.
//! Refuses if fewer are available: on hand and not held for somebody else.

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

/// `POST /inventory/{variant_id}/decrement`
#[derive(Debug, Deserialize, JsonSchema)]
pub struct Decrement {
    quantity: Quantity,
    reason: Option<Reason>,
    reference: Option<Reference>,
}

/// # Errors
/// [`StockError`].
pub async fn decrement(
    State(app): State<Arc<App>>,
    caller: Caller,
    InPath(variant_id): InPath<Uuid>,
    body: Body<Decrement>,
) -> Result<Answer, StockError> {
    let Decrement { quantity, reason, reference } = body.value;
    let cmd = StockChange {
        variant_id,
        change: Change::Sell(quantity),
        occasion: Occasion { reason, reference, ..Occasion::default() },
        claim: body.keyed.map(|keyed| Claim::of_subject(&caller.principal.subject, keyed)),
    };
    change(&app, &caller, cmd).await
}
