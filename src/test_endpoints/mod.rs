//! Calls for load tests: sell without ceremony, hold a lock as a slow section would, let go of what was held. Served
//! under `/test` and `/api/v1/test`, to operators, and only where `HOLDFAST_TEST_ENDPOINTS` is `true`.
//!
//! What must stay true: they go through the same locks and the same verbs as everybody else, and clear nothing but what
//! they took themselves.

pub mod clear_test_locks;
mod given;
pub mod routes;
pub mod test_concurrent_access;
pub mod test_decrement;

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::ids;

/// The locks that this process's test endpoints hold now.
#[derive(Debug, Default)]
pub struct TestHolds(Mutex<HashMap<Uuid, Hold>>);

/// One of them.
#[derive(Debug, Clone, Default)]
struct Hold {
    /// Asks it to end.
    stop: CancellationToken,
    /// Cancelled once it has ended.
    ended: CancellationToken,
}

impl TestHolds {
    fn begin(&self) -> (Uuid, Hold) {
        let (id, hold) = (ids::fresh(), Hold::default());
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(id, hold.clone());
        (id, hold)
    }

    fn end(&self, id: Uuid) {
        if let Some(hold) = self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&id) {
            hold.ended.cancel();
        }
    }

    /// Ends all of them and waits until they have let go. Answers how many there were.
    async fn clear(&self) -> usize {
        let holds: Vec<Hold> =
            self.0.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect();
        for hold in &holds {
            hold.stop.cancel();
        }
        for hold in &holds {
            hold.ended.cancelled().await;
        }
        holds.len()
    }
}
