//! Deliveries that are broken off in the middle, and come again.

use std::time::Duration;

use serde_json::json;

use super::{by_id, by_key, told};
use crate::support::proxy::{Cut, port_of};
use crate::support::row::{sessions_at_a_row, until_at_a_row};
use crate::support::sender::WEBHOOKS;
use crate::support::{
    HeldRow, Private, Proxy, Replica, Sender, TestApp, TestDatabase, eventually, shared_redis, unique,
};

/// Half the shortest TTL.
const TAKEN_OVER: Duration = Duration::from_millis(7_500);

#[tokio::test]
async fn a_delivery_whose_commit_is_lost_is_told_when_it_comes_again_and_done_if_it_was_not() {
    let postgres = Private::postgres_on_tcp().await;
    let proxy = Proxy::before(port_of(&postgres.url()), (Duration::ZERO, Duration::ZERO)).await;
    let mut database = TestDatabase::on(&postgres.url()).await;
    database.url = proxy.instead_of(&database.url);
    let app = TestApp::with(database, Some(&shared_redis()), &[]).await;
    let (sender, id) = (Sender::to(&app.client), app.client.variant(100).await);
    for (cut, was_done) in [(Cut::AfterCommit, true), (Cut::BeforeCommit, false)] {
        let (user, key) = (unique("ann"), format!("{cut:?}"));
        let order = app.client.order(&user, &key, &[(id, 3)]).await.expect(201).json();
        let there = (by_id(&order), "cancelled");
        let to_come = (by_key(&user, "to-come"), "waiting_for_order");
        for (data, result) in [there, to_come] {
            let event = unique("event");
            proxy.cut_next(cut);
            assert_eq!(sender.cancel(&event, &data).await.expect(503).code(), "database_unavailable");
            for again in [was_done, true] {
                let told = told(&sender.cancel(&event, &data).await);
                assert_eq!((&told["result"], told["duplicate"] == true), (&json!(result), again), "{cut:?}");
            }
        }
        assert_eq!(app.client.on_hand(id).await, 100);
        let born = app.client.order(&user, "to-come", &[(id, 3)]).await.expect(201).json();
        assert_eq!(born["status"], "cancelled");
    }
    app.finish().await;
}

#[tokio::test]
async fn a_session_ended_in_mid_delivery_leaves_nothing_and_the_next_delivery_is_carried_out() {
    let app = TestApp::start().await;
    let (sender, id) = (Sender::to(&app.client), app.client.variant(10).await);
    let order = app.client.order("ann", &unique("k"), &[(id, 4)]).await.expect(201).json();
    let before = app.everything().await;
    let row = HeldRow::of(&app.database, id).await;
    let (event, data) = (unique("event"), by_id(&order));
    let delivery = tokio::spawn({
        let (sender, event, data) = (sender.clone(), event.clone(), data.clone());
        async move { sender.cancel(&event, &data).await }
    });
    until_at_a_row(&app.database.pool, 1).await;
    let session = sessions_at_a_row(&app.database.pool).await[0];
    let _ended: bool = sqlx::query_scalar("SELECT pg_terminate_backend($1)")
        .bind(session)
        .fetch_one(&app.database.pool)
        .await
        .unwrap();
    assert_eq!(delivery.await.unwrap().expect(503).code(), "database_unavailable");
    assert_eq!(app.everything().await, before);
    row.let_go().await;
    let told = told(&sender.cancel(&event, &data).await);
    assert_eq!(told, json!({"result": "cancelled", "order_id": order["order_id"]}));
    assert_eq!(app.client.on_hand(id).await, 10);
    app.finish().await;
}

#[tokio::test]
async fn what_a_replica_was_killed_over_is_carried_out_by_another_once() {
    // The last is for who carries it out in the end: the other is to wait at the row.
    let settings = [
        WEBHOOKS,
        ("HOLDFAST_INVENTORY_LOCK_TTL_MS", "15000"),
        ("HOLDFAST_ORDER_LOCK_TTL_MS", "15000"),
        ("HOLDFAST_LOCK_WAIT_MS", "100"),
    ];
    let app = TestApp::with(TestDatabase::fresh().await, Some(&shared_redis()), &settings).await;
    let id = app.client.variant(10).await;
    let order = app.client.order("ann", &unique("k"), &[(id, 4)]).await.expect(201).json();
    let row = HeldRow::of(&app.database, id).await;
    let replica = Replica::start(&app.database.url, Some(&shared_redis()), &settings[..3]).await;
    let (event, data) = (unique("event"), by_id(&order));
    let delivery = tokio::spawn({
        let (sender, event, data) = (Sender::to(&replica.client), event.clone(), data.clone());
        async move { sender.try_cancel(&event, &data).await }
    });
    until_at_a_row(&app.database.pool, 1).await;
    replica.kill().await;
    assert!(delivery.await.unwrap().is_err(), "the dead don't answer");
    row.let_go().await;
    let sender = Sender::to(&app.client);
    eventually(TAKEN_OVER, "it is carried out elsewhere", async || {
        let reply = sender.cancel(&event, &data).await;
        assert!(matches!(reply.status.as_u16(), 200 | 429), "{reply:?}");
        reply.status == 200
    })
    .await;
    assert_eq!(told(&sender.cancel(&event, &data).await)["duplicate"], true);
    assert_eq!(app.client.on_hand(id).await, 10);
    assert_eq!(app.count("stock_movements WHERE kind = 'return'").await, 1);
    app.finish().await;
}
