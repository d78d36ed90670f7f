//! Each delivery is counted once, as what its sender was told.

use std::collections::BTreeMap;

use hyper::Method;
use serde_json::json;
use uuid::Uuid;

use super::{by_id, by_key};
use crate::support::sender::{SECRET, cancelled, in_seconds, standard};
use crate::support::{Client, Sender, TestApp, TestDatabase, unique};

/// The counters that are not 0, by result.
async fn deliveries(client: &Client) -> BTreeMap<String, u64> {
    let reply = client.send(Method::GET, "/metrics", &[], "").await.unwrap().expect(200);
    let text = String::from_utf8(reply.bytes.to_vec()).unwrap();
    let counted = text.lines().filter_map(|line| {
        let (result, count) =
            line.strip_prefix("holdfast_webhook_deliveries_total{result=\"")?.split_once("\"} ")?;
        Some((result.to_owned(), count.parse::<u64>().unwrap()))
    });
    let all: BTreeMap<_, _> = counted.collect();
    assert_eq!(all.len(), 12, "all are told from the start: {all:?}");
    all.into_iter().filter(|(_, count)| *count > 0).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn deliveries_are_counted_by_what_became_of_them() {
    let settings = [("HOLDFAST_LOCK_WAIT_MS", "300")];
    let app = TestApp::with(TestDatabase::fresh().await, None, &settings).await;
    assert_eq!(deliveries(&app.client).await, BTreeMap::new());
    let (sender, user) = (Sender::to(&app.client), unique("ann"));
    let id = app.client.variant(50).await;
    let mut orders = Vec::new();
    for key in ["first", "second"] {
        orders.push(app.client.order(&user, key, &[(id, 2)]).await.expect(201).json());
    }
    let too_many = json!({"order_id": orders[1]["order_id"],
        "lines": [{"line_id": orders[1]["lines"][0]["line_id"], "quantity": 3}]});

    for event in ["one", "one", "one", "two"] {
        sender.cancel(event, &by_id(&orders[0])).await.expect(200);
    }
    sender.cancel("one", &by_id(&orders[1])).await.expect(422);
    sender.cancel("three", &by_key(&user, "to-come")).await.expect(200);
    sender.cancel("four", &too_many).await.expect(409);
    sender.cancel("five", &json!({"order_id": Uuid::nil()})).await.expect(404);
    sender.cancel("six", &json!({"order": 1})).await.expect(422);
    sender.send("seven", "{").await.expect(400);
    sender.send("eight", r#"{"type": "order.placed", "data": 1}"#).await.expect(200);
    let body = cancelled(&by_id(&orders[1])).to_string();
    for (secret, at) in [("whsec_bm90IHRoZSByaWdodCBzZWNyZXQh", 0), (SECRET, -3_600)] {
        let at = in_seconds(at);
        let signature = standard(secret, "nine", &at, body.as_bytes());
        let headers = [
            ("content-type", "application/json"),
            ("webhook-id", "nine"),
            ("webhook-timestamp", at.as_str()),
            ("webhook-signature", signature.as_str()),
        ];
        sender.send_as(&headers, body.as_bytes()).await.expect(401);
    }
    let lease = app.lease(id).await;
    sender.cancel("nine", &by_id(&orders[1])).await.expect(429);
    lease.release().await;

    let expected = [
        ("already_cancelled", 1),
        ("bad_signature", 1),
        ("cancelled", 1),
        ("duplicate", 2),
        ("failed", 1),
        ("id_reused", 1),
        ("ignored", 1),
        ("malformed", 2),
        ("order_not_found", 1),
        ("refused", 1),
        ("stale_webhook", 1),
        ("waiting_for_order", 1),
    ];
    assert_eq!(deliveries(&app.client).await, expected.map(|(name, n)| (name.to_owned(), n)).into());
    app.finish().await;
}

#[tokio::test]
async fn where_no_secret_is_set_nothing_is_counted() {
    let settings = [("HOLDFAST_WEBHOOK_SECRETS", "")];
    let app = TestApp::with(TestDatabase::fresh().await, None, &settings).await;
    Sender::to(&app.client).cancel("one", &by_key("ann", "key")).await.expect(404);
    assert_eq!(deliveries(&app.client).await, BTreeMap::new());
    app.finish().await;
}
