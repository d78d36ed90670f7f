//! The race between replicas that disagree about Redis: one uses it, one has none, and what it holds is thrown
//! away while they work.
//!
//! If safety rested on the Redis lock, the replica without it would write into the other's sections.

use std::sync::Arc;

use serde_json::json;
use tokio::sync::Barrier;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::support::{Client, History, Peer, Private, Stranger, TestApp, TestDatabase};

const VARIANTS: usize = 5;
const CLIENTS: usize = 12;
const ROUNDS: usize = 40;
const ON_HAND: i64 = 60;

/// Sells and returns at random, and sells more than there is.
async fn trade(client: Client, variants: Arc<Vec<Uuid>>, history: History, start: Arc<Barrier>) -> i64 {
    start.wait().await;
    let mut net = 0;
    for _ in 0..ROUNDS {
        let variant = variants[usize::from(holdfast::ids::random_byte()) % variants.len()];
        let quantity = 1 + i64::from(holdfast::ids::random_byte() % 4);
        let (verb, sign) =
            if holdfast::ids::random_byte() < 80 { ("increment", 1) } else { ("decrement", -1) };
        let path = format!("/inventory/{variant}/{verb}");
        let body = json!({"quantity": quantity});
        let reply = history.watch(client.post(&path, &body)).await;
        match reply.status.as_u16() {
            200 => net += sign * quantity,
            409 => assert_eq!(reply.code(), "insufficient_stock"),
            _ => panic!("{reply:?}"),
        }
    }
    net
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_with_redis_without_it_and_with_a_forgetful_one_sell_as_one() {
    let redis = Private::redis().await;
    let app = TestApp::with(TestDatabase::fresh().await, Some(&redis.url()), &[]).await;
    let other = Peer::start(&app.database.url, Some(&redis.url()), &[]).await;
    let without = Peer::start(&app.database.url, None, &[]).await;
    let stranger = Stranger::at(&redis.url()).await;
    let mut variants = Vec::new();
    for _ in 0..VARIANTS {
        variants.push(app.client.variant(ON_HAND).await);
    }
    let (variants, history) = (Arc::new(variants), History::default());
    let start = Arc::new(Barrier::new(CLIENTS));
    let traders: Vec<_> = [&app.client, &other.client, &without.client]
        .into_iter()
        .cycle()
        .take(CLIENTS)
        .map(|client| tokio::spawn(trade(client.clone(), variants.clone(), history.clone(), start.clone())))
        .collect();
    let over = CancellationToken::new();
    let forgetting = tokio::spawn(over.clone().run_until_cancelled_owned(async move {
        loop {
            let _gone: String = stranger.ask(&["FLUSHALL"]).await;
            tokio::time::sleep(std::time::Duration::from_millis(3)).await;
        }
    }));
    let mut net = 0;
    for trader in traders {
        net += trader.await.unwrap();
    }
    over.cancel();
    forgetting.await.unwrap();

    let mut left = 0;
    for variant in variants.iter() {
        left += app.client.on_hand(*variant).await;
    }
    assert_eq!(left, VARIANTS as i64 * ON_HAND + net);
    assert!(history.check() > CLIENTS * ROUNDS / 4, "too few changes to prove anything");
    other.finish().await;
    without.finish().await;
    app.finish().await;
}
