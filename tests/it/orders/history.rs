//! The story of an order: its key, and what came of it by whom.

use holdfast::http::auth::Scope;
use serde_json::{Value, json};

use crate::support::{Client, Sender, TestApp};

async fn history(client: &Client, order: &Value) -> Value {
    client.get(&format!("/orders/{}/history", order["order_id"].as_str().unwrap())).await.expect(200).json()
}

#[tokio::test]
async fn it_tells_the_key_the_cancellations_and_the_webhooks_of_an_order() {
    let app = TestApp::without_redis().await;
    let variant = app.client.variant(10).await;
    let order = app.client.order("ann", "key-1", &[(variant, 3)]).await.expect(201).json();
    let fresh = history(&app.client, &order).await;
    assert_eq!((&fresh["order"], &fresh["idempotency_key"]), (&order, &json!("key-1")));
    assert_eq!((&fresh["claim"]["status"], &fresh["placed_by"]), (&json!(201), &json!("admin")));
    assert_eq!((&fresh["cancellations"], &fresh["webhooks"]), (&json!([]), &json!([])));
    assert_eq!((&fresh["born_cancelled"], &fresh["hold_id"]), (&json!(null), &json!(null)));

    let path = format!("/orders/{}/cancel", order["order_id"].as_str().unwrap());
    let one =
        json!({"reason": "too many", "lines": [{"line_id": order["lines"][0]["line_id"], "quantity": 1}]});
    app.client.post(&path, &one).await.expect(200);
    let by_id = json!({"order_id": order["order_id"], "reason": "payment failed"});
    Sender::to(&app.client).cancel("msg_1", &by_id).await.expect(200);
    sqlx::query("UPDATE idempotency_keys SET first_seen = first_seen - interval '25 hours'")
        .execute(&app.database.pool)
        .await
        .unwrap();
    let told = history(&app.client, &order).await;
    let cancelled = told["cancellations"].as_array().unwrap().iter();
    let cancelled: Vec<_> =
        cancelled.map(|one| (&one["quantity"], &one["reason"], &one["cancelled_by"])).collect();
    assert_eq!(
        cancelled,
        [
            (&json!(1), &json!("too many"), &json!("admin")),
            (&json!(2), &json!("payment failed"), &json!("webhook"))
        ]
    );
    let entry = &told["webhooks"][0];
    assert_eq!((&entry["event_id"], &entry["state"]), (&json!("msg_1"), &json!("cancelled")));
    assert_eq!(entry["request_id"], told["cancellations"][1]["request_id"]);
    assert_eq!((&told["order"]["status"], &told["claim"]), (&json!("cancelled"), &json!(null)));
    app.finish().await;
}

#[tokio::test]
async fn it_tells_the_cancellation_that_came_before_and_the_hold_that_was_captured() {
    let app = TestApp::without_redis().await;
    let variant = app.client.variant(10).await;
    let early = json!({"user_id": "ann", "idempotency_key": "key-1", "reason": "payment failed"});
    Sender::to(&app.client).cancel("msg_1", &early).await.expect(200);
    let born = app.client.order("ann", "key-1", &[(variant, 3)]).await.expect(201).json();
    let told = history(&app.client, &born).await;
    assert_eq!(told["born_cancelled"]["reason"], "payment failed");
    assert_eq!((&told["order"]["status"], &told["cancellations"]), (&json!("cancelled"), &json!([])));

    let held = json!({"user_id": "bob", "lines": [{"variant_id": variant, "quantity": 1}]});
    let hold = app.client.post_keyed("/holds", &held, "hold-1").await.expect(201).json();
    let hold_id = hold["hold_id"].as_str().unwrap();
    let order = app
        .client
        .post_keyed(&format!("/holds/{hold_id}/capture"), &json!({}), "take-1")
        .await
        .expect(201)
        .json();
    assert_eq!(history(&app.client, &order).await["hold_id"], json!(hold_id));
    let nobody = app.client.get("/orders/00000000-0000-7000-8000-000000000000/history").await;
    assert_eq!(nobody.expect(404).code(), "order_not_found");
    app.finish().await;
}

#[tokio::test]
async fn who_was_told_of_an_order_by_webhook_is_told_to_operators_alone() {
    let app = TestApp::without_redis().await;
    let variant = app.client.variant(10).await;
    let ann = app.client_of("ann", &[Scope::Storefront]).await;
    let order = ann.order("ann", "key-1", &[(variant, 1)]).await.expect(201).json();
    let (mut all, hers) = (history(&app.client, &order).await, history(&ann, &order).await);
    assert_eq!(all.as_object_mut().unwrap().remove("deliveries"), Some(json!([])));
    assert_eq!(all, hers);
    app.finish().await;
}
