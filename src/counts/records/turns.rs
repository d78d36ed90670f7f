//! Batches take turns, before they take a connection: a crowd of them would keep every connection and every core, and
//! claims, heartbeats and sales would wait for a warehouse that ends its shift.

use std::time::Duration;

use tokio::sync::OwnedSemaphorePermit;

use crate::admission::{Gate, TooLong};
use crate::http::auth::Caller;
use crate::locks::LockError;

/// A batch of more records than so many is large.
const SMALL_MAX: usize = 250;
/// Of the connections of the pool, batches have one in so many at a time.
const SHARE: u32 = 4;

/// The turns of batches in this process. Large ones have one of their own, behind which no small one waits.
#[derive(Debug)]
pub struct Turns {
    small: Gate,
    large: Gate,
}

impl Turns {
    /// Of a process that has so many connections.
    #[must_use]
    pub fn new(connections: u32) -> Self {
        let small = usize::try_from(connections / SHARE).unwrap_or(1).max(1);
        Self { small: Gate::new(small), large: Gate::new(1) }
    }

    /// Waits until it is the turn of a batch of so many records, for `longest` or as long as its caller wants to.
    ///
    /// # Errors
    /// [`LockError::Overloaded`] if that would take longer, at once where it is known; [`LockError::CallerGone`].
    pub async fn take(
        &self,
        records: usize,
        caller: &Caller,
        longest: Duration,
    ) -> Result<OwnedSemaphorePermit, LockError> {
        let gate = if records > SMALL_MAX { &self.large } else { &self.small };
        let wait = caller.patience.left().map_or(longest, |left| left.min(longest));
        tokio::select! {
            biased;
            passed = gate.pass_in_time(wait) => passed.map_err(|TooLong| LockError::Overloaded),
            () = caller.gone.cancelled() => Err(LockError::CallerGone),
        }
    }
}
