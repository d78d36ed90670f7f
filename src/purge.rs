//! Forgets what is kept for a time only, once an hour: ended leases, old answers, holds that came to nothing, events
//! that can have no effect any more. Nothing depends on it but the size of the tables: that something is over is judged
//! when it is read.
//!
//! What must stay true: nothing is forgotten without which something could be done a second time. So captured holds are
//! kept, which lead a late retry of their capture to its order; and so is an event as long as its order has anything
//! left that a repetition could cancel, or is still to come.

use std::sync::Arc;
use std::time::Duration;

use sqlx::PgConnection;

use crate::app::App;
use crate::counts::purge as counts;
use crate::db::{Db, DbError};
use crate::{holds, idempotency, inventory, leases, webhooks};

/// Between two purges.
const PAUSE: Duration = Duration::from_secs(60 * 60);
/// How many rows are deleted, or looked at, in one transaction.
const BATCH: i64 = 500;

/// How much was forgotten.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Purged {
    /// Leases that had ended.
    pub leases: u64,
    /// Answers whose time was over.
    pub answers: u64,
    /// Holds that were released or had expired, with their lines.
    pub holds: u64,
    /// Events of the webhook inbox.
    pub events: u64,
    /// Events that were told.
    pub told: u64,
    /// Deliveries to endpoints that were given up, for nobody had taken them for so long; they can still be seen.
    pub given_up: u64,
    /// Deliveries to endpoints.
    pub deliveries: u64,
    /// Verdicts of audits.
    pub audits: u64,
    /// Minutes, serial numbers, conflicts and records of counting.
    pub counts: u64,
}

/// Purges until the service stops.
pub async fn keep_purging(app: Arc<App>) {
    while app.stopping.run_until_cancelled(tokio::time::sleep(PAUSE)).await.is_some() {
        if let Err(error) = purge(&app.db).await {
            tracing::warn!(%error, "what is old could not be purged; tried again in an hour");
        }
    }
}

/// Deletes whatever is old enough, batch by batch.
///
/// # Errors
/// [`DbError`]; what was deleted before it stays deleted.
pub async fn purge(db: &Db) -> Result<Purged, DbError> {
    let mut purged = Purged {
        leases: in_batches(db, async |conn| leases::store::purge_in_tx(conn, leases::KEPT_FOR, BATCH).await)
            .await?,
        answers: in_batches(db, async |conn| {
            idempotency::store::purge_in_tx(conn, idempotency::FORGOTTEN_AFTER, BATCH).await
        })
        .await?,
        holds: in_batches(db, async |conn| holds::purge_in_tx(conn, BATCH).await).await?,
        events: events(db).await?,
        given_up: in_batches(db, async |conn| crate::endpoints::give_up_in_tx(conn, BATCH).await).await?,
        deliveries: in_batches(db, async |conn| crate::endpoints::purge_in_tx(conn, BATCH).await).await?,
        audits: in_batches(db, async |conn| inventory::audits::purge_in_tx(conn, BATCH).await).await?,
        counts: in_batches(db, async |conn| counts::purge_minutes_in_tx(conn, BATCH).await).await?
            + in_batches(db, async |conn| counts::purge_serials_in_tx(conn, BATCH).await).await?
            + in_batches(db, async |conn| counts::purge_conflicts_in_tx(conn, BATCH).await).await?
            + in_batches(db, async |conn| counts::purge_records_in_tx(conn, BATCH).await).await?,
        told: in_batches(db, async |conn| crate::events::purge_in_tx(conn, BATCH).await).await?,
    };
    // Last: of an endpoint with a large log it lasts, and all else is not to wait for that.
    purged.deliveries +=
        in_batches(db, async |conn| crate::endpoints::purge_removed_in_tx(conn, BATCH).await).await?;
    if purged != Purged::default() {
        tracing::info!(
            purged.leases = purged.leases,
            purged.answers = purged.answers,
            purged.holds = purged.holds,
            purged.events = purged.events,
            purged.told = purged.told,
            purged.given_up = purged.given_up,
            purged.deliveries = purged.deliveries,
            purged.audits = purged.audits,
            purged.counts = purged.counts,
            "what was old was forgotten"
        );
    }
    Ok(purged)
}

async fn in_batches(
    db: &Db,
    delete: impl AsyncFn(&mut PgConnection) -> Result<u64, DbError>,
) -> Result<u64, DbError> {
    let mut all = 0;
    loop {
        let batch = async {
            let mut tx = db.begin().await?;
            let deleted = delete(&mut tx).await?;
            tx.commit().await?;
            Ok::<_, DbError>(deleted)
        };
        let deleted = db.in_time(batch).await??;
        all += deleted;
        if deleted < BATCH as u64 {
            return Ok(all);
        }
    }
}

/// From the oldest on, page by page: some stay, and must not be met again on the next page.
async fn events(db: &Db) -> Result<u64, DbError> {
    let (mut all, mut after) = (0, None);
    loop {
        let purging = async {
            let mut tx = db.begin().await?;
            let page = webhooks::purge_in_tx(&mut tx, after, BATCH).await?;
            tx.commit().await?;
            Ok::<_, DbError>(page)
        };
        let page = db.in_time(purging).await??;
        all += page.deleted;
        match page.last {
            Some(last) => after = Some(last),
            None => return Ok(all),
        }
    }
}
