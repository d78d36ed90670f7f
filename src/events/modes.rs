//! Writes down when this replica's leases change their mode, once the database is there to write it: never on a
//! request's path.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use tokio::sync::broadcast::error::RecvError;

use super::model::{About, EventKind};
use super::store;
use crate::app::App;
use crate::db::DbError;
use crate::locks::ModeChange;

/// Pause before a database that is away is tried again.
const AWAY: Duration = Duration::from_secs(1);
/// Changes that wait to be written while the database is away; of more the oldest are forgotten.
const CHANGES_KEPT: usize = 100;

#[derive(Serialize)]
struct Changed<'a> {
    replica: &'a str,
    #[serde(flatten)]
    change: &'a ModeChange,
}

/// Writes down every change until the service stops. A write that has begun is not given up.
pub async fn keep(app: Arc<App>) {
    let (Some(breaker), Some(replica)) = (app.locks.breaker(), app.locks.replica()) else { return };
    let (mut unwritten, mut changes) = breaker.all_changes();
    loop {
        while let Some(change) = unwritten.front() {
            let Err(error) = app.db.in_time(write(&app, replica, change)).await.flatten() else {
                unwritten.pop_front();
                continue;
            };
            tracing::debug!(%error, "a change of the lock mode is written down later");
            break;
        }
        let heard = tokio::select! {
            heard = changes.recv() => heard,
            () = tokio::time::sleep(AWAY), if !unwritten.is_empty() => continue,
            () = app.stopping.cancelled() => return,
        };
        match heard {
            Ok(change) => unwritten.push_back(change),
            Err(RecvError::Lagged(_)) => {}
            Err(RecvError::Closed) => return,
        }
        if unwritten.len() > CHANGES_KEPT {
            unwritten.pop_front();
        }
    }
}

async fn write(app: &App, replica: &str, change: &ModeChange) -> Result<(), DbError> {
    let mut tx = app.db.begin().await?;
    let changed = Changed { replica, change };
    store::append_in_tx(&mut tx, EventKind::LockModeChanged, About::Nothing, &changed).await?;
    Ok(tx.commit().await?)
}
