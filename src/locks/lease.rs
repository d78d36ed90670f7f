//! What a verb holds while it works.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::claim::Claim;
use super::keys::{LockClass, LockKey};
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

/// The right to go next on a set of keys. Ends by [`Lease::release`] or [`Lease::release_after`]; one that
/// is dropped (a panic) is released in the background, and its TTL ends it if even that fails.
#[derive(Debug)]
pub struct Lease {
    inner: Arc<Inner>,
    /// Held for its place in the lines of this process, which dropping it gives up.
    place: Option<Place>,
    claim: Option<Arc<Claim>>,
    labels: ClassAndMode,
    waited: Duration,
    since: Instant,
}

impl Lease {
    pub(super) fn new(
        inner: Arc<Inner>,
        place: Place,
        claim: Result<Arc<Claim>, DatabaseOnly>,
        asked: Instant,
    ) -> Self {
        if let Err(why) = claim {
            inner.metrics.database_only.get_or_create(&Without { why }).inc();
        }
        let class = place.keys().as_slice().first().map_or(LockClass::Inventory, LockKey::class);
        let mode = if claim.is_ok() { LockMode::TwoLayer } else { LockMode::DatabaseOnly };
        let (labels, since) = (ClassAndMode { class, mode }, Instant::now());
        let waited = since - asked;
        inner.metrics.waits.get_or_create(&labels).observe(waited.as_secs_f64());
        Self { inner, place: Some(place), claim: claim.ok(), labels, waited, since }
    }

    /// What the write is to say about its lock.
    #[must_use]
    pub fn evidence(&self) -> Evidence {
        let wait_ms = u32::try_from(self.waited.as_millis()).unwrap_or(u32::MAX);
        Evidence { mode: self.labels.mode, wait_ms }
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
        if let Some(claim) = self.claim.take() {
            let successors = self.place.as_ref().map(Place::successors).unwrap_or_default();
            self.inner.let_go(claim, &successors).await;
        }
        // Only now: the next in this process's line finds the Redis key free.
        self.place.take();
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.inner.metrics.holds.get_or_create(&self.labels).observe(self.since.elapsed().as_secs_f64());
        let Some(claim) = self.claim.take() else { return };
        let (inner, place) = (self.inner.clone(), self.place.take());
        let tasks = self.inner.tasks.clone();
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            tasks.spawn_on(
                async move {
                    inner.let_go(claim, &[]).await;
                    drop(place);
                },
                &runtime,
            );
        }
    }
}

impl Inner {
    /// Releases in Redis, or remembers to; leaves its lines there too. `successors` stand behind it in this process,
    /// in the order of its keys.
    pub(super) async fn let_go(&self, claim: Arc<Claim>, successors: &[Option<Successor>]) {
        let Some(layer) = &self.layer else { return };
        let held = layer.no_longer_held(&claim.token);
        if layer.breaker.state() != BreakerState::Closed {
            layer.orphan(claim);
            return;
        }
        match layer.redis.release(&claim, successors).await {
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
}
