//! Making an order of a hold.

use hyper::Method;
use serde_json::json;

use super::{held, hold, lapse, level, resolve};
use crate::support::{Sender, TestApp, at_once, unique};

#[tokio::test(flavor = "multi_thread")]
async fn a_captured_hold_is_an_order_at_the_prices_of_the_hold() {
    for app in [TestApp::start().await, TestApp::without_redis().await] {
        let (a, b) = (app.client.variant(5).await, app.client.variant(3).await);
        let hold = held(&app, &[(a, 2), (b, 3)]).await;
        sqlx::query("UPDATE variants SET price = 99").execute(&app.database.pool).await.unwrap();
        let reply =
            resolve(&app.client, &hold, "capture", &json!({"metadata": {"paid": "p-1"}})).await.expect(201);
        let order = reply.json();
        assert_eq!(
            [&order["status"], &order["user_id"], &order["total"], &order["metadata"]["paid"]],
            [&json!("placed"), &json!("ann"), &json!("62.50"), &json!("p-1")]
        );
        assert_eq!((level(&app.client, a).await, level(&app.client, b).await), ([3, 0, 3], [0, 0, 0]));
        let sold =
            app.client.get(&format!("/inventory/{a}/movements?limit=1")).await.json()["items"][0].clone();
        assert_eq!(
            (&sold["kind"], &sold["delta"], &sold["reference"]),
            (&json!("sale"), &json!(-2), &order["order_id"])
        );
        let now = app.client.get(&format!("/holds/{}", hold["hold_id"].as_str().unwrap())).await.json();
        assert_eq!((&now["state"], &now["order_id"]), (&json!("captured"), &order["order_id"]));
        app.finish().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_captured_is_available_again_and_more_than_held_is_refused() {
    let app = TestApp::start().await;
    let (a, b) = (app.client.variant(5).await, app.client.variant(3).await);
    let hold = held(&app, &[(a, 4), (b, 3)]).await;
    let of = |line: usize, units: i64| json!({"line_id": hold["lines"][line]["line_id"], "quantity": units});
    let more = resolve(&app.client, &hold, "capture", &json!({"lines": [of(0, 3), of(0, 2)]})).await;
    assert_eq!((more.status.as_u16(), more.code().as_str()), (409, "capture_exceeds_held"));
    let strange = json!({"lines": [{"line_id": hold["hold_id"], "quantity": 1}]});
    assert_eq!(resolve(&app.client, &hold, "capture", &strange).await.status, 422);
    let order =
        resolve(&app.client, &hold, "capture", &json!({"lines": [of(0, 3)]})).await.expect(201).json();
    assert_eq!((order["lines"].as_array().unwrap().len(), &order["total"]), (1, &json!("37.50")));
    assert_eq!((level(&app.client, a).await, level(&app.client, b).await), ([2, 0, 2], [3, 0, 3]));
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hold_is_resolved_once_and_the_second_is_told_how_it_ended() {
    let app = TestApp::start().await;
    let variant = app.client.variant(50).await;
    for (first, code) in
        [("capture", "hold_captured"), ("release", "hold_released"), ("lapse", "hold_expired")]
    {
        let hold = held(&app, &[(variant, 1)]).await;
        match first {
            "lapse" => lapse(&app, &hold).await,
            verb => assert!(resolve(&app.client, &hold, verb, &json!({})).await.status.is_success()),
        }
        let before = level(&app.client, variant).await;
        for (second, body) in
            [("capture", json!({})), ("release", json!({})), ("extend", json!({"ttl_seconds": 60}))]
        {
            let told = resolve(&app.client, &hold, second, &body).await;
            assert_eq!((told.status.as_u16(), told.code().as_str()), (409, code), "{first}, then {second}");
        }
        assert_eq!(level(&app.client, variant).await, before);
    }
    let nobody = json!({"hold_id": "00000000-0000-7000-8000-000000000000"});
    let unknown = resolve(&app.client, &nobody, "capture", &json!({})).await;
    assert_eq!((unknown.status.as_u16(), unknown.code().as_str()), (404, "hold_not_found"));
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_key_captures_once_and_is_the_orders_for_ever() {
    let app = TestApp::start().await;
    let variant = app.client.variant(5).await;
    let hold = held(&app, &[(variant, 2)]).await;
    let (path, key) = (format!("/holds/{}/capture", hold["hold_id"].as_str().unwrap()), unique("capture"));
    assert_eq!(app.client.post(&path, &json!({})).await.code(), "idempotency_key_missing");
    let replies = at_once(8, |n| {
        let (client, path, key) = (app.client.clone(), path.clone(), key.clone());
        async move {
            // No body is an empty one.
            let whole = format!("/api/v1{path}");
            let reply = match n % 2 {
                0 => client.post_keyed(&path, &json!({}), &key).await,
                _ => client.send(Method::POST, &whole, &[("idempotency-key", &key)], "").await.unwrap(),
            };
            reply.expect(201)
        }
    })
    .await;
    assert!(replies.iter().all(|reply| reply.bytes == replies[0].bytes));
    app.age_answers().await;
    let late = app.client.post_keyed(&path, &json!({}), &key).await.expect(200);
    assert!(late.was_replayed());
    assert_eq!(late.json()["order_id"], replies[0].json()["order_id"]);
    assert_eq!(app.client.order("ann", &key, &[(variant, 1)]).await.code(), "idempotency_key_reused");
    assert_eq!((level(&app.client, variant).await, app.count("orders").await), ([3, 0, 3], 1));
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_correction_below_what_is_held_whoever_captures_first_has_what_there_is() {
    let app = TestApp::start().await;
    let variant = app.client.variant(10).await;
    let (first, second) = (held(&app, &[(variant, 5)]).await, held(&app, &[(variant, 5)]).await);
    let broken = json!({"delta": -4, "reason": "broken"});
    app.client.post(&format!("/inventory/{variant}/adjust"), &broken).await.expect(200);
    assert_eq!(level(&app.client, variant).await, [6, 10, 0]);
    resolve(&app.client, &first, "capture", &json!({})).await.expect(201);
    assert_eq!(resolve(&app.client, &second, "capture", &json!({})).await.code(), "insufficient_stock");
    let left = json!({"lines": [{"line_id": second["lines"][0]["line_id"], "quantity": 1}]});
    resolve(&app.client, &second, "capture", &left).await.expect(201);
    assert_eq!(level(&app.client, variant).await, [0, 0, 0]);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_correction_below_what_is_held_leaves_none_available_and_the_capture_short() {
    let app = TestApp::start().await;
    let variant = app.client.variant(5).await;
    let hold = hold(&app.client, "ann", &[(variant, 4)]).await.expect(201).json();
    let broken = json!({"delta": -3, "reason": "broken"});
    app.client.post(&format!("/inventory/{variant}/adjust"), &broken).await.expect(200);
    assert_eq!(level(&app.client, variant).await, [2, 4, 0]);
    assert_eq!(resolve(&app.client, &hold, "capture", &json!({})).await.code(), "insufficient_stock");
    let some = json!({"lines": [{"line_id": hold["lines"][0]["line_id"], "quantity": 2}]});
    resolve(&app.client, &hold, "capture", &some).await.expect(201);
    assert_eq!(level(&app.client, variant).await, [0, 0, 0]);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_capture_whose_cancellation_came_first_is_born_cancelled_and_leaves_all_stock_available() {
    for app in [TestApp::start().await, TestApp::without_redis().await] {
        let variant = app.client.variant(5).await;
        let (hold, key) = (held(&app, &[(variant, 2)]).await, unique("capture"));
        let path = format!("/holds/{}/capture", hold["hold_id"].as_str().unwrap());
        let cancelled = json!({"user_id": "ann", "idempotency_key": key});
        let told = Sender::to(&app.client).cancel("early", &cancelled).await.expect(200).json();
        assert_eq!(told["result"], "waiting_for_order");
        let born = app.client.post_keyed(&path, &json!({}), &key).await.expect(201).json();
        assert_eq!(born["status"], "cancelled");
        let order = format!("/orders/{}", born["order_id"].as_str().unwrap());
        assert_eq!(app.client.get(&order).await.json()["status"], "cancelled");
        assert_eq!(level(&app.client, variant).await, [5, 0, 5]);
        app.finish().await;
    }
}
