//! The inbox: conflicts that nobody has resolved, or those that somebody has.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use schemars::JsonSchema;
use serde::Deserialize;
use uuid::Uuid;

use super::model::Kept;
use super::store;
use crate::app::App;
use crate::counts::error::CountError;
use crate::http::extract::Params;
use crate::http::page::{Limit, Page};
use crate::text::SessionId;

/// Which conflicts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "ConflictsShown")]
enum Which {
    #[default]
    Open,
    Resolved,
    All,
}

/// `GET /sync/conflicts?session_id=&state=&limit=&cursor=`
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ListConflicts {
    session_id: Option<SessionId>,
    #[serde(default)]
    state: Which,
    #[serde(default)]
    limit: Limit,
    cursor: Option<Uuid>,
}

/// # Errors
/// [`CountError`].
pub async fn list_conflicts(
    State(app): State<Arc<App>>,
    Params(query): Params<ListConflicts>,
) -> Result<Json<Page<Kept>>, CountError> {
    let is_open = match query.state {
        Which::Open => Some(true),
        Which::Resolved => Some(false),
        Which::All => None,
    };
    let session_id = query.session_id.as_ref().map(SessionId::as_str);
    let mut conn = app.db.read().await?;
    let limit = query.limit.and_one();
    let found = store::list(&mut conn, None, session_id, is_open, query.cursor, limit).await?;
    Ok(Json(Page::of(found, query.limit, |conflict| conflict.conflict_id.to_string())))
}
