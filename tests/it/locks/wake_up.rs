//! How a waiter learns that its turn has come: by a message, and by looking now and then in case it was lost.
//!
//! Without the message, a hand-over between replicas costs half a poll each time; without the poll, one lost
//! message is a request that waits for its whole limit.

use std::time::Duration;

use super::SOON;
use crate::support::row::until_at_a_row;
use crate::support::stranger::{inventory_lock, line_of};
use crate::support::{HeldRow, Peer, Private, Stranger, TestApp, TestDatabase, eventually, shared_redis};

/// Longer than a request waits: whoever misses the message is refused.
const NO_POLL: &[(&str, &str)] = &[("HOLDFAST_LOCK_RETRY_MS", "10000")];

#[tokio::test]
async fn a_waiter_on_another_replica_is_woken_by_the_release_and_not_by_its_poll() {
    let app = TestApp::with(TestDatabase::fresh().await, Some(&shared_redis()), NO_POLL).await;
    let peer = Peer::start(&app.database.url, Some(&shared_redis()), NO_POLL).await;
    let redis = Stranger::at(&shared_redis()).await;
    let variant = app.client.variant(10).await;
    let key = inventory_lock(variant);
    for _ in 0..3 {
        let row = HeldRow::of(&app.database, variant).await;
        let (first, second) = (app.client.clone(), peer.client.clone());
        let first = tokio::spawn(async move { first.decrement(variant, 1).await });
        until_at_a_row(&app.database.pool, 1).await;
        let second = tokio::spawn(async move { second.decrement(variant, 1).await });
        eventually(SOON, "the second stands in line", async || redis.line(&key).await.len() == 1).await;
        let waiter = redis.line(&key).await.remove(0);
        eventually(SOON, "its replica hears wake-ups", async || redis.hearers_of(&waiter).await == 1).await;
        row.let_go().await;
        first.await.unwrap().expect(200);
        second.await.unwrap().expect(200);
    }
    peer.finish().await;
    app.finish().await;
}

#[tokio::test]
async fn a_lost_message_is_made_up_for_by_the_poll() {
    let server = Private::redis().await;
    // A connection for messages that is lost is not made anew within the test.
    let deaf = [("HOLDFAST_BREAKER_PROBE_MS", "60000"), ("HOLDFAST_LOCK_RETRY_MS", "20")];
    let app = TestApp::with(TestDatabase::fresh().await, Some(&server.url()), &deaf).await;
    let peer = Peer::start(&app.database.url, Some(&server.url()), &deaf).await;
    let redis = Stranger::at(&server.url()).await;
    let variant = app.client.variant(10).await;
    let key = inventory_lock(variant);
    eventually(SOON, "both hear wake-ups", async || {
        redis.ask::<Vec<String>>(&["PUBSUB", "CHANNELS", "holdfast:wake:*"]).await.len() == 2
    })
    .await;
    let _killed: i64 = redis.ask(&["CLIENT", "KILL", "TYPE", "pubsub"]).await;
    let row = HeldRow::of(&app.database, variant).await;
    let (first, second) = (app.client.clone(), peer.client.clone());
    let first = tokio::spawn(async move { first.decrement(variant, 1).await });
    until_at_a_row(&app.database.pool, 1).await;
    let second = tokio::spawn(async move { second.decrement(variant, 1).await });
    eventually(SOON, "the second stands in line", async || redis.line(&key).await.len() == 1).await;
    let waiter = redis.line(&key).await.remove(0);
    assert_eq!(redis.hearers_of(&waiter).await, 0, "nobody hears the message");
    row.let_go().await;
    first.await.unwrap().expect(200);
    let late = second.await.unwrap().expect(200);
    assert_eq!(late.json()["lock"]["mode"], "two_layer");
    peer.finish().await;
    app.finish().await;
}

#[tokio::test]
async fn a_waiter_that_died_is_passed_over_when_its_time_in_line_is_over() {
    let app = TestApp::start().await;
    let redis = Stranger::at(&shared_redis()).await;
    let variant = app.client.variant(10).await;
    let key = inventory_lock(variant);
    let dead = "d".repeat(64);
    // It came at the beginning of time, and keeps its place for 400 ms more.
    let (seconds, micros): (u64, u64) = redis.ask(&["TIME"]).await;
    let asks_until = seconds * 1_000_000 + micros + 400_000;
    let _joined: i64 = redis.ask(&["HSET", &line_of(&key), &dead, &format!("0 {asks_until}")]).await;
    let client = app.client.clone();
    let sale = tokio::spawn(async move { client.decrement(variant, 1).await });
    eventually(Duration::from_secs(4), "the sale stands behind the dead", async || {
        redis.line(&key).await.len() == 2 || sale.is_finished()
    })
    .await;
    sale.await.unwrap().expect(200);
    assert!(redis.line(&key).await.is_empty());
    app.finish().await;
}
