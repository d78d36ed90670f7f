//! Redis answers, but with errors: it became a replica that only reads, or its memory is full.
//!
//! A probe by PING would think it well, and a client that takes an error for an answer would fail the request.

use holdfast::locks::LockMode;

use super::{QUICK_PROBE, SOON};
use crate::support::{Private, Stranger, TestApp, TestDatabase, eventually};

/// Sells while Redis suffers from `fault`, then lets it get well by `cure`.
async fn sells_through(fault: &[&str], cure: &[&str]) {
    let redis = Private::redis().await;
    let app = TestApp::with(TestDatabase::fresh().await, Some(&redis.url()), &[QUICK_PROBE]).await;
    let stranger = Stranger::at(&redis.url()).await;
    let variant = app.client.variant(100).await;
    assert_eq!(app.client.decrement(variant, 1).await.expect(200).header("lock-mode"), Some("two_layer"));

    let _done: String = stranger.ask(fault).await;
    for n in 0..20 {
        let sold = app.client.decrement(variant, 1).await.expect(200);
        assert_eq!(sold.header("lock-mode"), Some("database_only"));
        app.client.order("ann", &format!("key-{n}"), &[(variant, 1)]).await.expect(201);
    }
    // Several probes long: it must not be taken for well.
    let looked = tokio::time::Instant::now();
    eventually(SOON, "some probes have been made", async || {
        assert_eq!(app.app.locks.mode(), LockMode::DatabaseOnly);
        looked.elapsed().as_millis() > 300
    })
    .await;

    let _done: String = stranger.ask(cure).await;
    eventually(SOON, "two-layer again", async || app.app.locks.mode() == LockMode::TwoLayer).await;
    assert_eq!(app.client.decrement(variant, 1).await.expect(200).header("lock-mode"), Some("two_layer"));
    assert!(stranger.keys("inventory_lock:*").await.is_empty());
    assert_eq!(app.client.on_hand(variant).await, 58);
    app.finish().await;
}

#[tokio::test]
async fn a_redis_that_only_reads_is_done_without_until_it_writes_again() {
    // Nobody listens there; it answers reads from what it had.
    sells_through(&["REPLICAOF", "127.0.0.1", "1"], &["REPLICAOF", "NO", "ONE"]).await;
}

#[tokio::test]
async fn a_redis_whose_memory_is_full_is_done_without_until_there_is_room() {
    sells_through(&["CONFIG", "SET", "maxmemory", "1"], &["CONFIG", "SET", "maxmemory", "0"]).await;
}
