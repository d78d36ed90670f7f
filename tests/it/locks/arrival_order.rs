//! The race of replicas for one busy variant.
//!
//! Without a line that all replicas share, whoever polls luckiest goes next, and a replica can starve.

use serde_json::json;

use super::SOON;
use crate::support::row::until_at_a_row;
use crate::support::stranger::inventory_lock;
use crate::support::{HeldRow, Link, Peer, Proxy, Stranger, TestApp, TestDatabase, eventually, shared_redis};

#[tokio::test]
async fn replicas_are_served_in_the_order_in_which_they_came() {
    let app = TestApp::start().await;
    let redis = Stranger::at(&shared_redis()).await;
    let mut peers = Vec::new();
    for _ in 0..5 {
        peers.push(Peer::start(&app.database.url, Some(&shared_redis()), &[]).await);
    }
    let variant = app.client.variant(100).await;
    let key = inventory_lock(variant);
    for round in 0..2 {
        assert!(redis.take(&key, "a stranger").await);
        let mut sales = Vec::new();
        for (n, peer) in peers.iter().enumerate() {
            let client = peer.client.clone();
            let body = json!({"quantity": 1, "reference": format!("{round}-{n}")});
            sales.push(tokio::spawn(async move {
                client.post(&format!("/inventory/{variant}/decrement"), &body).await.expect(200)
            }));
            eventually(SOON, "it stands in line", async || redis.line(&key).await.len() == n + 1).await;
        }
        redis.delete(&key).await;
        let mut served = Vec::new();
        for sale in sales {
            served.push(sale.await.unwrap().json()["version"].as_i64().unwrap());
        }
        assert!(served.is_sorted(), "served out of turn: {served:?}");
    }
    for peer in peers {
        peer.finish().await;
    }
    app.finish().await;
}

#[tokio::test]
async fn the_replica_whose_crowd_began_first_is_served_first_and_every_crowd_in_its_own_order() {
    // Longer than a request waits, so that nobody is served because of it.
    let no_poll = [("HOLDFAST_LOCK_RETRY_MS", "10000")];
    let app = TestApp::with(TestDatabase::fresh().await, Some(&shared_redis()), &no_poll).await;
    let peer = Peer::start(&app.database.url, Some(&shared_redis()), &no_poll).await;
    let variant = app.client.variant(1_000).await;
    // The opening stock is movement 1.
    let mut opened = 1;
    // A crowd at one replica, of whose head alone Redis knows; then this and that. Behind the first, those of one
    // replica share a section, whose place is that of the first of them.
    for (order, served_as) in [
        ("aaaaaaaaaaaab", [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13]),
        ("abbabaaabbbab", [1, 2, 3, 9, 4, 10, 11, 12, 5, 6, 7, 13, 8]),
    ] {
        let row = HeldRow::of(&app.database, variant).await;
        let mut sales = Vec::new();
        for (arrived, replica) in (1..).zip(order.chars()) {
            let client = if replica == 'a' { app.client.clone() } else { peer.client.clone() };
            sales.push(tokio::spawn(async move {
                client.decrement(variant, 1).await.expect(200).json()["version"].as_i64().unwrap()
            }));
            eventually(SOON, "it has arrived", async || {
                app.app.locks.in_line(variant) + peer.app.locks.in_line(variant) == arrived
            })
            .await;
        }
        row.let_go().await;
        let mut served = Vec::new();
        for sale in sales {
            served.push(sale.await.unwrap() - opened);
        }
        assert_eq!(served, served_as, "served out of turn");
        opened += 13;
    }
    peer.finish().await;
    app.finish().await;
}

#[tokio::test]
async fn nobody_is_overtaken_because_its_replica_is_further_from_redis() {
    let way = Proxy::before_redis(&shared_redis()).await;
    let app = TestApp::with(TestDatabase::fresh().await, Some(&way.redis_url()), &[]).await;
    let near = Peer::start(&app.database.url, Some(&shared_redis()), &[]).await;
    let (variant, redis) = (app.client.variant(100).await, Stranger::at(&shared_redis()).await);
    app.client.decrement(variant, 1).await.expect(200);
    way.link(Link::Slow(15, 15));
    let row = HeldRow::of(&app.database, variant).await;
    let first = app.client.clone();
    let first = tokio::spawn(async move { first.decrement(variant, 1).await });
    until_at_a_row(&app.database.pool, 1).await;
    let mut sales = vec![first];
    for n in 2..=4 {
        let client = app.client.clone();
        sales.push(tokio::spawn(async move { client.decrement(variant, 1).await }));
        eventually(SOON, "it has arrived", async || app.app.locks.in_line(variant) == n).await;
    }
    // Arrivals are told over that way, so by as much as it takes they are not told apart.
    let arrived = tokio::time::Instant::now();
    eventually(SOON, "longer than the way takes", async || arrived.elapsed().as_millis() > 100).await;
    let client = near.client.clone();
    sales.push(tokio::spawn(async move { client.decrement(variant, 1).await }));
    let key = inventory_lock(variant);
    eventually(SOON, "the last stands in line", async || redis.line(&key).await.len() == 1).await;
    // A release is heard by the near one long before the next of the far ones can ask.
    row.let_go().await;
    let mut served = Vec::new();
    for sale in sales {
        served.push(sale.await.unwrap().expect(200).json()["version"].as_i64().unwrap());
    }
    assert!(served.is_sorted(), "served out of turn: {served:?}");
    way.link(Link::Sound);
    near.finish().await;
    app.finish().await;
}
