//! Cancellations that come before their order.

use serde_json::{Value, json};
use sqlx::{Connection, PgConnection};

use super::{by_id, by_key, cancel_by_api, read, told};
use crate::support::client::order_body;
use crate::support::row::until_at_a_row;
use crate::support::{HeldRow, Peer, Sender, TestApp, at_once, unique};

fn cancelled_of(order: &Value) -> Vec<(i64, i64)> {
    let units =
        |line: &Value| (line["quantity"].as_i64().unwrap(), line["cancelled_quantity"].as_i64().unwrap());
    order["lines"].as_array().unwrap().iter().map(units).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_whose_cancellation_came_first_is_born_cancelled_and_takes_no_stock() {
    for app in [TestApp::start().await, TestApp::without_redis().await] {
        let (sender, user) = (Sender::to(&app.client), unique("ann"));
        // Of one there is not even enough: an order that takes nothing needs nothing.
        let (a, b) = (app.client.variant(5).await, app.client.variant(1).await);
        let movements = app.count("stock_movements").await;
        let early = sender.cancel("early", &by_key(&user, "k")).await;
        assert_eq!(told(&early), json!({"result": "waiting_for_order"}));
        assert_eq!(
            told(&sender.cancel("too", &by_key(&user, "k")).await),
            json!({"result": "waiting_for_order"})
        );

        let born = app.client.order(&user, "k", &[(a, 2), (b, 3)]).await.expect(201);
        let order = born.json();
        assert_eq!((&order["status"], &order["total"]), (&json!("cancelled"), &json!("62.50")));
        assert_eq!(cancelled_of(&order), [(2, 2), (3, 3)]);
        assert_eq!(read(&app.client, &order["order_id"]).await, order);
        let again = app.client.order(&user, "k", &[(a, 2), (b, 3)]).await;
        assert!(again.was_replayed() && again.bytes == born.bytes);

        assert_eq!(
            told(&sender.cancel("early", &by_key(&user, "k")).await),
            json!({"result": "waiting_for_order", "duplicate": true}),
            "the first answer"
        );
        for (event, data) in [("later", by_key(&user, "k")), ("latest", by_id(&order))] {
            assert_eq!(told(&sender.cancel(event, &data).await)["result"], "already_cancelled");
        }
        let by_api = cancel_by_api(&app.client, &order["order_id"]).await.expect(200).json();
        assert_eq!((&by_api["status"], cancelled_of(&by_api)), (&json!("cancelled"), vec![(2, 2), (3, 3)]));
        assert_eq!((app.client.on_hand(a).await, app.client.on_hand(b).await), (5, 1));
        assert_eq!(
            (app.count("stock_movements").await, app.count("order_cancellations").await),
            (movements, 0)
        );
        // Another key of the same user, and the same key of another user, are other orders.
        for (user, key) in [(user.as_str(), "other"), (&unique("bob"), "k")] {
            assert_eq!(app.client.order(user, key, &[(a, 1)]).await.expect(201).json()["status"], "placed");
        }
        app.finish().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_that_makes_no_sense_is_refused_though_it_was_cancelled() {
    let app = TestApp::without_redis().await;
    let (sender, id) = (Sender::to(&app.client), app.client.variant(5).await);
    sender.cancel("early", &by_key("ann", "k")).await.expect(200);
    app.client.order("ann", "k", &[(uuid::Uuid::now_v7(), 1)]).await.expect(404);
    let mut body = order_body("ann", &[(id, 1)]);
    body["currency"] = json!("USD");
    app.client.post_keyed("/orders", &body, "k").await.expect(422);
    let order = app.client.order("ann", "k", &[(id, 1)]).await.expect(201).json();
    assert_eq!(order["status"], "cancelled");
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_whose_order_was_refused_can_be_cancelled_early_and_keeps_its_answer() {
    let app = TestApp::start().await;
    let (sender, id, user) = (Sender::to(&app.client), app.client.variant(1).await, unique("ann"));
    let refused = app.client.order(&user, "k", &[(id, 2)]).await.expect(409);
    let early = sender.cancel("early", &by_key(&user, "k")).await;
    assert_eq!(told(&early), json!({"result": "waiting_for_order"}));
    let again = app.client.order(&user, "k", &[(id, 2)]).await.expect(409);
    assert!(again.was_replayed() && again.bytes == refused.bytes);
    app.age_answers().await;
    assert_eq!(app.client.order(&user, "k", &[(id, 2)]).await.expect(201).json()["status"], "cancelled");
    assert_eq!(app.client.on_hand(id).await, 1);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancellation_that_meets_its_order_in_the_making_waits_and_cancels_it() {
    for app in [TestApp::start().await, TestApp::without_redis().await] {
        let (id, user) = (app.client.variant(5).await, unique("ann"));
        let row = HeldRow::of(&app.database, id).await;
        let (client, buyer) = (app.client.clone(), user.clone());
        let order = tokio::spawn(async move { client.order(&buyer, "k", &[(id, 2)]).await });
        until_at_a_row(&app.database.pool, 1).await;
        // Another replica, which has no Redis: it is the claim where they meet.
        let peer = Peer::start(&app.database.url, None, &[]).await;
        let (sender, data) = (Sender::to(&peer.client), by_key(&user, "k"));
        let cancel = tokio::spawn(async move { sender.cancel("early", &data).await });
        until_at_a_row(&app.database.pool, 2).await;
        row.let_go().await;
        let order = order.await.unwrap().expect(201).json();
        assert_eq!(order["status"], "placed");
        assert_eq!(
            told(&cancel.await.unwrap()),
            json!({"result": "cancelled", "order_id": order["order_id"]})
        );
        assert_eq!(read(&app.client, &order["order_id"]).await["status"], "cancelled");
        assert_eq!((app.client.on_hand(id).await, app.count("early_cancellations").await), (5, 0));
        peer.finish().await;
        app.finish().await;
    }
}

/// What [`cancel_early`](holdfast::orders::cancel_early) has done just before it commits.
async fn cancelling_early(app: &TestApp, user: &str) -> PgConnection {
    let mut conn = PgConnection::connect(&app.database.url).await.unwrap();
    for statement in [
        "BEGIN",
        &format!(
            "INSERT INTO idempotency_keys (scope, key, request_hash) VALUES ('user:{user}', 'k', '')
             ON CONFLICT (scope, key) DO UPDATE SET key = excluded.key WHERE false"
        ),
        &format!("INSERT INTO early_cancellations VALUES ('{user}', 'k', NULL, 'test', 'test')"),
        &format!("DELETE FROM idempotency_keys WHERE scope = 'user:{user}' AND status IS NULL"),
    ] {
        sqlx::query(statement).execute(&mut conn).await.unwrap();
    }
    conn
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_that_meets_its_cancellation_in_the_making_waits_and_is_born_cancelled() {
    let app = TestApp::without_redis().await;
    let id = app.client.variant(5).await;
    // One whose key is free, and one whose key has an answer that is no longer kept.
    app.client.order("bob", "k", &[(id, 6)]).await.expect(409);
    app.age_answers().await;
    for user in ["ann", "bob"] {
        for (commits, status) in [(false, "placed"), (true, "cancelled")] {
            let user = if commits { user.to_owned() } else { format!("{user}-2") };
            let mut cancelling = cancelling_early(&app, &user).await;
            let (client, buyer) = (app.client.clone(), user.clone());
            let order = tokio::spawn(async move { client.order(&buyer, "k", &[(id, 2)]).await });
            until_at_a_row(&app.database.pool, 1).await;
            let end = if commits { "COMMIT" } else { "ROLLBACK" };
            sqlx::query(end).execute(&mut cancelling).await.unwrap();
            assert_eq!(order.await.unwrap().expect(201).json()["status"], status, "{user}");
        }
    }
    assert_eq!(app.client.on_hand(id).await, 1);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_early_cancellations_and_orders_of_one_key_at_once_end_in_one_cancelled_order() {
    for app in [TestApp::start().await, TestApp::without_redis().await] {
        let (id, user) = (app.client.variant(5).await, unique("ann"));
        let replies = at_once(20, |caller| {
            let (client, user) = (app.client.clone(), user.clone());
            async move {
                if caller % 2 == 0 {
                    return client.order(&user, "k", &[(id, 2)]).await.expect(201);
                }
                Sender::to(&client)
                    .cancel(&format!("event-{}", caller / 4), &by_key(&user, "k"))
                    .await
                    .expect(200)
            }
        })
        .await;
        let bodies: Vec<_> = replies.iter().step_by(2).map(|reply| reply.bytes.clone()).collect();
        assert!(bodies.iter().all(|body| *body == bodies[0]), "one order, one answer");
        assert_eq!(
            (app.client.on_hand(id).await, app.count("orders WHERE status = 'cancelled'").await),
            (5, 1)
        );
        app.finish().await;
    }
}
