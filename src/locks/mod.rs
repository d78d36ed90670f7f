//! The locking core: a fair queue in front of Postgres's row locks.
//!
//! # Doctrine
//!
//! Two layers. The **Redis lock** decides who goes next, between requests and between replicas, and it is
//! taken *before* a pool connection: a crowd on one item costs cheap waits and no connections. The
//! **Postgres row lock** (`SELECT … FOR UPDATE`) decides what is true: every decision rests on rows read
//! under it, in the transaction that writes. A Redis lock can expire, be flushed, fail over, be paused or
//! lie; then two requests meet at the row, and the row lets one pass at a time. So answers never depend on
//! Redis. Only speed and fairness do.
//!
//! Order, always: the keys of one lease ([`LockKeys`]: orders, then variants, each sorted), all in one
//! step → a pool connection → `BEGIN` with the server's own timeouts → the idempotency row → other rows the
//! verb owns → stock rows `ORDER BY variant_id FOR UPDATE` → decide → write → `COMMIT` → release. Only the
//! outermost verb takes a lease. No call to anyone else is made while a lease or a row lock is held.
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
//! | the lease expires under a slow section | nothing but a warning at release: the row lock protects the commit |
//! | the caller hangs up | it leaves the [line](Lines) if it still waits; once served, its section runs to its end |
//! | the process dies | Postgres ends the row locks with the connection; its Redis keys are free for the next taker once it has not beaten for 1.6 s |
//! | a replica hangs and wakes again | its keys were taken over meanwhile; its transaction still holds its row, or was ended by the server |
//!
//! # Reading order
//! [`timing`] (the limits, their order checked), [`keys`] (what can be locked), [`mod@line`] (the queue in this
//! process), `take.lua` and `release.lua` (the queue across replicas), [`redis`] (asking Redis within a
//! budget), [`breaker`] (whether to ask), [`lease`] (what a verb holds), `keeper` (the background: probe,
//! sweep, wake-ups).

pub mod breaker;
mod keeper;
pub mod keys;
pub mod lease;
pub mod line;
pub mod redis;
pub mod timing;

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::Serialize;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use self::breaker::{Breaker, BreakerState};
pub use self::keys::{LockClass, LockKey, LockKeys, TooManyKeys};
pub use self::lease::{DatabaseOnly, Lease};
pub use self::line::Lines;
use self::line::Place;
pub use self::redis::Redis;
use self::redis::{Claim, Fault, Take};
pub use self::timing::Timing;
use crate::ids;

/// What our tokens end with, so that nobody else's is taken for one of ours.
const OURS: &str = ":holdfast";

/// The least a Redis call is given, however many failed before it.
const LEAST_BUDGET: Duration = Duration::from_millis(50);

/// Which layers protected a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
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
    #[error("another request holds {key}")]
    Busy {
        /// The key that stood in the way.
        key: LockKey,
        /// How long its holder has had it, where known.
        holder_age: Option<Duration>,
        /// How long the caller waited.
        waited: Duration,
    },
    /// Too many wait for one key already.
    #[error("too many requests wait for the same item")]
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
}

/// The Redis layer, when one is configured.
#[derive(Debug)]
struct Layer {
    redis: Redis,
    breaker: Breaker,
    /// Names this process in tokens and wake-ups: 32 characters.
    replica: String,
    /// Who waits to be called, by token.
    waiters: Mutex<HashMap<String, Arc<Notify>>>,
    /// Claims whose outcome is unknown, to be deleted when Redis answers.
    orphans: Mutex<VecDeque<Claim>>,
    /// Tells the keeper that there is something to do.
    stirred: Notify,
}

impl Locks {
    /// Locks without a Redis layer: database-only by choice.
    #[must_use]
    pub fn database_only(timing: Timing, tasks: TaskTracker) -> Self {
        Self(Arc::new(Inner { timing, lines: Arc::default(), layer: None, tasks }))
    }

    /// Two-layer locks over the Redis at `url`. Nothing is connected until [`Locks::keep`] or a request does.
    ///
    /// # Errors
    /// If `url` is not a Redis URL.
    pub fn two_layer(url: &str, timing: Timing, tasks: TaskTracker) -> Result<Self, ::redis::RedisError> {
        let layer = Layer {
            redis: Redis::new(url, timing.redis_timeout)?,
            breaker: Breaker::new(timing.breaker_failures),
            replica: ids::token(),
            waiters: Mutex::default(),
            orphans: Mutex::default(),
            stirred: Notify::new(),
        };
        Ok(Self(Arc::new(Inner { timing, lines: Arc::default(), layer: Some(layer), tasks })))
    }

    /// Waits for all of `keys`, first come, first served, and gives the lease on them.
    ///
    /// Ends early when `gone` is cancelled: the caller hung up. The future itself may not be dropped while
    /// it runs (see `docs/decisions`): whoever calls this runs in a task of its own.
    ///
    /// # Errors
    /// [`LockError`]; nothing is held then.
    pub async fn acquire(&self, keys: LockKeys, gone: &CancellationToken) -> Result<Lease, LockError> {
        let started = Instant::now();
        let deadline = started + self.0.timing.wait;
        let place = self.0.lines.join(keys)?;
        tokio::select! {
            biased;
            () = place.served() => {}
            () = gone.cancelled() => return Err(LockError::CallerGone),
            () = tokio::time::sleep_until(deadline) => {
                let (key, holder_age) = place.blocked_by().unzip();
                let key = key.unwrap_or_else(|| place.keys().as_slice()[0].clone());
                return Err(LockError::Busy { key, holder_age, waited: started.elapsed() });
            }
        }
        let claim = match &self.0.layer {
            None => Err(DatabaseOnly::NotConfigured),
            Some(layer) => self.take_in_turn(layer, &place, started, gone).await?,
        };
        Ok(Lease::new(self.0.clone(), place, claim, started.elapsed()))
    }

    /// Takes the Redis keys, waiting for other replicas until the deadline.
    async fn take_in_turn(
        &self,
        layer: &Layer,
        place: &Place,
        started: Instant,
        gone: &CancellationToken,
    ) -> Result<Result<Claim, DatabaseOnly>, LockError> {
        let timing = &self.0.timing;
        let claim = layer.claim(place.keys(), timing);
        let mut waiting = layer.waiting(&claim.token);
        let mut ticket = None;
        loop {
            if layer.breaker.state() != BreakerState::Closed {
                if ticket.is_some() {
                    // Its place in Redis's line is given up once Redis answers again.
                    layer.orphan(claim);
                }
                return Ok(Err(DatabaseOnly::BreakerOpen));
            }
            let (index, left) = match layer.take(&claim, ticket, timing).await {
                Ok(Take::Held) => return Ok(Ok(claim)),
                Ok(Take::Busy { index, left, ticket: place_in_line }) => {
                    ticket = Some(place_in_line);
                    (index, left)
                }
                Err(fault) => {
                    layer.blame(&fault, claim);
                    return Ok(Err(DatabaseOnly::Fault));
                }
            };
            let patience = waiting.until_called(jittered(timing.retry), started + timing.wait, gone).await;
            if let Some(error) = patience.err() {
                layer.leave(claim, &self.0.tasks, self.0.clone());
                let key = place.keys().as_slice()[index].clone();
                let holder_age = left.map(|left| timing.ttl(key.class()).saturating_sub(left));
                return Err(match error {
                    GiveUp::Deadline => LockError::Busy { key, holder_age, waited: started.elapsed() },
                    GiveUp::CallerGone => LockError::CallerGone,
                });
            }
        }
    }

    /// Whether somebody holds `key` or stands in line for it, here or (if Redis can tell) elsewhere.
    pub async fn is_taken(&self, key: &LockKey) -> bool {
        if self.0.lines.length(key) > 0 {
            return true;
        }
        match &self.0.layer {
            Some(layer) if layer.breaker.state() == BreakerState::Closed => {
                layer.redis.exists(&key.to_string()).await.unwrap_or(false)
            }
            _ => false,
        }
    }

    /// The mode the next lease will have, as far as is known.
    #[must_use]
    pub fn mode(&self) -> LockMode {
        match &self.0.layer {
            Some(layer) if layer.breaker.state() == BreakerState::Closed => LockMode::TwoLayer,
            _ => LockMode::DatabaseOnly,
        }
    }

    /// Redis's policy when its memory is full, if it tells. Any but `noeviction` can throw locks away.
    pub async fn evicts(&self) -> Option<String> {
        self.0.layer.as_ref()?.redis.memory_policy().await.ok()
    }

    /// The breaker, where there is a Redis layer.
    #[must_use]
    pub fn breaker(&self) -> Option<&Breaker> {
        self.0.layer.as_ref().map(|layer| &layer.breaker)
    }
}

impl Timing {
    /// The TTL of a lock of this class.
    #[must_use]
    pub fn ttl(&self, class: LockClass) -> Duration {
        match class {
            LockClass::Order => self.order_ttl,
            LockClass::Inventory => self.inventory_ttl,
        }
    }

    /// How long a waiter keeps its place across replicas without asking again: some polls long, so that
    /// a busy process does not lose its turn, and short, so that a dead one does not hold up the line.
    fn linger(&self) -> Duration {
        (self.retry * 5).max(Duration::from_millis(500))
    }
}

impl Layer {
    fn claim(&self, keys: &LockKeys, timing: &Timing) -> Claim {
        let keys = keys.as_slice();
        Claim {
            names: keys.iter().map(ToString::to_string).collect(),
            ttls_ms: keys.iter().map(|key| timing.ttl(key.class()).as_millis() as u64).collect(),
            token: format!("{}{}{OURS}", self.replica, ids::token()),
        }
    }

    /// One try, within what the breaker's count of failures leaves of the budget: of a line that meets a
    /// hung Redis one after another, the first pays the whole of it, the next half, and so on.
    async fn take(&self, claim: &Claim, ticket: Option<i64>, timing: &Timing) -> Result<Take, Fault> {
        let shrunk = timing.redis_timeout / (1 << self.breaker.failures().min(4));
        let budget = shrunk.max(timing.redis_timeout.min(LEAST_BUDGET));
        let take = self.redis.take(claim, ticket, timing.linger(), budget).await?;
        self.breaker.succeeded();
        Ok(take)
    }

    /// Counts a fault, and remembers the claim whose outcome it left unknown.
    fn blame(&self, fault: &Fault, claim: Claim) {
        self.breaker.failed(&describe(fault));
        self.orphan(claim);
    }

    /// Registers to be called when the key comes free. Ends when dropped.
    fn waiting(&self, token: &str) -> Waiting<'_> {
        let called = Arc::new(Notify::new());
        self.waiters().insert(token.to_owned(), called.clone());
        Waiting { layer: self, token: token.to_owned(), called }
    }

    fn waiters(&self) -> std::sync::MutexGuard<'_, HashMap<String, Arc<Notify>>> {
        self.waiters.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Leaves the lines of all replicas, in the background: the caller has its answer.
    fn leave(&self, claim: Claim, tasks: &TaskTracker, inner: Arc<Inner>) {
        tasks.spawn(async move {
            let Some(layer) = &inner.layer else { return };
            if layer.breaker.state() != BreakerState::Closed {
                layer.orphan(claim);
            } else if let Err(fault) = layer.redis.release(&claim, true).await {
                layer.blame(&fault, claim);
            }
        });
    }
}

/// Why a wait ended without the lock.
enum GiveUp {
    Deadline,
    CallerGone,
}

/// A registered waiter.
struct Waiting<'a> {
    layer: &'a Layer,
    token: String,
    called: Arc<Notify>,
}

impl Waiting<'_> {
    /// Ends when called, or after `poll` in case the call was lost.
    async fn until_called(
        &mut self,
        poll: Duration,
        deadline: Instant,
        gone: &CancellationToken,
    ) -> Result<(), GiveUp> {
        tokio::select! {
            biased;
            () = gone.cancelled() => Err(GiveUp::CallerGone),
            () = tokio::time::sleep_until(deadline) => Err(GiveUp::Deadline),
            () = self.called.notified() => Ok(()),
            () = tokio::time::sleep(poll) => Ok(()),
        }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.layer.waiters().remove(&self.token);
    }
}

/// `pause`, give or take a quarter: replicas that started together must not stay in step.
fn jittered(pause: Duration) -> Duration {
    let spread = f64::from(ids::random_byte()) / 255.0;
    pause.mul_f64(0.75 + spread / 2.0)
}

/// A fault and its causes in one line.
fn describe(fault: &Fault) -> String {
    match std::error::Error::source(fault) {
        Some(cause) => format!("{fault}: {cause}"),
        None => fault.to_string(),
    }
}
