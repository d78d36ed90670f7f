//! Reads: one hold, and a user's holds. As of one moment by the database's clock, without a lock.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use schemars::JsonSchema;
use serde::Deserialize;
use uuid::Uuid;

use super::error::HoldError;
use super::model::{Hold, HoldState};
use super::store;
use crate::app::App;
use crate::http::extract::{InPath, Params};
use crate::http::page::{Limit, Page};
use crate::text::UserId;

/// The most holds on a page, whatever is asked for: each may have 2,000 lines.
const PAGE_MAX: u16 = 100;

/// One hold.
///
/// # Errors
/// [`HoldError`].
pub async fn get_hold(
    State(app): State<Arc<App>>,
    InPath(hold_id): InPath<Uuid>,
) -> Result<Json<Hold>, HoldError> {
    let mut conn = app.db.snapshot().await?;
    Ok(Json(store::find_hold(&mut conn, hold_id).await?.ok_or(HoldError::NotFound)?))
}

/// `GET /holds?user_id=&state=&limit=&cursor=`
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ListHolds {
    user_id: UserId,
    state: Option<HoldState>,
    #[serde(default)]
    limit: Limit,
    cursor: Option<Uuid>,
}

/// A user's holds, newest first.
///
/// # Errors
/// [`HoldError`].
pub async fn list_holds(
    State(app): State<Arc<App>>,
    Params(query): Params<ListHolds>,
) -> Result<Json<Page<Hold>>, HoldError> {
    let mut conn = app.db.snapshot().await?;
    let limit = query.limit.at_most(PAGE_MAX);
    let state = query.state.map(HoldState::as_str);
    let (user_id, before) = (query.user_id.as_str(), query.cursor);
    let found = store::list_holds(&mut conn, user_id, state, before, limit.and_one()).await?;
    Ok(Json(Page::of(found, limit, |hold| hold.hold_id.to_string())))
}
