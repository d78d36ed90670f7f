//! Reads one session, as of now by the database's clock.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;

use super::model::Session;
use super::store;
use crate::app::App;
use crate::counts::error::{self, CountError};
use crate::http::extract::InPath;
use crate::text::SessionId;

/// `GET /sessions/{session_id}`
///
/// # Errors
/// [`CountError`].
pub async fn get_session(
    State(app): State<Arc<App>>,
    InPath(session_id): InPath<SessionId>,
) -> Result<Json<Session>, CountError> {
    let mut conn = app.db.read().await?;
    Ok(Json(store::find(&mut conn, &session_id).await?.ok_or_else(error::session_not_found)?))
}
