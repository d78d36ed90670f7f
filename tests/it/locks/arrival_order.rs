//! The race of replicas for one busy variant.
//!
//! Without a line that all replicas share, whoever polls luckiest goes next, and a replica can starve.

use serde_json::json;

use super::SOON;
use crate::support::stranger::inventory_lock;
use crate::support::{HeldRow, Peer, Stranger, TestApp, TestDatabase, eventually, shared_redis};

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
async fn who_came_first_is_served_first_whichever_replica_it_came_to() {
    // Longer than a request waits, so that nobody is served because of it.
    let no_poll = [("HOLDFAST_LOCK_RETRY_MS", "10000")];
    let app = TestApp::with(TestDatabase::fresh().await, Some(&shared_redis()), &no_poll).await;
    let peer = Peer::start(&app.database.url, Some(&shared_redis()), &no_poll).await;
    let variant = app.client.variant(1_000).await;
    // A crowd at one replica, of whose head alone Redis knows; then this and that.
    for order in ["aaaaaaaaaaaab", "abbabaaabbbab"] {
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
            served.push(sale.await.unwrap());
        }
        assert!(served.is_sorted(), "served out of turn: {served:?}");
    }
    peer.finish().await;
    app.finish().await;
}
