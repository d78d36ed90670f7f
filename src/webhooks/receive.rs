//! Takes a webhook that tells of a cancelled order, and carries it out, once.
//! Refuses what is not signed or too old. Of what it does not know it says so, and keeps nothing.

use std::sync::Arc;

use axum::extract::{FromRequest, Request, State};
use axum::http::StatusCode;
use serde_json::json;

use super::deliver::deliver;
use super::model::Event;
use super::signed::Signed;
use crate::app::App;
use crate::http::answer::Answer;
use crate::http::problem::Problem;

/// `POST /webhooks/cancellations`
///
/// # Errors
/// [`Problem`].
pub async fn receive(State(app): State<Arc<App>>, request: Request) -> Result<Answer, Problem> {
    let outcome = take(&app, request).await;
    app.webhooks.count(&outcome);
    outcome
}

async fn take(app: &Arc<App>, request: Request) -> Result<Answer, Problem> {
    let Signed { caller, scheme, id, body } = Signed::from_request(request, app).await?;
    match Event::read(scheme, id, &body)? {
        Some(event) => Ok(deliver(app, &caller, &event).await?),
        // A sender need not know what is listened to; an error would only make it try again.
        None => Ok(Answer::json(StatusCode::OK, &json!({"result": "ignored"}))),
    }
}
