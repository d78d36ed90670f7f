//! Tells what became of an idempotency key: for a storefront that lost an answer and does not want to send
//! the request again.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::store;
use crate::app::App;
use crate::http::auth::Caller;
use crate::http::extract::{InPath, Params};
use crate::http::problem::Problem;
use crate::idempotency::{self, IdempotencyError};
use crate::locks::LockKey;
use crate::text::UserId;

/// `GET /idempotency-keys/{key}?user_id=`
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LookUpKey {
    user_id: Option<UserId>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum KeyState {
    /// Its first request has not ended.
    InFlight,
    /// Its answer is kept: a retry gets it.
    Stored,
    /// Its answer is no longer kept. An order it placed is still its order.
    Expired,
}

/// What became of a key.
#[derive(Debug, Serialize, JsonSchema)]
pub struct KeySeen {
    state: KeyState,
    /// The HTTP status it was answered with, while that is kept.
    status: Option<u16>,
    order_id: Option<Uuid>,
    first_seen: Option<DateTime<Utc>>,
}

/// A user's order key, or without `user_id` one of the caller's own keys.
///
/// # Errors
/// [`Problem`], 404 `idempotency_key_not_found` if no request with it has begun.
pub async fn look_up_key(
    State(app): State<Arc<App>>,
    caller: Caller,
    InPath(key): InPath<String>,
    Params(query): Params<LookUpKey>,
) -> Result<Json<impl Serialize>, Problem> {
    let key = idempotency::parse_key(&key)?;
    let scope = match &query.user_id {
        Some(user_id) => idempotency::user_scope(user_id.as_str()),
        None => idempotency::subject_scope(&caller.principal.subject),
    };
    // As of one moment: else an order might commit after it was looked for, and its answer be found.
    let mut conn = app.db.snapshot().await?;
    let order = match &query.user_id {
        Some(user_id) => store::find_by_key(&mut conn, user_id.as_str(), key).await?.order,
        None => None,
    };
    let order_id = order.map(|placed| placed.order_id);
    if let Some(stored) = idempotency::store::find(&mut conn, &scope, key).await? {
        let state = if stored.expired { KeyState::Expired } else { KeyState::Stored };
        let status = (!stored.expired).then_some(stored.status.as_u16());
        return Ok(Json(KeySeen { state, status, order_id, first_seen: Some(stored.first_seen) }));
    }
    if let Some(order_id) = order_id {
        let first_seen = store::find_order(&mut conn, order_id).await?.map(|order| order.placed_at);
        return Ok(Json(KeySeen {
            state: KeyState::Expired,
            status: None,
            order_id: Some(order_id),
            first_seen,
        }));
    }
    drop(conn);
    let waits = match &query.user_id {
        Some(user_id) => app.locks.is_taken(&LockKey::order(user_id.as_str(), key)).await,
        None => false,
    };
    if waits || idempotency::is_claimed_now(&app.db, &scope, key).await? {
        return Ok(Json(KeySeen {
            state: KeyState::InFlight,
            status: None,
            order_id: None,
            first_seen: None,
        }));
    }
    Err(IdempotencyError::Unknown.into())
}
