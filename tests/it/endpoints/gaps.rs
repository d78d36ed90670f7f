//! Endpoints that were away for too long: what they missed is never missed in silence.

use holdfast::purge::purge;
use serde_json::{Value, json};

use super::{Receiver, deliver_until, deliveries, path, register, start};
use crate::support::{TestApp, unique};

/// So that all events there are, are old.
async fn a_week_passes(app: &TestApp) {
    sqlx::raw_sql(
        "ALTER TABLE events DISABLE TRIGGER events_are_not_changed;
         UPDATE events SET happened_at = happened_at - interval '8 days';
         ALTER TABLE events ENABLE TRIGGER events_are_not_changed;
         UPDATE webhook_deliveries SET pending_since = pending_since - interval '8 days',
             delivered_at = delivered_at - interval '8 days',
             next_attempt_at = next_attempt_at - interval '8 days'",
    )
    .execute(&app.database.pool)
    .await
    .unwrap();
}

async fn cancelled_order(app: &TestApp) -> Value {
    let variant = app.client.variant(10).await;
    let order = app.client.order("ann", &unique("key"), &[(variant, 1)]).await.expect(201).json();
    let cancel = format!("/orders/{}/cancel", order["order_id"].as_str().unwrap());
    app.client.post(&cancel, &json!({})).await.expect(200).json()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_comes_back_after_what_it_wants_was_forgotten_is_told_so_once_and_shows_it() {
    let app = start().await;
    let (back, keeper) = (Receiver::start().await, Receiver::start().await);
    let endpoint = register(&app, &back.url(), &["order.cancelled"]).await;
    let other = register(&app, &keeper.url(), &["stock.changed"]).await;
    cancelled_order(&app).await;
    a_week_passes(&app).await;
    assert!(purge(&app.app.db).await.unwrap().told >= 1);
    let later = cancelled_order(&app).await;
    deliver_until(&app, "it is told", async || back.sent().len() == 2 && keeper.sent().len() >= 6).await;
    let mut told: Vec<_> = back.sent().iter().map(super::receiver::Sent::json).collect();
    // They are of two things, so either may come first.
    told.sort_by_key(|told| told["type"] != "endpoint.skipped");
    assert_eq!((&told[0]["type"], &told[1]["type"]), (&json!("endpoint.skipped"), &json!("order.cancelled")));
    assert_eq!(told[1]["data"]["order_id"], later["order_id"]);
    let shown = app.client.get(&path(&endpoint, "")).await.json();
    for end in ["skipped_from", "skipped_to"] {
        assert_eq!(shown[end], told[0]["data"][end]);
        shown[end].as_str().unwrap().parse::<i64>().unwrap();
    }
    assert!(shown["skipped_at"].is_string());
    assert_eq!(deliveries(&app, &endpoint).await[0]["type"], "endpoint.skipped");
    assert_eq!(app.app.endpoints.gaps.get(), 1);
    // What the other wants is kept for ever.
    assert_eq!(app.client.get(&path(&other, "")).await.json()["skipped_to"], Value::Null);
    assert!(keeper.sent().iter().all(|sent| sent.json()["type"] == "stock.changed"));
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_took_for_a_week_is_a_dead_letter_which_can_be_seen_and_sent_again() {
    let app = start().await;
    let receiver = Receiver::start().await;
    let variant = app.client.variant(10).await;
    let endpoint = register(&app, &receiver.url(), &["stock.changed"]).await;
    receiver.answers(410);
    // In one transaction, so that both are there before the first is sent.
    let sell = json!({"op": "decrement", "variant_id": variant, "quantity": 1});
    let both = json!({"mode": "atomic", "operations": [sell, sell]});
    app.client.post("/inventory/batch", &both).await.expect(200);
    deliver_until(&app, "it says that it is gone, and something is left", async || {
        app.count("webhook_deliveries WHERE state = 'pending'").await == 2 && receiver.sent().len() == 1
    })
    .await;
    assert_eq!(purge(&app.app.db).await.unwrap().given_up, 0);
    a_week_passes(&app).await;
    let purged = purge(&app.app.db).await.unwrap();
    assert_eq!((purged.given_up, purged.deliveries), (2, 0));
    let log = deliveries(&app, &endpoint).await;
    assert!(log.len() == 2 && log.iter().all(|one| one["state"] == "dead"), "{log:?}");
    assert_eq!(app.client.get(&path(&endpoint, "")).await.json()["dead"], 2);

    receiver.answers(200);
    app.client.post(&path(&endpoint, "/replay"), &json!({"state": "dead"})).await.expect(200);
    assert_eq!(purge(&app.app.db).await.unwrap().given_up, 0);
    deliver_until(&app, "both are taken", async || receiver.sent().len() == 3).await;
    assert_eq!(app.count("webhook_deliveries WHERE state = 'delivered'").await, 2);
    a_week_passes(&app).await;
    assert_eq!(purge(&app.app.db).await.unwrap().deliveries, 2);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_delivery_is_sent_again_or_those_of_a_time() {
    let app = start().await;
    let receiver = Receiver::start().await;
    let endpoint = register(&app, &receiver.url(), &["stock.changed"]).await;
    let variant = app.client.variant(10).await;
    app.client.decrement(variant, 1).await.expect(200);
    app.client.decrement(variant, 1).await.expect(200);
    deliver_until(&app, "all are taken", async || {
        app.count("webhook_deliveries WHERE state = 'delivered'").await == 3
    })
    .await;
    sqlx::query("UPDATE webhook_deliveries SET created_at = created_at - position * interval '1 day'")
        .execute(&app.database.pool)
        .await
        .unwrap();
    let mut log = deliveries(&app, &endpoint).await;
    log.sort_by_key(|one| one["created_at"].as_str().unwrap().to_owned());
    let again = async |range: Value| {
        let reply = app.client.post(&path(&endpoint, "/replay"), &range).await.expect(200).json();
        let before = receiver.sent().len();
        let sent = before + usize::try_from(reply["replayed"].as_i64().unwrap()).unwrap();
        deliver_until(&app, "they are sent again", async || receiver.sent().len() == sent).await;
        receiver.sent()[before..].iter().map(|sent| sent.header("webhook-id").to_owned()).collect::<Vec<_>>()
    };
    let id = |n: usize| log[n]["event_id"].as_str().unwrap().to_owned();
    assert_eq!(again(json!({"delivery_id": log[1]["delivery_id"]})).await, [id(1)]);
    // The later an event, the earlier it says here that it was found: they are sent by their positions.
    assert_eq!(
        again(json!({"from": log[0]["created_at"], "to": log[2]["created_at"]})).await,
        [id(1), id(0)]
    );
    app.finish().await;
}
