//! Takes a marker away, by its owner alone: the file is free for the next.
//! Refuses everybody else, and an owner that names a fence which is not the newest.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use schemars::JsonSchema;
use serde::Deserialize;

use super::error::MarkerError;
use super::model::{Ended, MarkerName, OfFile};
use super::read::running;
use crate::app::App;
use crate::http::auth::Caller;
use crate::http::extract::{InPath, Params};
use crate::leases::marker::Marker;
use crate::leases::{Ending, Fence};
use crate::text::{AccountId, FileHash};

/// `DELETE /invoices/processing?account_id=&file_hash=&fence=`
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ClearFile {
    account_id: AccountId,
    file_hash: FileHash,
    fence: Option<i64>,
}

/// # Errors
/// [`MarkerError`].
pub async fn clear_of_file(
    State(app): State<Arc<App>>,
    caller: Caller,
    Params(query): Params<ClearFile>,
) -> Result<Json<Ended>, MarkerError> {
    let ClearFile { account_id, file_hash, fence } = query;
    let marker = OfFile { account_id, file_hash }.marker().ok_or(MarkerError::NotFound)?;
    Ok(Json(clear(&app, &caller, &marker, fence.map(Fence)).await?))
}

/// `DELETE /invoices/processing/{marker}?fence=`
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ClearMarker {
    fence: Option<i64>,
}

/// # Errors
/// [`MarkerError`].
pub async fn clear_marker(
    State(app): State<Arc<App>>,
    caller: Caller,
    InPath(marker): InPath<MarkerName>,
    Params(query): Params<ClearMarker>,
) -> Result<Json<Ended>, MarkerError> {
    Ok(Json(clear(&app, &caller, marker.get(), query.fence.map(Fence)).await?))
}

/// Releases the claim that was seen to be the caller's: one that another makes meanwhile has a higher fence, and stays.
async fn clear(
    app: &App,
    caller: &Caller,
    marker: &Marker,
    named: Option<Fence>,
) -> Result<Ended, MarkerError> {
    let found = running(app, marker).await?;
    if found.owner != caller.principal.subject {
        return Err(MarkerError::NotOwner);
    }
    let fence = named.unwrap_or(found.fence);
    app.leases.release(&app.db, marker.name(), fence).await?;
    Ok(Ended { marker: found.marker, fence, ending: Ending::Released.as_str() })
}
