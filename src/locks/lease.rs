//! What a verb holds while it works.

use std::sync::Arc;
use std::time::Duration;

use super::line::Place;
use super::redis::Claim;
use super::{Evidence, Inner, LockMode};

/// Why a lease is without its Redis layer. Not an error: the row lock protects the write all the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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
    claim: Option<Claim>,
    waited: Duration,
}

impl Lease {
    pub(super) fn new(
        inner: Arc<Inner>,
        place: Place,
        claim: Result<Claim, DatabaseOnly>,
        waited: Duration,
    ) -> Self {
        if let Err(why) = &claim {
            tracing::debug!(lock.degraded = ?why, "a lease is database-only");
        }
        Self { inner, place: Some(place), claim: claim.ok(), waited }
    }

    /// What the write is to say about its lock.
    #[must_use]
    pub fn evidence(&self) -> Evidence {
        let mode = if self.claim.is_some() { LockMode::TwoLayer } else { LockMode::DatabaseOnly };
        Evidence { mode, wait_ms: u32::try_from(self.waited.as_millis()).unwrap_or(u32::MAX) }
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
            self.inner.let_go(claim).await;
        }
        // Only now: the next in this process's line finds the Redis key free.
        self.place.take();
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let Some(claim) = self.claim.take() else { return };
        let (inner, place) = (self.inner.clone(), self.place.take());
        let tasks = self.inner.tasks.clone();
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            tasks.spawn_on(
                async move {
                    inner.let_go(claim).await;
                    drop(place);
                },
                &runtime,
            );
        }
    }
}

impl Inner {
    /// Releases in Redis, or remembers to.
    async fn let_go(&self, claim: Claim) {
        let Some(layer) = &self.layer else { return };
        if layer.breaker.state() != super::BreakerState::Closed {
            layer.orphan(claim);
            return;
        }
        match layer.redis.release(&claim, false).await {
            Ok(owned) => {
                layer.breaker.succeeded();
                if owned < claim.names.len() {
                    tracing::warn!(
                        lock.keys = claim.names.len(),
                        lock.lost = claim.names.len() - owned,
                        lock.first_key = claim.names.first(),
                        "a lease was lost before its release; the row lock protected the write"
                    );
                }
            }
            Err(fault) => layer.blame(&fault, claim),
        }
    }
}
