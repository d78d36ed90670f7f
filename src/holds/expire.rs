//! Writes down that holds are over whose time has ended. Nothing depends on when: it keeps `stock.held` close to what is
//! true, and the lists of open lines short.

use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

use super::error::HoldError;
use super::model::HoldState;
use super::store;
use crate::app::App;
use crate::db::DbError;
use crate::ids;
use crate::locks::{LockError, LockKeys};

/// Pause between two rounds, give or take a quarter.
const PAUSE: Duration = Duration::from_secs(5);
/// The most holds that one round ends.
const BATCH: i64 = 200;
/// How long one of them is waited for, in either layer.
const PATIENCE: Duration = Duration::from_millis(500);

/// Goes on until the service stops.
pub async fn keep(app: Arc<App>) {
    while !app.stopping.is_cancelled() {
        match expire_due(&app).await {
            // There may be more than one round takes.
            Ok(ended) if ended >= BATCH as usize / 2 => continue,
            Ok(_) => {}
            Err(error) => {
                tracing::warn!(%error, "holds that are over can't be found now; they are over all the same")
            }
        }
        let pause = PAUSE.mul_f64(0.75 + f64::from(ids::random_byte()) / 510.0);
        tokio::select! {
            () = app.stopping.cancelled() => {}
            () = tokio::time::sleep(pause) => {}
        }
    }
}

/// Ends those that are due, each in a transaction of its own, in no order: replicas that look at once begin with
/// different ones. Answers how many. One that can't be ended now, because its item is busy, stops none of the others.
///
/// # Errors
/// [`DbError`] if they can't be found.
pub async fn expire_due(app: &App) -> Result<usize, DbError> {
    let mut due = {
        let mut conn = app.db.read().await?;
        store::find_due(&mut conn, BATCH).await?
    };
    due.sort_by_cached_key(|_| ids::random_byte());
    let mut ended = 0;
    for (hold_id, variants) in due {
        match expire(app, hold_id, variants).await {
            Ok(is_ended) => ended += usize::from(is_ended),
            Err(error) => tracing::debug!(%error, hold.id = %hold_id, "left for the next round"),
        }
    }
    Ok(ended)
}

/// False if it is busy, or not over any more, or written down already.
async fn expire(app: &App, hold_id: Uuid, variants: Vec<Uuid>) -> Result<bool, HoldError> {
    let (keys, patience) = (LockKeys::variants(variants)?, app.stopping.child_token());
    let over = patience.clone();
    let bell = tokio::spawn(async move {
        tokio::time::sleep(PATIENCE).await;
        over.cancel();
    });
    let lease = app.locks.acquire(keys.clone(), &patience).await;
    bell.abort();
    let lease = match lease {
        Ok(lease) => lease,
        Err(LockError::Busy { .. } | LockError::Overloaded | LockError::CallerGone) => return Ok(false),
    };
    lease
        .release_after(async {
            let mut tx = app.db.begin().await?;
            store::wait_for_rows_in_tx(&mut tx, PATIENCE).await?;
            let (hold, _levels) = store::lock_hold_in_tx(&mut tx, hold_id, &keys).await?;
            let ended = hold.state == HoldState::Expired
                && store::end_in_tx(&mut tx, hold_id, HoldState::Expired, None).await?;
            tx.commit().await.map_err(DbError::from)?;
            Ok(ended)
        })
        .await
}
