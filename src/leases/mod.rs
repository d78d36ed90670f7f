//! Leases that outlive a transaction: rack claims, sessions, [processing markers](marker).
//!
//! A lock of [`locks`](crate::locks) lives as long as one section; a lease is held over many requests, by whoever can
//! name its **fence**. The claim is a row in Postgres. Its Redis key is a shadow, for other programs that know the
//! published names, and for onlookers.
//!
//! # What must stay true
//! - Every claim of a name has a higher fence than all before it, for ever: fences are drawn from one sequence, under
//!   the lock of the lease's row, and a trigger refuses a row whose fence would fall.
//! - A write under a fence commits only if no newer claim has been granted and the claim has not ended
//!   ([`Leases::hold_fence_in_tx`], and the trigger `refuse_old_fence` behind it). It holds the row `FOR KEY SHARE`;
//!   claims and ends lock it `FOR UPDATE`, so they wait for the writes that are under way; renewals need not. Who needs
//!   several leases in one transaction takes them by name.
//! - A fence is checked for being the newest, not for its time: who has lapsed and was not followed harms nobody. Time
//!   only decides when others may claim, by the database's clock alone.
//! - Answers do not depend on Redis, but for one: a key that another program holds refuses a new claim. Redis is never
//!   asked while a row is locked, and any fault of it is gone on without.
//!
//! | what happens | what the lease does |
//! | --- | --- |
//! | the owner repeats its claim blindly | the same fence, renewed; the answer to a lost answer |
//! | the owner dies | the lease lapses and is claimable at once, with a higher fence |
//! | the owner only slept, and somebody else came | its writes and renewals are refused: [`LeaseError::Superseded`] |
//! | the owner only slept, and nobody came | it renews and goes on |
//! | an operator ends it (`POST /locks/{key}/release`) | writes under it are refused: [`LeaseError::Ended`] |
//! | Redis dies, or forgets | nothing; the next renewal casts the shadow again |
//!
//! # Reading order
//! [`model`] (names, fences, answers), [`rules`] (who gets it), [`claim`], [`renew`], [`release`], [`guard`] (writing
//! under a fence), [`marker`], [`metrics`]; [`crate::purge`] forgets the old; the shadow's script is that of [`crate::locks::shadow`].

pub mod claim;
pub mod guard;
pub mod marker;
pub mod metrics;
pub mod model;
pub mod release;
pub mod renew;
pub mod rules;
pub(crate) mod store;

use std::time::Duration;

pub use self::claim::{Again, Claimed, Door, Wanted, claim_in_tx};
use self::metrics::LeaseMetrics;
pub use self::model::{Ending, Fence, Granted, Holder, LeaseError, LeaseName, LeaseTtl};
use crate::locks::Locks;

/// How long a lease is kept after its end, for whoever asks what became of it. A name that is claimed again later gets a
/// higher fence all the same, and an old fence is refused for want of its row.
pub const KEPT_FOR: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// The leases, as this process claims them and shows them in Redis. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Leases {
    locks: Locks,
    metrics: LeaseMetrics,
}

impl Leases {
    /// Leases that are shown in the Redis of `locks`, where there is one.
    #[must_use]
    pub fn new(locks: Locks) -> Self {
        Self { locks, metrics: LeaseMetrics::default() }
    }

    /// The metrics of leases.
    #[must_use]
    pub fn metrics(&self) -> &LeaseMetrics {
        &self.metrics
    }
}
