//! The Redis layer of this process: taking keys, and waiting for them across replicas.
//!
//! What must stay true: a take whose outcome is unknown is remembered until it is undone; a waiter is woken by the
//! message of whoever lets go, and its poll is only the net under a lost one.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::claim::{self, Claim};
use super::lease::Taken;
use super::line::{Place, Successor};
use super::metrics::{By, LockMetrics, WokenBy};
use super::owners::Life;
use super::redis::{Fault, Take};
use super::renewal::Held;
use super::timing::BEAT;
use super::{Breaker, BreakerState, DatabaseOnly, Inner, LockError, LockKey, Redis, Timing, Topology};
use crate::ids;

/// What a take is given, however many calls failed before it.
const LEAST_BUDGET: Duration = Duration::from_millis(50);

/// The Redis layer, when one is configured.
#[derive(Debug)]
pub(super) struct Layer {
    pub(super) redis: Redis,
    pub(super) breaker: Breaker,
    /// Names this process in tokens and wake-ups: 32 characters.
    pub(super) replica: String,
    pub(super) metrics: LockMetrics,
    /// Who waits to be called, by token.
    waiters: Mutex<HashMap<Arc<str>, Arc<Notify>>>,
    /// Claims whose outcome is unknown, to be deleted when Redis answers.
    pub(super) orphans: Mutex<VecDeque<Arc<Claim>>>,
    /// The leases of sections that run, by token: what is renewed.
    pub(super) held: Mutex<HashMap<Arc<str>, Held>>,
    /// What was last seen of other replicas.
    pub(super) lives: Mutex<HashMap<String, Life>>,
    /// Tells the keeper that there is something to do.
    pub(super) stirred: Notify,
}

impl Layer {
    pub(super) fn new(topology: Topology, timing: &Timing, metrics: LockMetrics) -> Self {
        Self {
            redis: Redis::new(topology, timing.redis_timeout, timing.linger()),
            breaker: Breaker::new(timing.breaker_failures),
            replica: ids::token(),
            metrics,
            waiters: Mutex::default(),
            orphans: Mutex::default(),
            held: Mutex::default(),
            lives: Mutex::default(),
            stirred: Notify::new(),
        }
    }

    /// A new token of this replica.
    pub(super) fn token(&self) -> Arc<str> {
        claim::new_token(&self.replica)
    }

    fn claim(&self, keys: &[LockKey], timing: &Timing, token: Arc<str>) -> Claim {
        if !self.redis.is_cluster() {
            return Claim::of_keys(keys.iter(), timing, token);
        }
        // The few that can't be placed there are left to the row lock.
        let fitting = keys.iter().filter(|key| claim::fits_a_cluster(&key.to_string()));
        Claim::of_keys(fitting, timing, token)
    }

    /// One try within `allowance`, and within less the more calls failed before it: of those who come one after
    /// another to a hung Redis, the first pays the whole timeout, the next half, and so on.
    async fn take(
        &self,
        claim: &Claim,
        waited: Duration,
        allowance: Duration,
        timing: &Timing,
    ) -> Result<Take, Fault> {
        let shrunk = timing.redis_timeout / (1 << self.breaker.failures().min(4));
        let take = self.redis.take(claim, waited, shrunk.max(LEAST_BUDGET).min(allowance)).await?;
        self.breaker.succeeded();
        Ok(take)
    }

    /// What Redis may still cost a request that has waited for an answer of it since then, its own or of those ahead in
    /// its line: its timeout, less what it has waited while calls failed. Too little to be worth a try is nothing.
    fn allowance(&self, since: Instant, timing: &Timing) -> Duration {
        let Some(began) = self.breaker.failing_since() else { return timing.redis_timeout };
        let left = timing.redis_timeout.saturating_sub(began.max(since).elapsed());
        if left < LEAST_BUDGET.min(timing.redis_timeout / 2) { Duration::ZERO } else { left }
    }

    /// Counts a fault.
    pub(super) fn count(&self, fault: &Fault) {
        self.breaker.failed(&fault.describe(), fault.took());
    }

    /// Counts a fault, and remembers the claim whose outcome it left unknown.
    pub(super) fn blame(&self, fault: &Fault, claim: Arc<Claim>) {
        self.count(fault);
        self.orphan(claim);
    }

    /// Registers to be called when the key comes free. Ends when dropped.
    fn waiting(&self, token: &Arc<str>) -> Waiting<'_> {
        let called = Arc::new(Notify::new());
        self.waiters().insert(token.clone(), called.clone());
        Waiting { layer: self, token: token.clone(), called, ask_owner_at: Instant::now() + BEAT }
    }

    pub(super) fn waiters(&self) -> MutexGuard<'_, HashMap<Arc<str>, Arc<Notify>>> {
        self.waiters.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// Takes the Redis keys of whoever heads its lines in this process, waiting for other replicas until the
    /// deadline, for as long as `waits` says that it may wait for the key that another holds.
    pub(super) async fn take_in_turn(
        self: &Arc<Self>,
        place: &Place,
        token: Arc<str>,
        (started, deadline): (Instant, Instant),
        gone: &CancellationToken,
        waits: &mut (dyn FnMut(&LockKey) -> bool + Send),
    ) -> Result<Result<Taken, DatabaseOnly>, LockError> {
        let (Some(layer), timing) = (&self.layer, &self.timing) else {
            return Ok(Err(DatabaseOnly::NotConfigured));
        };
        let mut waiting = layer.waiting(&token);
        let claim = Arc::new(layer.claim(place.keys().as_slice(), timing, token));
        // Before it ever asked, if whoever was ahead of it here told Redis of it.
        let mut stands_in_line = place.was_announced();
        let mut since = started;
        loop {
            if layer.breaker.state() != BreakerState::Closed {
                if stands_in_line {
                    // Its place in Redis's line is given up once Redis answers again.
                    layer.orphan(claim);
                }
                return Ok(Err(DatabaseOnly::BreakerOpen));
            }
            let (asked, allowance) = (Instant::now(), layer.allowance(since, timing));
            if allowance.is_zero() {
                // It has paid already; what it may have left in line is swept.
                if stands_in_line {
                    layer.orphan(claim);
                }
                return Ok(Err(DatabaseOnly::Fault));
            }
            let (index, left, holder) = match layer.take(&claim, asked - started, allowance, timing).await {
                Ok(Take::Held) => {
                    layer.hold(&claim);
                    let allowance = allowance.saturating_sub(asked.elapsed());
                    return Ok(Ok(Taken { claim, allowance }));
                }
                Ok(Take::Busy { index, left, holder }) => (index, left, holder),
                Err(fault) => {
                    layer.blame(&fault, claim);
                    return Ok(Err(DatabaseOnly::Fault));
                }
            };
            // From here on it waits for a holder, which is not Redis's fault.
            (stands_in_line, since) = (true, Instant::now());
            let name = &claim.names[index];
            let key = place.keys().as_slice().iter().find(|key| key.to_string() == *name);
            let key = key.unwrap_or(&place.keys().as_slice()[0]);
            let wait = waiting.until_worth_a_try(
                (&holder, name),
                &claim,
                jittered(timing.retry),
                if waits(key) { deadline } else { asked },
                gone,
            );
            match wait.await {
                Ok(()) => {}
                Err(GiveUp::Fault(fault)) => {
                    layer.blame(&fault, claim);
                    return Ok(Err(DatabaseOnly::Fault));
                }
                Err(GiveUp::CallerGone) => {
                    self.leave(claim);
                    return Err(LockError::CallerGone);
                }
                Err(GiveUp::Deadline) => {
                    let key = key.clone();
                    let is_ours = claim::replica_of(&holder).is_some();
                    let age = left.map(|left| timing.ttl(key.class()).saturating_sub(left));
                    // Before it tries again with fewer keys, and another token, it must have left the lines of all.
                    if asked < deadline && Instant::now() < deadline {
                        self.let_go(claim, &[], timing.redis_timeout).await;
                    } else {
                        self.leave(claim);
                    }
                    let holder_age = age.filter(|_| is_ours);
                    return Err(LockError::Busy { key, holder_age, waited: started.elapsed() });
                }
            }
        }
    }

    /// Leaves the lines of all replicas, in the background: the caller has its answer.
    pub(super) fn leave(self: &Arc<Self>, claim: Arc<Claim>) {
        let (inner, budget) = (self.clone(), self.timing.redis_timeout);
        self.tasks.spawn(async move { inner.let_go(claim, &[], budget).await });
    }

    /// A request that waited in its process's line gives up. Redis may have been told that it comes next.
    pub(super) fn give_up(self: &Arc<Self>, place: Place, token: Arc<str>) {
        let Some(layer) = &self.layer else { return };
        let claim = layer.claim(place.keys().as_slice(), &self.timing, token);
        if place.leave() {
            self.leave(Arc::new(claim));
        }
    }

    /// Who comes next in this process, at each of the keys that Redis knows.
    pub(super) fn successors(&self, place: &Place) -> Vec<Option<Successor>> {
        let all = place.successors();
        if !self.layer.as_ref().is_some_and(|layer| layer.redis.is_cluster()) {
            return all;
        }
        let keys = place.keys().as_slice().iter().map(LockKey::to_string);
        keys.zip(all).filter(|(name, _)| claim::fits_a_cluster(name)).map(|(_, next)| next).collect()
    }
}

/// Why a wait ended without the lock.
enum GiveUp {
    Deadline,
    CallerGone,
    Fault(Fault),
}

/// A registered waiter.
struct Waiting<'a> {
    layer: &'a Layer,
    token: Arc<str>,
    called: Arc<Notify>,
    /// When the replica that seems to hold the key is asked whether it does.
    ask_owner_at: Instant,
}

impl Waiting<'_> {
    /// Ends when called, when `holder` was found dead and buried, or after `poll` in case the call was lost.
    async fn until_worth_a_try(
        &mut self,
        (holder, name): (&str, &str),
        claim: &Claim,
        poll: Duration,
        deadline: Instant,
        gone: &CancellationToken,
    ) -> Result<(), GiveUp> {
        let look_at = Instant::now() + poll;
        loop {
            if gone.is_cancelled() {
                return Err(GiveUp::CallerGone);
            }
            if Instant::now() >= deadline {
                return Err(GiveUp::Deadline);
            }
            if self.layer.bury(holder, claim).await.map_err(GiveUp::Fault)? {
                return Ok(());
            }
            let woken_by = tokio::select! {
                biased;
                () = gone.cancelled() => return Err(GiveUp::CallerGone),
                () = tokio::time::sleep_until(deadline) => return Err(GiveUp::Deadline),
                () = self.called.notified() => WokenBy::Message,
                () = tokio::time::sleep_until(look_at) => WokenBy::Poll,
                () = tokio::time::sleep_until(self.ask_owner_at) => {
                    self.ask_owner_at = Instant::now() + BEAT;
                    self.layer.ask_owner(holder, name).await.map_err(GiveUp::Fault)?;
                    continue;
                }
            };
            self.layer.metrics.wake_ups.get_or_create(&By { by: woken_by }).inc();
            return Ok(());
        }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.layer.waiters().remove(&self.token);
    }
}

/// `pause`, give or take a quarter: replicas that started together must not stay in step.
pub(super) fn jittered(pause: Duration) -> Duration {
    let spread = f64::from(ids::random_byte()) / 255.0;
    pause.mul_f64(0.75 + spread / 2.0)
}
