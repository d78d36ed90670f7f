//! Writes down that holds are over whose time has ended. Nothing depends on when: it keeps `stock.held` close to what is
//! true, and the lists of open lines short. So a round waits for nobody on its way: those that are busy, which may be
//! hundreds at the head of the queue, keep none behind them, and only a few are waited for at its end. Those of the same
//! items end together: a crowd that buys one item leaves more holds behind than there are turns to be had at it.

use std::sync::Arc;
use std::time::Duration;

use sqlx::PgConnection;
use uuid::Uuid;

use super::error::HoldError;
use super::model::HoldState;
use super::store::{self, Due};
use crate::app::App;
use crate::db::DbError;
use crate::events::{self, About, EventKind, NewEvent};
use crate::ids;
use crate::inventory::store::lock_levels_in_tx;
use crate::locks::LockKeys;

/// Pause between two rounds, give or take a quarter.
const PAUSE: Duration = Duration::from_secs(5);
/// How many are looked for at once.
const PAGE: i64 = 200;
/// For how many sets of items that are busy a round waits when it has tried all.
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

/// Ends all that are due, those of the same items in one transaction, page by page past those that are busy; each page in
/// no order: replicas that look at once begin with different ones. Answers how many it ended.
///
/// # Errors
/// [`DbError`] if they can't be found.
pub async fn expire_due(app: &App) -> Result<usize, DbError> {
    let (mut ended, mut busy, mut after) = (0, Vec::new(), None);
    while !app.stopping.is_cancelled() {
        let mut due = {
            let finding = async { store::find_due(&mut *app.db.read().await?, after, PAGE).await };
            app.db.in_time(finding).await??
        };
        let Some(last) = due.last() else { break };
        after = Some(last.place());
        due.sort_by(|one, other| one.variants.cmp(&other.variants));
        let mut groups: Vec<_> = due.chunk_by(|one, other| one.variants == other.variants).collect();
        groups.sort_by_cached_key(|_| ids::random_byte());
        for group in groups {
            match expire(app, group, Duration::ZERO).await {
                Some(number) => ended += number,
                None if busy.len() < WAITED_FOR_MAX => busy.push(group.to_vec()),
                None => {}
            }
        }
    }
    for group in busy {
        ended += expire(app, &group, PATIENCE).await.unwrap_or_default();
    }
    Ok(ended)
}

/// Ends those of some holds of the same items that are over, and says how many. None if somebody has one of the items, or
/// there was no connection: for another time.
async fn expire(app: &App, group: &[Due], patience: Duration) -> Option<usize> {
    let ended = try_to_expire(app, group, patience).await;
    ended.inspect_err(|error| tracing::debug!(%error, holds = group.len(), "left for later")).ok()
}

async fn try_to_expire(app: &App, group: &[Due], patience: Duration) -> Result<usize, HoldError> {
    let variants = group.first().map(|due| due.variants.clone()).unwrap_or_default();
    let ids: Vec<_> = group.iter().map(|due| due.hold_id).collect();
    let (keys, limit) = (LockKeys::variants(variants)?, Some(patience));
    let lease = app.locks.acquire_within(limit, keys.clone(), &app.stopping).await?;
    lease
        .release_after(app.db.in_time(async {
            let mut tx = app.db.begin_within(limit).await?;
            let ended = expire_in_tx(&mut tx, &ids, &keys).await;
            match &ended {
                Ok(_) => tx.commit().await.map_err(DbError::from)?,
                // Before the next round, which would pass over what this one has locked.
                Err(_) => tx.rollback().await.map_err(DbError::from)?,
            }
            ended
        }))
        .await?
}

async fn expire_in_tx(conn: &mut PgConnection, ids: &[Uuid], keys: &LockKeys) -> Result<usize, HoldError> {
    // One that somebody extends or captures now is his.
    let free = store::lock_free_holds_in_tx(conn, ids).await?;
    lock_levels_in_tx(conn, &keys.variant_ids()).await?;
    let mut over = store::find_holds(conn, &free).await?;
    over.retain(|hold| hold.state == HoldState::Expired);
    let ids: Vec<_> = over.iter().map(|hold| (hold.hold_id, None)).collect();
    // Not those of which that was written down already.
    let ended = store::end_all_in_tx(conn, HoldState::Expired, &ids).await?;
    over.retain(|hold| ended.contains(&hold.hold_id));
    let told = over
        .iter()
        .map(|hold| NewEvent::new(EventKind::HoldExpired, About::Hold(hold.hold_id), hold))
        .collect::<Result<Vec<_>, _>>()?;
    events::append_all_in_tx(conn, &told).await?;
    Ok(over.len())
}
