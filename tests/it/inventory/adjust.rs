//! Correcting stock by hand.

use serde_json::json;
use uuid::Uuid;

use crate::support::{Client, Reply, TestApp, at_once};

async fn adjust(client: &Client, variant: Uuid, delta: i64, change_from: Option<i64>) -> Reply {
    let body =
        json!({"delta": delta, "reason": "recount", "reference": "sheet 7", "change_from": change_from});
    client.post(&format!("/inventory/{variant}/adjust"), &body).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_correction_answers_with_its_movement_and_its_lock() {
    for (app, mode) in
        [(TestApp::start().await, "two_layer"), (TestApp::without_redis().await, "database_only")]
    {
        let id = app.client.variant(10).await;
        for (version, delta, before, after) in [(2, -10, 10, 0), (3, 1_000_000_000, 0, 1_000_000_000)] {
            let reply = adjust(&app.client, id, delta, None).await.expect(200);
            let movement = reply.json();
            assert_eq!(
                movement,
                json!({"movement_id": movement["movement_id"], "variant_id": id, "version": version,
                       "kind": "adjustment", "delta": delta, "previous_quantity": before, "new_quantity": after,
                       "reason": "recount", "reference": "sheet 7",
                       "lock": {"mode": mode, "wait_ms": movement["lock"]["wait_ms"]},
                       "created_at": movement["created_at"]})
            );
            let wait = movement["lock"]["wait_ms"].as_u64().unwrap().to_string();
            assert_eq!(
                (reply.header("lock-mode"), reply.header("lock-wait-ms")),
                (Some(mode), Some(wait.as_str()))
            );
            let timing = reply.header("server-timing").unwrap();
            assert!(timing.starts_with("lock;dur=") && timing.contains(", db;dur="), "{timing}");
        }
        app.finish().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_who_is_mistaken_about_the_stock_is_told_the_real_one() {
    let app = TestApp::start().await;
    let id = app.client.variant(10).await;
    let refused = adjust(&app.client, id, -1, Some(9)).await.expect(409);
    assert_eq!(refused.code(), "stale_quantity");
    let error = &refused.json()["errors"][0];
    assert_eq!(
        (&error["field"], &error["variant_id"], &error["actual"]),
        (&json!("change_from"), &json!(id), &json!(10))
    );
    assert_eq!(refused.header("lock-mode"), Some("two_layer"));
    adjust(&app.client, id, -10, Some(10)).await.expect(200);
    adjust(&app.client, id, 4, Some(0)).await.expect(200);
    assert_eq!(app.client.on_hand(id).await, 4);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_twenty_corrections_from_one_belief_one_is_made() {
    for app in [TestApp::start().await, TestApp::without_redis().await] {
        let id = app.client.variant(5).await;
        let replies = at_once(20, |_| {
            let client = app.client.clone();
            async move { adjust(&client, id, 1, Some(5)).await }
        })
        .await;
        let made = replies.iter().filter(|reply| reply.status == 200).count();
        let stale =
            replies.iter().filter(|reply| reply.status == 409 && reply.code() == "stale_quantity").count();
        assert_eq!((made, stale, app.client.on_hand(id).await), (1, 19, 6));
        app.finish().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_correction_below_nothing_is_refused_and_names_its_field() {
    let app = TestApp::without_redis().await;
    let id = app.client.variant(4).await;
    let refused = adjust(&app.client, id, -5, None).await.expect(409);
    let problem = refused.json();
    assert_eq!(refused.code(), "insufficient_stock");
    assert_eq!(problem["detail"], "Insufficient stock. Available: 4, Requested: 5");
    assert_eq!(
        problem["errors"],
        json!([{"field": "delta", "message": "Insufficient stock. Available: 4, Requested: 5", "variant_id": id,
                "requested": 5, "available": 4}])
    );
    assert_eq!(app.client.on_hand(id).await, 4);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stock_never_passes_its_limit() {
    let app = TestApp::without_redis().await;
    let id = app.client.variant(9_000_000_000_000).await;
    let full = adjust(&app.client, id, 1, None).await.expect(422);
    assert_eq!(
        (full.code().as_str(), &full.json()["errors"][0]["field"]),
        ("limit_exceeded", &json!("delta"))
    );
    let full =
        app.client.post(&format!("/inventory/{id}/increment"), &json!({"quantity": 1})).await.expect(422);
    assert_eq!(
        (full.code().as_str(), &full.json()["errors"][0]["field"]),
        ("limit_exceeded", &json!("quantity"))
    );
    adjust(&app.client, id, -1, None).await.expect(200);
    adjust(&app.client, id, 1, None).await.expect(200);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_corrections_get_dense_versions_and_each_starts_where_another_ended() {
    for app in [TestApp::start().await, TestApp::without_redis().await] {
        let id = app.client.variant(100).await;
        let replies = at_once(30, |runner| {
            let client = app.client.clone();
            let delta = if runner % 2 == 0 { -3 } else { 2 };
            async move { adjust(&client, id, delta, None).await.expect(200).json() }
        })
        .await;
        let number = |movement: &serde_json::Value, name: &str| movement[name].as_i64().unwrap();
        let mut movements = replies;
        movements.sort_by_key(|movement| number(movement, "version"));
        let (mut version, mut on_hand) = (1, 100);
        for movement in &movements {
            assert_eq!(
                (number(movement, "version"), number(movement, "previous_quantity")),
                (version + 1, on_hand)
            );
            (version, on_hand) = (version + 1, number(movement, "new_quantity"));
        }
        assert_eq!((on_hand, app.client.on_hand(id).await), (85, 85));
        app.finish().await;
    }
}
