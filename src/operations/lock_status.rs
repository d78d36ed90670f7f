//! `GET /locks/status`: every lock of every replica, who waits for it, and who waits for whom in Postgres.
//! Refuses nothing: without Redis, or without Postgres, it tells what it still knows.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Serialize;

use super::store;
use crate::app::App;
use crate::db::{Db, DbError};
use crate::locks::Locks;
use crate::locks::status::LockStatus;

/// The answer.
#[derive(Debug, Serialize)]
pub struct Status {
    /// The Redis side, and this process.
    #[serde(flatten)]
    pub locks: LockStatus,
    /// Whether Postgres could be asked.
    pub database_available: bool,
    /// Sessions that wait for a lock in Postgres.
    pub database_waits: Vec<DatabaseWait>,
}

/// One session of Postgres that waits for others.
#[derive(Debug, Serialize)]
pub struct DatabaseWait {
    /// Its process number, as in `pg_stat_activity`.
    pub pid: i32,
    /// What it waits for: `transactionid` for a row that another transaction changed or locked, `tuple` for its place
    /// in the line for such a row, `relation` for a table, …
    pub waiting_for: String,
    /// The statement that waits; its beginning.
    pub query: String,
    /// Who it waits for: their process numbers.
    pub blocked_by: Vec<i32>,
    /// For how long.
    pub seconds: f64,
}

/// Looks.
pub async fn lock_status(State(app): State<Arc<App>>) -> Json<Status> {
    Json(look(&app.locks, &app.db).await)
}

/// What is known of all locks now.
pub async fn look(locks: &Locks, db: &Db) -> Status {
    let (locks, waits) = tokio::join!(locks.status(), database_waits(db));
    let database_available = waits.is_ok();
    Status { locks, database_available, database_waits: waits.unwrap_or_default() }
}

async fn database_waits(db: &Db) -> Result<Vec<DatabaseWait>, DbError> {
    let mut conn = db.look_on().await?;
    store::database_waits(&mut conn).await
}
