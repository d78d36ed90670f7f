//! Registers an endpoint: it is told of what is committed from now on. Its secret is shown once.
//! Refuses an address of a private network, and one endpoint too many.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::error::EndpointError;
use super::model::{EndpointUrl, WantedTypes};
use super::store::{self, NewEndpoint};
use crate::app::App;
use crate::db::DbError;
use crate::events::where_to_begin;
use crate::http::answer::Answer;
use crate::http::auth::Caller;
use crate::http::extract::Body;
use crate::idempotency::{self, Claim};
use crate::ids;

/// The most endpoints there may be.
pub const ENDPOINTS_MAX: i64 = 100;

/// `POST /webhook-endpoints`
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(rename = "EndpointToRegister")]
pub struct Register {
    url: EndpointUrl,
    #[serde(default)]
    types: WantedTypes,
}

/// An endpoint that was registered.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "EndpointRegistered")]
pub struct Registered {
    endpoint_id: Uuid,
    url: String,
    types: Vec<String>,
    secret: String,
    created_at: DateTime<Utc>,
}

/// # Errors
/// [`EndpointError`].
pub async fn register(
    State(app): State<Arc<App>>,
    caller: Caller,
    body: Body<Register>,
) -> Result<Answer, EndpointError> {
    let Body { value: cmd, keyed } = body;
    if !app.post.may_send_to(&cmd.url) {
        return Err(EndpointError::Private);
    }
    let claim = keyed.map(|keyed| Claim::of_subject(&caller.principal.subject, keyed));
    let position = where_to_begin(&app).await?.ok_or(EndpointError::NotYet)?;
    let mut tx = app.db.begin().await?;
    if let Some(first) = idempotency::begin_in_tx::<EndpointError>(&mut tx, claim.as_ref()).await? {
        return Ok(first);
    }
    let (endpoint_id, secret) = (ids::fresh(), ids::webhook_secret());
    let (url, types) = (cmd.url.uri().to_string(), cmd.types.names());
    let subject = &caller.principal.subject;
    let new = NewEndpoint { endpoint_id, url: &url, types, secret: &secret, subject, position };
    let made = store::insert_endpoint_in_tx(&mut tx, &new, ENDPOINTS_MAX).await?;
    let created_at = made.ok_or(EndpointError::TooMany)?;
    let done = Ok(Registered { endpoint_id, url, types: types.to_vec(), secret, created_at });
    let id = &caller.request_id;
    let answer =
        idempotency::finish_in_tx::<_, EndpointError>(&mut tx, claim.as_ref(), id, StatusCode::CREATED, done);
    let answer = answer.await?;
    tx.commit().await.map_err(DbError::from)?;
    Ok(answer)
}
