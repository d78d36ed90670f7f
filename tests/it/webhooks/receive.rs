//! What a webhook does, and what it is answered.

use serde_json::json;
use uuid::Uuid;

use super::{by_id, by_key, cancel_by_api, read, told};
use crate::support::sender::{SECRET, cancelled, in_seconds, stripe};
use crate::support::{Peer, Sender, TestApp, at_once, shared_redis, unique};

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_cancels_the_order_it_names_and_a_redelivery_gets_the_first_answer() {
    for app in [TestApp::start().await, TestApp::without_redis().await] {
        let sender = Sender::to(&app.client);
        let (a, b) = (app.client.variant(5).await, app.client.variant(5).await);
        for named_by_key in [false, true] {
            let key = unique("k");
            let order = app.client.order("ann", &key, &[(a, 2), (b, 5)]).await.expect(201).json();
            let mut data = if named_by_key { by_key("ann", &key) } else { by_id(&order) };
            data["reason"] = json!("payment failed");
            let (event, other) = (unique("msg"), unique("msg"));
            let first = sender.cancel(&event, &data).await;
            assert_eq!(told(&first), json!({"result": "cancelled", "order_id": order["order_id"]}));
            let movements = app.count("stock_movements").await;
            let mut again = sender.cancel(&event, &data).await.expect(200).json();
            assert_eq!(again["duplicate"].take(), true);
            again.as_object_mut().unwrap().remove("duplicate");
            assert_eq!(again, first.json(), "the lock too is that of the first");
            assert_eq!(
                told(&sender.cancel(&other, &data).await),
                json!({"result": "already_cancelled", "order_id": order["order_id"]})
            );
            assert_eq!(read(&app.client, &order["order_id"]).await["status"], "cancelled");
            assert_eq!((app.client.on_hand(a).await, app.client.on_hand(b).await), (5, 5));
            assert_eq!(app.count("stock_movements").await, movements);
        }
        assert_eq!(
            app.count("stock_movements WHERE reason = 'payment failed' AND subject = 'webhook'").await,
            4
        );
        app.finish().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_are_cancelled_by_webhook_once_an_event_and_never_more_than_is_left() {
    let app = TestApp::start().await;
    let (sender, id) = (Sender::to(&app.client), app.client.variant(10).await);
    let order = app.client.order("ann", &unique("k"), &[(id, 4)]).await.expect(201).json();
    let some = |units: i64| {
        let line = json!({"line_id": order["lines"][0]["line_id"], "quantity": units});
        json!({"order_id": order["order_id"], "lines": [line]})
    };
    for (event, units, on_hand) in [("one", 3, 9), ("one", 3, 9), ("two", 1, 10), ("one", 3, 9 + 1)] {
        assert_eq!(told(&sender.cancel(event, &some(units)).await)["result"], "cancelled");
        assert_eq!(app.client.on_hand(id).await, on_hand, "{event}");
    }
    for _ in 0..2 {
        assert_eq!(sender.cancel("three", &some(1)).await.expect(409).code(), "cancel_exceeds_ordered");
    }
    assert_eq!(app.count("webhook_inbox WHERE state = 'refused' AND event_id = 'three'").await, 1);
    assert_eq!(app.client.on_hand(id).await, 10);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_that_is_not_there_is_not_found_and_nothing_is_kept_of_it() {
    let app = TestApp::without_redis().await;
    let (sender, id) = (Sender::to(&app.client), app.client.variant(10).await);
    let before = app.everything().await;
    let unknown = json!({"order_id": Uuid::now_v7()});
    let line = json!([{"line_id": Uuid::now_v7(), "quantity": 1}]);
    let mut early_lines = by_key("ann", "k");
    early_lines["lines"] = line;
    for data in [unknown, early_lines] {
        assert_eq!(sender.cancel("early", &data).await.expect(404).code(), "order_not_found");
    }
    assert_eq!(app.everything().await, before);
    // The same event, once it can be carried out.
    let order = app.client.order("ann", "k", &[(id, 2)]).await.expect(201).json();
    let mut data = by_key("ann", "k");
    data["lines"] = json!([{"line_id": order["lines"][0]["line_id"], "quantity": 1}]);
    assert_eq!(told(&sender.cancel("early", &data).await)["result"], "cancelled");
    assert_eq!(app.client.on_hand(id).await, 9);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_stands_for_what_its_event_says_and_not_for_how() {
    let app = TestApp::without_redis().await;
    let (sender, id) = (Sender::to(&app.client), app.client.variant(10).await);
    let mut orders = Vec::new();
    for _ in 0..2 {
        orders.push(app.client.order("ann", &unique("k"), &[(id, 1)]).await.expect(201).json());
    }
    sender.cancel("event", &by_id(&orders[0])).await.expect(200);
    let laid_out = format!(
        "{{ \"data\": {{\n\"order_id\": {}}}, \"id\": 7, \"type\": \"order.cancelled\" }}",
        orders[0]["order_id"]
    );
    assert_eq!(sender.send("event", &laid_out).await.expect(200).json()["duplicate"], true);
    let before = app.everything().await;
    for other in [by_id(&orders[1]), json!({"order_id": orders[0]["order_id"], "reason": "r"})] {
        assert_eq!(sender.cancel("event", &other).await.expect(422).code(), "webhook_id_reused");
    }
    assert_eq!(app.everything().await, before);
    assert_eq!(app.client.on_hand(id).await, 9);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_tells_of_something_else_is_taken_and_forgotten() {
    let app = TestApp::without_redis().await;
    let sender = Sender::to(&app.client);
    let before = app.everything().await;
    for body in [
        json!({"type": "order.shipped", "data": {"whatever": [1, 2]}, "more": true}),
        json!({"type": "order.cancelled.test", "data": null}),
        json!({"type": ""}),
    ] {
        assert_eq!(
            sender.send("event", &body.to_string()).await.expect(200).json(),
            json!({"result": "ignored"})
        );
    }
    assert_eq!(app.everything().await, before);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_field_that_nobody_knows_may_be_a_misspelt_one_and_is_named() {
    let app = TestApp::without_redis().await;
    let (sender, id) = (Sender::to(&app.client), app.client.variant(10).await);
    let order = app.client.order("ann", &unique("k"), &[(id, 4)]).await.expect(201).json();
    let order_id = &order["order_id"];
    let line = json!({"line_id": order["lines"][0]["line_id"], "quantity": 1, "qty": 1});
    for (data, more, named) in [
        (json!({"order_id": order_id, "line": []}), json!(null), "data.line"),
        (json!({"order_id": order_id, "lines": [line]}), json!(null), "data.lines[0].qty"),
        (json!({"order_id": order_id}), json!(1), "more"),
        (
            json!({"order_id": order_id, "lines": [[order["lines"][0]["line_id"], 1]]}),
            json!(null),
            "data.lines[0]",
        ),
        (json!({"order_id": order_id, "user_id": "ann", "idempotency_key": "k"}), json!(null), "data"),
        (json!({"order_id": order_id, "user_id": "ann"}), json!(null), "data"),
        (json!({"user_id": "ann"}), json!(null), "data"),
    ] {
        let mut body = cancelled(&data);
        if !more.is_null() {
            body["more"] = more;
        }
        let refused = sender.send("event", &body.to_string()).await.expect(422);
        assert_eq!(
            (refused.code().as_str(), &refused.json()["errors"][0]["field"]),
            ("validation_failed", &json!(named))
        );
    }
    for no_type in [json!({"data": by_id(&order)}), json!({"type": null, "data": by_id(&order)})] {
        let refused = sender.send("event", &no_type.to_string()).await.expect(422);
        assert_eq!(refused.json()["errors"][0]["field"], "type");
    }
    assert_eq!((app.client.on_hand(id).await, app.count("webhook_inbox").await), (6, 0));
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_signed_as_stripe_does_has_its_id_in_the_body_and_an_envelope_of_its_own() {
    let app = TestApp::start().await;
    let (sender, id) = (Sender::to(&app.client), app.client.variant(10).await);
    let order = app.client.order("ann", &unique("k"), &[(id, 4)]).await.expect(201).json();
    let send = async |waiting: i64| {
        let body = json!({"id": "evt_1", "object": "event", "api_version": "1", "created": 1, "livemode": true,
                          "pending_webhooks": waiting, "type": "order.cancelled", "data": by_id(&order)});
        let body = body.to_string();
        let signature = stripe(SECRET, &in_seconds(0), body.as_bytes());
        sender.send_as(&[("stripe-signature", &signature)], body.as_bytes()).await
    };
    assert_eq!(told(&send(1).await), json!({"result": "cancelled", "order_id": order["order_id"]}));
    // Its envelope changes from one delivery to the next.
    assert_eq!(told(&send(0).await)["duplicate"], true);
    // The ids of the one scheme are not those of the other.
    assert_eq!(told(&sender.cancel("evt_1", &by_id(&order)).await)["result"], "already_cancelled");
    for no_id in [
        json!({"type": "order.cancelled", "data": by_id(&order)}),
        json!({"id": 7, "type": "order.cancelled", "data": by_id(&order)}),
    ] {
        let signature = stripe(SECRET, &in_seconds(0), no_id.to_string().as_bytes());
        let refused = sender.send_as(&[("stripe-signature", &signature)], no_id.to_string().as_bytes()).await;
        assert_eq!(refused.expect(422).json()["errors"][0]["field"], "id");
    }
    assert_eq!(app.client.on_hand(id).await, 10);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_that_cancel_one_order_by_api_and_webhook_over_two_replicas_bring_its_stock_back_once() {
    for redis in [Some(shared_redis()), None] {
        let app = match redis {
            Some(_) => TestApp::start().await,
            None => TestApp::without_redis().await,
        };
        let peer = Peer::start(&app.database.url, redis.as_deref(), &[]).await;
        let (a, b, key) = (app.client.variant(5).await, app.client.variant(5).await, unique("k"));
        let order = app.client.order("ann", &key, &[(a, 5), (b, 2)]).await.expect(201).json();
        let replies = at_once(20, |caller| {
            let client = [&app.client, &peer.client][caller % 2].clone();
            let (order, key) = (order.clone(), key.clone());
            async move {
                // By API, by an event of one's own, and by one event that is delivered again and again.
                match caller / 2 % 4 {
                    0 => cancel_by_api(&client, &order["order_id"]).await,
                    1 => Sender::to(&client).cancel(&format!("own-{caller}"), &by_id(&order)).await,
                    2 => Sender::to(&client).cancel(&format!("own-{caller}"), &by_key("ann", &key)).await,
                    _ => Sender::to(&client).cancel("same", &by_id(&order)).await,
                }
            }
        })
        .await;
        for reply in replies {
            assert_eq!(reply.expect(200).json()["order_id"], order["order_id"]);
        }
        assert_eq!((app.client.on_hand(a).await, app.client.on_hand(b).await), (5, 5));
        assert_eq!((app.count("order_cancellations").await, app.count("stock_movements").await), (2, 6));
        peer.finish().await;
        app.finish().await;
    }
}
