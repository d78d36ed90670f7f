//! Redis dies, is not there, comes back, or forgets everything.
//!
//! Without the way around it, an outage of the queue would be an outage of the shop; without the probe, the shop
//! would stay without its queue until somebody restarts it.

use holdfast::locks::LockMode;
use serde_json::json;

use super::{QUICK_PROBE, SOON};
use crate::support::row::until_at_a_row;
use crate::support::{HeldRow, History, Peer, Private, Stranger, TestApp, TestDatabase, eventually, unique};

async fn until_mode(app: &TestApp, mode: LockMode) {
    eventually(SOON, "the lock mode changes by itself", async || app.app.locks.mode() == mode).await;
}

#[tokio::test]
async fn killed_before_a_request_redis_is_done_without_and_missed_by_nobody() {
    let mut redis = Private::redis().await;
    let app = TestApp::with(TestDatabase::fresh().await, Some(&redis.url()), &[QUICK_PROBE]).await;
    let variant = app.client.variant(100).await;
    assert_eq!(app.client.decrement(variant, 1).await.expect(200).header("lock-mode"), Some("two_layer"));

    redis.kill().await.unwrap();
    for n in 0..20 {
        let sold = app.client.decrement(variant, 1).await.expect(200);
        assert_eq!(sold.header("lock-mode"), Some("database_only"));
        let placed = app.client.order("ann", &format!("key-{n}"), &[(variant, 1)]).await.expect(201);
        assert_eq!(placed.json()["lock"]["mode"], "database_only");
    }
    let ready =
        app.client.send(hyper::Method::GET, "/health/ready", &[], "").await.unwrap().expect(200).json();
    assert_eq!((&ready["redis"], &ready["lock_mode"]), (&json!("down"), &json!("database_only")));
    assert_eq!(app.client.on_hand(variant).await, 59);
    app.finish().await;
}

#[tokio::test]
async fn killed_in_mid_section_the_section_commits_and_the_next_goes_on_without() {
    let mut redis = Private::redis().await;
    let app = TestApp::with(TestDatabase::fresh().await, Some(&redis.url()), &[QUICK_PROBE]).await;
    let variant = app.client.variant(100).await;
    let row = HeldRow::of(&app.database, variant).await;
    let client = app.client.clone();
    let sale = tokio::spawn(async move { client.decrement(variant, 1).await });
    until_at_a_row(&app.database.pool, 1).await;

    redis.kill().await.unwrap();
    row.let_go().await;
    assert_eq!(sale.await.unwrap().expect(200).header("lock-mode"), Some("two_layer"));
    let next = app.client.decrement(variant, 1).await.expect(200);
    assert_eq!(next.header("lock-mode"), Some("database_only"));
    app.finish().await;
}

#[tokio::test]
async fn after_its_return_the_locks_are_two_layer_again_without_a_restart_of_ours() {
    let mut redis = Private::redis().await;
    let app = TestApp::with(TestDatabase::fresh().await, Some(&redis.url()), &[QUICK_PROBE]).await;
    let variant = app.client.variant(100).await;
    for _ in 0..2 {
        redis.kill().await.unwrap();
        for _ in 0..10 {
            app.client.decrement(variant, 1).await.expect(200);
        }
        until_mode(&app, LockMode::DatabaseOnly).await;
        redis.restart().await.unwrap();
        until_mode(&app, LockMode::TwoLayer).await;
        let sold = app.client.decrement(variant, 1).await.expect(200);
        assert_eq!(sold.header("lock-mode"), Some("two_layer"));
    }
    // Scripts are forgotten by a restart, and by this.
    let stranger = Stranger::at(&redis.url()).await;
    let _forgotten: String = stranger.ask(&["SCRIPT", "FLUSH"]).await;
    assert_eq!(app.client.decrement(variant, 1).await.expect(200).header("lock-mode"), Some("two_layer"));
    app.finish().await;
}

#[tokio::test]
async fn wake_ups_are_heard_again_after_redis_was_away() {
    let mut redis = Private::redis().await;
    let settings = [QUICK_PROBE, ("HOLDFAST_LOCK_RETRY_MS", "10000")];
    let app = TestApp::with(TestDatabase::fresh().await, Some(&redis.url()), &settings).await;
    let peer = Peer::start(&app.database.url, Some(&redis.url()), &settings).await;
    let variant = app.client.variant(100).await;
    let both_are = async |mode| app.app.locks.mode() == mode && peer.app.locks.mode() == mode;
    redis.kill().await.unwrap();
    for client in [&app.client, &peer.client].into_iter().cycle().take(20) {
        client.decrement(variant, 1).await.expect(200);
    }
    assert!(both_are(LockMode::DatabaseOnly).await);
    redis.restart().await.unwrap();
    eventually(SOON, "both are two-layer", async || both_are(LockMode::TwoLayer).await).await;
    let stranger = Stranger::at(&redis.url()).await;
    eventually(SOON, "both hear wake-ups", async || {
        stranger.ask::<Vec<String>>(&["PUBSUB", "CHANNELS", "holdfast:wake:*"]).await.len() == 2
    })
    .await;
    let row = HeldRow::of(&app.database, variant).await;
    let (first, second) = (app.client.clone(), peer.client.clone());
    let first = tokio::spawn(async move { first.decrement(variant, 1).await });
    until_at_a_row(&app.database.pool, 1).await;
    let second = tokio::spawn(async move { second.decrement(variant, 1).await });
    let line = crate::support::stranger::inventory_lock(variant);
    eventually(SOON, "the second stands in line", async || stranger.line(&line).await.len() == 1).await;
    row.let_go().await;
    first.await.unwrap().expect(200);
    second.await.unwrap().expect(200);
    peer.finish().await;
    app.finish().await;
}

#[tokio::test]
async fn a_redis_that_was_never_there_costs_nothing_and_is_used_once_it_comes() {
    let mut redis = Private::redis().await;
    redis.stop().await.unwrap();
    let app = TestApp::with(TestDatabase::fresh().await, Some(&redis.url()), &[QUICK_PROBE]).await;
    assert_eq!(app.app.locks.mode(), LockMode::DatabaseOnly, "found out before any request");
    let variant = app.client.variant(100).await;
    for _ in 0..20 {
        let sold = app.client.decrement(variant, 1).await.expect(200);
        assert_eq!(sold.header("lock-mode"), Some("database_only"));
    }
    redis.restart().await.unwrap();
    until_mode(&app, LockMode::TwoLayer).await;
    assert_eq!(app.client.decrement(variant, 1).await.expect(200).header("lock-mode"), Some("two_layer"));
    app.finish().await;
}

#[tokio::test]
async fn emptied_in_mid_section_redis_lets_two_in_and_the_row_lets_them_pass_one_by_one() {
    let redis = Private::redis().await;
    let app = TestApp::with(TestDatabase::fresh().await, Some(&redis.url()), &[]).await;
    let peer = Peer::start(&app.database.url, Some(&redis.url()), &[]).await;
    let stranger = Stranger::at(&redis.url()).await;
    let (variant, history) = (app.client.variant(2).await, History::default());
    let row = HeldRow::of(&app.database, variant).await;
    let mut sales = Vec::new();
    for (n, client) in [&app.client, &peer.client].into_iter().enumerate() {
        let (client, history) = (client.clone(), history.clone());
        sales.push(tokio::spawn(async move { history.watch(client.decrement(variant, 2)).await }));
        until_at_a_row(&app.database.pool, n + 1).await;
        let _gone: String = stranger.ask(&["FLUSHALL"]).await;
    }
    row.let_go().await;
    let mut statuses = Vec::new();
    for sale in sales {
        let reply = sale.await.unwrap();
        assert_eq!(reply.header("lock-mode"), Some("two_layer"));
        statuses.push(reply.status.as_u16());
    }
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 409], "both believed to be alone; the row told one of them");
    assert_eq!(history.check(), 1);
    let order = app.client.order(&unique("user"), "key-1", &[(variant, 1)]).await.expect(409);
    assert_eq!(order.code(), "insufficient_stock");
    peer.finish().await;
    app.finish().await;
}
