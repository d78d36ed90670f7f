//! Asking what became of an order's key.

use hyper::StatusCode;
use serde_json::{Value, json};

use crate::support::books::claim;
use crate::support::client::order_body;
use crate::support::{TestApp, at_once, unique};

async fn look_up(app: &TestApp, key: &str, user: &str) -> Value {
    app.client.get(&format!("/idempotency-keys/{key}?user_id={user}")).await.expect(200).json()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_key_of_a_placed_order_is_stored_and_knows_the_order() {
    let ann = unique("ann");
    for app in [TestApp::start().await, TestApp::without_redis().await] {
        let id = app.client.variant(5).await;
        let order = app.client.order(&ann, "k", &[(id, 1)]).await.expect(201).json();
        let seen = look_up(&app, "k", &ann).await;
        assert_eq!(
            seen,
            json!({"state": "stored", "status": 201, "order_id": order["order_id"], "first_seen": seen["first_seen"]})
        );
        assert!(seen["first_seen"].as_str().unwrap().ends_with('Z'));
        for other in [
            "/idempotency-keys/k?user_id=bob",
            &format!("/idempotency-keys/other?user_id={ann}"),
            "/idempotency-keys/k",
        ] {
            assert_eq!(
                app.client.get(other).await.expect(404).code(),
                "idempotency_key_not_found",
                "{other}"
            );
        }
        app.finish().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_key_of_a_refused_order_is_stored_without_an_order() {
    let ann = unique("ann");
    let app = TestApp::start().await;
    let id = app.client.variant(0).await;
    app.client.order(&ann, "k", &[(id, 1)]).await.expect(409);
    let seen = look_up(&app, "k", &ann).await;
    assert_eq!(
        (&seen["state"], &seen["status"], &seen["order_id"]),
        (&json!("stored"), &json!(409), &Value::Null)
    );
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_looks_up_its_own_keys_without_naming_a_user() {
    let app = TestApp::without_redis().await;
    let id = app.client.variant(5).await;
    app.client
        .post_keyed(&format!("/inventory/{id}/decrement"), &json!({"quantity": 1}), "mine")
        .await
        .expect(200);
    let seen = app.client.get("/idempotency-keys/mine").await.expect(200).json();
    assert_eq!(
        seen,
        json!({"state": "stored", "status": 200, "order_id": null, "first_seen": seen["first_seen"]})
    );
    assert_eq!(
        app.client.get("/idempotency-keys/mine?user_id=admin").await.expect(404).code(),
        "idempotency_key_not_found"
    );
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_whose_request_has_not_ended_is_in_flight_and_free_again_if_it_never_does() {
    let ann = unique("ann");
    for app in [TestApp::start().await, TestApp::without_redis().await] {
        let id = app.client.variant(5).await;
        let mut first = app.database.pool.begin().await.unwrap();
        claim(&mut first, &format!("user:{ann}"), "k").await;
        claim(&mut first, "subject:admin", "k").await;
        for path in [&format!("/idempotency-keys/k?user_id={ann}"), "/idempotency-keys/k"] {
            let seen = app.client.get(path).await.expect(200).json();
            assert_eq!(
                seen,
                json!({"state": "in_flight", "status": null, "order_id": null, "first_seen": null})
            );
        }
        assert_eq!(app.client.get("/idempotency-keys/k?user_id=bob").await.status, StatusCode::NOT_FOUND);
        // The first request dies. Nothing has to expire.
        first.rollback().await.unwrap();
        assert_eq!(
            app.client.get(&format!("/idempotency-keys/k?user_id={ann}")).await.status,
            StatusCode::NOT_FOUND
        );
        let order = app.client.order(&ann, "k", &[(id, 1)]).await.expect(201);
        assert!(!order.was_replayed());
        app.finish().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_waits_for_the_first_one_with_its_key_and_goes_on_if_that_dies() {
    let ann = unique("ann");
    for app in [TestApp::start().await, TestApp::without_redis().await] {
        let id = app.client.variant(5).await;
        let mut first = app.database.pool.begin().await.unwrap();
        claim(&mut first, &format!("user:{ann}"), "k").await;
        let (client, user) = (app.client.clone(), ann.clone());
        let second = tokio::spawn(async move { client.order(&user, "k", &[(id, 1)]).await });
        app.until_somebody_waits_for_a_row().await;
        assert_eq!(look_up(&app, "k", &ann).await["state"], "in_flight");
        assert!(!second.is_finished());
        first.rollback().await.unwrap();
        let order = second.await.unwrap().expect(201);
        assert!(!order.was_replayed());
        assert_eq!(look_up(&app, "k", &ann).await["order_id"], order.json()["order_id"]);
        app.finish().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_waited_too_long_for_the_first_one_is_told_so_and_did_nothing() {
    let ann = unique("ann");
    let app = TestApp::start().await;
    let id = app.client.variant(5).await;
    let mut first = app.database.pool.begin().await.unwrap();
    claim(&mut first, &format!("user:{ann}"), "k").await;
    let refused = app.client.order(&ann, "k", &[(id, 1)]).await.expect(409);
    assert_eq!(
        (refused.code().as_str(), refused.header("retry-after")),
        ("idempotency_in_flight", Some("1"))
    );
    first.rollback().await.unwrap();
    assert_eq!(app.count("orders").await, 0);
    assert!(!app.client.order(&ann, "k", &[(id, 1)]).await.expect(201).was_replayed());
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_day_the_answer_is_forgotten_and_the_order_is_not() {
    let ann = unique("ann");
    for app in [TestApp::start().await, TestApp::without_redis().await] {
        let id = app.client.variant(5).await;
        let order = app.client.order(&ann, "k", &[(id, 1)]).await.expect(201).json();
        app.age_answers().await;
        let seen = look_up(&app, "k", &ann).await;
        assert_eq!(
            seen,
            json!({"state": "expired", "status": null, "order_id": order["order_id"], "first_seen": seen["first_seen"]})
        );

        let other = app.client.order(&ann, "k", &[(id, 2)]).await.expect(422);
        assert_eq!(other.code(), "idempotency_key_reused");

        let late = app.client.order(&ann, "k", &[(id, 1)]).await.expect(200);
        assert!(late.was_replayed());
        assert_eq!(late.json(), order);
        let later = app.client.order(&ann, "k", &[(id, 1)]).await.expect(200);
        assert!(later.was_replayed() && later.bytes == late.bytes);
        assert_eq!((app.client.on_hand(id).await, app.count("orders").await), (4, 1));
        app.finish().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_is_known_by_its_key_even_when_the_answers_row_is_gone() {
    let ann = unique("ann");
    let app = TestApp::without_redis().await;
    let id = app.client.variant(5).await;
    let order = app.client.order(&ann, "k", &[(id, 1)]).await.expect(201).json();
    sqlx::query("DELETE FROM idempotency_keys").execute(&app.database.pool).await.unwrap();
    assert_eq!(
        look_up(&app, "k", &ann).await,
        json!({"state": "expired", "status": null, "order_id": order["order_id"], "first_seen": order["placed_at"]})
    );
    let other = app.client.order(&ann, "k", &[(id, 2)]).await.expect(422);
    assert_eq!(other.code(), "idempotency_key_reused");
    let late = app.client.order(&ann, "k", &[(id, 1)]).await.expect(200);
    assert!(late.was_replayed());
    assert_eq!(late.json(), order);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_late_retries_at_once_find_the_one_order() {
    let ann = unique("ann");
    for app in [TestApp::start().await, TestApp::without_redis().await] {
        let id = app.client.variant(5).await;
        let order = app.client.order(&ann, "k", &[(id, 1)]).await.expect(201).json();
        app.age_answers().await;
        let replies = at_once(20, |_| {
            let (client, body) = (app.client.clone(), order_body(&ann, &[(id, 1)]));
            async move { client.post_keyed("/orders", &body, "k").await }
        })
        .await;
        for reply in replies {
            assert!(reply.was_replayed());
            assert_eq!(reply.expect(200).json(), order);
        }
        assert_eq!((app.client.on_hand(id).await, app.count("orders").await), (4, 1));
        app.finish().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_key_or_no_user_is_refused() {
    let ann = unique("ann");
    let app = TestApp::without_redis().await;
    for path in [
        "/idempotency-keys/a%20b",
        "/idempotency-keys/%C3%A9",
        &format!("/idempotency-keys/{}", "k".repeat(256)),
    ] {
        assert_eq!(app.client.get(path).await.expect(400).code(), "idempotency_key_invalid", "{path}");
    }
    for path in ["/idempotency-keys/k?user_id=", "/idempotency-keys/k?user_id=a%20b"] {
        let reply = app.client.get(path).await.expect(422);
        assert_eq!(
            (reply.code().as_str(), &reply.json()["errors"][0]["field"]),
            ("validation_failed", &json!("user_id"))
        );
    }
    // A key is a key, whatever characters a path would mind.
    let id = app.client.variant(5).await;
    app.client.order(&ann, "a/b?c=%41&\"d\"", &[(id, 1)]).await.expect(201);
    assert_eq!(look_up(&app, "a%2Fb%3Fc%3D%2541%26%22d%22", &ann).await["state"], "stored");
    app.finish().await;
}
