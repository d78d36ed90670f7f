//! Cancelling orders.

use holdfast::http::auth::Scope;
use hyper::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::{Reply, TestApp, at_once, unique};

/// An order of these lines, as it was answered.
async fn ordered(app: &TestApp, lines: &[(Uuid, i64)]) -> Value {
    app.client.order("ann", &unique("order"), lines).await.expect(201).json()
}

fn path(order: &Value) -> String {
    format!("/orders/{}/cancel", order["order_id"].as_str().unwrap())
}

/// So many of some of its lines.
fn some(order: &Value, quantities: &[(usize, i64)]) -> Value {
    let lines: Vec<_> = quantities
        .iter()
        .map(|(line, quantity)| json!({"line_id": order["lines"][line]["line_id"], "quantity": quantity}))
        .collect();
    json!({"lines": lines})
}

/// The order without its lock, which is that of each answer's own write.
fn without_lock(mut order: Value) -> Value {
    order.as_object_mut().unwrap().remove("lock").unwrap();
    order
}

fn cancelled(order: &Value) -> Vec<i64> {
    order["lines"]
        .as_array()
        .unwrap()
        .iter()
        .map(|line| line["cancelled_quantity"].as_i64().unwrap())
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_order_gives_all_its_stock_back_as_returns() {
    for (app, mode) in
        [(TestApp::start().await, "two_layer"), (TestApp::without_redis().await, "database_only")]
    {
        let (a, b) = (app.client.variant(5).await, app.client.variant(5).await);
        let order = ordered(&app, &[(a, 2), (b, 5), (a, 1)]).await;
        let reply = app.client.post(&path(&order), &json!({"reason": "changed my mind"})).await.expect(200);
        let mut expected = order.clone();
        expected["status"] = json!("cancelled");
        for (line, quantity) in [2, 5, 1].into_iter().enumerate() {
            expected["lines"][line]["cancelled_quantity"] = json!(quantity);
        }
        expected["lock"] = json!({"mode": mode, "wait_ms": reply.json()["lock"]["wait_ms"]});
        assert_eq!(reply.json(), expected);
        assert_eq!(reply.header("lock-mode"), Some(mode));
        assert_eq!((app.client.on_hand(a).await, app.client.on_hand(b).await), (5, 5));
        let returned =
            app.client.get(&format!("/inventory/{b}/movements?limit=1")).await.json()["items"][0].clone();
        assert_eq!(
            [&returned["kind"], &returned["delta"], &returned["reason"], &returned["reference"]],
            [&json!("return"), &json!(5), &json!("changed my mind"), &order["order_id"]]
        );
        let read = app.client.get(&format!("/orders/{}", order["order_id"].as_str().unwrap())).await.json();
        assert_eq!(without_lock(read), without_lock(expected));
        app.finish().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn cancelling_twice_is_answered_the_same_and_returns_nothing_twice() {
    let app = TestApp::start().await;
    let id = app.client.variant(5).await;
    let order = ordered(&app, &[(id, 3)]).await;
    let first = app.client.post(&path(&order), &json!({})).await.expect(200);
    let movements = app.count("stock_movements").await;
    for body in [json!({}), json!({"reason": "again"}), json!({"lines": null})] {
        let again = app.client.post(&path(&order), &body).await.expect(200);
        assert_eq!(without_lock(again.json()), without_lock(first.json()));
    }
    assert_eq!((app.client.on_hand(id).await, app.count("stock_movements").await), (5, movements));
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancellation_needs_no_body_and_no_content_type() {
    let app = TestApp::without_redis().await;
    let id = app.client.variant(5).await;
    let order = ordered(&app, &[(id, 3)]).await;
    let path = format!("/api/v1{}", path(&order));
    let reply =
        app.client.send(Method::POST, &path, &[("idempotency-key", "c")], "").await.unwrap().expect(200);
    assert_eq!(reply.json()["status"], "cancelled");
    let again =
        app.client.send(Method::POST, &path, &[("idempotency-key", "c")], "").await.unwrap().expect(200);
    assert!(again.was_replayed() && again.bytes == reply.bytes);
    let again = app.client.post_keyed(&path["/api/v1".len()..], &json!({}), "c").await.expect(200);
    assert!(again.was_replayed() && again.bytes == reply.bytes, "no body is an empty one");
    assert_eq!(app.client.on_hand(id).await, 5);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_cancellation_by_line_again_returns_nothing_though_it_has_no_key() {
    for app in [TestApp::start().await, TestApp::without_redis().await] {
        let id = app.client.variant(10).await;
        let order = ordered(&app, &[(id, 4)]).await;
        let other = app.client_of("the other shop", &[Scope::Storefront]).await;
        let (path, one) = (path(&order), some(&order, &[(0, 1)]));
        let answers = at_once(4, |n| {
            let (client, path, one) = ([&app.client, &other][n % 2].clone(), path.clone(), one.clone());
            async move { client.post(&path, &one).await.expect(200).bytes }
        })
        .await;
        assert!(answers.iter().all(|answer| *answer == answers[0]), "one answer for all");
        assert_eq!(app.client.on_hand(id).await, 7);
        let in_default_words = json!({"lines": one["lines"], "reason": "order_cancelled"});
        assert!(app.client.post(&path, &in_default_words).await.expect(200).was_replayed());
        // Another one of the same line says so, by its reason or its key.
        let another = json!({"lines": one["lines"], "reason": "and one more"});
        assert_eq!(
            app.client.post(&path, &another).await.expect(200).json()["lines"][0]["cancelled_quantity"],
            2
        );
        app.client.post_keyed(&path, &one, "a-third").await.expect(200);
        assert_eq!(app.client.on_hand(id).await, 9);
        app.finish().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn part_of_an_order_is_cancelled_line_by_line_until_nothing_is_left() {
    let app = TestApp::start().await;
    let (a, b) = (app.client.variant(10).await, app.client.variant(10).await);
    let order = ordered(&app, &[(a, 4), (b, 3), (a, 2)]).await;
    for (part, status, of_each, on_hand) in [
        (some(&order, &[(0, 1)]), "partly_cancelled", [1, 0, 0], (5, 7)),
        (some(&order, &[(2, 2), (1, 1)]), "partly_cancelled", [1, 1, 2], (7, 8)),
        // A line named twice counts together.
        (some(&order, &[(0, 1), (0, 1)]), "partly_cancelled", [3, 1, 2], (9, 8)),
        (json!({"reason": "the rest"}), "cancelled", [4, 3, 2], (10, 10)),
    ] {
        let now = app.client.post(&path(&order), &part).await.expect(200).json();
        assert_eq!((now["status"].as_str(), cancelled(&now)), (Some(status), of_each.to_vec()));
        assert_eq!(now["total"], order["total"], "the total is as ordered");
        assert_eq!((app.client.on_hand(a).await, app.client.on_hand(b).await), on_hand);
    }
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn all_lines_cancelled_one_by_one_make_a_cancelled_order() {
    let app = TestApp::without_redis().await;
    let id = app.client.variant(10).await;
    let order = ordered(&app, &[(id, 4), (id, 1)]).await;
    let now = app.client.post(&path(&order), &some(&order, &[(0, 4), (1, 1)])).await.expect(200).json();
    assert_eq!(now["status"], "cancelled");
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn more_than_is_left_can_not_be_cancelled() {
    let app = TestApp::start().await;
    let id = app.client.variant(10).await;
    let order = ordered(&app, &[(id, 4), (id, 2)]).await;
    app.client.post(&path(&order), &some(&order, &[(0, 3)])).await.expect(200);
    for (part, errors) in [
        (some(&order, &[(1, 1), (0, 2)]), json!([["lines[1].quantity", 2, 1]])),
        (some(&order, &[(0, 1), (0, 1)]), json!([["lines[1].quantity", 2, 1]])),
        (
            some(&order, &[(1, 3), (0, 1_000_000_000)]),
            json!([["lines[0].quantity", 3, 2], ["lines[1].quantity", 1_000_000_000, 1]]),
        ),
    ] {
        let refused = app.client.post(&path(&order), &part).await.expect(409);
        assert_eq!(refused.code(), "cancel_exceeds_ordered");
        let problem = refused.json();
        let named: Vec<_> = problem["errors"]
            .as_array()
            .unwrap()
            .iter()
            .map(|error| json!([error["field"], error["requested"], error["available"]]))
            .collect();
        assert_eq!(json!(named), errors);
        assert_eq!(app.client.on_hand(id).await, 7);
    }
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_of_another_order_is_not_a_line_of_this_one() {
    let app = TestApp::without_redis().await;
    let id = app.client.variant(10).await;
    let order = ordered(&app, &[(id, 4)]).await;
    let other = app.client.order("bob", &unique("k"), &[(id, 1)]).await.expect(201).json();
    for line in [other["lines"][0]["line_id"].clone(), json!(Uuid::now_v7())] {
        let part = json!({"lines": [{"line_id": order["lines"][0]["line_id"], "quantity": 1}, {"line_id": line, "quantity": 1}]});
        let refused = app.client.post(&path(&order), &part).await.expect(422);
        assert_eq!(
            (refused.code().as_str(), &refused.json()["errors"][0]["field"]),
            ("validation_failed", &json!("lines[1].line_id"))
        );
    }
    let none = app.client.post(&path(&order), &json!({"lines": []})).await.expect(422);
    assert_eq!(none.json()["errors"][0]["field"], "lines");
    assert_eq!(app.client.on_hand(id).await, 5);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancellation_whose_stock_has_no_room_is_refused_whole_and_may_come_again() {
    let app = TestApp::start().await;
    let (full, other) = (app.client.variant(9_000_000_000_000).await, app.client.variant(5).await);
    let order = ordered(&app, &[(other, 2), (full, 3)]).await;
    app.client.post(&format!("/inventory/{full}/increment"), &json!({"quantity": 1})).await.expect(200);
    let before = app.everything().await;
    let refused = app.client.post_keyed(&path(&order), &json!({}), "cancel").await.expect(422);
    assert_eq!(refused.code(), "limit_exceeded");
    assert_eq!(app.everything().await, before);
    app.client.decrement(full, 1).await.expect(200);
    let done = app.client.post_keyed(&path(&order), &json!({}), "cancel").await.expect(200);
    assert!(!done.was_replayed());
    assert_eq!((app.client.on_hand(full).await, app.client.on_hand(other).await), (9_000_000_000_000, 5));
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_key_of_an_order_goes_on_answering_as_it_did_after_a_cancellation() {
    let app = TestApp::start().await;
    let (id, user) = (app.client.variant(5).await, unique("ann"));
    let placed = app.client.order(&user, "k", &[(id, 2)]).await.expect(201);
    app.client.post(&path(&placed.json()), &json!({})).await.expect(200);
    let again = app.client.order(&user, "k", &[(id, 2)]).await.expect(201);
    assert!(again.was_replayed() && again.bytes == placed.bytes);
    // When that answer is forgotten, the order is told as it is now, and nothing is bought again.
    app.age_answers().await;
    let late = app.client.order(&user, "k", &[(id, 2)]).await.expect(200);
    assert!(late.was_replayed());
    assert_eq!(
        (&late.json()["status"], &late.json()["order_id"]),
        (&json!("cancelled"), &placed.json()["order_id"])
    );
    assert_eq!(app.client.on_hand(id).await, 5);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_that_cancel_one_order_at_once_bring_its_stock_back_once() {
    for app in [TestApp::start().await, TestApp::without_redis().await] {
        let (a, b) = (app.client.variant(5).await, app.client.variant(5).await);
        let order = ordered(&app, &[(a, 5), (b, 2)]).await;
        let path = path(&order);
        let replies: Vec<Reply> = at_once(20, |caller| {
            let (client, path) = (app.client.clone(), path.clone());
            async move {
                // Half of them with a key of their own, as different callers would.
                let key = (caller % 2 == 0).then(|| format!("cancel-{caller}"));
                client.try_post(&path, &json!({}), key.as_deref()).await.unwrap()
            }
        })
        .await;
        let first = without_lock(replies[0].clone().expect(200).json());
        assert_eq!(first["status"], "cancelled");
        for reply in replies {
            assert_eq!(without_lock(reply.expect(200).json()), first);
        }
        assert_eq!((app.client.on_hand(a).await, app.client.on_hand(b).await), (5, 5));
        assert_eq!((app.count("order_cancellations").await, app.count("stock_movements").await), (2, 6));
        app.finish().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_twenty_that_cancel_one_unit_each_as_many_succeed_as_there_are_units() {
    for app in [TestApp::start().await, TestApp::without_redis().await] {
        let id = app.client.variant(7).await;
        let order = ordered(&app, &[(id, 7)]).await;
        let (path, one) = (path(&order), some(&order, &[(0, 1)]));
        let replies = at_once(20, |_| {
            let (client, path, one) = (app.client.clone(), path.clone(), one.clone());
            async move { client.post_keyed(&path, &one, &unique("one")).await }
        })
        .await;
        let done = replies.iter().filter(|reply| reply.status == 200).count();
        let refused = replies.iter().filter(|reply| reply.code() == "cancel_exceeds_ordered").count();
        assert_eq!((done, refused, app.client.on_hand(id).await), (7, 13, 7));
        app.finish().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn cancellations_and_new_orders_in_one_crowd_lose_no_unit() {
    for app in [TestApp::start().await, TestApp::without_redis().await] {
        let (a, b) = (app.client.variant(10).await, app.client.variant(10).await);
        let mut paths = Vec::new();
        for _ in 0..10 {
            let order = app.client.order("ann", &unique("k"), &[(a, 1), (b, 1)]).await.expect(201).json();
            paths.push(path(&order));
        }
        let replies = at_once(30, |runner| {
            let (client, path) = (app.client.clone(), paths[runner % 10].clone());
            async move {
                if runner < 10 {
                    return client.post(&path, &json!({})).await.expect(200);
                }
                client.order("bob", &unique("k"), &[(b, 1), (a, 1)]).await
            }
        })
        .await;
        let bought = replies.iter().filter(|reply| reply.status == 201).count() as i64;
        assert!(
            replies.iter().all(|reply| reply.status.is_success() || reply.code() == "insufficient_stock")
        );
        assert_eq!((app.client.on_hand(a).await, app.client.on_hand(b).await), (10 - bought, 10 - bought));
        app.finish().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_database_itself_refuses_more_than_was_ordered_and_a_second_return() {
    let app = TestApp::without_redis().await;
    let id = app.client.variant(10).await;
    let order = ordered(&app, &[(id, 4)]).await;
    app.client.post(&path(&order), &some(&order, &[(0, 3)])).await.expect(200);
    app.client.decrement(id, 1).await.expect(200);
    let next = "(SELECT version + 1 FROM stock)";
    let copied = "lock_mode, lock_wait_ms FROM stock_movements WHERE kind = 'return'";
    for (harm, constraint) in [
        ("UPDATE order_lines SET cancelled_quantity = 5".to_owned(), "cancelled_within_ordered"),
        ("UPDATE order_lines SET cancelled_quantity = -1".to_owned(), "cancelled_within_ordered"),
        (
            format!(
                "INSERT INTO stock_movements (movement_id, variant_id, version, kind, delta, on_hand_after, order_id,
                     source_id, subject, request_id, lock_mode, lock_wait_ms)
                 SELECT gen_random_uuid(), variant_id, {next}, kind, delta, on_hand_after, order_id, source_id, subject,
                     request_id, {copied}"
            ),
            "cancellation_returns_stock_once",
        ),
        (
            "INSERT INTO order_cancellations (cancellation_id, order_id, line_id, quantity, subject, request_id)
             SELECT gen_random_uuid(), gen_random_uuid(), line_id, 1, subject, request_id FROM order_cancellations"
                .to_owned(),
            "cancellation_has_a_line",
        ),
        (
            "INSERT INTO order_cancellations SELECT cancellation_id, order_id, line_id, 1, reason, subject, request_id
             FROM order_cancellations"
                .to_owned(),
            "order_cancellations_pkey",
        ),
    ] {
        let refused = sqlx::query(&harm).execute(&app.database.pool).await.unwrap_err();
        assert_eq!(refused.as_database_error().and_then(|error| error.constraint()), Some(constraint), "{harm}");
    }
    for kept in ["stock_movements", "early_cancellations", "webhook_replays"] {
        for harm in [format!("DELETE FROM {kept}"), format!("TRUNCATE {kept}")] {
            let refused = sqlx::query(&harm).execute(&app.database.pool).await.unwrap_err();
            assert!(refused.to_string().contains("append-only"), "{harm}: {refused}");
        }
    }
    app.finish().await;
}
