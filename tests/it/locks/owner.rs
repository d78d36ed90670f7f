//! The race: a lease is lost while its section runs, somebody else has the key by then, and the section ends.
//!
//! Without the owner's token in the key, and without comparing it in the same step that deletes, the end of the
//! first section would let go of the second one's lock.

use std::time::Duration;

use holdfast::ids;
use holdfast::locks::{LockKeys, Timing};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::SOON;
use crate::support::row::{sessions_at_a_row, until_at_a_row};
use crate::support::stranger::{inventory_lock, order_lock};
use crate::support::{
    HeldRow, LockProcess, Peer, Private, Stranger, TestApp, eventually, shared_redis, unique,
};

#[tokio::test]
async fn while_a_section_runs_the_published_keys_hold_its_token_and_after_the_answer_they_are_gone() {
    let app = TestApp::start().await;
    let redis = Stranger::at(&shared_redis()).await;
    let (a, b, user) = (app.client.variant(5).await, app.client.variant(5).await, unique("user"));
    let row = HeldRow::of(&app.database, a).await;
    let client = app.client.clone();
    let buyer = user.clone();
    let order = tokio::spawn(async move { client.order(&buyer, "key-1", &[(a, 1), (b, 2)]).await });
    until_at_a_row(&app.database.pool, 1).await;

    let order_key = order_lock(&user, "key-1");
    let token = redis.holder(&order_key).await.expect("the order's key is taken");
    let random = token.strip_suffix(":holdfast").expect("our tokens say whose they are");
    assert!(random.len() >= 64 && random.bytes().all(|byte| byte.is_ascii_hexdigit()), "{token}");
    assert!((30_000..=60_000).contains(&redis.left_ms(&order_key).await));
    for variant in [a, b] {
        let key = inventory_lock(variant);
        assert_eq!(redis.holder(&key).await.as_ref(), Some(&token));
        assert!((1..=30_000).contains(&redis.left_ms(&key).await));
    }

    row.let_go().await;
    order.await.unwrap().expect(201);
    for key in [order_key, inventory_lock(a), inventory_lock(b)] {
        assert_eq!(redis.holder(&key).await, None, "{key} outlived its section");
    }
    app.finish().await;
}

#[tokio::test]
async fn every_section_has_a_token_of_its_own() {
    let app = TestApp::start().await;
    let redis = Stranger::at(&shared_redis()).await;
    let variant = app.client.variant(5).await;
    let mut tokens = Vec::new();
    for _ in 0..2 {
        let row = HeldRow::of(&app.database, variant).await;
        let client = app.client.clone();
        let sale = tokio::spawn(async move { client.decrement(variant, 1).await });
        until_at_a_row(&app.database.pool, 1).await;
        tokens.push(redis.holder(&inventory_lock(variant)).await.unwrap());
        row.let_go().await;
        sale.await.unwrap().expect(200);
    }
    assert_ne!(tokens[0], tokens[1]);
    app.finish().await;
}

#[tokio::test]
async fn a_section_whose_key_was_taken_over_leaves_the_new_owner_alone() {
    let app = TestApp::start().await;
    let redis = Stranger::at(&shared_redis()).await;
    let variant = app.client.variant(5).await;
    let key = inventory_lock(variant);
    let row = HeldRow::of(&app.database, variant).await;
    let client = app.client.clone();
    let sale = tokio::spawn(async move { client.decrement(variant, 1).await });
    until_at_a_row(&app.database.pool, 1).await;

    let _stolen: String = redis.ask(&["SET", &key, "another owner", "PX", "60000"]).await;
    row.let_go().await;
    sale.await.unwrap().expect(200);
    assert_eq!(redis.holder(&key).await.as_deref(), Some("another owner"));

    redis.delete(&key).await;
    app.client.decrement(variant, 1).await.expect(200);
    app.finish().await;
}

#[tokio::test]
async fn a_replica_that_lives_keeps_its_key_however_long_its_section_lasts() {
    let app = TestApp::start().await;
    let peer = Peer::start(&app.database.url, Some(&shared_redis()), &[]).await;
    let redis = Stranger::at(&shared_redis()).await;
    let variant = app.client.variant(5).await;
    let key = inventory_lock(variant);
    let row = HeldRow::of(&app.database, variant).await;
    let (first, second) = (app.client.clone(), peer.client.clone());
    let first = tokio::spawn(async move { first.decrement(variant, 1).await });
    until_at_a_row(&app.database.pool, 1).await;
    let owner = redis.holder(&key).await;
    let second = tokio::spawn(async move { second.decrement(variant, 1).await });
    // Longer than a replica may be silent before it is taken for dead.
    let since = Instant::now();
    eventually(SOON, "a while has passed", async || {
        assert_eq!(redis.holder(&key).await, owner);
        since.elapsed() > Duration::from_secs(3)
    })
    .await;
    assert_eq!(
        sessions_at_a_row(&app.database.pool).await.len(),
        1,
        "the second waits in line, not at the row"
    );
    row.let_go().await;
    first.await.unwrap().expect(200);
    second.await.unwrap().expect(200);
    peer.finish().await;
    app.finish().await;
}

#[tokio::test]
async fn after_a_flush_nobody_takes_over_from_a_replica_that_has_not_beaten_yet() {
    let server = Private::redis().await;
    let redis = Stranger::at(&server.url()).await;
    let one = LockProcess::start(&server.url(), Timing::default());
    for _ in 0..5 {
        // It has not heard of the first one yet.
        let (other, variant) = (LockProcess::start(&server.url(), Timing::default()), ids::fresh());
        eventually(SOON, "both beat", async || redis.keys("holdfast:{fleet}:replica:*").await.len() >= 2)
            .await;
        let _flushed: String = redis.ask(&["FLUSHALL"]).await;
        let lease = one.lease(LockKeys::variant(variant)).await;
        let locks = other.locks.clone();
        let waiter = tokio::spawn(async move {
            locks.acquire(LockKeys::variant(variant), &CancellationToken::new()).await.unwrap()
        });
        let looks = other.counted("wake_ups");
        eventually(SOON, "it has looked twice", async || other.counted("wake_ups") > looks).await;
        lease.release().await;
        waiter.await.unwrap().release().await;
        assert_eq!((one.counted("lost"), other.counted("takeovers")), (0, 0));
        other.stop().await;
    }
    one.stop().await;
}
