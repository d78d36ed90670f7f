//! Lists sessions, the last heard of first: what a warehouse lead looks through.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use schemars::JsonSchema;
use serde::Deserialize;

use super::model::{Session, SessionState};
use super::store;
use crate::app::App;
use crate::counts::error::CountError;
use crate::http::extract::Params;
use crate::http::page::{Limit, Page};
use crate::text::{SessionId, UserId};

/// The most sessions on a page, whatever is asked for: the records of each are counted.
const PAGE_MAX: u16 = 100;

/// `GET /sessions?user_id=&state=&limit=&cursor=`
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ListSessions {
    user_id: Option<UserId>,
    state: Option<SessionState>,
    #[serde(default)]
    limit: Limit,
    cursor: Option<SessionId>,
}

/// # Errors
/// [`CountError`].
pub async fn list_sessions(
    State(app): State<Arc<App>>,
    Params(query): Params<ListSessions>,
) -> Result<Json<Page<Session>>, CountError> {
    let limit = query.limit.at_most(PAGE_MAX);
    let user_id = query.user_id.as_ref().map(UserId::as_str);
    let state = query.state.map(SessionState::as_str);
    let before = query.cursor.as_ref().map(SessionId::as_str);
    let mut conn = app.db.read().await?;
    let found = store::list(&mut conn, user_id, state, before, limit.and_one()).await?;
    Ok(Json(Page::of(found, limit, |session| session.session_id.clone())))
}
