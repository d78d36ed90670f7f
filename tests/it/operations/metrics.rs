//! What Prometheus is told: what was just done is counted, by class and never by variant.

use holdfast::locks::LockMode;
use hyper::Method;

use super::{SOON, open_section, start};
use crate::support::stranger::inventory_lock;
use crate::support::{
    Client, Peer, Private, Replica, Scrape, Stranger, TestApp, TestDatabase, at_once, eventually,
};

#[tokio::test]
async fn every_metric_of_the_locks_is_described_and_typed() {
    for app in [TestApp::without_redis().await, start(&Private::redis().await).await] {
        let scrape = Scrape::of(&app.client).await;
        for (name, kind) in [
            ("wait_seconds", "histogram"),
            ("hold_seconds", "histogram"),
            ("refused", "counter"),
            ("database_only", "counter"),
            ("takeovers", "counter"),
            ("lost", "counter"),
            ("renewals", "counter"),
            ("wake_ups", "counter"),
            ("mode_changes", "counter"),
            ("mode_seconds", "counter"),
            ("mode", "gauge"),
            ("waiting", "gauge"),
            ("breaker_state", "gauge"),
        ] {
            let told = scrape.types.get(&format!("holdfast_lock_{name}"));
            assert_eq!(told.map(String::as_str), Some(kind), "{name}");
        }
        let of_locks = scrape.types.keys().filter(|name| name.starts_with("holdfast_lock_")).count();
        assert_eq!(of_locks, 13, "{:?}", scrape.types);
        for class in ["order", "inventory", "rack", "invoice", "custom"] {
            for name in ["waiting", "lost_total", "takeovers_total", "renewals_total"] {
                assert_eq!(
                    scrape.samples[&format!("holdfast_lock_{name}{{class=\"{class}\"}}")],
                    0.0,
                    "{name}"
                );
            }
        }
        let first = app.client.variant(5).await;
        app.client.decrement(first, 1).await.expect(200);
        let then = Scrape::of(&app.client).await;
        let others = |scrape: &Scrape| scrape.samples.len() - scrape.count("holdfast_http_");
        assert_eq!(others(&then), others(&scrape), "all lines are there from the start");
        app.finish().await;
    }
}

#[tokio::test]
async fn one_sale_adds_one_wait_and_one_hold_and_a_thousand_variants_add_no_line() {
    let redis = Private::redis().await;
    let app = start(&redis).await;
    let (wait, hold) = (
        r#"lock_wait_seconds_count{class="inventory",mode="two_layer"}"#,
        r#"lock_hold_seconds_count{class="inventory",mode="two_layer"}"#,
    );
    let variants = app.variants(200, 10).await;
    let before = Scrape::of(&app.client).await;
    app.client.decrement(variants[0], 1).await.expect(200);
    let after = Scrape::of(&app.client).await;
    assert_eq!((after.get(wait) - before.get(wait), after.get(hold) - before.get(hold)), (1.0, 1.0));
    let sum = after.get(r#"lock_hold_seconds_sum{class="inventory",mode="two_layer"}"#);
    assert!((0.000_1..10.0).contains(&sum), "{sum}");
    app.client.order("ann", "key-1", &[(variants[0], 1), (variants[1], 1)]).await.expect(201);
    let ordered = Scrape::of(&app.client).await;
    assert_eq!(
        ordered.get(r#"lock_wait_seconds_count{class="order",mode="two_layer"}"#),
        1.0,
        "one lease, one wait"
    );

    for variant in &variants {
        app.client.decrement(*variant, 1).await.expect(200);
    }
    let many = Scrape::of(&app.client).await;
    assert_eq!(many.get(wait) - after.get(wait), 200.0);
    assert_eq!(many.samples.len(), ordered.samples.len());
    app.finish().await;
}

#[tokio::test]
async fn who_waits_who_is_refused_and_what_woke_them_is_counted() {
    let redis = Private::redis().await;
    let settings = [("HOLDFAST_LOCK_WAIT_MS", "400")];
    let app = TestApp::with(TestDatabase::fresh().await, Some(&redis.url()), &settings).await;
    let stranger = Stranger::at(&redis.url()).await;
    let variant = app.client.variant(10).await;
    let key = inventory_lock(variant);
    assert!(stranger.take(&key, "a stranger").await);
    // The first look at metrics opens a connection of its own.
    let _first = Scrape::of(&app.client).await;
    let crowd = tokio::spawn({
        let client = app.client.clone();
        async move {
            at_once(4, |_| {
                let client = client.clone();
                async move { client.decrement(variant, 1).await.expect(429) }
            })
            .await
        }
    });
    eventually(SOON, "three wait behind the first", async || {
        Scrape::of(&app.client).await.get(r#"lock_waiting{class="inventory"}"#) == 3.0
    })
    .await;
    crowd.await.unwrap();
    let scrape = Scrape::of(&app.client).await;
    assert_eq!(scrape.get(r#"lock_refused_total{class="inventory",why="busy"}"#), 4.0);
    assert_eq!(scrape.get(r#"lock_waiting{class="inventory"}"#), 0.0);
    assert!(scrape.get(r#"lock_wake_ups_total{by="poll"}"#) >= 1.0);
    app.finish().await;
}

#[tokio::test]
async fn a_key_that_is_stolen_in_mid_section_is_counted_as_lost_once() {
    let redis = Private::redis().await;
    let app = start(&redis).await;
    let stranger = Stranger::at(&redis.url()).await;
    let variant = app.client.variant(10).await;
    let lost = r#"lock_lost_total{class="inventory"}"#;
    for stolen in 1..=2 {
        let (row, sale) = open_section(&app, variant).await;
        let _stolen: String =
            stranger.ask(&["SET", &inventory_lock(variant), "a thief", "PX", "60000"]).await;
        row.let_go().await;
        sale.await.unwrap().expect(200);
        assert_eq!(Scrape::of(&app.client).await.get(lost), f64::from(stolen));
        stranger.delete(&inventory_lock(variant)).await;
    }
    app.client.decrement(variant, 1).await.expect(200);
    assert_eq!(Scrape::of(&app.client).await.get(lost), 2.0);
    app.finish().await;
}

#[tokio::test]
async fn a_section_that_outlives_a_third_of_its_ttl_is_renewed_and_a_dead_ones_key_is_taken_over() {
    let redis = Private::redis().await;
    let settings = [("HOLDFAST_INVENTORY_LOCK_TTL_MS", "15000"), ("HOLDFAST_TEST_ENDPOINTS", "true")];
    let app = TestApp::with(TestDatabase::fresh().await, Some(&redis.url()), &settings).await;
    let replica = Replica::start(&app.database.url, Some(&redis.url()), &settings).await;
    let (held, other) = (app.client.variant(10).await, app.client.variant(10).await);
    let hold = |client: &Client, variant, seconds: u64| {
        let path =
            format!("/test/inventory/test-concurrent-access?variant_id={variant}&lock_duration={seconds}");
        let client = client.clone();
        tokio::spawn(async move { client.send(Method::POST, &format!("/api/v1{path}"), &[], "").await })
    };
    let long = hold(&app.client, held, 6);
    let dead = hold(&replica.client, other, 60);
    let stranger = Stranger::at(&redis.url()).await;
    eventually(SOON, "both are held", async || stranger.keys("inventory_lock:*").await.len() == 2).await;
    replica.kill().await;
    assert!(dead.await.unwrap().is_err());
    app.client.decrement(other, 1).await.expect(200);
    assert_eq!(Scrape::of(&app.client).await.get(r#"lock_takeovers_total{class="inventory"}"#), 1.0);
    long.await.unwrap().unwrap().expect(200);
    assert!(Scrape::of(&app.client).await.get(r#"lock_renewals_total{class="inventory"}"#) >= 1.0);
    app.finish().await;
}

#[tokio::test]
async fn a_waiter_of_another_replica_that_is_told_counts_as_woken_by_a_message() {
    let redis = Private::redis().await;
    let settings = [("HOLDFAST_LOCK_RETRY_MS", "10000")];
    let app = TestApp::with(TestDatabase::fresh().await, Some(&redis.url()), &settings).await;
    let peer = Peer::start(&app.database.url, Some(&redis.url()), &settings).await;
    let stranger = Stranger::at(&redis.url()).await;
    let variant = app.client.variant(10).await;
    let key = inventory_lock(variant);
    let (row, sale) = open_section(&app, variant).await;
    let client = peer.client.clone();
    let next = tokio::spawn(async move { client.decrement(variant, 1).await });
    eventually(SOON, "the next stands in line", async || stranger.line(&key).await.len() == 1).await;
    let waiter = stranger.line(&key).await.remove(0);
    eventually(SOON, "its replica hears wake-ups", async || stranger.hearers_of(&waiter).await == 1).await;
    row.let_go().await;
    sale.await.unwrap().expect(200);
    next.await.unwrap().expect(200);
    assert_eq!(Scrape::of(&peer.client).await.get(r#"lock_wake_ups_total{by="message"}"#), 1.0);
    peer.finish().await;
    app.finish().await;
}

#[tokio::test]
async fn a_killed_redis_shows_in_the_breaker_the_mode_and_the_reason() {
    let mut redis = Private::redis().await;
    let settings = [("HOLDFAST_BREAKER_PROBE_MS", "50")];
    let app = TestApp::with(TestDatabase::fresh().await, Some(&redis.url()), &settings).await;
    let variant = app.client.variant(100).await;
    let before = Scrape::of(&app.client).await;
    assert_eq!(
        (before.get("lock_breaker_state"), before.get(r#"lock_mode_changes_total{mode="database_only"}"#)),
        (0.0, 0.0)
    );
    redis.kill().await.unwrap();
    eventually(SOON, "the breaker opens", async || {
        app.client.decrement(variant, 1).await.expect(200);
        app.app.locks.mode() == LockMode::DatabaseOnly
    })
    .await;
    app.client.decrement(variant, 1).await.expect(200);
    let away = Scrape::of(&app.client).await;
    assert_eq!(
        (away.get("lock_breaker_state"), away.get(r#"lock_mode_changes_total{mode="database_only"}"#)),
        (2.0, 1.0)
    );
    assert_eq!(away.get(r#"lock_mode{mode="database_only",why="breaker_open"}"#), 1.0);
    assert_eq!(away.get(r#"lock_mode{mode="two_layer",why="redis_answers"}"#), 0.0);
    assert!(away.get(r#"lock_database_only_total{why="breaker_open"}"#) >= 1.0);
    assert!(away.get(r#"lock_database_only_total{why="fault"}"#) >= 1.0);
    assert!(away.get(r#"lock_wait_seconds_count{class="inventory",mode="database_only"}"#) >= 2.0);

    redis.restart().await.unwrap();
    eventually(SOON, "two-layer again", async || app.app.locks.mode() == LockMode::TwoLayer).await;
    let back = Scrape::of(&app.client).await;
    assert_eq!(back.get(r#"lock_mode{mode="two_layer",why="redis_answers"}"#), 1.0);
    assert_eq!(
        (back.get("lock_breaker_state"), back.get(r#"lock_mode_changes_total{mode="two_layer"}"#)),
        (0.0, 1.0)
    );
    for mode in ["two_layer", "database_only"] {
        assert!(back.get(&format!("lock_mode_seconds_total{{mode=\"{mode}\"}}")) > 0.0, "{mode}");
    }
    app.finish().await;
}

#[tokio::test]
async fn without_redis_by_choice_every_lease_says_so() {
    let app = TestApp::without_redis().await;
    let variant = app.client.variant(10).await;
    app.client.decrement(variant, 1).await.expect(200);
    let scrape = Scrape::of(&app.client).await;
    assert!(scrape.get(r#"lock_database_only_total{why="not_configured"}"#) >= 1.0);
    assert_eq!(scrape.get("lock_breaker_state"), 2.0);
    assert_eq!(scrape.get(r#"lock_mode{mode="database_only",why="not_configured"}"#), 1.0);
    assert!(scrape.get(r#"lock_mode_seconds_total{mode="database_only"}"#) > 0.0);
    assert_eq!(scrape.get(r#"lock_mode_seconds_total{mode="two_layer"}"#), 0.0);
    app.finish().await;
}
