//! Events are written beside what they tell of, in its transaction.

use serde_json::{Value, json};
use uuid::Uuid;

use super::appended;
use crate::support::{Peer, TestApp, at_once, unique};

async fn held(app: &TestApp, variant: Uuid, units: i64) -> Value {
    let body =
        json!({"user_id": "ann", "lines": [{"variant_id": variant, "quantity": units}], "ttl_seconds": 60});
    app.client.post_keyed("/holds", &body, &unique("hold")).await.expect(201).json()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_becomes_of_orders_and_holds_is_told_as_it_was_answered() {
    for app in [TestApp::start().await, TestApp::without_redis().await] {
        let variant = app.client.variant(100).await;
        let order = app.client.order("ann", &unique("key"), &[(variant, 3)]).await.expect(201).json();
        let cancel = format!("/orders/{}/cancel", order["order_id"].as_str().unwrap());
        let line = &order["lines"][0]["line_id"];
        let part = json!({"lines": [{"line_id": line, "quantity": 1}]});
        let partly = app.client.post(&cancel, &part).await.expect(200).json();
        let wholly = app.client.post(&cancel, &json!({})).await.expect(200).json();
        app.client.post(&cancel, &json!({})).await.expect(200);

        let (one, other) = (held(&app, variant, 2).await, held(&app, variant, 1).await);
        let path = |hold: &Value, verb: &str| format!("/holds/{}/{verb}", hold["hold_id"].as_str().unwrap());
        let extended =
            app.client.post(&path(&one, "extend"), &json!({"ttl_seconds": 600})).await.expect(200).json();
        let released = app.client.post(&path(&one, "release"), &json!({})).await.expect(200).json();
        app.client.post(&path(&one, "release"), &json!({})).await.expect(409);
        let captured = app
            .client
            .post_keyed(&path(&other, "capture"), &json!({}), &unique("key"))
            .await
            .expect(201)
            .json();

        let told = appended(&app).await;
        let expected = [
            ("order.cancelled", &partly),
            ("order.cancelled", &wholly),
            ("hold.created", &one),
            ("hold.created", &other),
            ("hold.extended", &extended),
            ("hold.released", &released),
        ];
        assert_eq!(told.len(), expected.len() + 1);
        for ((kind, data), (expected_kind, expected)) in told.iter().zip(expected) {
            assert_eq!((kind.as_str(), data), (expected_kind, expected));
        }
        let (kind, data) = &told[6];
        assert_eq!((kind.as_str(), &data["order_id"]), ("hold.captured", &captured["order_id"]));
        assert_eq!(data["state"], "captured");
        app.finish().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_variant_that_becomes_low_is_told_once_however_it_does() {
    let app = TestApp::start().await;
    let (sold, kept, ordered) =
        (app.client.variant(12).await, app.client.variant(12).await, app.client.variant(12).await);
    app.client.decrement(sold, 1).await.expect(200);
    app.client.decrement(sold, 1).await.expect(200);
    app.client.decrement(sold, 1).await.expect(200);
    let hold = held(&app, kept, 3).await;
    let capture = format!("/holds/{}/capture", hold["hold_id"].as_str().unwrap());
    app.client.post_keyed(&capture, &json!({}), &unique("key")).await.expect(201);
    app.client.order("ann", &unique("key"), &[(ordered, 6), (ordered, 6)]).await.expect(201);

    let told = appended(&app).await;
    let low: Vec<_> = told.iter().filter(|(kind, _)| kind == "stock.low").map(|(_, data)| data).collect();
    let as_told =
        |data: &Value| (data["variant_id"].clone(), data["available"].clone(), data["stock_status"].clone());
    assert_eq!(
        low.iter().map(|data| as_told(data)).collect::<Vec<_>>(),
        [
            (json!(sold), json!(10), json!("low_stock")),
            (json!(kept), json!(9), json!("low_stock")),
            (json!(ordered), json!(0), json!("out_of_stock")),
        ]
    );
    app.finish().await;
}

/// The ids of transactions do not: each begins by claiming its key, and then waits for the row.
#[tokio::test(flavor = "multi_thread")]
async fn positions_follow_the_versions_of_a_variant_that_two_replicas_sell_without_redis() {
    let app = TestApp::without_redis().await;
    let peer = Peer::start(&app.database.url, None, &[]).await;
    let variant = app.client.variant(1_000).await;
    let replies = at_once(120, |n| {
        let client = [&app.client, &peer.client][n % 2].clone();
        async move {
            let path = format!("/inventory/{variant}/decrement");
            client.post_keyed(&path, &json!({"quantity": 1}), &unique("sale")).await
        }
    })
    .await;
    assert!(replies.iter().all(|reply| reply.status == 200));
    peer.finish().await;
    // The invariants look at the positions.
    app.finish().await;
}
