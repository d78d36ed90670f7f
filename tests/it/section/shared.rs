//! Who meets at a busy item shares a section.
//!
//! A lock a request would make one commit a request; a section that took its requests for one would give one's answer to
//! all, and one's fault too.

use serde_json::{Value, json};
use uuid::Uuid;

use super::SOON;
use crate::support::client::order_body;
use crate::support::row::until_at_a_row;
use crate::support::{HeldRow, Reply, TestApp, eventually, wire};

/// How many transactions wrote a variant's movements from this version on.
pub(super) async fn transactions(app: &TestApp, variant: Uuid, from_version: i64) -> i64 {
    sqlx::query_scalar(
        "SELECT count(DISTINCT xmin::text) FROM stock_movements WHERE variant_id = $1 AND version >= $2",
    )
    .bind(variant)
    .bind(from_version)
    .fetch_one(&app.database.pool)
    .await
    .unwrap()
}

/// Sends these while one sale of `variant` waits in the middle of its section, one after the other, and lets it go on.
pub(super) async fn behind_a_sale(
    app: &TestApp,
    variant: Uuid,
    calls: Vec<(String, Value, Option<String>)>,
) -> Vec<Reply> {
    let row = HeldRow::of(&app.database, variant).await;
    let client = app.client.clone();
    let first = tokio::spawn(async move { client.decrement(variant, 1).await });
    until_at_a_row(&app.database.pool, 1).await;
    let mut sent = Vec::new();
    for (path, body, key) in calls {
        let client = app.client.clone();
        sent.push(tokio::spawn(async move { client.try_post(&path, &body, key.as_deref()).await.unwrap() }));
        let arrived = 1 + sent.len();
        eventually(SOON, "it has arrived", async || app.app.locks.in_line(variant) == arrived).await;
    }
    row.let_go().await;
    first.await.unwrap().expect(200);
    let mut replies = Vec::new();
    for reply in sent {
        replies.push(reply.await.unwrap());
    }
    replies
}

pub(super) fn sale(variant: Uuid, quantity: i64) -> (String, Value, Option<String>) {
    (format!("/inventory/{variant}/decrement"), json!({ "quantity": quantity }), None)
}

#[tokio::test]
async fn those_who_queue_behind_a_section_share_the_next_and_are_answered_one_by_one() {
    for app in [TestApp::start().await, TestApp::without_redis().await] {
        let variant = app.client.variant(6).await;
        // The fourth asks for more than there is left, and stops nobody.
        let calls = [1, 1, 1, 3, 1, 1].map(|quantity| sale(variant, quantity)).to_vec();
        let replies = behind_a_sale(&app, variant, calls).await;
        let statuses: Vec<_> = replies.iter().map(|reply| reply.status.as_u16()).collect();
        assert_eq!(statuses, [200, 200, 200, 409, 200, 200]);
        assert_eq!(replies[3].json()["detail"], "Insufficient stock. Available: 2, Requested: 3");
        let left: Vec<_> =
            [0, 1, 2, 4, 5].map(|sold: usize| replies[sold].json()["new_quantity"].clone()).into();
        assert_eq!(left, [4, 3, 2, 1, 0]);
        assert_eq!(transactions(&app, variant, 3).await, 1, "one commit for all who waited");
        app.finish().await;
    }
}

#[tokio::test]
async fn orders_that_meet_at_one_item_share_a_section_with_their_other_lines() {
    let app = TestApp::start().await;
    let hot = app.client.priced_variant(10, "1.00", "EUR").await;
    let mut calls = Vec::new();
    let mut others = Vec::new();
    for n in 0..4 {
        let other = app.client.priced_variant(5, "2.50", "EUR").await;
        let body = order_body("ann", &[(hot, 1), (other, 2)]);
        calls.push(("/orders".to_owned(), body, Some(format!("order-{n}"))));
        others.push(other);
    }
    calls.push(sale(hot, 2));
    let replies = behind_a_sale(&app, hot, calls).await;
    for reply in &replies[..4] {
        let order = reply.clone().expect(201).json();
        assert_eq!((&order["total"], &order["status"]), (&json!("6.00"), &json!("placed")));
        let read =
            app.client.get(&format!("/orders/{}", order["order_id"].as_str().unwrap())).await.expect(200);
        assert_eq!(read.json()["lines"], order["lines"]);
    }
    replies[4].clone().expect(200);
    assert_eq!(app.client.on_hand(hot).await, 10 - 1 - 4 - 2);
    for other in others {
        assert_eq!(app.client.on_hand(other).await, 3);
    }
    assert_eq!(transactions(&app, hot, 3).await, 1);
    app.finish().await;
}

#[tokio::test]
async fn two_with_one_key_in_one_section_have_one_effect_and_one_answer() {
    let app = TestApp::start().await;
    let variant = app.client.variant(10).await;
    let keyed =
        |quantity| (sale(variant, quantity).0, json!({ "quantity": quantity }), Some("key-1".to_owned()));
    let replies = behind_a_sale(&app, variant, vec![keyed(2), keyed(2), sale(variant, 1), keyed(3)]).await;
    let first = replies[0].clone().expect(200);
    let again = replies[1].clone().expect(200);
    assert!(!first.was_replayed() && again.was_replayed());
    assert_eq!(first.bytes, again.bytes);
    replies[2].clone().expect(200);
    assert_eq!(replies[3].clone().expect(422).code(), "idempotency_key_reused");
    assert_eq!(app.client.on_hand(variant).await, 10 - 1 - 2 - 1);
    assert_eq!(transactions(&app, variant, 3).await, 1);
    app.finish().await;
}

#[tokio::test]
async fn one_whom_the_database_refuses_fails_alone() {
    let app = TestApp::start().await;
    let variant = app.client.variant(10).await;
    sqlx::raw_sql(
        "CREATE FUNCTION refuse_poison() RETURNS trigger LANGUAGE plpgsql AS
         $$ BEGIN RAISE EXCEPTION 'poison'; END $$;
         CREATE TRIGGER poison_is_refused BEFORE INSERT ON stock_movements FOR EACH ROW
         WHEN (new.reason = 'poison') EXECUTE FUNCTION refuse_poison();",
    )
    .execute(&app.database.pool)
    .await
    .unwrap();
    let mut poison = sale(variant, 1);
    poison.1["reason"] = json!("poison");
    let replies =
        behind_a_sale(&app, variant, vec![sale(variant, 1), poison, sale(variant, 1), sale(variant, 1)])
            .await;
    let statuses: Vec<_> = replies.iter().map(|reply| reply.status.as_u16()).collect();
    assert_eq!(statuses, [200, 500, 200, 200]);
    assert_eq!(app.client.on_hand(variant).await, 10 - 4);
    app.finish().await;
}

#[tokio::test]
async fn one_for_whom_there_is_no_variant_is_told_so_and_the_rest_go_on() {
    let app = TestApp::start().await;
    let variant = app.client.variant(10).await;
    let body = order_body("ann", &[(variant, 1), (Uuid::from_u128(7), 1)]);
    let order = ("/orders".to_owned(), body, Some("key-1".to_owned()));
    let replies = behind_a_sale(&app, variant, vec![sale(variant, 1), order, sale(variant, 1)]).await;
    let statuses: Vec<_> = replies.iter().map(|reply| reply.status.as_u16()).collect();
    assert_eq!(statuses, [200, 404, 200]);
    assert_eq!(transactions(&app, variant, 3).await, 1, "the rest shared");
    let good = app.client.order("ann", "key-1", &[(variant, 1)]).await;
    assert_eq!(good.expect(201).json()["status"], "placed", "the key stayed free");
    app.finish().await;
}

#[tokio::test]
async fn a_late_retry_of_an_old_order_finds_it_and_leaves_its_section_to_the_others() {
    let app = TestApp::start().await;
    let variant = app.client.variant(10).await;
    let first = app.client.order("ann", "key-1", &[(variant, 1)]).await.expect(201).json();
    sqlx::query("DELETE FROM idempotency_keys WHERE key = 'key-1'")
        .execute(&app.database.pool)
        .await
        .unwrap();
    let again = ("/orders".to_owned(), order_body("ann", &[(variant, 1)]), Some("key-1".to_owned()));
    let replies = behind_a_sale(&app, variant, vec![sale(variant, 1), again, sale(variant, 1)]).await;
    let statuses: Vec<_> = replies.iter().map(|reply| reply.status.as_u16()).collect();
    assert_eq!(statuses, [200, 200, 200]);
    assert!(replies[1].was_replayed());
    assert_eq!(replies[1].json()["order_id"], first["order_id"]);
    assert_eq!(app.client.on_hand(variant).await, 10 - 1 - 3);
    assert_eq!(transactions(&app, variant, 4).await, 1, "the rest shared");
    app.finish().await;
}

#[tokio::test]
async fn a_section_that_waits_for_what_all_need_waits_for_nothing_else() {
    let app = TestApp::without_redis().await;
    let (hot, other) = (app.client.variant(10).await, app.client.variant(10).await);
    let first_holder = HeldRow::of(&app.database, hot).await;
    let others_holder = HeldRow::of(&app.database, other).await;
    let mut sent = Vec::new();
    let send = |call: (String, Value, Option<String>)| {
        let client = app.client.clone();
        tokio::spawn(async move { client.try_post(&call.0, &call.1, call.2.as_deref()).await.unwrap() })
    };
    sent.push(send(sale(hot, 1)));
    first_holder.until_wanted_by(1, &app.database.pool).await;
    // It comes second to the row, and so between the first section and the next.
    let database = app.database.url.clone();
    let second_holder = tokio::spawn(async move { HeldRow::at(&database, hot).await });
    first_holder.until_wanted_by(2, &app.database.pool).await;
    let order = ("/orders".to_owned(), order_body("ann", &[(hot, 1), (other, 1)]), Some("key-1".to_owned()));
    for call in [sale(hot, 1), order, sale(hot, 1)] {
        sent.push(send(call));
        let arrived = sent.len();
        eventually(SOON, "it has arrived", async || app.app.locks.in_line(hot) == arrived).await;
    }
    first_holder.let_go().await;
    let second_holder = second_holder.await.unwrap();
    second_holder.until_wanted_by(1, &app.database.pool).await;
    second_holder.let_go().await;
    let waits = sent.remove(2);
    for sale in sent {
        sale.await.unwrap().expect(200);
    }
    others_holder.until_wanted_by(1, &app.database.pool).await;
    others_holder.let_go().await;
    waits.await.unwrap().expect(201);
    assert_eq!((app.client.on_hand(hot).await, app.client.on_hand(other).await), (6, 9));
    app.finish().await;
}

#[tokio::test]
async fn one_who_hangs_up_before_its_section_begins_takes_nothing_from_it() {
    let app = TestApp::start().await;
    let variant = app.client.variant(10).await;
    let row = HeldRow::of(&app.database, variant).await;
    let first = app.client.clone();
    let first = tokio::spawn(async move { first.decrement(variant, 1).await });
    until_at_a_row(&app.database.pool, 1).await;
    let path = format!("/inventory/{variant}/decrement");
    let arrived =
        async |n| eventually(SOON, "it has arrived", async || app.app.locks.in_line(variant) == n).await;
    let gone = wire::send(&app.client, &path, &json!({"quantity": 5}), None).await.unwrap();
    arrived(2).await;
    let second = app.client.clone();
    let second = tokio::spawn(async move { second.decrement(variant, 1).await });
    arrived(3).await;
    drop(gone);
    arrived(2).await;
    row.let_go().await;
    first.await.unwrap().expect(200);
    second.await.unwrap().expect(200);
    assert_eq!(app.client.on_hand(variant).await, 8);
    // Nor does one whom all have left stay in line.
    let row = HeldRow::of(&app.database, variant).await;
    let first = app.client.clone();
    let first = tokio::spawn(async move { first.decrement(variant, 1).await });
    until_at_a_row(&app.database.pool, 1).await;
    let gone = wire::send(&app.client, &path, &json!({"quantity": 5}), None).await.unwrap();
    arrived(2).await;
    drop(gone);
    arrived(1).await;
    row.let_go().await;
    first.await.unwrap().expect(200);
    assert_eq!(app.client.on_hand(variant).await, 7);
    app.finish().await;
}
