//! Writes down that holds are over whose time has ended. Nothing depends on when: it keeps `stock.held` close to what is
//! true, and the lists of open lines short. So a round waits for nobody on its way: those that are busy, which may be
//! hundreds at the head of the queue, keep none behind them, and only a few are waited for at its end.

use std::sync::Arc;
use std::time::Duration;

use super::error::HoldError;
use super::model::HoldState;
use super::store::{self, Due};
use crate::app::App;
use crate::db::DbError;
use crate::events::{self, About, EventKind};
use crate::ids;
use crate::locks::LockKeys;

/// Pause between two rounds, give or take a quarter.
const PAUSE: Duration = Duration::from_secs(5);
/// How many are looked for at once.
const PAGE: i64 = 200;
/// How many of those that are busy a round waits for when it has tried all.
const WAITED_FOR_MAX: usize = 10;
/// How long it waits for one of them, in either layer.
const PATIENCE: Duration = Duration::from_millis(500);

/// Goes on until the service stops.
pub async fn keep(app: Arc<App>) {
    while !app.stopping.is_cancelled() {
        if let Err(error) = expire_due(&app).await {
            tracing::warn!(%error, "holds that are over can't be found now; they are over all the same");
        }
        let pause = PAUSE.mul_f64(0.75 + f64::from(ids::random_byte()) / 510.0);
        tokio::select! {
            () = app.stopping.cancelled() => {}
            () = tokio::time::sleep(pause) => {}
        }
    }
}

/// Ends all that are due, each in a transaction of its own, page by page past those that are busy; each page in no order:
/// replicas that look at once begin with different ones. Answers how many it ended.
///
/// # Errors
/// [`DbError`] if they can't be found.
pub async fn expire_due(app: &App) -> Result<usize, DbError> {
    let (mut ended, mut busy, mut after) = (0, Vec::new(), None);
    while !app.stopping.is_cancelled() {
        let mut due = {
            let mut conn = app.db.read().await?;
            store::find_due(&mut conn, after, PAGE).await?
        };
        let Some(last) = due.last() else { break };
        after = Some(last.place());
        due.sort_by_cached_key(|_| ids::random_byte());
        for due in due {
            match expire(app, &due, Duration::ZERO).await {
                Outcome::Ended => ended += 1,
                Outcome::Busy if busy.len() < WAITED_FOR_MAX => busy.push(due),
                Outcome::Busy | Outcome::Over => {}
            }
        }
    }
    for due in busy {
        ended += usize::from(expire(app, &due, PATIENCE).await == Outcome::Ended);
    }
    Ok(ended)
}

#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    Ended,
    /// Somebody has its item, or its row, or there was no connection: for another time.
    Busy,
    /// It is not over any more, or that is written down already.
    Over,
}

async fn expire(app: &App, due: &Due, patience: Duration) -> Outcome {
    match try_to_expire(app, due, patience).await {
        Ok(true) => Outcome::Ended,
        Ok(false) => Outcome::Over,
        Err(error) => {
            tracing::debug!(%error, hold.id = %due.hold_id, "left for later");
            Outcome::Busy
        }
    }
}

async fn try_to_expire(app: &App, due: &Due, patience: Duration) -> Result<bool, HoldError> {
    let (keys, limit) = (LockKeys::variants(due.variants.clone())?, Some(patience));
    let lease = app.locks.acquire_within(limit, keys.clone(), &app.stopping).await?;
    lease
        .release_after(async {
            let mut tx = app.db.begin_within(limit).await?;
            let (hold, _levels) = store::lock_hold_in_tx(&mut tx, due.hold_id, &keys).await?;
            let ended = hold.state == HoldState::Expired
                && store::end_in_tx(&mut tx, due.hold_id, HoldState::Expired, None).await?;
            if ended {
                events::append_in_tx(&mut tx, EventKind::HoldExpired, About::Hold(due.hold_id), &hold)
                    .await?;
            }
            tx.commit().await.map_err(DbError::from)?;
            Ok(ended)
        })
        .await
}
