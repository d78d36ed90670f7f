//! Replicas that stop, die, or see another Redis than the others do.

use std::time::Duration;

use nix::sys::signal::Signal;
use tokio::time::Instant;

use super::SOON;
use crate::support::campaign::{amount, report};
use crate::support::client::order_body;
use crate::support::shop::{sell, until_nothing_is_left};
use crate::support::stranger::{inventory_lock, order_lock};
use crate::support::{
    Crowd, HeldRow, Link, Peer, Private, Replica, Shop, Stranger, TestApp, TestDatabase, eventually, unique,
};

/// A tenth of the TTL that a lock has by default. Two seconds are promised, on a machine that has time for it.
const TAKEN_OVER: Duration = Duration::from_secs(5);

#[tokio::test(flavor = "multi_thread")]
async fn replicas_with_redis_without_it_and_with_one_that_comes_and_goes_sell_as_one() {
    let redis = Private::redis().await;
    let shop = Shop::on(&redis.url()).await;
    for fault in [Link::Refused, Link::BlackHole] {
        let mut outage =
            shop.outage(format!("{fault:?} for one, now and then for another")).with_long_lines();
        shop.links[1].link(fault);
        for _ in 0..amount(3, 60) {
            for link in [fault, Link::Sound] {
                shop.links[2].link(link);
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
        }
        outage
            .lasts_until("they disagree", async |_| {
                let heard = shop.crowd.tally();
                heard.database_only > 0 && heard.two_layer[0] > 0
            })
            .await;
        shop.link(Link::Sound);
        outage.ends().await;
    }
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_stopped_in_mid_section_is_taken_over_and_wakes_to_no_harm() {
    let redis = Private::redis().await;
    let app = TestApp::with(TestDatabase::fresh().await, Some(&redis.url()), &[]).await;
    let peer = Peer::start(&app.database.url, Some(&redis.url()), &[]).await;
    let replica = Replica::start(&app.database.url, Some(&redis.url()), &[]).await;
    let stranger = Stranger::at(&redis.url()).await;
    let crowd = Crowd::gather(&[&app.client, &peer.client, &replica.client]).await;
    for _ in 0..amount(1, 20) {
        crowd.changes(30).await;
        let (one, two) = (app.client.variant(10).await, app.client.variant(10).await);
        let (shared, further) = (one.min(two), one.max(two));
        let rows = (HeldRow::of(&app.database, shared).await, HeldRow::of(&app.database, further).await);
        let key = inventory_lock(shared);
        let sale = sell(&replica.client, shared);
        rows.0.until_wanted_by(1, &app.database.pool).await;
        let stopped_one = stranger.holder(&key).await.unwrap();

        replica.signal(Signal::SIGSTOP);
        let stopped = Instant::now();
        let (client, lines) = (peer.client.clone(), [(shared, 1), (further, 1)]);
        let order = tokio::spawn(async move { client.order("ann", &unique("key"), &lines).await });
        eventually(SOON, "the stopped one's key is taken over", async || {
            stranger.holder(&key).await.is_some_and(|token| token != stopped_one)
        })
        .await;
        report(&format!("stopped in mid-section, and taken over after {:.2?}", stopped.elapsed()));
        assert!(stopped.elapsed() < TAKEN_OVER, "only after {:?}", stopped.elapsed());
        let new_one = stranger.holder(&key).await;

        // Its session gets the row meanwhile; it commits when it wakes, and the other then stands at the next row.
        rows.0.until_wanted_by(2, &app.database.pool).await;
        rows.0.let_go().await;
        replica.signal(Signal::SIGCONT);
        sale.await.unwrap().expect(200);
        rows.1.until_wanted_by(1, &app.database.pool).await;
        assert_eq!(stranger.holder(&key).await, new_one, "whoever wakes deletes nobody's key");
        rows.1.let_go().await;
        order.await.unwrap().expect(201);
        assert_eq!(app.client.on_hand(shared).await, 8);
    }
    crowd.settle(&app.client, &app.database.pool).await;
    assert!(replica.terminate().await);
    peer.finish().await;
    until_nothing_is_left(&stranger).await;
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_killed_in_mid_section_leaves_keys_that_others_soon_use() {
    let redis = Private::redis().await;
    let app = TestApp::with(TestDatabase::fresh().await, Some(&redis.url()), &[]).await;
    let stranger = Stranger::at(&redis.url()).await;
    let crowd = Crowd::gather(&[&app.client]).await;
    for _ in 0..amount(1, 20) {
        let replica = Replica::start(&app.database.url, Some(&redis.url()), &[]).await;
        let variant = app.client.variant(10).await;
        let row = HeldRow::of(&app.database, variant).await;
        let (client, key) = (replica.client.clone(), unique("key"));
        let retried = (key.clone(), [(variant, 1)]);
        let order = tokio::spawn(async move {
            client.try_post("/orders", &order_body("ann", &[(variant, 1)]), Some(&key)).await
        });
        row.until_wanted_by(1, &app.database.pool).await;
        replica.kill().await;
        let killed = Instant::now();
        assert!(order.await.unwrap().is_err(), "the dead don't answer");
        row.let_go().await;
        for key in [inventory_lock(variant), order_lock("ann", &retried.0)] {
            assert!(stranger.holder(&key).await.is_some(), "nobody released {key}");
        }
        let placed = app.client.order("ann", &retried.0, &retried.1).await.expect(201);
        report(&format!("killed in mid-section, and its keys used after {:.2?}", killed.elapsed()));
        assert!(killed.elapsed() < TAKEN_OVER, "only after {:?}", killed.elapsed());
        assert_eq!(placed.header("lock-mode"), Some("two_layer"));
        assert_eq!(app.client.on_hand(variant).await, 9);
    }
    crowd.settle(&app.client, &app.database.pool).await;
    until_nothing_is_left(&stranger).await;
    app.finish().await;
}
