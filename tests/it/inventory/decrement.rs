//! Selling stock, one call at a time and all at once.

use std::sync::Arc;

use futures_util::future::join_all;
use serde_json::json;
use tokio::sync::Barrier;

use crate::support::{TestApp, at_once};

#[tokio::test(flavor = "multi_thread")]
async fn the_last_unit_is_sold_exactly_once_with_redis_and_without() {
    for app in [TestApp::start().await, TestApp::without_redis().await] {
        let variant = app.client.variant(1).await;
        let start = Arc::new(Barrier::new(20));
        let buyers = (0..20).map(|_| {
            let (client, start) = (app.client.clone(), start.clone());
            tokio::spawn(async move {
                start.wait().await;
                client.decrement(variant, 1).await
            })
        });
        let replies: Vec<_> = join_all(buyers).await.into_iter().map(Result::unwrap).collect();
        let sold = replies.iter().filter(|reply| reply.status == 200).count();
        let refused = replies.iter().filter(|reply| reply.code() == "insufficient_stock").count();
        assert_eq!((sold, refused), (1, 19));
        assert_eq!(app.client.on_hand(variant).await, 0);
        app.finish().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sale_answers_with_its_movement() {
    for (app, mode) in
        [(TestApp::start().await, "two_layer"), (TestApp::without_redis().await, "database_only")]
    {
        let id = app.client.variant(10).await;
        let body = json!({"quantity": 4, "reason": "till 2", "reference": "R-17"});
        let reply = app.client.post(&format!("/inventory/{id}/decrement"), &body).await.expect(200);
        let movement = reply.json();
        assert_eq!(
            movement,
            json!({"movement_id": movement["movement_id"], "variant_id": id, "version": 2, "kind": "sale", "delta": -4,
                   "previous_quantity": 10, "new_quantity": 6, "reason": "till 2", "reference": "R-17",
                   "lock": {"mode": mode, "wait_ms": movement["lock"]["wait_ms"]},
                   "created_at": movement["created_at"]})
        );
        assert_eq!(reply.header("lock-mode"), Some(mode));
        assert_eq!(reply.header("content-type"), Some("application/json"));
        app.finish().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sale_of_more_than_there_is_says_how_many_there_are_and_takes_none() {
    let app = TestApp::start().await;
    let id = app.client.variant(4).await;
    let refused = app.client.decrement(id, 5).await.expect(409);
    let problem = refused.json();
    assert_eq!(refused.header("content-type"), Some("application/problem+json"));
    assert_eq!((refused.code().as_str(), &problem["status"]), ("insufficient_stock", &json!(409)));
    assert_eq!(problem["detail"], "Insufficient stock. Available: 4, Requested: 5");
    assert_eq!(
        problem["errors"],
        json!([{"field": "quantity", "message": "Insufficient stock. Available: 4, Requested: 5", "variant_id": id,
                "requested": 5, "available": 4}])
    );
    assert_eq!(refused.header("lock-mode"), Some("two_layer"));
    app.client.decrement(id, 4).await.expect(200);
    assert_eq!(app.client.decrement(id, 1).await.expect(409).code(), "insufficient_stock");
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crowd_that_wants_more_than_there_is_gets_all_of_it_and_no_more() {
    for app in [TestApp::start().await, TestApp::without_redis().await] {
        let id = app.client.variant(50).await;
        let replies = at_once(60, |runner| {
            let client = app.client.clone();
            async move { client.decrement(id, 1 + runner as i64 % 3).await }
        })
        .await;
        let sold: i64 = replies
            .iter()
            .filter(|reply| reply.status == 200)
            .map(|reply| -reply.json()["delta"].as_i64().unwrap())
            .sum();
        let left = app.client.on_hand(id).await;
        assert_eq!(sold + left, 50);
        assert!(left < 3, "a buyer who could be served was refused");
        app.finish().await;
    }
}
