//! Clearing: every hold of the test endpoints, wherever it is, and nothing else.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use super::{ROOTS, SOON, call, call_json, hold, start, start_peer};
use crate::support::row::until_at_a_row;
use crate::support::stranger::inventory_lock;
use crate::support::{Client, HeldRow, Private, Replica, Stranger, TestApp, eventually};

const PATH: &str = "/test/locks/clear-test-locks";
/// Where replicas tell each other what they hold for tests.
const TEST_LOCKS: &str = "holdfast:{fleet}:test_locks";

async fn until_held(app: &TestApp, locks: usize) {
    eventually(SOON, "the locks are held", async || {
        app.client.get("/locks/status").await.json()["total_active_locks"] == locks
    })
    .await;
}

async fn clear(client: &Client) -> Value {
    call(client, PATH).await.expect(200).json()
}

#[tokio::test]
async fn holds_here_and_at_other_replicas_end_and_real_sections_and_strangers_stay() {
    let redis = Private::redis().await;
    let app = start(Some(&redis)).await;
    let peer = start_peer(&app, Some(&redis)).await;
    let stranger = Stranger::at(&redis.url()).await;
    let variants = app.variants(4, 10).await;
    let [here, there, real, strangers] = variants[..] else { panic!() };
    let row = HeldRow::of(&app.database, real).await;
    let client = app.client.clone();
    let sale = tokio::spawn(async move { client.decrement(real, 1).await });
    until_at_a_row(&app.database.pool, 1).await;
    assert!(stranger.take(&inventory_lock(strangers), "a stranger").await);
    let holds = [hold(&app.client, here, 60), hold(&peer.client, there, 60)];
    until_held(&app, 3).await;
    eventually(SOON, "all replicas can know of both", async || {
        stranger.ask::<u64>(&["ZCARD", TEST_LOCKS]).await == 2
    })
    .await;
    let token = stranger.holder(&inventory_lock(real)).await;

    let cleared = Instant::now();
    let told = clear(&app.client).await;
    assert_eq!(
        told,
        json!({"success": true, "message": "All locks of the test endpoints were let go.",
               "total_active_locks_before": 3, "locks_cleared": 2, "timestamp": told["timestamp"]})
    );
    for key in [inventory_lock(here), inventory_lock(there)] {
        assert_eq!(stranger.holder(&key).await, None, "{key}");
    }
    for hold in holds {
        assert_eq!(hold.await.unwrap().expect(200).json()["message"], "The lock was let go early.");
    }
    assert!(cleared.elapsed() < Duration::from_secs(5), "{:?}", cleared.elapsed());
    app.client.decrement(there, 1).await.expect(200);
    assert_eq!(stranger.holder(&inventory_lock(real)).await, token);
    assert_eq!(stranger.holder(&inventory_lock(strangers)).await.as_deref(), Some("a stranger"));
    let again = clear(&peer.client).await;
    assert_eq!((&again["locks_cleared"], &again["total_active_locks_before"]), (&json!(0), &json!(1)));
    row.let_go().await;
    sale.await.unwrap().expect(200);
    peer.finish().await;
    app.finish().await;
}

#[tokio::test]
async fn what_a_dead_replica_held_for_a_test_is_cleared_too() {
    let redis = Private::redis().await;
    let app = start(Some(&redis)).await;
    let stranger = Stranger::at(&redis.url()).await;
    let replica = Replica::start(&app.database.url, Some(&redis.url()), &[super::ON]).await;
    let variant = app.client.variant(10).await;
    let (client, body) = (replica.client.clone(), json!({"variant_id": variant, "lock_duration": 60}));
    let held =
        tokio::spawn(
            async move { client.try_post("/test/inventory/test-concurrent-access", &body, None).await },
        );
    eventually(SOON, "it is known to all", async || stranger.ask::<u64>(&["ZCARD", TEST_LOCKS]).await == 1)
        .await;
    replica.kill().await;
    assert!(held.await.unwrap().is_err());
    assert_eq!(clear(&app.client).await["locks_cleared"], 1);
    assert_eq!(stranger.holder(&inventory_lock(variant)).await, None);
    app.client.decrement(variant, 1).await.expect(200);
    app.finish().await;
}

#[tokio::test]
async fn a_note_that_outlived_its_hold_clears_no_later_holder() {
    let redis = Private::redis().await;
    let app = start(Some(&redis)).await;
    let stranger = Stranger::at(&redis.url()).await;
    let _noted: i64 = stranger.ask(&["ZADD", TEST_LOCKS, "+inf", "a-hold-that-ended inventory_lock:x"]).await;
    assert!(stranger.take("inventory_lock:x", "a live holder").await);
    assert_eq!(clear(&app.client).await["locks_cleared"], 0);
    assert_eq!(stranger.holder("inventory_lock:x").await.as_deref(), Some("a live holder"));
    app.finish().await;
}

#[tokio::test]
async fn a_note_ends_although_its_replica_died() {
    let redis = Private::redis().await;
    let app = start(Some(&redis)).await;
    let stranger = Stranger::at(&redis.url()).await;
    let _noted: i64 =
        stranger.ask(&["ZADD", TEST_LOCKS, "1", "a-hold-of-a-dead-replica inventory_lock:x"]).await;
    let variant = app.client.variant(10).await;
    let held = hold(&app.client, variant, 1);
    eventually(SOON, "it is noted", async || {
        let notes: Vec<String> = stranger.ask(&["ZRANGE", TEST_LOCKS, "0", "-1"]).await;
        notes.len() == 1 && notes[0].ends_with(&inventory_lock(variant))
    })
    .await;
    let (seconds, _): (u64, u64) = stranger.ask(&["TIME"]).await;
    let until: Vec<String> = stranger.ask(&["ZRANGE", TEST_LOCKS, "0", "-1", "WITHSCORES"]).await;
    let lasts = until[1].parse::<u64>().unwrap() / 1_000 - seconds;
    assert!((60..=121).contains(&lasts), "as long as any hold, and not for ever: {lasts} s");
    held.await.unwrap().expect(200);
    app.finish().await;
}

#[tokio::test]
async fn a_hold_that_ends_takes_nothing_from_another_that_follows_it_on_the_same_variant() {
    let redis = Private::redis().await;
    let app = start(Some(&redis)).await;
    let peer = start_peer(&app, Some(&redis)).await;
    let stranger = Stranger::at(&redis.url()).await;
    let variant = app.client.variant(10).await;
    let first = hold(&app.client, variant, 3);
    until_held(&app, 1).await;
    // Taken away by hand: the first still holds the row, so both are noted for a while.
    stranger.delete(&inventory_lock(variant)).await;
    let second = hold(&peer.client, variant, 3);
    eventually(SOON, "both are noted", async || stranger.ask::<u64>(&["ZCARD", TEST_LOCKS]).await == 2).await;
    for held in [first, second] {
        assert_eq!(held.await.unwrap().expect(200).json()["message"], "The lock was held and let go.");
    }
    assert_eq!(stranger.ask::<u64>(&["ZCARD", TEST_LOCKS]).await, 0);
    peer.finish().await;
    app.finish().await;
}

#[tokio::test]
async fn without_redis_those_of_this_replica_end() {
    let app = start(None).await;
    let variant = app.client.variant(10).await;
    let held = hold(&app.client, variant, 60);
    until_held(&app, 1).await;
    let told = clear(&app.client).await;
    assert_eq!((&told["locks_cleared"], &told["success"]), (&json!(1), &json!(true)));
    held.await.unwrap().expect(200);
    app.client.decrement(variant, 1).await.expect(200);
    app.finish().await;
}

#[tokio::test]
async fn a_key_clears_once_and_unknown_fields_are_refused() {
    let redis = Private::redis().await;
    let app = start(Some(&redis)).await;
    let variant = app.client.variant(10).await;
    let held = hold(&app.client, variant, 60);
    until_held(&app, 1).await;
    for root in ROOTS {
        let path = format!("{root}/locks/clear-test-locks");
        for reply in [
            call(&app.client, &format!("{path}?all=true")).await,
            call_json(&app.client, &path, &json!({"all": true}), None).await,
        ] {
            assert_eq!(reply.expect(422).code(), "validation_failed");
        }
    }
    assert!(!held.is_finished());
    let first = call_json(&app.client, PATH, &json!({}), Some("key-1")).await.expect(200);
    assert_eq!(first.json()["locks_cleared"], 1);
    held.await.unwrap().expect(200);
    let held = hold(&app.client, variant, 1);
    until_held(&app, 1).await;
    let again = call_json(&app.client, PATH, &json!({}), Some("key-1")).await.expect(200);
    assert!(again.was_replayed() && again.bytes == first.bytes);
    assert_eq!(held.await.unwrap().expect(200).json()["message"], "The lock was held and let go.");
    app.finish().await;
}
