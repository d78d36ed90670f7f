//! What operators see of the inbox, and do with it.

use serde_json::{Value, json};
use uuid::Uuid;

use super::{by_id, by_key, told};
use crate::support::{Client, Sender, TestApp, at_once, unique};

async fn listed(client: &Client, filter: &str) -> Vec<Value> {
    let (mut all, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = client.get(&format!("/webhooks/inbox?limit=2{filter}{cursor}")).await.expect(200).json();
        all.extend(page["items"].as_array().unwrap().iter().cloned());
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return all,
        }
    }
}

fn path(entry: &Value) -> String {
    format!("/webhooks/inbox/{}/replay", entry["entry_id"].as_str().unwrap())
}

/// So many of the order's only line.
fn some(order: &Value, units: i64) -> Value {
    json!({"order_id": order["order_id"], "lines": [{"line_id": order["lines"][0]["line_id"], "quantity": units}]})
}

#[tokio::test(flavor = "multi_thread")]
async fn the_inbox_is_listed_newest_first_by_state_and_tells_what_became_of_each_event() {
    let app = TestApp::without_redis().await;
    let (sender, id) = (Sender::to(&app.client), app.client.variant(20).await);
    let order = app.client.order("ann", "1", &[(id, 4)]).await.expect(201).json();
    let other = app.client.order("ann", "2", &[(id, 4)]).await.expect(201).json();
    for (event, data) in [
        ("a", by_id(&order)),
        ("b", by_key("ann", "1")),
        ("c", by_key("bob", "1")),
        ("d", by_key("bob", "2")),
        ("e", some(&other, 4)),
    ] {
        sender.cancel(event, &data).await.expect(200);
    }
    sender.cancel("f", &some(&other, 1)).await.expect(409);
    let born = app.client.order("bob", "1", &[(id, 1)]).await.expect(201).json();
    let seen: Vec<_> = listed(&app.client, "").await;
    let brief: Vec<_> = seen.iter().map(|e| json!([e["event_id"], e["state"], e["order_id"]])).collect();
    assert_eq!(
        brief,
        [
            json!(["f", "refused", null]),
            json!(["e", "cancelled", other["order_id"]]),
            json!(["d", "waiting_for_order", null]),
            json!(["c", "cancelled", born["order_id"]]),
            json!(["b", "already_cancelled", order["order_id"]]),
            json!(["a", "cancelled", order["order_id"]]),
        ]
    );
    assert_eq!((&seen[3]["data"], &seen[3]["scheme"]), (&by_key("bob", "1"), &json!("standard")));
    for (state, events) in [
        ("refused", vec!["f"]),
        ("cancelled", vec!["e", "c", "a"]),
        ("waiting_for_order", vec!["d"]),
        ("already_cancelled", vec!["b"]),
    ] {
        let found = listed(&app.client, &format!("&state={state}")).await;
        assert_eq!(found.iter().map(|e| e["event_id"].as_str().unwrap()).collect::<Vec<_>>(), events);
    }
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_never_cancels_twice_and_is_on_the_record() {
    let app = TestApp::start().await;
    let (sender, id) = (Sender::to(&app.client), app.client.variant(20).await);
    let order = app.client.order("ann", &unique("k"), &[(id, 4)]).await.expect(201).json();
    let event = unique("event");
    let first = told(&sender.cancel(&event, &some(&order, 1)).await);
    let entry = listed(&app.client, "").await[0].clone();
    let mut expected = first.clone();
    expected["duplicate"] = json!(true);
    assert_eq!(told(&app.client.post(&path(&entry), &json!({})).await), expected);
    let replies = at_once(8, |_| {
        let (client, path) = (app.client.clone(), path(&entry));
        async move { client.post(&path, &json!({"reason": "to be sure"})).await }
    })
    .await;
    assert!(replies.iter().all(|reply| told(reply) == expected));
    assert_eq!(app.client.on_hand(id).await, 17);
    assert_eq!(app.count("webhook_replays WHERE subject = 'admin' AND reason = 'to be sure'").await, 8);
    assert_eq!(app.count("webhook_replays WHERE subject = 'admin' AND reason IS NULL").await, 1);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_refused_can_be_replayed_once_it_can_be_done_and_is_then_done_for_its_sender_too() {
    let app = TestApp::start().await;
    let (sender, id) = (Sender::to(&app.client), app.client.variant(20).await);
    let order = app.client.order("ann", &unique("k"), &[(id, 4)]).await.expect(201).json();
    // Somebody spoils the order behind the service's back, and mends it.
    let spoil = async |units: i64| {
        let spoil = "UPDATE order_lines SET cancelled_quantity = $1";
        sqlx::query(spoil).bind(units).execute(&app.database.pool).await.unwrap();
    };
    spoil(4).await;
    let event = unique("event");
    sender.cancel(&event, &some(&order, 2)).await.expect(409);
    let entry = listed(&app.client, "&state=refused").await[0].clone();
    for replayed in [false, true] {
        let refused = app.client.post_keyed(&path(&entry), &json!({}), "replay").await.expect(409);
        assert_eq!((refused.code().as_str(), refused.was_replayed()), ("cancel_exceeds_ordered", replayed));
    }
    assert_eq!(app.count("webhook_replays").await, 1);
    spoil(0).await;
    let done = json!({"result": "cancelled", "order_id": order["order_id"]});
    assert_eq!(told(&app.client.post(&path(&entry), &json!({})).await), done);
    assert_eq!(told(&sender.cancel(&event, &some(&order, 2)).await)["duplicate"], true);
    assert_eq!(app.client.on_hand(id).await, 18);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_that_is_not_there_can_not_be_replayed() {
    let app = TestApp::without_redis().await;
    let path = format!("/webhooks/inbox/{}/replay", Uuid::now_v7());
    assert_eq!(app.client.post(&path, &json!({})).await.expect(404).code(), "inbox_entry_not_found");
    for wrong in [json!({"force": true}), json!({"reason": ""}), json!({"reason": "x".repeat(256)})] {
        assert_eq!(app.client.post(&path, &wrong).await.expect(422).code(), "validation_failed");
    }
    assert_eq!(app.count("webhook_replays").await, 0);
    app.finish().await;
}
