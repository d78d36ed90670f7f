//! Replicas are killed under their readers, in the middle of what they sell.

use std::collections::HashSet;

use serde_json::Value;
use uuid::Uuid;

use crate::support::campaign::{amount, report};
use crate::support::{Client, Replica, Stream, TestApp, shared_redis};

/// Sells until nobody answers.
async fn sell_on(client: Client, variants: Vec<Uuid>) {
    for variant in variants.iter().cycle() {
        let sale = serde_json::json!({"quantity": 1});
        if client.try_post(&format!("/inventory/{variant}/decrement"), &sale, None).await.is_err() {
            return;
        }
    }
}

fn movement(data: &Value) -> (Uuid, i64) {
    (data["variant_id"].as_str().unwrap().parse().unwrap(), data["version"].as_i64().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_misses_nothing_and_hears_nothing_twice_however_often_its_replica_is_killed() {
    let app = TestApp::start().await;
    let variants = app.variants(4, 1_000_000).await;
    let mut last_id = Stream::open(&app.client, "").await.last_id.clone();
    let begun: i64 = last_id.parse().unwrap();
    let mut told = Vec::new();
    let kills = amount(20, 200);
    for kill in 0..kills {
        let replica = Replica::start(&app.database.url, Some(&shared_redis()), &[]).await;
        let sellers: Vec<_> =
            (0..4).map(|_| tokio::spawn(sell_on(replica.client.clone(), variants.clone()))).collect();
        let mut stream = Stream::from(&replica.client, "?types=stock.changed", Some(&last_id)).await;
        for _ in 0..20 + kill % 13 {
            told.push(stream.next().await.expect("one more event"));
        }
        replica.kill().await;
        // What had arrived by then counts.
        while let Some(event) = stream.next().await {
            told.push(event);
        }
        last_id.clone_from(&told[told.len() - 1].id);
        for seller in sellers {
            seller.await.unwrap();
        }
    }
    let committed: Vec<(Uuid, i64)> = sqlx::query_as(
        "SELECT variant_id, version FROM stock_movements WHERE position > $1 ORDER BY position",
    )
    .bind(begun)
    .fetch_all(&app.database.pool)
    .await
    .unwrap();
    let mut stream = Stream::from(&app.client, "?types=stock.changed", Some(&last_id)).await;
    while told.len() < committed.len() {
        told.push(stream.next().await.expect("one more event"));
    }
    let heard: Vec<_> = told.iter().map(|told| movement(&told.data)).collect();
    assert_eq!(heard.iter().collect::<HashSet<_>>().len(), heard.len(), "something was told twice");
    assert!(heard == committed, "what was told is not what was committed, in its order");
    report(&format!("{kills} replicas killed under their readers: {} events, each told once", heard.len()));
    drop(stream);
    app.finish().await;
}
