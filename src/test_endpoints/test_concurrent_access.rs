//! `POST /test/inventory/test-concurrent-access`: holds a variant's lock for some seconds, in both layers, as a slow
//! section would. Refuses more than a minute, and a variant that does not exist.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{Request, State};
use chrono::{DateTime, Utc};
use serde::Serialize;
use tokio::time::{Instant, sleep_until};
use uuid::Uuid;

use super::given::Given;
use super::{Hold, TestHolds};
use crate::app::App;
use crate::clock;
use crate::db::{DbError, Tx};
use crate::http::auth::Caller;
use crate::http::problem::{Code, Problem};
use crate::inventory::store::lock_levels_in_tx;
use crate::locks::{Lease, LockKeys};

/// How long it holds unless told otherwise, and at most.
const SECONDS: u64 = 5;
const SECONDS_MAX: u64 = 60;
/// How often the transaction shows that it lives: well within the time that the server lets it idle.
const SIGN_OF_LIFE: Duration = Duration::from_secs(1);

/// That it was done.
#[derive(Debug, Serialize)]
pub struct Held {
    success: bool,
    message: String,
    variant_id: Uuid,
    lock_duration_seconds: u64,
    timestamp: DateTime<Utc>,
}

/// # Errors
/// [`Problem`].
pub async fn test_concurrent_access(
    State(app): State<Arc<App>>,
    caller: Caller,
    request: Request,
) -> Result<Json<Held>, Problem> {
    let (given, _) = Given::read(request).await?;
    let (variant_id, seconds) = (given.variant_id()?, given.lock_duration.unwrap_or(SECONDS));
    if !(1..=SECONDS_MAX).contains(&seconds) {
        return Err(Problem::invalid("lock_duration", format!("must be 1 to {SECONDS_MAX} seconds")));
    }
    let holds = app
        .test_holds
        .as_ref()
        .ok_or_else(|| Problem::new(Code::NotFound, "There are no test endpoints."))?;
    let lease = app.locks.acquire(LockKeys::variant(variant_id), &caller.gone).await?;
    let until = Instant::now() + Duration::from_secs(seconds);
    let held = hold(&app, holds, lease, &caller, variant_id, until).await?;
    let how = if held { "The lock was held and let go." } else { "The lock was let go early." };
    let timestamp = clock::shown_now();
    Ok(Json(Held {
        success: true,
        message: how.to_owned(),
        variant_id,
        lock_duration_seconds: seconds,
        timestamp,
    }))
}

/// Holds lease and row. True if it was held to the end.
async fn hold(
    app: &App,
    holds: &TestHolds,
    lease: Lease,
    caller: &Caller,
    variant_id: Uuid,
    until: Instant,
) -> Result<bool, Problem> {
    let (id, hold) = holds.begin();
    app.locks.note_test_lock(&lease).await;
    let held = hold_row(app, &hold, caller, variant_id, until).await;
    app.locks.forget_test_lock(&lease).await;
    lease.release().await;
    holds.end(id);
    held
}

async fn hold_row(
    app: &App,
    hold: &Hold,
    caller: &Caller,
    variant_id: Uuid,
    until: Instant,
) -> Result<bool, Problem> {
    let mut tx: Tx = app.db.begin().await?;
    if lock_levels_in_tx(&mut tx, &[variant_id]).await?.is_empty() {
        return Err(Problem::new(Code::VariantNotFound, "There is no variant with this id."));
    }
    let mut to_the_end = false;
    while !to_the_end && !app.is_draining() {
        let sign = until.min(Instant::now() + SIGN_OF_LIFE);
        tokio::select! {
            () = hold.stop.cancelled() => break,
            () = caller.gone.cancelled() => break,
            () = sleep_until(sign) => {}
        }
        to_the_end = Instant::now() >= until;
        sqlx::query!(r#"SELECT 1 AS "alive!""#).fetch_one(&mut *tx).await.map_err(DbError::from)?;
    }
    tx.rollback().await.map_err(DbError::from)?;
    Ok(to_the_end)
}
