//! Sends deliveries again: one, those of a state, or of a time. All of them if nothing is said.
//!
//! What must stay true: however many there are, it is done in batches that commit, in the order of their positions, so that
//! nobody else waits for the endpoint longer than for one batch; and each batch is on the record with what it did. A call
//! ends in time, and says from where the next one goes on. Of calls with one key one does it: all of a call goes over one
//! connection, whose session has the key from before its answer is looked up until it is kept.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sqlx::{Connection, PgConnection};
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
use crate::idempotency::{self, Claim, IdempotencyError};
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
/// [`EndpointError`].
pub async fn replay(
    State(app): State<Arc<App>>,
    caller: Caller,
    InPath(endpoint_id): InPath<Uuid>,
    OrDefault(body): OrDefault<Replay>,
) -> Result<Answer, EndpointError> {
    let claim = body.keyed.map(|keyed| Claim::of_subject(&caller.principal.subject, keyed));
    let mut conn = app.db.read().await?;
    let Some(claim) = claim else {
        let done = replay_range(&mut conn, &caller, endpoint_id, &body.value, BEGINS_FOR).await?;
        return Ok(Answer::json(StatusCode::OK, &done));
    };
    // However this ends, the session does not go back to the pool with the key.
    conn.close_on_drop();
    if !idempotency::take_for_session(&mut conn, &claim).await? {
        return Err(IdempotencyError::InFlight.into());
    }
    let answer = replay_once(&mut conn, &caller, endpoint_id, &body.value, &claim).await;
    // Before the answer: the session may end a moment after it, when the same key comes again.
    if let Err(error) = idempotency::free_for_session(&mut conn, &claim).await {
        tracing::warn!(%error, "a key of a replay is freed only by the end of its session");
    }
    answer
}

/// Sends them again and keeps the answer, unless there is one. The session has the key.
async fn replay_once(
    conn: &mut PgConnection,
    caller: &Caller,
    endpoint_id: Uuid,
    cmd: &Replay,
    claim: &Claim,
) -> Result<Answer, EndpointError> {
    if let Some(first) = idempotency::find_answer::<EndpointError>(conn, claim).await? {
        return Ok(first);
    }
    let done = replay_range(conn, caller, endpoint_id, cmd, BEGINS_FOR).await?;
    keep(conn, caller, claim, done).await
}

/// Sends them again until all were looked at, or a batch has ended after `begins_for`.
async fn replay_range(
    conn: &mut PgConnection,
    caller: &Caller,
    endpoint_id: Uuid,
    cmd: &Replay,
    begins_for: Duration,
) -> Result<Replayed, EndpointError> {
    let began = Instant::now();
    let mut range = find_range(conn, endpoint_id, cmd).await?;
    let (mut replayed, mut is_first) = (0, true);
    loop {
        let batch = replay_batch(conn, caller, endpoint_id, (&range, is_first), cmd.reason.as_ref()).await?;
        is_first = false;
        replayed += batch.replayed;
        let Some(next) = batch.next else { return Ok(Replayed { replayed, next_cursor: None }) };
        if began.elapsed() >= begins_for {
            return Ok(Replayed { replayed, next_cursor: Some(next.to_string()) });
        }
        range.after = next;
    }
}

/// What is meant, from where an earlier call ended. One delivery is found by its id.
async fn find_range(
    conn: &mut PgConnection,
    endpoint_id: Uuid,
    cmd: &Replay,
) -> Result<Range, EndpointError> {
    let (mut after, mut until) = (cmd.cursor.map_or(-1, |Place(after)| after), i64::MAX);
    if let Some(delivery_id) = cmd.delivery_id {
        let found = log::find_position(conn, endpoint_id, delivery_id).await?;
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
    conn: &mut PgConnection,
    caller: &Caller,
    endpoint_id: Uuid,
    (range, is_first): (&Range, bool),
    reason: Option<&Reason>,
) -> Result<Batch, EndpointError> {
    let mut tx = conn.begin().await.map_err(DbError::from)?;
    // Either locks it, as whoever writes deliveries does first. What it did since the first batch is not forgiven.
    let is_there = if is_first {
        store::open_in_tx(&mut tx, endpoint_id).await?
    } else {
        !store::lock_failures_in_tx(&mut tx, &[endpoint_id]).await?.is_empty()
    };
    if !is_there {
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

/// Keeps the answer under its key.
async fn keep(
    conn: &mut PgConnection,
    caller: &Caller,
    claim: &Claim,
    done: Replayed,
) -> Result<Answer, EndpointError> {
    let mut tx = conn.begin().await.map_err(DbError::from)?;
    // Only another kind of call can have taken it meanwhile.
    if let Some(first) = idempotency::begin_in_tx::<EndpointError>(&mut tx, Some(claim)).await? {
        return Ok(first);
    }
    let done = Ok::<_, EndpointError>(done);
    let answer =
        idempotency::finish_in_tx(&mut tx, Some(claim), &caller.request_id, StatusCode::OK, done).await?;
    tx.commit().await.map_err(DbError::from)?;
    Ok(answer)
}
