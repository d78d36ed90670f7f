//! Invoices of tills and of suppliers.

mod bad_input;
mod decisions;
mod intake;
mod many;
mod markers;
mod names;
mod pos;
mod races;
mod renamed;
mod workers;

use crate::support::{Peer, TestApp, TestDatabase, shared_redis};

/// However slow the machine is.
const PATIENT: &[(&str, &str)] = &[("HOLDFAST_LOCK_WAIT_MS", "14000"), ("HOLDFAST_REDIS_TIMEOUT_MS", "1000")];

/// Two replicas on one database, for each way in which they can see Redis.
async fn in_all_modes(test: impl AsyncFn(&TestApp, &Peer)) {
    let redis = shared_redis();
    for (here, there) in [(Some(&*redis), Some(&*redis)), (None, None), (Some(&*redis), None)] {
        let app = TestApp::with(TestDatabase::fresh().await, here, PATIENT).await;
        let peer = Peer::start(&app.database.url, there, PATIENT).await;
        test(&app, &peer).await;
        peer.finish().await;
        app.finish().await;
    }
}
