//! The deadlock: two orders over the same variants, named in opposite order, on replicas without a common Redis.
//!
//! Rows locked in the order of the request would have each wait for what the other has. Seen by holding one row:
//! a request that waits there must have everything before it in lock order and nothing after it.

use std::sync::Arc;

use futures_util::future::join_all;
use sqlx::Connection;
use tokio::sync::Barrier;
use uuid::Uuid;

use crate::support::row::until_at_a_row;
use crate::support::{HeldRow, Peer, TestApp, unique};

const VARIANTS: usize = 12;

async fn shelf(app: &TestApp) -> Vec<Uuid> {
    let mut variants = Vec::new();
    for _ in 0..VARIANTS {
        variants.push(app.client.variant(1_000).await);
    }
    variants.sort();
    variants
}

/// Those of `variants` whose row nobody has locked.
async fn free(app: &TestApp, variants: &[Uuid]) -> Vec<Uuid> {
    let mut conn = sqlx::PgConnection::connect(&app.database.url).await.unwrap();
    let free = sqlx::query_scalar(
        "SELECT variant_id FROM stock WHERE variant_id = ANY($1) ORDER BY variant_id FOR UPDATE SKIP LOCKED",
    )
    .bind(variants)
    .fetch_all(&mut conn)
    .await
    .unwrap();
    conn.close().await.unwrap();
    free
}

#[tokio::test]
async fn rows_are_locked_in_the_order_of_their_ids_whatever_order_the_request_names_them_in() {
    let app = TestApp::without_redis().await;
    let variants = shelf(&app).await;
    let backwards: Vec<_> = variants.iter().rev().copied().collect();
    for held in [0, VARIANTS / 2, VARIANTS - 1] {
        for (named, as_batch) in [(&variants, false), (&backwards, false), (&backwards, true)] {
            let row = HeldRow::of(&app.database, variants[held]).await;
            let (client, lines) = (app.client.clone(), named.iter().map(|id| (*id, 1)).collect::<Vec<_>>());
            let request = tokio::spawn(async move {
                if as_batch {
                    let operations: Vec<_> = lines
                        .iter()
                        .map(
                            |(id, n)| serde_json::json!({"op": "decrement", "variant_id": id, "quantity": n}),
                        )
                        .collect();
                    let body = serde_json::json!({"mode": "atomic", "operations": operations});
                    client.post("/inventory/batch", &body).await.expect(200)
                } else {
                    client.order(&unique("user"), "key", &lines).await.expect(201)
                }
            });
            until_at_a_row(&app.database.pool, 1).await;
            assert_eq!(free(&app, &variants).await, variants[held + 1..], "held at row {held}");
            row.let_go().await;
            request.await.unwrap();
        }
    }
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_in_opposite_directions_on_replicas_without_redis_all_go_through_without_a_deadlock() {
    let app = TestApp::without_redis().await;
    let peer = Peer::start(&app.database.url, None, &[]).await;
    let variants = shelf(&app).await;
    let start = Arc::new(Barrier::new(8));
    let buyers = (0..8).map(|n| {
        let (client, start) = (if n % 2 == 0 { &app.client } else { &peer.client }.clone(), start.clone());
        let mut lines: Vec<_> = variants.iter().map(|variant| (*variant, 1)).collect();
        if n % 2 == 0 {
            lines.reverse();
        }
        tokio::spawn(async move {
            start.wait().await;
            for round in 0..10 {
                client.order(&format!("user-{n}"), &format!("key-{round}"), &lines).await.expect(201);
            }
        })
    });
    for buyer in join_all(buyers).await {
        buyer.unwrap();
    }
    for variant in variants {
        assert_eq!(app.client.on_hand(variant).await, 1_000 - 80);
    }
    peer.finish().await;
    app.finish().await;
}
