//! `GET /locks/status`: every lock of every replica, who waits for it, and who waits for whom in Postgres.
//! Refuses nothing: without Redis, or without Postgres, it tells what it still knows.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use schemars::JsonSchema;
use serde::Serialize;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

use super::store;
use crate::app::App;
use crate::db::{Db, DbError};
use crate::locks::Locks;
use crate::locks::status::LockStatus;

/// How long Postgres may take to tell who waits in it: longer than a connection for that may take.
const DATABASE_MAX: Duration = Duration::from_secs(2);

/// The answer.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "LocksStatus")]
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
#[derive(Debug, Serialize, JsonSchema)]
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

/// Looks once for all who ask at the same time: a crowd of onlookers costs what one does, and takes no connection to
/// Redis from the requests it watches.
#[derive(Debug, Default)]
pub struct Lookout(Mutex<Option<(Instant, Bytes)>>);

impl Lookout {
    /// The answer of a look that began after this was asked for.
    async fn look(&self, app: &Arc<App>) -> Bytes {
        let asked = Instant::now();
        let mut last = self.0.lock().await;
        if let Some((begun, seen)) = &*last
            && *begun > asked
        {
            return seen.clone();
        }
        let begun = Instant::now();
        let seen = Bytes::from(serde_json::to_vec(&look_for_all(app).await).unwrap_or_default());
        *last = Some((begun, seen.clone()));
        seen
    }
}

/// Looks.
pub async fn lock_status(State(app): State<Arc<App>>) -> impl IntoResponse {
    ([(CONTENT_TYPE, "application/json")], app.lookout.look(&app).await)
}

/// A Postgres that hangs in the middle keeps a task of its own for as long as it likes, and nobody else.
async fn look_for_all(app: &Arc<App>) -> Status {
    let asking = app.clone();
    let waits = app.tasks.spawn(async move { database_waits(&asking.db).await.ok() });
    let (locks, waits) = tokio::join!(app.locks.status(), timeout(DATABASE_MAX, waits));
    Status::of(locks, waits.ok().and_then(Result::ok).flatten())
}

/// What is known of all locks now.
pub async fn look(locks: &Locks, db: &Db) -> Status {
    let (locks, waits) = tokio::join!(locks.status(), database_waits(db));
    Status::of(locks, waits.ok())
}

impl Status {
    fn of(locks: LockStatus, waits: Option<Vec<DatabaseWait>>) -> Self {
        Self { locks, database_available: waits.is_some(), database_waits: waits.unwrap_or_default() }
    }
}

async fn database_waits(db: &Db) -> Result<Vec<DatabaseWait>, DbError> {
    let mut conn = db.look_on().await?;
    store::database_waits(&mut conn).await
}
