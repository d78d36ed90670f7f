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

/// Goes on until the service stops.
pub async fn keep(app: Arc<App>) {
    loop {
        let pause = PAUSE.mul_f64(0.75 + f64::from(ids::random_byte()) / 510.0);
        tokio::select! {
            () = app.stopping.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
        }
        if let Err(error) = expire_due(&app).await {
            tracing::warn!(%error, "holds that are over can't be written down now; they are over all the same");
        }
    }
}

/// Ends those that are due, each in a transaction of its own. Answers how many.
///
/// # Errors
/// [`HoldError`]; those ended before it stay ended.
pub async fn expire_due(app: &App) -> Result<usize, HoldError> {
    let due = {
        let mut conn = app.db.read().await?;
        store::find_due(&mut conn, BATCH).await?
    };
    let mut ended = 0;
    for (hold_id, variants) in due {
        ended += usize::from(expire(app, hold_id, variants).await?);
    }
    Ok(ended)
}

/// False if it is busy, or not over any more, or written down already.
async fn expire(app: &App, hold_id: Uuid, variants: Vec<Uuid>) -> Result<bool, HoldError> {
    let keys = LockKeys::variants(variants)?;
    let lease = match app.locks.acquire(keys.clone(), &app.stopping).await {
        Ok(lease) => lease,
        Err(LockError::Busy { .. } | LockError::Overloaded | LockError::CallerGone) => return Ok(false),
    };
    lease
        .release_after(async {
            let mut tx = app.db.begin().await?;
            let (hold, _levels) = store::lock_hold_in_tx(&mut tx, hold_id, &keys).await?;
            let ended = hold.state == HoldState::Expired
                && store::end_in_tx(&mut tx, hold_id, HoldState::Expired, None).await?;
            tx.commit().await.map_err(DbError::from)?;
            Ok(ended)
        })
        .await
}
