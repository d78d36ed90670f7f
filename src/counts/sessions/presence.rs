//! Who is active: of whom a heartbeat, a claim or a batch came within the last 90 seconds.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;

use super::model::Present;
use super::store;
use crate::app::App;
use crate::counts::error::CountError;
use crate::http::page::Page;

/// The most sessions that are told.
const PRESENT_MAX: i64 = 1_000;

/// `GET /presence`
///
/// # Errors
/// [`CountError`].
pub async fn presence(State(app): State<Arc<App>>) -> Result<Json<Page<Present>>, CountError> {
    let mut conn = app.db.read().await?;
    let items = store::list_present(&mut conn, PRESENT_MAX).await?;
    Ok(Json(Page { items, next_cursor: None }))
}
