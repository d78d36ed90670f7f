//! Reads: who is at a file, since when and how far.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;

use super::error::MarkerError;
use super::model::{MarkerName, OfFile, Running};
use crate::app::App;
use crate::http::extract::{InPath, Params};
use crate::leases::marker::Marker;

/// `GET /invoices/processing?account_id=&file_hash=`
///
/// # Errors
/// [`MarkerError`].
pub async fn get_of_file(
    State(app): State<Arc<App>>,
    Params(file): Params<OfFile>,
) -> Result<Json<Running>, MarkerError> {
    Ok(Json(running(&app, &file.marker().ok_or(MarkerError::NotFound)?).await?))
}

/// `GET /invoices/processing/{marker}`
///
/// # Errors
/// [`MarkerError`].
pub async fn get_marker(
    State(app): State<Arc<App>>,
    InPath(marker): InPath<MarkerName>,
) -> Result<Json<Running>, MarkerError> {
    Ok(Json(running(&app, marker.get()).await?))
}

/// Who is at the file.
///
/// # Errors
/// [`MarkerError::NotFound`], or a database error.
pub(super) async fn running(app: &App, marker: &Marker) -> Result<Running, MarkerError> {
    let running = app.leases.running(&app.db, marker).await?.ok_or(MarkerError::NotFound)?;
    Ok(Running {
        marker: marker.name().as_str().to_owned(),
        owner: running.owner,
        fence: running.fence,
        since: running.since,
        expires_in: running.expires_in.as_secs_f64(),
        progress: running.progress,
    })
}
