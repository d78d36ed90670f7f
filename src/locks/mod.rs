//! The locking core: a fair queue in front of Postgres's row locks.
//!
//! # Doctrine
//!
//! Two layers. The **Redis lock** decides who goes next, between requests and between replicas, and it is
//! waited for *without* a pool connection: a crowd on one item costs cheap waits and no connections. The
//! **Postgres row lock** (`SELECT … FOR UPDATE`) decides what is true: every decision rests on rows read
//! under it, in the transaction that writes. A Redis lock can expire, be flushed, fail over, be paused or
//! lie; then two requests meet at the row, and the row lets one pass at a time. So answers never depend on
//! Redis. Only speed and fairness do.
//!
//! What has a name and no row ([`LockKey::custom`]) is locked by an advisory lock of Postgres in the row lock's stead:
//! [`lock_names_in_tx`].
//!
//! Order, always: the keys of one lease ([`LockKeys`]: orders, then names, then variants, each sorted), all in one
//! step → a pool connection → `BEGIN` with the server's own timeouts (both asked for already while Redis is, by a section
//! that has its slot, and given back if the keys have to be waited for) → the idempotency row → names → leases that
//! outlive it → other rows the verb owns → stock rows `ORDER BY variant_id FOR UPDATE` → decide → write → `COMMIT` →
//! release. Only the outermost verb takes a lease. No call to anyone else is made while a lease or a row lock is held.
//!
//! Three answers, never a bool. [`Locks::acquire`] gives a [`Lease`] that is two-layer (held), a lease
//! that is database-only because Redis is [unavailable](DatabaseOnly), or [`LockError::Busy`]. Busy is an
//! error to the caller. Unavailable is not: what follows is the same code under another lease.
//!
//! | what happens | what the lease does |
//! | --- | --- |
//! | Redis refuses, hangs, errs, or its pool is empty | database-only for this request, within the Redis budget; enough of it opens the [`Breaker`] and nobody asks any more |
//! | a take's answer never came | database-only; the token is remembered and deleted once Redis answers, so that no orphan blocks the key for its TTL |
//! | Redis comes back | a background probe writes and reads twice, orphans are swept, then the breaker closes |
//! | the section is slow | the lease is renewed at a third of its TTL for as long as the section lives, and no longer |
//! | the lease is lost under its section (expired, flushed, stolen) | seen at the next renewal or at release, counted, warned of: the row lock protects the commit |
//! | the caller hangs up | it leaves the [line](Lines) if it still waits; once served, its section runs to its end |
//! | the process dies | Postgres ends the row locks with the connection; a waiter that finds its replica silent for 1.25 s deletes the token it saw and goes on |
//! | a replica hangs and wakes again | its keys were taken over meanwhile; its transaction still holds its row, or was ended by the server |
//!
//! The protocol is searched state by state, with mistakes planted that the search must find: `tests/model/lock.pml`.
//!
//! # Reading order
//! [`timing`] (the limits, their order checked), [`keys`] (what can be locked), [`mod@line`] (the queue in this
//! process), the scripts (the queue across replicas), [`claim`] (names and tokens), [`topology`] and [`redis`]
//! (asking Redis within a budget), [`fault`], [`breaker`] (whether to ask), `layer` (waiting across replicas), `owners`
//! (whether whoever is waited for is still there), [`lease`] (what a verb holds), `renewal`, `keeper` (the background: beats, probe, sweep, wake-ups), [`audience`], [`fleet`] and [`status`] (what
//! onlookers see), `by_hand`, [`metrics`], [`store`] (names, locked in Postgres), [`shadow`].
//!
//! What is to be held over many transactions is a lease of [`crate::leases`], whose truth is a row with a fence; here
//! is only the key that shows it.

pub mod audience;
pub mod breaker;
mod by_hand;
pub mod claim;
pub mod connection;
pub mod fault;
pub mod fleet;
mod keeper;
pub mod keys;
mod layer;
pub mod lease;
pub mod line;
pub mod metrics;
mod owners;
pub mod pool;
pub mod redis;
mod renewal;
mod script;
mod sentinels;
pub mod shadow;
pub mod status;
pub mod store;
pub mod timing;
pub mod topology;
pub mod turn;

use std::sync::Arc;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Serialize;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

pub use self::breaker::{Breaker, BreakerState, ModeChange};
pub use self::keys::{LockClass, LockKey, LockKeys, NotACustomName, TooManyKeys};
use self::layer::Layer;
pub use self::lease::{DatabaseOnly, Lease};
pub use self::line::Lines;
use self::metrics::{ClassAndWhy, LockMetrics, Refused};
pub use self::redis::Redis;
pub use self::store::lock_names_in_tx;
pub use self::timing::Timing;
pub use self::topology::{Topology, TopologyError};
pub(crate) use self::turn::TakenOrNot;
pub use self::turn::{Arrival, Turn};

/// Which layers protected a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LockMode {
    /// The Redis lock and the row lock.
    TwoLayer,
    /// The row lock alone.
    DatabaseOnly,
}

impl LockMode {
    /// The mode's name in answers, headers and tables.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::TwoLayer => "two_layer",
            Self::DatabaseOnly => "database_only",
        }
    }
}

/// What a write says about its lock: in its answer, in the headers and on the movement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(rename = "LockEvidence")]
pub struct Evidence {
    /// The layers that protected it.
    pub mode: LockMode,
    /// How long it waited for them, in milliseconds.
    pub wait_ms: u32,
}

/// Why no lease was given. Nothing was written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LockError {
    /// Somebody else held `key` for as long as the caller may wait.
    #[error("another request holds {}", keys::in_logs(&key.to_string()))]
    Busy {
        /// The key that stood in the way.
        key: LockKey,
        /// How long its holder has had it, where known.
        holder_age: Option<Duration>,
        /// How long the caller waited.
        waited: Duration,
    },
    /// Too many wait for one key already, or will take too long.
    #[error("too many requests wait already")]
    Overloaded,
    /// The caller went away while it waited.
    #[error("the caller went away while waiting for a lock")]
    CallerGone,
}

impl From<line::LineFull> for LockError {
    fn from(_: line::LineFull) -> Self {
        Self::Overloaded
    }
}

/// The locks of this process. Cheap to clone; all clones are the same locks.
#[derive(Debug, Clone)]
pub struct Locks(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    timing: Timing,
    lines: Arc<Lines>,
    layer: Option<Layer>,
    tasks: TaskTracker,
    metrics: LockMetrics,
    started: Instant,
}

impl Locks {
    /// Locks without a Redis layer: database-only by choice.
    #[must_use]
    pub fn database_only(timing: Timing, tasks: TaskTracker) -> Self {
        Self::over(None, timing, tasks, LockMetrics::default())
    }

    /// Two-layer locks over the Redis at `url`. Nothing is connected until [`Locks::keep`] or a request does.
    ///
    /// # Errors
    /// If `url` does not say where a Redis is.
    pub fn two_layer(url: &str, timing: Timing, tasks: TaskTracker) -> Result<Self, TopologyError> {
        let metrics = LockMetrics::default();
        let layer = Layer::new(Topology::parse(url)?, &timing, metrics.clone());
        Ok(Self::over(Some(layer), timing, tasks, metrics))
    }

    fn over(layer: Option<Layer>, timing: Timing, tasks: TaskTracker, metrics: LockMetrics) -> Self {
        let started = Instant::now();
        Self(Arc::new(Inner { timing, lines: Arc::default(), layer, tasks, metrics, started }))
    }

    /// Waits for all of `keys`, first come, first served, and gives the lease on them.
    ///
    /// Ends early when `gone` is cancelled: the caller hung up. The future itself may not be dropped while
    /// it runs (see `docs/decisions`): whoever calls this runs in a task of its own.
    ///
    /// # Errors
    /// [`LockError`]; nothing is held then.
    pub async fn acquire(&self, keys: LockKeys, gone: &CancellationToken) -> Result<Lease, LockError> {
        self.acquire_within(None, keys, gone).await
    }

    /// The same, waiting no longer than `limit`, if there is one; then it is not told before that it comes too late. At a
    /// limit of zero whoever has to wait is refused, and what is free is taken: a call to Redis is no wait.
    ///
    /// # Errors
    /// As [`acquire`](Self::acquire).
    pub async fn acquire_within(
        &self,
        limit: Option<Duration>,
        keys: LockKeys,
        gone: &CancellationToken,
    ) -> Result<Lease, LockError> {
        let arrival = if limit.is_some() { Arrival::Admitted } else { Arrival::New };
        self.acquire_as(arrival, limit.unwrap_or_else(|| self.longest_wait()), keys, gone).await
    }

    /// The same for somebody who comes in that way.
    ///
    /// # Errors
    /// As [`acquire`](Self::acquire).
    pub async fn acquire_as(
        &self,
        arrival: Arrival,
        limit: Duration,
        keys: LockKeys,
        gone: &CancellationToken,
    ) -> Result<Lease, LockError> {
        let class = keys.class();
        let lease = self.lease(arrival, limit.min(self.longest_wait()), keys, gone).await;
        if let Err(error) = &lease {
            self.count_refused(class, error);
        }
        lease
    }

    /// Counts a request that got no lease.
    pub(crate) fn count_refused(&self, class: LockClass, error: &LockError) {
        let why = match error {
            LockError::Busy { .. } => Refused::Busy,
            LockError::Overloaded => Refused::Overloaded,
            LockError::CallerGone => Refused::CallerGone,
        };
        self.0.metrics.refused.get_or_create(&ClassAndWhy { class, why }).inc();
    }

    async fn lease(
        &self,
        arrival: Arrival,
        limit: Duration,
        keys: LockKeys,
        gone: &CancellationToken,
    ) -> Result<Lease, LockError> {
        let mut turn = self.queue_since(Instant::now(), arrival, keys)?;
        let deadline = turn.started + limit;
        tokio::select! {
            biased;
            () = turn.place.served() => {}
            () = gone.cancelled() => {
                turn.give_up();
                return Err(LockError::CallerGone);
            }
            () = tokio::time::sleep_until(deadline) => return Err(turn.busy()),
        }
        let taken = turn.take(deadline, gone, &mut |_| true).await?;
        Ok(turn.lease(taken))
    }

    /// How long a request waits for its lease that says nothing else.
    #[must_use]
    pub fn longest_wait(&self) -> Duration {
        self.0.timing.wait
    }

    /// The pause between two looks at what somebody else has.
    #[must_use]
    pub fn look_every(&self) -> Duration {
        self.0.timing.retry
    }

    /// Whether somebody holds `key` or stands in line for it, here or (if Redis can tell) elsewhere.
    pub async fn is_taken(&self, key: &LockKey) -> bool {
        if self.0.lines.length(key) > 0 {
            return true;
        }
        match self.0.usable_layer() {
            Some(layer) => layer.redis.exists(&key.to_string()).await.unwrap_or(false),
            None => false,
        }
    }

    /// How many requests stand in line for a variant in this process, the one that is served included.
    #[must_use]
    pub fn in_line(&self, variant_id: Uuid) -> usize {
        self.0.lines.length(&LockKey::Inventory(variant_id))
    }

    /// The mode the next lease will have, as far as is known.
    #[must_use]
    pub fn mode(&self) -> LockMode {
        self.breaker().map_or(LockMode::DatabaseOnly, |breaker| breaker.state().mode())
    }

    /// Redis's policy when its memory is full, if that can throw locks away: any but `noeviction`.
    ///
    /// # Errors
    /// Why it does not tell: a [`Fault`](fault::Fault).
    pub async fn evicts(&self) -> Result<Option<String>, fault::Fault> {
        let Some(layer) = &self.0.layer else { return Ok(None) };
        let policy = layer.redis.memory_policy().await?;
        Ok((policy != "noeviction").then_some(policy))
    }

    /// The version that Redis says it has, if it tells.
    pub async fn redis_version(&self) -> Option<String> {
        self.0.layer.as_ref()?.redis.version().await.ok()
    }

    /// Redis's clock, in seconds since 1970, if it tells.
    pub async fn redis_time(&self) -> Option<f64> {
        self.0.layer.as_ref()?.redis.time().await.ok()
    }

    /// Publishes messages, each on its channel. They are sent once, in order, and nobody waits to hear of them.
    ///
    /// # Errors
    /// A [`Fault`](fault::Fault); some may have been published all the same.
    pub async fn publish(&self, messages: &[(String, String)]) -> Result<(), fault::Fault> {
        match self.0.usable_layer() {
            Some(layer) => layer.redis.publish_all(messages).await,
            None => Ok(()),
        }
    }

    /// Whether somebody may hear what is published on one of `channels`.
    ///
    /// # Errors
    /// A [`Fault`](fault::Fault): it is not known.
    pub async fn may_be_heard(&self, channels: audience::Channels) -> Result<bool, fault::Fault> {
        match self.0.usable_layer() {
            Some(layer) => layer.redis.may_be_heard(channels).await,
            None => Ok(false),
        }
    }

    /// What this replica is called where it is told of, where there is a Redis layer.
    #[must_use]
    pub fn replica(&self) -> Option<&str> {
        self.0.layer.as_ref().map(|layer| &layer.replica[..8])
    }

    /// The breaker, where there is a Redis layer.
    #[must_use]
    pub fn breaker(&self) -> Option<&Breaker> {
        self.0.layer.as_ref().map(|layer| &layer.breaker)
    }
}

impl Inner {
    /// The Redis layer, if requests may use it now.
    fn usable_layer(&self) -> Option<&Layer> {
        self.layer.as_ref().filter(|layer| layer.breaker.state() == BreakerState::Closed)
    }
}
