//! Forgets leases that ended or lapsed long ago. Nothing depends on it but the table's size: a name that is claimed
//! again gets a higher fence all the same, and an old fence is refused for want of its row.

use std::sync::Arc;
use std::time::Duration;

use super::store;
use crate::app::App;
use crate::db::{Db, DbError};

/// How long a lease is kept after its end, for whoever asks what became of it.
pub const KEPT_FOR: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// How many are deleted in one transaction.
const BATCH: i64 = 500;
/// Between two purges.
const PAUSE: Duration = Duration::from_secs(60 * 60);

/// Deletes what is older, batch by batch. Answers how many there were.
///
/// # Errors
/// [`DbError`].
pub async fn purge(db: &Db) -> Result<u64, DbError> {
    let mut all = 0;
    loop {
        let mut tx = db.begin().await?;
        let purged = store::purge_in_tx(&mut tx, KEPT_FOR, BATCH).await?;
        tx.commit().await?;
        all += purged;
        if purged < BATCH as u64 {
            return Ok(all);
        }
    }
}

/// Purges once an hour until the service stops.
pub async fn keep_purging(app: Arc<App>) {
    while app.stopping.run_until_cancelled(tokio::time::sleep(PAUSE)).await.is_some() {
        match purge(&app.db).await {
            Ok(0) => {}
            Ok(purged) => tracing::info!(lease.purged = purged, "old leases were forgotten"),
            Err(error) => tracing::warn!(%error, "old leases could not be purged; tried again in an hour"),
        }
    }
}
