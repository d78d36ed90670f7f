//! `GET /status`: what this process does, as it knows without asking anybody: so it answers whatever is away, and may be
//! polled under load. Refuses nothing.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::Serialize;

use super::pulse::{Answered, Hot};
use crate::app::App;
use crate::db::PoolLevels;
use crate::locks::metrics::LockTallies;
use crate::locks::{LockMode, ModeChange};

/// The answer. All of it is of the process that was asked.
#[derive(Debug, Serialize, JsonSchema)]
pub struct ProcessStatus {
    /// Which process.
    pub process: Process,
    /// How locks are had now, and how that came.
    pub mode: Mode,
    /// What it answered in the last minute.
    pub last_minute: Answered,
    /// The same, second by second, oldest first.
    pub seconds: Vec<Answered>,
    /// Its connections to Postgres.
    pub pool: PoolLevels,
    /// What became of locks since it began.
    pub locks: LockTallies,
    /// Readers of its event stream.
    pub readers: usize,
    /// How long the event stream has waited for a transaction that lasts, or for the database.
    pub stream_lag_seconds: f64,
    /// What most requests want.
    pub hot: Vec<HotItem>,
}

/// A process.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Process {
    /// Its name among replicas, where there is a Redis layer.
    pub replica: Option<String>,
    /// Its version.
    pub version: &'static str,
    /// Since when it runs.
    pub started_at: DateTime<Utc>,
    /// For how long.
    pub uptime_seconds: u64,
    /// Whether it is stopping.
    pub draining: bool,
}

/// The mode of locks.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "ModeNow")]
pub struct Mode {
    /// Both layers, or the row locks alone.
    pub lock_mode: LockMode,
    /// Since when.
    pub since: DateTime<Utc>,
    /// What made it so.
    pub why: String,
    /// The last changes of mode, oldest first.
    pub history: Vec<ModeChange>,
}

/// An item that many want.
#[derive(Debug, Serialize, JsonSchema)]
pub struct HotItem {
    /// Which, and by how many.
    #[serde(flatten)]
    pub hot: Hot,
    /// How many requests are in line for it in this process now, the one that is served included.
    pub in_line: usize,
}

/// Tells.
pub async fn process_status(State(app): State<Arc<App>>) -> Json<ProcessStatus> {
    let hot = app.pulse.hot().into_iter();
    Json(ProcessStatus {
        process: Process {
            replica: app.locks.replica().map(str::to_owned),
            version: env!("CARGO_PKG_VERSION"),
            started_at: app.pulse.started_at(),
            uptime_seconds: app.pulse.lasted().as_secs(),
            draining: app.is_draining(),
        },
        mode: Mode::of(&app),
        last_minute: app.pulse.minute(),
        seconds: app.pulse.seconds(),
        pool: app.db.levels(),
        locks: app.locks.tallies(),
        readers: app.readers.taken(),
        stream_lag_seconds: app.events.lag().as_secs_f64(),
        hot: hot.map(|hot| HotItem { in_line: app.locks.in_line(hot.variant_id), hot }).collect(),
    })
}

impl Mode {
    fn of(app: &App) -> Self {
        let history = app.locks.breaker().map(|breaker| breaker.history()).unwrap_or_default();
        let (since, why) = match history.last() {
            Some(change) => (change.at, change.why.clone()),
            None if app.locks.breaker().is_none() => {
                (app.pulse.started_at(), "no Redis is configured".to_owned())
            }
            None => (app.pulse.started_at(), "Redis has answered since the start".to_owned()),
        };
        Self { lock_mode: app.locks.mode(), since, why, history }
    }
}
