//! Sends what is due, and writes down how it went.
//!
//! What must stay true:
//! - No endpoint waits for another: as soon as one of its few places is free it is taken again, whatever others do.
//! - What is under way holds no connection. One transaction takes what is due, and one writes down all that has ended
//!   meanwhile, however many that are: of the pool's connections, one is in use at most.
//! - A database that says nothing for longer than it could is asked anew: what was not committed is done again.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::Instant;
use uuid::Uuid;

use super::fan_out::fan_out;
use super::metrics::Outcome;
use super::model::EndpointUrl;
use super::post::Letter;
use super::rules::{ATTEMPTS_MAX, FAILURES_TO_PAUSE, failures_after, pause_after, rest_after};
use super::store::{self, Ended, Health};
use super::turns::{self, Due, Place};
use crate::app::App;
use crate::db::DbError;
use crate::ids;
use crate::telemetry::trace::{Kind, Trace};
use crate::webhooks::signature::Secrets;

/// Between two looks while nothing happens.
const PAUSE: Duration = Duration::from_millis(500);
/// How many of one endpoint are under way at once. With the most endpoints there may be, that bounds all.
const EACH: i32 = 4;
/// How many that are due are looked through in one transaction for those that stand behind others, of each endpoint,
const ASIDE: i64 = 1_000;
/// and how many times in a row, before what can be sent is.
const ASIDES: usize = 10;
/// After so long an attempt of which nobody says how it ended counts as lost: longer than any may take.
const LOST_AFTER: Duration = Duration::from_secs(60);

/// Delivers until the service stops. What is under way then is sent again, by whoever goes on.
pub async fn keep(app: Arc<App>) {
    let mut courier = Courier::default();
    while !app.stopping.is_cancelled() {
        let more = match courier.round(&app).await {
            Ok(more) => more,
            Err(error) => {
                tracing::warn!(%error, "webhooks are not delivered now; they are when the database is there");
                false
            }
        };
        let pause = if more { Duration::ZERO } else { PAUSE };
        tokio::select! {
            () = app.stopping.cancelled() => {}
            () = courier.wait_for_an_end() => {}
            () = tokio::time::sleep(pause) => {}
        }
    }
}

/// Writes deliveries that there are to write, sends what is due once, and waits for all of it. Gives how many it sent.
///
/// # Errors
/// [`DbError`].
pub async fn run_once(app: &Arc<App>) -> Result<usize, DbError> {
    let mut courier = Courier::default();
    fan_out(app).await?;
    app.events.ask_for_page(put_aside(app)).await?;
    let sent = courier.take_due(app).await?;
    while !courier.under_way.is_empty() {
        courier.wait_for_an_end().await;
    }
    courier.write_down(app).await?;
    Ok(sent)
}

/// What is under way, and what has ended and is not written down yet.
#[derive(Default)]
struct Courier {
    under_way: JoinSet<Option<Ended>>,
    /// Whose attempt a task is.
    whose: HashMap<Id, Uuid>,
    ended: Vec<Ended>,
}

impl Courier {
    /// Writes down what has ended and, in the process that has the relay's role, goes on. True if there is more to do.
    async fn round(&mut self, app: &Arc<App>) -> Result<bool, DbError> {
        self.write_down(app).await?;
        if !*app.events.role().borrow() {
            return Ok(false);
        }
        let written = fan_out(app).await;
        // Whatever can't be written, what is there is sent.
        let crowded = app.events.ask_for_page(put_aside(app)).await?;
        self.take_due(app).await?;
        Ok(written? || crowded)
    }

    /// Begins whatever is due and has a place. Gives how many.
    async fn take_due(&mut self, app: &Arc<App>) -> Result<usize, DbError> {
        // Whoever stops sends nothing: what it took would wait for others to believe it lost.
        if app.is_draining() {
            return Ok(0);
        }
        let places = self.places();
        let taking = async {
            let mut tx = app.db.begin().await?;
            let due = turns::take_due_in_tx(&mut tx, &places, EACH, FAILURES_TO_PAUSE, LOST_AFTER).await?;
            tx.commit().await?;
            Ok::<_, DbError>(due)
        };
        let due = app.events.ask_for_page(taking).await?;
        let taken = due.len();
        for due in due {
            self.begin(app, due);
        }
        Ok(taken)
    }

    fn begin(&mut self, app: &Arc<App>, due: Due) {
        let (app, endpoint_id) = (app.clone(), due.endpoint_id);
        let task = self.under_way.spawn(async move {
            tokio::select! {
                ended = attempt(&app, &due) => Some(ended),
                () = app.draining() => None,
            }
        });
        self.whose.insert(task.id(), endpoint_id);
    }

    /// What is under way of each endpoint.
    fn places(&self) -> Vec<Place> {
        let mut running = BTreeMap::<Uuid, i32>::new();
        for endpoint_id in self.whose.values() {
            *running.entry(*endpoint_id).or_default() += 1;
        }
        running.into_iter().map(|(endpoint_id, running)| Place { endpoint_id, running }).collect()
    }

    /// Waits until an attempt ends, and keeps what has ended by then; for ever if nothing is under way. Nothing is lost if
    /// this is given up.
    async fn wait_for_an_end(&mut self) {
        let Some(first) = self.under_way.join_next_with_id().await else {
            return std::future::pending().await;
        };
        self.keep_ended(first);
        while let Some(next) = self.under_way.try_join_next_with_id() {
            self.keep_ended(next);
        }
    }

    fn keep_ended(&mut self, joined: Result<(Id, Option<Ended>), JoinError>) {
        let id = match joined {
            Ok((id, ended)) => {
                self.ended.extend(ended);
                id
            }
            Err(error) => {
                tracing::error!(%error, "an attempt to deliver panicked: it counts as lost");
                error.id()
            }
        };
        self.whose.remove(&id);
    }

    /// Writes down what has ended: kept until that has been done.
    async fn write_down(&mut self, app: &App) -> Result<(), DbError> {
        if !self.ended.is_empty() {
            app.events.ask_for_page(self.write_ended(app)).await?;
            self.ended.clear();
        }
        Ok(())
    }

    async fn write_ended(&self, app: &App) -> Result<(), DbError> {
        let mut tx = app.db.begin().await?;
        let endpoints: Vec<_> = self.ended.iter().map(|ended| ended.endpoint_id).collect();
        let before = store::lock_failures_in_tx(&mut tx, &endpoints).await?;
        let said = store::end_attempts_in_tx(&mut tx, &self.ended).await?;
        // Of attempts that another has followed nothing is concluded.
        let (all, said) = (&self.ended, &said);
        let ended = || all.iter().filter(move |ended| said.contains(&ended.delivery_id));
        let after: Vec<_> = before
            .into_iter()
            .filter(|(id, _)| ended().any(|ended| ended.endpoint_id == *id))
            .map(|(endpoint_id, failures)| {
                let its = || ended().filter(move |ended| ended.endpoint_id == endpoint_id);
                let failures = failures_after(failures, its().map(|ended| ended.error.is_none()));
                let is_gone = its().any(|ended| ended.is_gone);
                Health { endpoint_id, failures, rest: rest_after(failures), is_gone }
            })
            .collect();
        store::set_health_in_tx(&mut tx, &after).await?;
        let over = ended().filter(|ended| ended.state != "pending");
        let (endpoints, aggregates): (Vec<_>, Vec<_>) =
            over.map(|ended| (ended.endpoint_id, ended.aggregate.clone())).unzip();
        turns::call_next_in_tx(&mut tx, &endpoints, &aggregates).await?;
        Ok(tx.commit().await?)
    }
}

/// Puts aside what stands behind others, where that is all one sees. True if there is more of it.
async fn put_aside(app: &App) -> Result<bool, DbError> {
    for _ in 0..ASIDES {
        let crowded = turns::find_crowded(&mut *app.db.read().await?, EACH).await?;
        if crowded.is_empty() {
            return Ok(false);
        }
        let mut tx = app.db.begin().await?;
        store::lock_failures_in_tx(&mut tx, &crowded).await?;
        turns::put_aside_in_tx(&mut tx, &crowded, ASIDE).await?;
        tx.commit().await?;
    }
    Ok(true)
}

async fn attempt(app: &App, due: &Due) -> Ended {
    let began = Instant::now();
    let mut told = app.tracer.background(due.traceparent.as_deref(), Kind::Client, "endpoints.deliver");
    told.note("event.id", &*due.event_id.to_string());
    told.note("delivery.attempt", due.attempts);
    let (status, error) = match send(app, due, &told.trace()).await {
        Ok(status) if (200..300).contains(&status) => (Some(status), None),
        Ok(status) => (Some(status), Some(format!("it answered {status}"))),
        Err(error) => (None, Some(error)),
    };
    if let Some(status) = status {
        told.note("http.response.status_code", i32::from(status));
    }
    if error.is_some() {
        told.failed();
    }
    drop(told);
    let outcome = match error {
        None => Outcome::Delivered,
        Some(_) if due.attempts >= ATTEMPTS_MAX => Outcome::Dead,
        Some(_) => Outcome::Failed,
    };
    app.endpoints.count(outcome, began.elapsed());
    if outcome == Outcome::Dead {
        tracing::error!(delivery.id = %due.delivery_id, endpoint.id = %due.endpoint_id, error, "a webhook was given up");
    }
    Ended {
        delivery_id: due.delivery_id,
        endpoint_id: due.endpoint_id,
        aggregate: due.aggregate.clone(),
        attempts: due.attempts,
        state: match outcome {
            Outcome::Delivered => "delivered",
            Outcome::Dead => "dead",
            Outcome::Failed => "pending",
        },
        status: status.and_then(|status| i16::try_from(status).ok()),
        error,
        pause: match outcome {
            Outcome::Failed => pause_after(due.attempts, ids::random_byte()),
            Outcome::Delivered | Outcome::Dead => Duration::ZERO,
        },
        is_gone: status == Some(410),
    }
}

async fn send(app: &App, due: &Due, trace: &Trace) -> Result<u16, String> {
    let url = EndpointUrl::try_from(due.url.clone())?;
    let written: Vec<_> =
        [Some(due.secret.as_str()), due.old_secret.as_deref()].into_iter().flatten().collect();
    let secrets = Secrets::read(Some(&written.join(",")))?;
    let id = due.event_id.to_string();
    let signature = secrets.sign(&id, due.now, due.body.as_bytes());
    // Where nothing is told here, its receiver may still tell of the request that made the event.
    let traceparent = trace.traceparent().or_else(|| due.traceparent.clone());
    let letter = Letter { id, timestamp: due.now, signature, traceparent, body: due.body.clone() };
    app.post.send(&url, &letter).await.map(|status| status.as_u16())
}
