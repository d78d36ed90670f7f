//! Forgets what is kept for a time only, once an hour: ended leases and old answers. Nothing depends on it but the size
//! of the tables: that something is over is judged when it is read.

use std::sync::Arc;
use std::time::Duration;

use sqlx::PgConnection;

use crate::app::App;
use crate::db::{Db, DbError};
use crate::{idempotency, leases};

/// Between two purges.
const PAUSE: Duration = Duration::from_secs(60 * 60);
/// How many rows are deleted in one transaction.
const BATCH: i64 = 500;

/// Purges until the service stops.
pub async fn keep_purging(app: Arc<App>) {
    while app.stopping.run_until_cancelled(tokio::time::sleep(PAUSE)).await.is_some() {
        if let Err(error) = purge(&app.db).await {
            tracing::warn!(%error, "old leases and answers could not be purged; tried again in an hour");
        }
    }
}

/// Deletes whatever is old enough, batch by batch. Answers how many leases and how many answers there were.
///
/// # Errors
/// [`DbError`]; what was deleted before it stays deleted.
pub async fn purge(db: &Db) -> Result<(u64, u64), DbError> {
    let leases =
        in_batches(db, async |conn| leases::store::purge_in_tx(conn, leases::KEPT_FOR, BATCH).await).await?;
    let answers = in_batches(db, async |conn| {
        idempotency::store::purge_in_tx(conn, idempotency::FORGOTTEN_AFTER, BATCH).await
    })
    .await?;
    if leases + answers > 0 {
        tracing::info!(purged.leases = leases, purged.answers = answers, "what was old was forgotten");
    }
    Ok((leases, answers))
}

async fn in_batches(
    db: &Db,
    delete: impl AsyncFn(&mut PgConnection) -> Result<u64, DbError>,
) -> Result<u64, DbError> {
    let mut all = 0;
    loop {
        let mut tx = db.begin().await?;
        let deleted = delete(&mut tx).await?;
        tx.commit().await?;
        all += deleted;
        if deleted < BATCH as u64 {
            return Ok(all);
        }
    }
}
