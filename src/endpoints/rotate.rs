//! Gives an endpoint another secret, shown once. For a day deliveries are signed with both.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::error::EndpointError;
use super::store;
use crate::app::App;
use crate::db::DbError;
use crate::http::answer::Answer;
use crate::http::auth::Caller;
use crate::http::extract::{InPath, OrDefault};
use crate::http::problem::Problem;
use crate::idempotency::{self, Claim};
use crate::ids;

/// How long the secret before signs too.
const OLD_SIGNS_FOR: Duration = Duration::from_secs(24 * 60 * 60);

/// `POST /webhook-endpoints/{endpoint_id}/rotate`: it takes no fields.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[schemars(rename = "EndpointRotate")]
pub struct Rotate {}

/// A new secret.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "EndpointRotated")]
pub struct Rotated {
    endpoint_id: Uuid,
    secret: String,
}

/// # Errors
/// [`Problem`].
pub async fn rotate(
    State(app): State<Arc<App>>,
    caller: Caller,
    InPath(endpoint_id): InPath<Uuid>,
    OrDefault(body): OrDefault<Rotate>,
) -> Result<Answer, Problem> {
    let claim = body.keyed.map(|keyed| Claim::of_subject(&caller.principal.subject, keyed));
    Ok(rotate_secret(&app, &caller, endpoint_id, claim.as_ref()).await?)
}

async fn rotate_secret(
    app: &App,
    caller: &Caller,
    endpoint_id: Uuid,
    claim: Option<&Claim>,
) -> Result<Answer, EndpointError> {
    let mut tx = app.db.begin().await?;
    if let Some(first) = idempotency::begin_in_tx::<EndpointError>(&mut tx, claim).await? {
        return Ok(first);
    }
    let secret = ids::webhook_secret();
    if !store::set_secret_in_tx(&mut tx, endpoint_id, &secret, OLD_SIGNS_FOR).await? {
        return Err(EndpointError::NotFound);
    }
    let done = Ok::<_, EndpointError>(Rotated { endpoint_id, secret });
    let answer = idempotency::finish_in_tx(&mut tx, claim, &caller.request_id, StatusCode::OK, done).await?;
    tx.commit().await.map_err(DbError::from)?;
    let (subject, request) = (&*caller.principal.subject, &*caller.request_id);
    tracing::info!(endpoint.id = %endpoint_id, caller.subject = subject, request.id = request, "a webhook endpoint was given another secret");
    Ok(answer)
}
