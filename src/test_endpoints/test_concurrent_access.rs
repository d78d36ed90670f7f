//! `POST /test/inventory/test-concurrent-access`: holds a variant's lock for some seconds, in both layers, as a slow
//! section would. Refuses more than a minute, and a variant that does not exist.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sqlx::PgConnection;
use tokio::time::{Instant, sleep_until};
use uuid::Uuid;

use super::given::{self, Asked, required};
use super::{Holding, TestHolds};
use crate::app::App;
use crate::clock;
use crate::db::{ACQUIRE_TIMEOUT, DbError};
use crate::http::answer::Answer;
use crate::http::auth::Caller;
use crate::http::problem::{Code, Problem};
use crate::idempotency::{self, Claim};
use crate::inventory::StockError;
use crate::inventory::rules::Refusal;
use crate::inventory::store::lock_levels_in_tx;
use crate::locks::timing::{STATEMENT_TIMEOUT, TEST_LOCK_NOTED};
use crate::locks::{Lease, LockError, LockKeys};

/// How long it holds unless told otherwise, and at most.
const SECONDS: u64 = 5;
const SECONDS_MAX: u64 = 60;
const _: () = assert!(
    SECONDS_MAX + ACQUIRE_TIMEOUT.as_secs() + STATEMENT_TIMEOUT.as_secs() < TEST_LOCK_NOTED.as_secs(),
    "whoever holds can be told to end, to the end"
);
/// How often the transaction shows that it lives, well within the time that the server lets it idle, and looks whether
/// it is to end.
const SIGN_OF_LIFE: Duration = Duration::from_secs(1);

/// What to hold, and for how many seconds.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(rename = "TestHoldAsked")]
pub struct Given {
    variant_id: Option<Uuid>,
    #[schemars(range(min = 1, max = SECONDS_MAX))]
    lock_duration: Option<u64>,
}

impl given::Given for Given {
    const CALL: &str = "test-concurrent-access";

    fn or(self, query: Self) -> Self {
        Self {
            variant_id: self.variant_id.or(query.variant_id),
            lock_duration: self.lock_duration.or(query.lock_duration),
        }
    }
}

/// That it was done.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "TestHold")]
pub struct Held {
    success: bool,
    message: &'static str,
    variant_id: Uuid,
    lock_duration_seconds: u64,
    timestamp: DateTime<Utc>,
}

/// What is to be done.
#[derive(Debug)]
struct Task<'a> {
    app: &'a App,
    caller: &'a Caller,
    claim: Option<Claim>,
    variant_id: Uuid,
    seconds: u64,
}

/// # Errors
/// [`Problem`].
pub async fn test_concurrent_access(
    State(app): State<Arc<App>>,
    caller: Caller,
    Asked(given, keyed): Asked<Given>,
) -> Result<Answer, Problem> {
    let (variant_id, seconds) = (required(given.variant_id)?, given.lock_duration.unwrap_or(SECONDS));
    if !(1..=SECONDS_MAX).contains(&seconds) {
        return Err(Problem::invalid("lock_duration", format!("must be 1 to {SECONDS_MAX} seconds")));
    }
    let holds = app
        .test_holds
        .as_ref()
        .ok_or_else(|| Problem::new(Code::NotFound, "There are no test endpoints."))?;
    let claim = keyed.map(|keyed| Claim::of_subject(&caller.principal.subject, keyed));
    let task = Task { app: &app, caller: &caller, claim, variant_id, seconds };
    Ok(task.run(holds).await?)
}

impl Task<'_> {
    async fn run(&self, holds: &TestHolds) -> Result<Answer, StockError> {
        if let Some(claim) = &self.claim
            && let Some(first) = idempotency::known_answer::<StockError>(&self.app.db, claim).await?
        {
            return Ok(first);
        }
        let lease = self.app.locks.acquire(LockKeys::variant(self.variant_id), &self.caller.gone).await?;
        let hold = holds.begin();
        let is_noted = self.app.locks.note_test_lock(&lease).await;
        let held = self.hold(&hold, &lease, is_noted).await;
        self.app.locks.forget_test_lock(&lease).await;
        lease.release().await;
        held
    }

    /// Holds the row under the lease.
    async fn hold(&self, hold: &Holding<'_>, lease: &Lease, is_noted: bool) -> Result<Answer, StockError> {
        let claim = self.claim.as_ref();
        let mut tx = self.app.db.begin().await?;
        if let Some(first) = idempotency::begin_in_tx::<StockError>(&mut tx, claim).await? {
            return Ok(first);
        }
        if lock_levels_in_tx(&mut tx, &[self.variant_id]).await?.is_empty() {
            return Err(Refusal::VariantNotFound(self.variant_id).into());
        }
        let to_the_end = self.wait(&mut tx, hold, lease, is_noted).await?;
        let message = if to_the_end { "The lock was held and let go." } else { "The lock was let go early." };
        let (variant_id, timestamp) = (self.variant_id, clock::shown_now());
        let held =
            Held { success: true, message, variant_id, lock_duration_seconds: self.seconds, timestamp };
        let request_id = &self.caller.request_id;
        let done: Result<_, StockError> = Ok(held);
        let answer = idempotency::finish_in_tx(&mut tx, claim, request_id, StatusCode::OK, done).await?;
        tx.commit().await.map_err(DbError::from)?;
        Ok(answer)
    }

    /// Waits as long as was asked for. False if it was told to end before: by a clearing, here or elsewhere, or because
    /// the process stops.
    async fn wait(
        &self,
        conn: &mut PgConnection,
        hold: &Holding<'_>,
        lease: &Lease,
        is_noted: bool,
    ) -> Result<bool, StockError> {
        let until = Instant::now() + Duration::from_secs(self.seconds);
        while Instant::now() < until {
            tokio::select! {
                () = hold.is_to_end() => return Ok(false),
                () = self.caller.gone.cancelled() => return Err(LockError::CallerGone.into()),
                () = sleep_until(until.min(Instant::now() + SIGN_OF_LIFE)) => {}
            }
            sqlx::query!(r#"SELECT 1 AS "alive!""#).fetch_one(&mut *conn).await.map_err(DbError::from)?;
            if self.app.is_draining() || (is_noted && self.app.locks.was_cleared(lease).await) {
                return Ok(Instant::now() >= until);
            }
        }
        Ok(true)
    }
}
