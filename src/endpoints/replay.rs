//! Sends deliveries again: one, those of a state, or of a time. All of them if nothing is said.
//!
//! What must stay true: however many there are, it is done in batches that commit, in the order of their positions, so that
//! nobody else waits for the endpoint longer than for one batch; and each batch is on the record with what it did. A call
//! ends in time, and says from where the next one goes on.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use uuid::Uuid;

use super::error::EndpointError;
use super::log::{self, Batch, Range};
use super::model::DeliveryState;
use super::store;
use crate::app::App;
use crate::db::DbError;
use crate::http::answer::Answer;
use crate::http::auth::Caller;
use crate::http::extract::{InPath, OrDefault};
use crate::http::problem::Problem;
use crate::idempotency::{self, Claim};
use crate::inventory::model::StoredTime;
use crate::text::Reason;

/// How many deliveries are looked at in one transaction,
const BATCH: i64 = 2_000;
/// and how long a call begins another one: an answer must come before callers give up.
const BEGINS_FOR: Duration = Duration::from_secs(5);

/// `POST /webhook-endpoints/{endpoint_id}/replay`
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[schemars(rename = "ReplayDeliveries")]
pub struct Replay {
    delivery_id: Option<Uuid>,
    state: Option<DeliveryState>,
    /// Found then or later.
    from: Option<StoredTime>,
    /// Found earlier.
    to: Option<StoredTime>,
    /// Why; kept with the caller's name.
    reason: Option<Reason>,
    /// From where an answer before said that there may be more.
    cursor: Option<Place>,
}

/// A place in an endpoint's log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(try_from = "String")]
#[schemars(inline)]
pub struct Place(#[schemars(with = "String")] i64);

impl TryFrom<String> for Place {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let place = text.parse().ok().filter(|place| *place >= 0 && text.bytes().all(|b| b.is_ascii_digit()));
        place.map(Self).ok_or("must be a next_cursor of an answer before")
    }
}

/// How many are sent again.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "ReplayedDeliveries")]
pub struct Replayed {
    replayed: i64,
    /// If the call ended before all were looked at: the `cursor` of the next.
    next_cursor: Option<String>,
}

/// # Errors
/// [`Problem`].
pub async fn replay(
    State(app): State<Arc<App>>,
    caller: Caller,
    InPath(endpoint_id): InPath<Uuid>,
    OrDefault(body): OrDefault<Replay>,
) -> Result<Answer, Problem> {
    let claim = body.keyed.map(|keyed| Claim::of_subject(&caller.principal.subject, keyed));
    if let Some(claim) = &claim
        && let Some(first) = idempotency::known_answer::<EndpointError>(&app.db, claim).await?
    {
        return Ok(first);
    }
    let done = replay_range(&app, &caller, endpoint_id, &body.value, BEGINS_FOR).await?;
    Ok(keep(&app, &caller, claim.as_ref(), done).await?)
}

/// Sends them again until all were looked at, or a batch has ended after `begins_for`.
async fn replay_range(
    app: &App,
    caller: &Caller,
    endpoint_id: Uuid,
    cmd: &Replay,
    begins_for: Duration,
) -> Result<Replayed, EndpointError> {
    let began = Instant::now();
    let mut range = find_range(app, endpoint_id, cmd).await?;
    let mut replayed = 0;
    loop {
        let batch = replay_batch(app, caller, endpoint_id, &range, cmd.reason.as_ref()).await?;
        replayed += batch.replayed;
        let Some(next) = batch.next else { return Ok(Replayed { replayed, next_cursor: None }) };
        if began.elapsed() >= begins_for {
            return Ok(Replayed { replayed, next_cursor: Some(next.to_string()) });
        }
        range.after = next;
    }
}

/// What is meant, from where an earlier call ended. One delivery is found by its id.
async fn find_range(app: &App, endpoint_id: Uuid, cmd: &Replay) -> Result<Range, EndpointError> {
    let (mut after, mut until) = (cmd.cursor.map_or(-1, |Place(after)| after), i64::MAX);
    if let Some(delivery_id) = cmd.delivery_id {
        let found = log::find_position(&mut *app.db.read().await?, endpoint_id, delivery_id).await?;
        until = found.unwrap_or(-1);
        after = until - 1;
    }
    Ok(Range {
        delivery_id: cmd.delivery_id,
        state: cmd.state.map(DeliveryState::as_str),
        from: cmd.from.map(StoredTime::get),
        to: cmd.to.map(StoredTime::get),
        after,
        until,
    })
}

async fn replay_batch(
    app: &App,
    caller: &Caller,
    endpoint_id: Uuid,
    range: &Range,
    reason: Option<&Reason>,
) -> Result<Batch, EndpointError> {
    let mut tx = app.db.begin().await?;
    // Also locks it, as whoever writes deliveries does first.
    if !store::open_in_tx(&mut tx, endpoint_id).await? {
        return Err(EndpointError::NotFound);
    }
    let batch = log::replay_in_tx(&mut tx, endpoint_id, range, BATCH).await?;
    // Of batches in which nothing was meant, the last one tells.
    if batch.replayed > 0 || batch.next.is_none() {
        let who = (&*caller.principal.subject, &*caller.request_id);
        let why = reason.map(Reason::as_str);
        log::note_replay_in_tx(&mut tx, endpoint_id, range, (batch.replayed, why), who).await?;
    }
    tx.commit().await.map_err(DbError::from)?;
    Ok(batch)
}

/// Keeps the answer under its key. Of two at once with one key both may have sent them again; one answer is both's.
async fn keep(
    app: &App,
    caller: &Caller,
    claim: Option<&Claim>,
    done: Replayed,
) -> Result<Answer, EndpointError> {
    let mut tx = app.db.begin().await?;
    if let Some(first) = idempotency::begin_in_tx::<EndpointError>(&mut tx, claim).await? {
        return Ok(first);
    }
    let done = Ok::<_, EndpointError>(done);
    let answer = idempotency::finish_in_tx(&mut tx, claim, &caller.request_id, StatusCode::OK, done).await?;
    tx.commit().await.map_err(DbError::from)?;
    Ok(answer)
}
