//! The Redis layer of this process: taking keys, and waiting for them across replicas.
//!
//! What must stay true: a take whose outcome is unknown is remembered until it is undone; a waiter is woken by the
//! message of whoever lets go, and its poll is only the net under a lost one; a key is taken over only from a replica
//! that was found silent, by deleting the very token that was seen.
//!
//! A key may hold a token that its own replica knows nothing of: set by a take that arrived long after it was given up,
//! or copied by a failover that missed the release. So whoever waits for long asks the token's replica, which deletes
//! what it does not hold.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::claim::{self, Claim};
use super::lease::Taken;
use super::line::{Place, Successor};
use super::metrics::{By, Class, LockMetrics, WokenBy};
use super::redis::{Fault, Take, wake_channel};
use super::renewal::Held;
use super::timing::{BEAT, BEAT_MISSED_FOR, LIFE_BELIEVED_FOR, LIFE_DOUBTED_FOR, LIVENESS};
use super::{Breaker, BreakerState, DatabaseOnly, Inner, LockError, LockKey, Redis, Timing, Topology};
use crate::ids;

/// What a question to a token's replica begins with. A wake-up is a token alone.
pub(super) const ASK: &str = "ask";
/// What a take is given, however many calls failed before it.
const LEAST_BUDGET: Duration = Duration::from_millis(50);
/// How many replicas' lives are remembered; beyond it each is asked for again.
const MAX_LIVES: usize = 1_000;

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
    lives: Mutex<HashMap<String, Life>>,
    /// Tells the keeper that there is something to do.
    pub(super) stirred: Notify,
}

/// What was seen of another replica.
#[derive(Debug, Clone)]
struct Life {
    /// Its last beat; none where Redis knows of none.
    beat: Option<String>,
    /// When that was first seen.
    seen_at: Instant,
    looked_at: Instant,
}

impl Life {
    /// Without a beat it may still be alive: a Redis that lost everything hears of it with its next one.
    fn is_on(&self) -> bool {
        let allowed = if self.beat.is_some() { LIVENESS } else { BEAT_MISSED_FOR };
        self.looked_at - self.seen_at < allowed
    }

    /// Whether it is too early to look again.
    fn is_fresh(&self) -> bool {
        let beats = self.beat.is_some() && self.looked_at - self.seen_at < 2 * BEAT;
        self.looked_at.elapsed() < if beats { LIFE_BELIEVED_FOR } else { LIFE_DOUBTED_FOR }
    }
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

    /// If `holder` is the token of a replica that is found dead, deletes it from all of `claim`'s keys and answers
    /// true: the keys are worth another try. Only that very token is deleted: whoever came meanwhile is left alone,
    /// and a replica that was only slow is protected by its row lock.
    async fn bury(&self, holder: &str, claim: &Claim) -> Result<bool, Fault> {
        let Some(replica) = claim::replica_of(holder) else { return Ok(false) };
        if replica == self.replica {
            return self.disown(holder, claim).await;
        }
        if self.seems_alive(replica).await? {
            return Ok(false);
        }
        let mut freed = 0;
        for (class, part) in claim.by_class() {
            let theirs = Claim { token: holder.into(), ..part };
            let keys = self.redis.release(&theirs, &[]).await?;
            self.metrics.takeovers.get_or_create(&Class { class }).inc_by(keys as u64);
            freed += keys;
        }
        tracing::warn!(
            lock.replica = &replica[..8],
            lock.keys = freed,
            lock.first_key = claim.first_in_logs(),
            "took over from a replica that stopped beating; the row lock protects what it may still write"
        );
        // Only what was freed is worth another try at once.
        Ok(freed > 0)
    }

    /// If `token`, one of this replica's, belongs to no section and no request here, deletes it from `claim`'s keys
    /// and answers true.
    pub(super) async fn disown(&self, token: &str, claim: &Claim) -> Result<bool, Fault> {
        let is_ours = claim::replica_of(token) == Some(self.replica.as_str());
        if !is_ours || self.waiters().contains_key(token) || self.is_held(token) {
            return Ok(false);
        }
        let orphan = Claim { token: token.into(), ..claim.clone() };
        let freed = self.redis.release(&orphan, &[]).await?;
        tracing::warn!(
            lock.keys = freed,
            lock.first_key = claim.first_in_logs(),
            "a key held a token of this replica that nobody here owns; it is free now"
        );
        Ok(freed > 0)
    }

    /// Whether `replica` has beaten lately: by its key in Redis, and, should Redis's clock have jumped, by this
    /// process's own.
    async fn seems_alive(&self, replica: &str) -> Result<bool, Fault> {
        let known = self.lives().get(replica).cloned();
        if let Some(life) = known.as_ref().filter(|life| life.is_fresh()) {
            return Ok(life.is_on());
        }
        let (beat, now) = (self.redis.last_beat(replica).await?, Instant::now());
        // A beat that is missed again after a while, in which nobody looked, may have been there in between.
        let still_so =
            |life: &Life| life.beat == beat && (beat.is_some() || life.looked_at.elapsed() < 2 * BEAT);
        let seen_at = known.filter(still_so).map_or(now, |life| life.seen_at);
        let life = Life { beat, seen_at, looked_at: now };
        let lives = life.is_on();
        let mut known = self.lives();
        if known.len() >= MAX_LIVES {
            known.clear();
        }
        known.insert(replica.to_owned(), life);
        Ok(lives)
    }

    /// Asks the replica whose token a key holds whether it does hold it. One that doesn't lets go.
    async fn ask_owner(&self, token: &str, name: &str) -> Result<(), Fault> {
        match claim::replica_of(token) {
            Some(replica) => {
                self.redis.publish(&wake_channel(replica), &format!("{ASK} {token} {name}")).await
            }
            None => Ok(()),
        }
    }

    fn lives(&self) -> MutexGuard<'_, HashMap<String, Life>> {
        self.lives.lock().unwrap_or_else(PoisonError::into_inner)
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
    /// deadline.
    pub(super) async fn take_in_turn(
        self: &Arc<Self>,
        place: &Place,
        token: Arc<str>,
        started: Instant,
        gone: &CancellationToken,
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
            let wait = waiting.until_worth_a_try(
                (&holder, &claim.names[index]),
                &claim,
                jittered(timing.retry),
                started + timing.wait,
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
                    let name = &claim.names[index];
                    let key = place.keys().as_slice().iter().find(|key| key.to_string() == *name);
                    let key = key.unwrap_or(&place.keys().as_slice()[0]).clone();
                    let is_ours = claim::replica_of(&holder).is_some();
                    let age = left.map(|left| timing.ttl(key.class()).saturating_sub(left));
                    self.leave(claim);
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
