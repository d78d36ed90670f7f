//! The way to Postgres: the pool, transactions with the server's own limits, and what its errors mean.
//!
//! What must stay true: deadlines are the server's (`lock_timeout`, `statement_timeout`,
//! `idle_in_transaction_session_timeout`), set when a session starts; and whatever talks to Postgres runs in a task that
//! nobody cancels (see `docs/decisions/0002-sqlx-and-tasks.md`). Only a Postgres that has fallen silent is given up, and
//! the connection with it: see [`give_up_after`].

mod conn;
pub mod metrics;
mod migrate;

use std::time::Duration;

use anyhow::Context;
use schemars::JsonSchema;
use serde::Serialize;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{ConnectOptions, Connection, Executor, PgConnection, PgPool};
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

pub use self::conn::{Conn, Tx, give_up_after};
use self::metrics::DbMetrics;
pub use self::migrate::{MigrationWaits, migrate, migrate_waiting};
use crate::admission::{Queue, TooLong};
use crate::locks::timing::{
    IDLE_IN_TRANSACTION_TIMEOUT, ROW_LOCK_TIMEOUT, STATEMENT_TIMEOUT, TRANSACTION_MAX,
};

/// How long a request waits for a connection before it is told that the service is overloaded.
pub const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(2);
/// How long Postgres may take to greet a new connection before it counts as away.
const GREETING_MAX: Duration = Duration::from_secs(1);
/// How long what was found out about Postgres being there is believed.
const BELIEVED_FOR: Duration = Duration::from_millis(250);
/// How long closing the pool waits for connections that are in use.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);
/// A connection that idled longer is asked whether it still lives before it is used.
const TRUSTED_IDLE: Duration = Duration::from_millis(500);
/// How long an onlooker waits for the one connection there is for looking on.
const LOOK_ON_TIMEOUT: Duration = Duration::from_secs(1);
/// How long that connection is kept when nobody looks.
const LOOK_ON_IDLE: Duration = Duration::from_secs(60);
/// Connections are renewed this often, so that a failover or a new address is followed.
const MAX_LIFETIME: Duration = Duration::from_secs(600);
/// The connections that a replica may have beside its pool: an onlooker's, the relay's, and one to see whether Postgres is up.
pub const BESIDE_THE_POOL: u32 = 3;
/// The statements a session keeps prepared: more than this service has.
const STATEMENTS_KEPT: usize = 512;
/// How often a transaction that met a deadlock or a serialization failure is run in all.
pub const ATTEMPTS: u32 = 4;

/// What a wait for a row is limited to at least, by whoever does not want to wait: Postgres has short waits of its own,
/// as when a table grows, which say nothing of the row. (To Postgres, zero is no limit.)
pub const ROW_LOCK_TIMEOUT_MIN: Duration = Duration::from_millis(20);
/// How much longer than it may a row is waited for at most, for the sake of a statement less.
const ROW_LOCK_TIMEOUT_SLACK: Duration = Duration::from_millis(250);

/// The database.
#[derive(Debug)]
pub struct Db {
    pool: PgPool,
    /// Those who wait for a connection of it.
    queue: Queue,
    /// One connection for those who only look on: they see what happens when all others are busy.
    onlookers: PgPool,
    /// When Postgres was last looked for, and whether it was there. Locked while somebody looks.
    seen: Mutex<Option<(Instant, bool)>>,
    /// How long a transaction may take. Past that Postgres has fallen silent, and it is given up.
    pub transaction_max: Duration,
    /// What is counted of the pool.
    pub metrics: DbMetrics,
}

/// The connections of the pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
pub struct PoolLevels {
    /// Those there are.
    pub connections: u32,
    /// Those of them that requests use now.
    pub busy: u32,
    /// How many there may be.
    pub max: u32,
}

/// What went wrong in Postgres or on the way to it.
#[derive(Debug, thiserror::Error)]
pub enum DbError {
    /// It can't be reached, is starting, stopping or out of room. Whether a commit under way took place is
    /// not known; the same idempotency key tells.
    #[error("the database can't be reached")]
    Unavailable(#[source] sqlx::Error),
    /// All connections of the pool stayed busy.
    #[error("no database connection came free in time")]
    PoolExhausted,
    /// A row stayed locked by somebody else.
    #[error("a row stayed locked")]
    RowLocked(#[source] sqlx::Error),
    /// A deadlock or serialization failure: nothing was written, the whole may be run again.
    #[error("the transaction collided with another")]
    Collision(#[source] sqlx::Error),
    /// Anything else is a mistake of ours.
    #[error("the database refused a statement")]
    Unexpected(#[source] sqlx::Error),
}

impl DbError {
    /// Whether a statement ran into its time limit: then nothing else is wrong with the database.
    #[must_use]
    pub fn took_too_long(&self) -> bool {
        let Self::Unavailable(error) = self else { return false };
        error.as_database_error().is_some_and(|error| error.code().as_deref() == Some("57014"))
    }

    /// The same once more, for another who is to be told of it.
    #[must_use]
    pub fn repeated(&self) -> Self {
        let told = |error: &sqlx::Error| sqlx::Error::Protocol(error.to_string());
        match self {
            Self::Unavailable(error) => Self::Unavailable(told(error)),
            Self::PoolExhausted => Self::PoolExhausted,
            Self::RowLocked(error) => Self::RowLocked(told(error)),
            Self::Collision(error) => Self::Collision(told(error)),
            Self::Unexpected(error) => Self::Unexpected(told(error)),
        }
    }
}

impl From<sqlx::Error> for DbError {
    fn from(error: sqlx::Error) -> Self {
        use sqlx::Error as E;
        let Some(state) = error.as_database_error().and_then(|e| e.code().map(|code| code.into_owned()))
        else {
            return match error {
                E::PoolTimedOut => Self::PoolExhausted,
                E::Io(_) | E::Tls(_) | E::Protocol(_) | E::PoolClosed | E::WorkerCrashed => {
                    Self::Unavailable(error)
                }
                _ => Self::Unexpected(error),
            };
        };
        match state.as_str() {
            "55P03" => Self::RowLocked(error),
            "40001" | "40P01" => Self::Collision(error),
            // 57014: the statement ran into its time limit. 25006: a standby that only reads.
            "57014" | "57P01" | "57P02" | "57P03" | "57P05" | "25P03" | "25006" => Self::Unavailable(error),
            _ if state.starts_with("08") || state.starts_with("53") || state.starts_with("58") => {
                Self::Unavailable(error)
            }
            _ => Self::Unexpected(error),
        }
    }
}

impl Db {
    /// A pool of at most `max_connections` to `url`. Connects when first used.
    ///
    /// # Errors
    /// If the URL can't be read.
    pub fn new(url: &str, max_connections: u32) -> anyhow::Result<Self> {
        let pool = PgPoolOptions::new()
            .max_connections(max_connections)
            .acquire_timeout(ACQUIRE_TIMEOUT)
            .max_lifetime(MAX_LIFETIME)
            .test_before_acquire(false)
            .before_acquire(|conn, meta| {
                Box::pin(async move {
                    if meta.idle_for < TRUSTED_IDLE {
                        return Ok(true);
                    }
                    conn.ping().await.map(|()| true)
                })
            })
            .connect_lazy_with(session_options(url)?);
        let onlookers = PgPoolOptions::new()
            .max_connections(1)
            .acquire_timeout(LOOK_ON_TIMEOUT)
            .idle_timeout(LOOK_ON_IDLE)
            .connect_lazy_with(session_options(url)?.application_name("holdfast onlooker"));
        Ok(Self {
            pool,
            queue: Queue::default(),
            onlookers,
            seen: Mutex::default(),
            transaction_max: TRANSACTION_MAX,
            metrics: DbMetrics::default(),
        })
    }

    /// Begins a transaction. A pooled connection that turns out dead is thrown away and the next is tried,
    /// within the time that a connection may take: nothing has been sent yet, so nothing is done twice.
    ///
    /// # Errors
    /// [`DbError`] if no connection could be had.
    pub async fn begin(&self) -> Result<Tx, DbError> {
        let since = Instant::now();
        self.metrics.ended(since, self.try_to_begin().await)
    }

    async fn try_to_begin(&self) -> Result<Tx, DbError> {
        let deadline = Instant::now() + ACQUIRE_TIMEOUT;
        // So many may be dead. Without this limit, a socket that is gone would be knocked at without a pause.
        let mut dead_at_most = self.pool.size();
        let waiting = self.queue.join(ACQUIRE_TIMEOUT).map_err(|TooLong| DbError::PoolExhausted)?;
        loop {
            let begun = async { Tx::begin(self.pool.acquire().await?.into()).await };
            match begun.await {
                Ok(tx) => {
                    waiting.served();
                    return Ok(tx);
                }
                Err(sqlx::Error::Io(_)) if dead_at_most > 0 && Instant::now() < deadline => dead_at_most -= 1,
                Err(error) => return Err(self.explain(error).await),
            }
        }
    }

    /// The same, with statements that wait for a row no longer than `limit`, if there is one. That costs a statement, unless
    /// nobody waits noticeably longer anyway.
    ///
    /// # Errors
    /// As [`begin`](Self::begin).
    pub async fn begin_within(&self, limit: Option<Duration>) -> Result<Tx, DbError> {
        let mut tx = self.begin().await?;
        if let Some(limit) = limit.filter(|limit| *limit + ROW_LOCK_TIMEOUT_SLACK < ROW_LOCK_TIMEOUT) {
            let millis = limit.clamp(ROW_LOCK_TIMEOUT_MIN, ROW_LOCK_TIMEOUT).as_millis();
            tx.execute(format!("SET LOCAL lock_timeout = '{millis}ms'").as_str()).await?;
        }
        Ok(tx)
    }

    /// Gives `work` up, and the connections that it has, if it takes longer than a transaction may.
    ///
    /// # Errors
    /// [`DbError::Unavailable`], if it was given up.
    pub async fn in_time<T>(&self, work: impl Future<Output = T>) -> Result<T, DbError> {
        give_up_after(self.transaction_max, work).await
    }

    /// A connection for reading.
    ///
    /// # Errors
    /// [`DbError`] if none could be had.
    pub async fn read(&self) -> Result<Conn, DbError> {
        let since = Instant::now();
        self.metrics.ended(since, self.try_to_read().await)
    }

    async fn try_to_read(&self) -> Result<Conn, DbError> {
        let waiting = self.queue.join(ACQUIRE_TIMEOUT).map_err(|TooLong| DbError::PoolExhausted)?;
        match self.pool.acquire().await {
            Ok(conn) => {
                waiting.served();
                Ok(conn.into())
            }
            Err(error) => Err(self.explain(error).await),
        }
    }

    /// Brings those metrics up to date that are looked at and not counted.
    pub fn update_metrics(&self) {
        self.metrics.see(self.levels(), self.queue.waiting());
    }

    /// A connection for looking on, which no request of the shop's ever takes.
    ///
    /// # Errors
    /// [`DbError`] if it could not be had.
    pub async fn look_on(&self) -> Result<Conn, DbError> {
        Ok(self.onlookers.acquire().await?.into())
    }

    /// A connection of one's own, outside of the pool, for what goes on as long as the service does.
    ///
    /// # Errors
    /// [`DbError`] if it could not be had.
    pub async fn session(&self, name: &str) -> Result<PgConnection, DbError> {
        let options = (*self.pool.connect_options()).clone().application_name(name);
        Ok(timeout(ACQUIRE_TIMEOUT, options.connect()).await.map_err(|_| sqlx::Error::PoolTimedOut)??)
    }

    /// A transaction that only reads, all of it as of one moment.
    ///
    /// # Errors
    /// [`DbError`] if no connection could be had.
    pub async fn snapshot(&self) -> Result<Tx, DbError> {
        let mut tx = self.begin().await?;
        tx.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY").await?;
        Ok(tx)
    }

    /// Whether Postgres answers now: asked over a connection of its own, for those of the pool may be busy,
    /// or hang with it. Whoever asks while another looks gets the same answer.
    pub async fn is_up(&self) -> bool {
        let mut seen = self.seen.lock().await;
        if let Some((_, up)) = seen.filter(|(at, _)| at.elapsed() < BELIEVED_FOR) {
            return up;
        }
        let greeted = async { self.pool.connect_options().connect().await?.close().await };
        let up = match timeout(GREETING_MAX, greeted).await {
            Ok(Ok(())) => true,
            // It has no room for one more, but it is there.
            Ok(Err(error)) => error.as_database_error().is_some_and(|e| e.code().as_deref() == Some("53300")),
            Err(_) => false,
        };
        *seen = Some((Instant::now(), up));
        up
    }

    /// How many connections there are, and how many are in use.
    #[must_use]
    pub fn levels(&self) -> PoolLevels {
        let connections = self.pool.size();
        let idle = u32::try_from(self.pool.num_idle()).unwrap_or(u32::MAX);
        let max = self.pool.options().get_max_connections();
        PoolLevels { connections, busy: connections.saturating_sub(idle), max }
    }

    /// Closes the pool; waits a moment for connections that are in use.
    pub async fn close(&self) {
        // A connection that hangs is given up: the process ends anyway.
        let _hung = timeout(CLOSE_TIMEOUT, self.pool.close()).await;
    }

    /// A pool that ran out of time is exhausted only if Postgres is there: from inside the pool a connection
    /// that is being made looks like one in use.
    async fn explain(&self, error: sqlx::Error) -> DbError {
        match error {
            sqlx::Error::PoolTimedOut if !self.is_up().await => DbError::Unavailable(error),
            error => error.into(),
        }
    }
}

/// What each session of the service sets as it begins: how long the server lets us wait, run and idle, and how it plans.
#[must_use]
pub fn session_settings() -> [(&'static str, String); 11] {
    let millis = |duration: Duration| duration.as_millis().to_string();
    [
        ("lock_timeout", millis(ROW_LOCK_TIMEOUT)),
        ("statement_timeout", millis(STATEMENT_TIMEOUT)),
        ("idle_in_transaction_session_timeout", millis(IDLE_IN_TRANSACTION_TIMEOUT)),
        ("default_transaction_isolation", "read committed".to_owned()),
        ("client_connection_check_interval", "500".to_owned()),
        // A session whose client the network has lost lets go of what it holds, the relay's role too, in half a minute.
        ("tcp_keepalives_idle", "15".to_owned()),
        ("tcp_keepalives_interval", "5".to_owned()),
        ("tcp_keepalives_count", "3".to_owned()),
        // Every statement of ours goes by a key, whatever the values and however few rows there are yet.
        // Planning it anew each time would cost as much as running it, and left to itself Postgres does,
        // since arrays look cheaper when known; and a plan made while a table was small would read it
        // whole. The audit, which does read whole tables, sets both back for itself.
        ("plan_cache_mode", "force_generic_plan".to_owned()),
        ("enable_seqscan", "off".to_owned()),
        // Such a plan's cost is a guess over unknown arrays: machine code would be made for what takes a millisecond.
        ("jit", "off".to_owned()),
    ]
}

/// A session's options: who we are, and [what it sets](session_settings).
///
/// # Errors
/// If the URL can't be read.
pub fn session_options(url: &str) -> anyhow::Result<PgConnectOptions> {
    let options: PgConnectOptions = url.parse().context("DATABASE_URL can't be read")?;
    let written = session_settings().map(|(name, value)| (name, value.replace(' ', "\\ ")));
    let options = options.application_name("holdfast").options(written);
    Ok(options.statement_cache_capacity(STATEMENTS_KEPT).log_statements(tracing::log::LevelFilter::Off))
}

/// An error after which the whole operation may simply be run again.
pub trait Collides {
    /// Whether this is such an error.
    fn collided(&self) -> bool;
}

/// Runs a transaction of its own, again if that collided.
pub async fn run_again_if_it_collides<T, E: Collides, F: Future<Output = Result<T, E>>>(
    mut run: impl FnMut() -> F,
) -> Result<T, E> {
    let mut attempt = 1;
    loop {
        match run().await {
            Err(error) if error.collided() && attempt < ATTEMPTS => {
                pause_after_collision(attempt).await;
                attempt += 1;
            }
            outcome => return outcome,
        }
    }
}

/// A short random pause before a transaction that collided is run again.
pub async fn pause_after_collision(attempt: u32) {
    let pause = Duration::from_millis(u64::from(crate::ids::random_byte()) / 8 * u64::from(attempt));
    tracing::warn!(db.attempt = attempt, db.pause_ms = pause.as_millis() as u64, "a transaction collided");
    tokio::time::sleep(pause).await;
}
