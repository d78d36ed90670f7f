//! Says that the work on a file goes on, and how far it is. To beat twice is to beat once.
//! Refuses whoever was followed by another, work that has ended, and work of somebody else.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use schemars::JsonSchema;
use serde::Deserialize;

use super::error::MarkerError;
use super::model::{MarkerName, MarkerTtl, Progress, Started, TTL_SECONDS};
use crate::app::App;
use crate::http::answer::Answer;
use crate::http::auth::Caller;
use crate::http::extract::{Body, InPath};
use crate::http::problem::Problem;
use crate::leases::{Fence, Leases};

/// `POST /invoices/processing/{marker}/beat`
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(rename = "MarkerBeat")]
pub struct Beat {
    fence: Fence,
    progress: Option<Progress>,
    ttl_seconds: Option<MarkerTtl>,
}

/// # Errors
/// [`Problem`].
pub async fn beat(
    State(app): State<Arc<App>>,
    caller: Caller,
    InPath(marker): InPath<MarkerName>,
    body: Body<Beat>,
) -> Result<Answer, Problem> {
    let Beat { fence, progress, ttl_seconds } = body.value;
    let ttl = match ttl_seconds {
        Some(ttl) => ttl,
        None => MarkerTtl::try_from(TTL_SECONDS).map_err(|rule| Problem::invalid("ttl_seconds", rule))?,
    };
    let progress = progress.map(Progress::get);
    {
        let mut conn = app.db.read().await?;
        let owner = &caller.principal.subject;
        Leases::check_owner(&mut conn, marker.get(), fence, owner).await.map_err(MarkerError::from)?;
    }
    let beaten = app.leases.beat(&app.db, marker.get(), fence, progress, ttl.get()).await;
    let expires_at = beaten.map_err(MarkerError::from)?;
    let told = Started { marker: marker.get().name().as_str().to_owned(), fence, expires_at };
    Ok(Answer::json(StatusCode::OK, &told))
}
