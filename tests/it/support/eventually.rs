//! Waiting for something that happens, instead of sleeping and hoping.

use std::time::Duration;

use tokio::time::Instant;

/// Between two looks.
const LOOK: Duration = Duration::from_millis(5);

/// Waits until `condition` holds. Fails the test, naming `what`, if it does not within `limit`.
#[track_caller]
pub fn eventually(
    limit: Duration,
    what: &str,
    mut condition: impl AsyncFnMut() -> bool,
) -> impl Future<Output = ()> {
    let caller = std::panic::Location::caller();
    async move {
        let started = Instant::now();
        while !condition().await {
            assert!(started.elapsed() < limit, "{caller}: not within {limit:?}: {what}");
            tokio::time::sleep(LOOK).await;
        }
    }
}
