//! Takes a webhook that tells of a cancelled order, and carries it out, once.
//! Refuses what is not signed or too old. Of what it does not know it says so, and keeps nothing.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use schemars::JsonSchema;
use serde::Serialize;

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
pub async fn receive(
    State(app): State<Arc<App>>,
    signed: Result<Signed, Problem>,
) -> Result<Answer, Problem> {
    let outcome = match signed {
        Ok(signed) => take(&app, signed).await,
        Err(problem) => Err(problem),
    };
    app.webhooks.count(&outcome);
    outcome
}

/// What is told of an event of another type: nothing was done or kept.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Ignored {
    /// `ignored`
    result: &'static str,
}

async fn take(app: &Arc<App>, signed: Signed) -> Result<Answer, Problem> {
    let Signed { caller, scheme, id, body } = signed;
    match Event::read(scheme, id, &body)? {
        Some(event) => Ok(deliver(app, &caller, &event).await?),
        // A sender need not know what is listened to; an error would only make it try again.
        None => Ok(Answer::json(StatusCode::OK, &Ignored { result: "ignored" })),
    }
}
