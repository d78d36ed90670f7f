//! Removes an endpoint: nothing is sent to it any more. Its deliveries, of which there may be millions, go with the next purge.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use uuid::Uuid;

use super::error::EndpointError;
use super::store;
use crate::app::App;
use crate::http::auth::Caller;
use crate::http::extract::InPath;

/// `DELETE /webhook-endpoints/{endpoint_id}`
///
/// # Errors
/// [`EndpointError`].
pub async fn remove(
    State(app): State<Arc<App>>,
    caller: Caller,
    InPath(endpoint_id): InPath<Uuid>,
) -> Result<StatusCode, EndpointError> {
    let was_there = store::delete_endpoint(&mut *app.db.read().await?, endpoint_id).await?;
    if !was_there {
        return Err(EndpointError::NotFound);
    }
    let (subject, request) = (&*caller.principal.subject, &*caller.request_id);
    tracing::info!(endpoint.id = %endpoint_id, caller.subject = subject, request.id = request, "a webhook endpoint was removed");
    Ok(StatusCode::NO_CONTENT)
}
