//! What Redis may do and no request notice, where a lock's mode or a wait would show it.

use std::time::Duration;

use holdfast::locks::LockMode;
use tokio::time::Instant;

use super::SOON;
use crate::support::campaign::{amount, report};
use crate::support::stranger::inventory_lock;
use crate::support::{Link, Private, Proxy, Shop, Stranger, TestApp, TestDatabase, eventually};

/// How long it may take from when Redis can be written until it is used, by itself, on a machine that does other work
/// besides: the campaign tells how long it was.
const RETURN_MAX: Duration = Duration::from_secs(10);
/// Between two sales in a quiet hour.
const SELDOM: Duration = Duration::from_millis(300);

#[tokio::test(flavor = "multi_thread")]
async fn however_soon_a_fault_goes_redis_is_used_again_by_itself() {
    let redis = Private::redis().await;
    let link = Proxy::before_redis(&redis.url()).await;
    let app = TestApp::with(TestDatabase::fresh().await, Some(&link.redis_url()), &[]).await;
    let variant = app.client.variant(1_000_000).await;
    let until = async |mode| {
        eventually(SOON, "the mode changes", async || {
            app.client.decrement(variant, 1).await.expect(200);
            app.app.locks.mode() == mode
        })
        .await;
    };
    for _ in 0..amount(3, 30) {
        until(LockMode::TwoLayer).await;
        link.link(Link::Reset);
        until(LockMode::DatabaseOnly).await;
        link.link(Link::Sound);
        let well_since = Instant::now();
        until(LockMode::TwoLayer).await;
        report(&format!("used again after {:.2?}", well_since.elapsed()));
        assert!(well_since.elapsed() < RETURN_MAX, "only after {:?}", well_since.elapsed());
    }
    app.finish().await;
}

#[tokio::test]
async fn a_redis_that_refuses_scripts_is_found_out_however_seldom_it_is_asked() {
    let redis = Private::redis().await;
    let app = TestApp::with(TestDatabase::fresh().await, Some(&redis.url()), &[]).await;
    let admin = Stranger::at(&redis.url()).await;
    let variant = app.client.variant(1_000_000).await;
    let _done: String = admin.ask(&["ACL", "SETUSER", "default", "-@scripting"]).await;
    for _ in 0..10 {
        let sold = app.client.decrement(variant, 1).await.expect(200);
        assert_eq!(sold.header("lock-mode"), Some("database_only"));
        tokio::time::sleep(SELDOM).await;
    }
    assert_eq!(app.app.locks.mode(), LockMode::DatabaseOnly, "no lock was given for ten sales");
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failover_to_a_redis_that_missed_the_last_releases_keeps_nobody_waiting() {
    let (old, new) = tokio::join!(Private::redis_on_tcp(), Private::redis_on_tcp());
    let (before, after) = (Stranger::at(&old.url()).await, Stranger::at(&new.url()).await);
    let shop = Shop::on(&old.url()).await;
    let port = crate::support::proxy::port_of(&old.url()).to_string();
    let _set: String = before.ask(&["CONFIG", "SET", "repl-diskless-sync-delay", "0"]).await;
    let _follows: String = after.ask(&["REPLICAOF", "127.0.0.1", &port]).await;
    eventually(SOON, "it follows", async || {
        after.ask::<String>(&["INFO", "replication"]).await.contains("master_link_status:up")
    })
    .await;
    let section = shop.section(&before).await;
    eventually(SOON, "the lock is copied", async || after.holder(&section.key).await.is_some()).await;
    // It hears no more from here on: what is released now it takes to be held, by replicas that live.
    let _promoted: String = after.ask(&["REPLICAOF", "NO", "ONE"]).await;
    section.row.let_go().await;
    section.sale.await.unwrap().expect(200);
    assert_eq!(before.holder(&section.key).await, None);

    let mut outage = shop.outage("failed over to one that lags").with_long_lines();
    for link in &shop.links {
        link.lead_to(&new.url());
    }
    let sold = shop.peers[0].client.decrement(section.variant, 1).await;
    assert_eq!(sold.status, 200, "{sold:?}");
    outage
        .lasts_until("the other one is asked", async |_| {
            after.info("commandstats", "cmdstat_evalsha:calls=").await > 0
        })
        .await;
    outage.ends().await;
    shop.close().await;
}

#[tokio::test]
async fn a_take_that_arrives_after_it_was_given_up_and_swept_locks_nobody_out() {
    let redis = Private::redis().await;
    let (link, admin) = (Proxy::before_redis(&redis.url()).await, Stranger::at(&redis.url()).await);
    let app = TestApp::with(TestDatabase::fresh().await, Some(&link.redis_url()), &[]).await;
    let variant = app.client.variant(1_000_000).await;
    app.client.decrement(variant, 1).await.expect(200);
    // The take waits on its way, and so does all that shares a connection with one.
    link.link(Link::StalledSoFar);
    let sold = app.client.decrement(variant, 1).await.expect(200);
    assert_eq!(sold.header("lock-mode"), Some("database_only"));
    eventually(SOON, "locks are had over new connections", async || {
        let sold = app.client.decrement(variant, 1).await.expect(200);
        app.app.locks.mode() == LockMode::TwoLayer && sold.header("lock-mode") == Some("two_layer")
    })
    .await;
    link.link(Link::Sound);
    let key = inventory_lock(variant);
    let arrived = Instant::now();
    eventually(SOON, "what was held up has arrived", async || {
        admin.holder(&key).await.is_some() || arrived.elapsed() > Duration::from_millis(500)
    })
    .await;
    let sold = app.client.decrement(variant, 1).await;
    assert_eq!(sold.status, 200, "a lock that nobody owns: {sold:?}");
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_whose_delays_change_from_one_piece_to_the_next_fails_no_request() {
    let redis = Private::redis().await;
    let shop = Shop::on(&redis.url()).await;
    for _ in 0..amount(3, 60) {
        let mut outage = shop.outage("up to 400 ms each way").with_long_lines();
        shop.link(Link::Slow(0, 400));
        outage.is_noticed().await;
        shop.link(Link::Sound);
        outage.ends().await;
    }
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_locks_come_back_to_a_redis_that_is_slow_but_fast_enough_to_be_used() {
    let redis = Private::redis().await;
    let shop = Shop::on(&redis.url()).await;
    for _ in 0..amount(1, 10) {
        let mut outage = shop.outage("silent, then 30 ms each way").with_long_lines();
        shop.link(Link::BlackHole);
        outage.is_noticed().await;
        shop.link(Link::Slow(30, 30));
        shop.crowd.begin_tally();
        outage
            .lasts_until("all replicas answer under both layers", async |_| {
                shop.modes() == [LockMode::TwoLayer; 3]
                    && shop.crowd.tally().two_layer.iter().all(|answers| *answers > 0)
            })
            .await;
        shop.link(Link::Sound);
        outage.ends().await;
    }
    shop.close().await;
}
