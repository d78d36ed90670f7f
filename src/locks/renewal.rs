//! Renewing the leases of sections that run longer than a third of their TTL.
//!
//! What must stay true: a lease is renewed while its section lives and not a moment longer, whether the section ends,
//! panics or is cancelled: each of these drops its [`Lease`](super::Lease), which takes it off the list. A lease that
//! turns out lost is counted and warned of once, and its section goes on: the row lock protects it.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::claim::Claim;
use super::layer::Layer;
use super::metrics::Class;
use super::timing::RENEWALS_A_TTL;
use super::{BreakerState, Timing};

/// A lease on the list.
#[derive(Debug, Clone)]
pub(super) struct Held {
    claim: Arc<Claim>,
    since: Instant,
    renew_at: Instant,
    /// How many of its keys are known to be lost.
    lost: usize,
    /// Whether its section has ended, and Redis is being told.
    ends: bool,
}

impl Layer {
    /// From now on the lease is renewed.
    pub(super) fn hold(&self, claim: &Arc<Claim>) {
        let held = Held {
            claim: claim.clone(),
            since: Instant::now(),
            renew_at: next_renewal(claim),
            lost: 0,
            ends: false,
        };
        self.held().insert(claim.token.clone(), held);
    }

    /// From now on it is not, though it stays ours until Redis has let it go. Answers what was known of it, once.
    pub(super) fn ends(&self, token: &str) -> Option<Held> {
        let mut held = self.held();
        let lease = held.get_mut(token).filter(|lease| !lease.ends)?;
        lease.ends = true;
        Some(lease.clone())
    }

    /// It is not ours any more.
    pub(super) fn no_longer_held(&self, token: &str) {
        self.held().remove(token);
    }

    /// Whether a section runs under this token, or is just letting it go.
    pub(super) fn is_held(&self, token: &str) -> bool {
        self.held().contains_key(token)
    }

    /// For how long a section here has held what it holds under this token.
    pub(super) fn held_for(&self, token: &str) -> Option<Duration> {
        self.held().get(token).map(|held| held.since.elapsed())
    }

    /// The names of all keys that sections hold.
    pub(super) fn names_held(&self) -> HashSet<String> {
        self.held().values().flat_map(|held| held.claim.names.iter().cloned()).collect()
    }

    /// Counts and warns of keys that were lost, but for those that were lost before.
    pub(super) fn lost(&self, claim: &Claim, owned: usize, held: &Held) {
        let lost = (claim.names.len() - owned).saturating_sub(held.lost);
        if lost == 0 {
            return;
        }
        self.metrics.lost.get_or_create(&Class { class: claim.class }).inc_by(lost as u64);
        tracing::warn!(
            lock.keys = claim.names.len(),
            lock.lost = lost,
            lock.first_key = claim.first_in_logs(),
            "a lease was lost before its section ended; the row lock protects the write"
        );
    }

    /// Renews what is due, for ever.
    pub(super) async fn renew_leases(&self, timing: &Timing) {
        // No lease that is taken meanwhile is due earlier.
        let longest_pause = timing.inventory_ttl.min(timing.order_ttl) / RENEWALS_A_TTL;
        loop {
            let first = self.held().values().filter(|held| !held.ends).map(|held| held.renew_at).min();
            let latest = Instant::now() + longest_pause;
            tokio::time::sleep_until(first.map_or(latest, |first| first.min(latest))).await;
            for claim in self.due() {
                self.renew(&claim).await;
            }
        }
    }

    fn due(&self) -> Vec<Arc<Claim>> {
        let now = Instant::now();
        let mut held = self.held();
        let due = held.values_mut().filter(|held| !held.ends && held.renew_at <= now);
        due.map(|held| {
            held.renew_at = next_renewal(&held.claim);
            held.claim.clone()
        })
        .collect()
    }

    async fn renew(&self, claim: &Claim) {
        if self.breaker.state() != BreakerState::Closed {
            return;
        }
        match self.redis.renew(claim).await {
            Ok(owned) => {
                self.metrics.renewals.get_or_create(&Class { class: claim.class }).inc();
                // If its section has ended meanwhile, its keys are not lost but let go.
                let known = self.held().get(&claim.token).cloned();
                if let Some(known) = known.filter(|known| !known.ends && owned < claim.names.len()) {
                    self.lost(claim, owned, &known);
                    let lost = claim.names.len() - owned;
                    self.held().entry(claim.token.clone()).and_modify(|held| held.lost = lost);
                }
            }
            // It is tried again before the lease ends.
            Err(fault) => self.count(&fault),
        }
    }

    fn held(&self) -> MutexGuard<'_, HashMap<Arc<str>, Held>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn next_renewal(claim: &Claim) -> Instant {
    Instant::now() + (claim.shortest_ttl() / RENEWALS_A_TTL).max(Duration::from_millis(1))
}
