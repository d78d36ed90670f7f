//! The race of replicas for one busy variant.
//!
//! Without a line that all replicas share, whoever polls luckiest goes next, and a replica can starve.

use serde_json::json;

use super::SOON;
use crate::support::stranger::inventory_lock;
use crate::support::{Peer, Stranger, TestApp, eventually, shared_redis};

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
async fn a_replica_with_a_crowd_lets_another_replicas_single_request_in_between() {
    let app = TestApp::start().await;
    let peer = Peer::start(&app.database.url, Some(&shared_redis()), &[]).await;
    let redis = Stranger::at(&shared_redis()).await;
    let variant = app.client.variant(100).await;
    let key = inventory_lock(variant);
    assert!(redis.take(&key, "a stranger").await);
    let crowd: Vec<_> = (0..20)
        .map(|_| {
            let client = app.client.clone();
            tokio::spawn(async move { client.decrement(variant, 1).await.expect(200) })
        })
        .collect();
    eventually(SOON, "one of the crowd stands in line for it", async || redis.line(&key).await.len() == 1)
        .await;
    let client = peer.client.clone();
    let single = tokio::spawn(async move { client.decrement(variant, 1).await.expect(200) });
    eventually(SOON, "the single one stands behind it", async || redis.line(&key).await.len() == 2).await;
    redis.delete(&key).await;
    let version = single.await.unwrap().json()["version"].as_i64().unwrap();
    assert!(version <= 12, "the single request was served after {} of the crowd", version - 2);
    for sale in crowd {
        sale.await.unwrap();
    }
    peer.finish().await;
    app.finish().await;
}
