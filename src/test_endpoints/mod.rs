//! Calls for load tests: sell without ceremony, hold a lock as a slow section would, let go of what was held. Served
//! under `/test` and `/api/v1/test`, to operators, and only where `HOLDFAST_TEST_ENDPOINTS` is `true`.
//!
//! What must stay true: they go through the same locks and the same verbs as everybody else, and clear nothing but what
//! they took themselves.

pub mod clear_test_locks;
pub mod given;
pub mod routes;
pub mod test_concurrent_access;
pub mod test_decrement;

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::ids;

/// The locks that this process's test endpoints hold now.
#[derive(Debug, Default)]
pub struct TestHolds(Mutex<HashMap<Uuid, Hold>>);

/// One of them, as whoever clears sees it.
#[derive(Debug, Clone, Default)]
struct Hold {
    /// Asks it to end.
    stop: CancellationToken,
    /// Cancelled once it has ended.
    ended: CancellationToken,
}

/// One of them, as whoever holds has it. Ends when dropped, however that comes: whoever clears waits for it.
#[derive(Debug)]
struct Holding<'a> {
    holds: &'a TestHolds,
    id: Uuid,
    stop: CancellationToken,
}

impl Holding<'_> {
    /// Waits until it is asked to end.
    async fn is_to_end(&self) {
        self.stop.cancelled().await;
    }
}

impl Drop for Holding<'_> {
    fn drop(&mut self) {
        if let Some(hold) = self.holds.all().remove(&self.id) {
            hold.ended.cancel();
        }
    }
}

impl TestHolds {
    fn begin(&self) -> Holding<'_> {
        let (id, hold) = (ids::fresh(), Hold::default());
        let stop = hold.stop.clone();
        self.all().insert(id, hold);
        Holding { holds: self, id, stop }
    }

    /// Ends all of them and waits until they have let go. Answers how many there were.
    async fn clear(&self) -> usize {
        let holds: Vec<Hold> = self.all().values().cloned().collect();
        for hold in &holds {
            hold.stop.cancel();
        }
        for hold in &holds {
            hold.ended.cancelled().await;
        }
        holds.len()
    }
    fn all(&self) -> MutexGuard<'_, HashMap<Uuid, Hold>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use futures_util::FutureExt;

    use super::*;

    #[tokio::test]
    async fn a_hold_that_panicked_or_was_dropped_is_waited_for_by_nobody() {
        let holds = Arc::new(TestHolds::default());
        let panicking = holds.clone();
        let panicked = tokio::spawn(async move {
            let _hold = panicking.begin();
            panic!("in mid-hold");
        });
        assert!(panicked.await.is_err());
        let dropped = async {
            let hold = holds.begin();
            hold.is_to_end().await;
        };
        assert!(dropped.now_or_never().is_none());
        assert_eq!(holds.clear().now_or_never(), Some(0));
    }

    #[tokio::test]
    async fn clearing_ends_what_is_held_and_waits_until_it_has_ended() {
        let holds = Arc::new(TestHolds::default());
        let hold = holds.begin();
        let mut clearing = Box::pin(holds.clear());
        assert!(clearing.as_mut().now_or_never().is_none());
        hold.is_to_end().await;
        assert!(clearing.as_mut().now_or_never().is_none(), "it has not let go yet");
        drop(hold);
        assert_eq!(clearing.await, 1);
    }
}
