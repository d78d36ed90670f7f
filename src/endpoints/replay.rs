//! Sends deliveries again: one, those of a state, or of a time. All of them if nothing is said.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::error::EndpointError;
use super::model::DeliveryState;
use super::store::{self, Range};
use crate::app::App;
use crate::db::DbError;
use crate::http::answer::Answer;
use crate::http::auth::Caller;
use crate::http::extract::{InPath, OrDefault};
use crate::http::problem::Problem;
use crate::idempotency::{self, Claim};
use crate::inventory::model::StoredTime;
use crate::text::Reason;

/// `POST /webhook-endpoints/{endpoint_id}/replay`
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[schemars(rename = "ReplayDeliveries")]
pub struct Replay {
    delivery_id: Option<Uuid>,
    state: Option<DeliveryState>,
    /// Found then or later.
    from: Option<StoredTime>,
    /// Found earlier.
    to: Option<StoredTime>,
    /// Why; kept with the caller's name.
    reason: Option<Reason>,
}

/// How many are sent again.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "ReplayedDeliveries")]
pub struct Replayed {
    replayed: i64,
}

/// # Errors
/// [`Problem`].
pub async fn replay(
    State(app): State<Arc<App>>,
    caller: Caller,
    InPath(endpoint_id): InPath<Uuid>,
    OrDefault(body): OrDefault<Replay>,
) -> Result<Answer, Problem> {
    let claim = body.keyed.map(|keyed| Claim::of_subject(&caller.principal.subject, keyed));
    Ok(replay_range(&app, &caller, endpoint_id, &body.value, claim.as_ref()).await?)
}

async fn replay_range(
    app: &App,
    caller: &Caller,
    endpoint_id: Uuid,
    cmd: &Replay,
    claim: Option<&Claim>,
) -> Result<Answer, EndpointError> {
    let range = Range {
        delivery_id: cmd.delivery_id,
        state: cmd.state.map(DeliveryState::as_str),
        from: cmd.from.map(StoredTime::get),
        to: cmd.to.map(StoredTime::get),
    };
    let mut tx = app.db.begin().await?;
    if let Some(first) = idempotency::begin_in_tx::<EndpointError>(&mut tx, claim).await? {
        return Ok(first);
    }
    if store::lock_failures_in_tx(&mut tx, &[endpoint_id]).await?.is_empty() {
        return Err(EndpointError::NotFound);
    }
    let replayed = store::replay_in_tx(&mut tx, endpoint_id, &range).await?;
    let why = cmd.reason.as_ref().map(Reason::as_str);
    let who = (&*caller.principal.subject, &*caller.request_id);
    store::note_replay_in_tx(&mut tx, endpoint_id, &range, (replayed, why), who).await?;
    let done = Ok::<_, EndpointError>(Replayed { replayed });
    let answer = idempotency::finish_in_tx(&mut tx, claim, &caller.request_id, StatusCode::OK, done).await?;
    tx.commit().await.map_err(DbError::from)?;
    Ok(answer)
}
