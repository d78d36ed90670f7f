//! Sends what is due, a few at once, and writes down how it went.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;

use super::fan_out::fan_out;
use super::metrics::Outcome;
use super::model::EndpointUrl;
use super::post::Letter;
use super::rules::{ATTEMPTS_MAX, FAILURES_TO_PAUSE, pause_after, rest_after};
use super::store::{self, Due, Ended};
use crate::app::App;
use crate::db::DbError;
use crate::ids;
use crate::webhooks::signature::Secrets;

/// Between two looks while nothing is due.
const PAUSE: Duration = Duration::from_millis(500);
/// How many of one endpoint are sent at once.
const EACH: i32 = 4;
/// After so long an attempt of which nobody says how it ended counts as lost: longer than any may take.
const LOST_AFTER: Duration = Duration::from_secs(60);

/// Delivers until the service stops. What is under way then is sent again, by whoever goes on.
pub async fn keep(app: Arc<App>) {
    while !app.stopping.is_cancelled() {
        let is_ours = *app.events.role().borrow();
        let sent = if is_ours { run_once(&app).await } else { Ok(0) };
        let busy = match sent {
            Ok(sent) => sent > 0,
            Err(error) => {
                tracing::warn!(%error, "webhooks are not delivered now; they are when the database is there");
                false
            }
        };
        if !busy {
            tokio::select! {
                () = app.stopping.cancelled() => {}
                () = tokio::time::sleep(PAUSE) => {}
            }
        }
    }
}

/// Writes the deliveries there are to write, and sends what is due once. Gives how many it sent.
///
/// # Errors
/// [`DbError`].
pub async fn run_once(app: &App) -> Result<usize, DbError> {
    // Whoever stops sends nothing: what it took would wait for others to believe it lost.
    if app.is_draining() {
        return Ok(0);
    }
    fan_out(app).await?;
    let mut tx = app.db.begin().await?;
    let due = store::take_due_in_tx(&mut tx, EACH, FAILURES_TO_PAUSE, LOST_AFTER).await?;
    tx.commit().await?;
    for ended in join_all(due.iter().map(|due| attempt(app, due))).await {
        ended?;
    }
    Ok(due.len())
}

async fn attempt(app: &App, due: &Due) -> Result<(), DbError> {
    let sent = tokio::select! {
        sent = send(app, due) => sent,
        () = app.draining() => return Ok(()),
    };
    let (status, error) = match sent {
        Ok(status) if (200..300).contains(&status) => (Some(status), None),
        Ok(status) => (Some(status), Some(format!("it answered {status}"))),
        Err(error) => (None, Some(error)),
    };
    let is_dead = error.is_some() && due.attempts >= ATTEMPTS_MAX;
    let outcome = match error {
        None => Outcome::Delivered,
        Some(_) if is_dead => Outcome::Dead,
        Some(_) => Outcome::Failed,
    };
    app.endpoints.count(outcome);
    if is_dead {
        tracing::error!(delivery.id = %due.delivery_id, endpoint.id = %due.endpoint_id, error, "a webhook was given up");
    }
    let ended = Ended {
        state: match outcome {
            Outcome::Delivered => "delivered",
            Outcome::Dead => "dead",
            Outcome::Failed => "pending",
        },
        status: status.and_then(|status| i16::try_from(status).ok()),
        error: error.as_deref(),
        pause: pause_after(due.attempts, ids::random_byte()),
        rest: error.as_ref().and_then(|_| rest_after(due.failures.saturating_add(1))),
        is_gone: status == Some(410),
    };
    let mut tx = app.db.begin().await?;
    store::end_attempt_in_tx(&mut tx, due, &ended).await?;
    Ok(tx.commit().await?)
}

async fn send(app: &App, due: &Due) -> Result<u16, String> {
    let url = EndpointUrl::try_from(due.url.clone())?;
    let written: Vec<_> =
        [Some(due.secret.as_str()), due.old_secret.as_deref()].into_iter().flatten().collect();
    let secrets = Secrets::read(Some(&written.join(",")))?;
    let id = due.event_id.to_string();
    let signature = secrets.sign(&id, due.now, due.body.as_bytes());
    let letter = Letter { id, timestamp: due.now, signature, body: due.body.clone() };
    app.post.send(&url, &letter).await.map(|status| status.as_u16())
}
