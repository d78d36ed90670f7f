//! What a verb holds while it works.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::claim::Claim;
use super::line::{Place, Successor};
use super::metrics::{ClassAndMode, Without};
use super::{BreakerState, Evidence, Inner, LockMode};

/// Why a lease is without its Redis layer. Not an error: the row lock protects the write all the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DatabaseOnly {
    /// No Redis is configured.
    NotConfigured,
    /// Redis failed lately and is being left alone.
    BreakerOpen,
    /// Redis failed this very request.
    Fault,
}

impl DatabaseOnly {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::NotConfigured, Self::BreakerOpen, Self::Fault];
}

/// What a request got from Redis.
#[derive(Debug)]
pub(crate) struct Taken {
    /// What it holds there.
    pub(super) claim: Arc<Claim>,
    /// What is left of the time that Redis may cost it.
    pub(super) allowance: Duration,
}

/// The right to go next on a set of keys. Ends by [`Lease::release`] or [`Lease::release_after`]; one that
/// is dropped (a panic) is released in the background, and its TTL ends it if even that fails.
#[derive(Debug)]
pub struct Lease {
    inner: Arc<Inner>,
    /// Held for its place in the lines of this process, which dropping it gives up.
    place: Option<Place>,
    claim: Option<Arc<Claim>>,
    /// What Redis may still cost this request.
    allowance: Duration,
    labels: ClassAndMode,
    waited: Duration,
    since: Instant,
}

impl Lease {
    pub(super) fn new(
        inner: Arc<Inner>,
        place: Place,
        taken: Result<Taken, DatabaseOnly>,
        asked: Instant,
    ) -> Self {
        if let Err(why) = taken {
            inner.metrics.database_only.get_or_create(&Without { why }).inc();
        }
        let class = place.keys().class();
        let mode = if taken.is_ok() { LockMode::TwoLayer } else { LockMode::DatabaseOnly };
        let (labels, since) = (ClassAndMode { class, mode }, Instant::now());
        let waited = since - asked;
        inner.metrics.waits.get_or_create(&labels).observe(waited.as_secs_f64());
        let (claim, allowance) = taken.ok().map(|taken| (taken.claim, taken.allowance)).unzip();
        let allowance = allowance.unwrap_or_default();
        Self { inner, place: Some(place), claim, allowance, labels, waited, since }
    }

    /// What the write is to say about its lock.
    #[must_use]
    pub fn evidence(&self) -> Evidence {
        let wait_ms = u32::try_from(self.waited.as_millis()).unwrap_or(u32::MAX);
        Evidence { mode: self.labels.mode, wait_ms }
    }

    /// Since when it is held.
    #[must_use]
    pub fn since(&self) -> Instant {
        self.since
    }

    /// What it holds in Redis, if anything.
    pub(crate) fn claim(&self) -> Option<&Claim> {
        self.claim.as_deref()
    }

    /// Runs `section` to its end and releases, whatever it came to.
    pub async fn release_after<T>(self, section: impl Future<Output = T>) -> T {
        let outcome = section.await;
        self.release().await;
        outcome
    }

    /// Lets the next one go. A failure changes nothing for the caller, whose work is committed.
    pub async fn release(mut self) {
        if let (Some(claim), Some(place)) = (&self.claim, &self.place) {
            let successors = self.inner.successors(place);
            self.inner.let_go(claim.clone(), &successors, self.allowance).await;
            self.inner.take_back(claim, &successors, place);
        }
        // Only now: one that is dropped while it lets go does so again in the background.
        self.claim.take();
        // Only now: the next in this process's line finds the Redis key free.
        self.place.take();
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.inner.metrics.holds.get_or_create(&self.labels).observe(self.since.elapsed().as_secs_f64());
        let Some(claim) = self.claim.take() else { return };
        let (inner, place, allowance) = (self.inner.clone(), self.place.take(), self.allowance);
        let tasks = self.inner.tasks.clone();
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            tasks.spawn_on(
                async move {
                    inner.let_go(claim, &[], allowance).await;
                    drop(place);
                },
                &runtime,
            );
        }
    }
}

impl Inner {
    /// Releases in Redis within `budget`, or remembers to; leaves its lines there too. `successors` stand behind it in
    /// this process, in the order of its keys.
    pub(super) async fn let_go(&self, claim: Arc<Claim>, successors: &[Option<Successor>], budget: Duration) {
        let Some(layer) = &self.layer else { return };
        let held = layer.ends(&claim.token);
        if layer.breaker.state() != BreakerState::Closed {
            layer.no_longer_held(&claim.token);
            layer.orphan(claim);
            return;
        }
        let released = layer.redis.release_within(&claim, successors, budget).await;
        layer.no_longer_held(&claim.token);
        match released {
            // It had less time than is Redis's due.
            Err(_) if budget < self.timing.redis_timeout / 2 => layer.orphan(claim),
            Ok(owned) => {
                layer.breaker.succeeded();
                if let Some(held) = held
                    && owned < claim.names.len()
                {
                    layer.lost(&claim, owned, &held);
                }
            }
            Err(fault) => layer.blame(&fault, claim),
        }
    }

    /// Takes those of `successors` out of Redis's lines again who left while Redis was being told of them, in the
    /// background.
    fn take_back(self: &Arc<Self>, claim: &Claim, successors: &[Option<Successor>], place: &Place) {
        let mut gone: HashMap<&Arc<str>, Vec<String>> = HashMap::new();
        for (name, successor) in claim.names.iter().zip(successors) {
            if let Some(successor) = successor.as_ref().filter(|successor| place.has_lost(successor)) {
                gone.entry(&successor.token).or_default().push(name.clone());
            }
        }
        for (token, names) in gone {
            self.leave(Arc::new(Claim::of_names(names, token.clone())));
        }
    }
}
