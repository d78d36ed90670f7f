//! A key that is used for another request: it is told where the two differ, and nothing of what the first one said.

use holdfast::idempotency::outline::OUTLINE_MAX_BYTES;
use serde_json::{Value, json};

use super::idempotency::calls;
use crate::support::client::order_body;
use crate::support::{Reply, TestApp, unique};

/// What the answer names, in its order.
fn named(reply: &Reply) -> Vec<String> {
    let errors = reply.json()["errors"].as_array().cloned().unwrap_or_default();
    errors.iter().map(|error| error["field"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_call_names_the_fields_that_differ() {
    let app = TestApp::start().await;
    let calls = calls(&app).await;
    for call in &calls {
        let key = call.name.replace(' ', "-");
        call.make(&app.client, &key).await;
        let other = app.client.post_keyed(&call.path, &call.other, &key).await.expect(422);
        let expected = match call.name {
            "adjust" => "delta",
            "atomic" | "independent" => "operations[1]",
            "check stock" => "[0].quantity",
            "create variant" => "sku",
            "extend" => "ttl_seconds",
            "decrement" | "increment" => "quantity",
            _ => "lines[0].quantity",
        };
        assert_eq!(
            (other.code().as_str(), named(&other)),
            ("idempotency_key_reused", vec![expected.to_owned()])
        );
    }
    let (decrement, increment) = (&calls[0], &calls[1]);
    decrement.make(&app.client, "key").await;
    let elsewhere = app.client.post_keyed(&increment.path, &decrement.body, "key").await.expect(422);
    assert_eq!(named(&elsewhere), ["path"]);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_only_one_of_the_two_has_is_named_and_no_value_is_told() {
    let app = TestApp::without_redis().await;
    let id = app.client.variant(5_000).await;
    let secret = "ann@example.org";
    let mut first = order_body(secret, &[(id, 4_711), (id, 1)]);
    first["currency"] = json!("EUR");
    app.client.post_keyed("/holds", &first, "key").await.expect(201);
    let mut other = order_body("bob", &[(id, 1), (id, 1), (id, 1)]);
    other["ttl_seconds"] = json!(60);
    let reply = app.client.post_keyed("/holds", &other, "key").await.expect(422);
    let found = ["currency", "lines[0].quantity", "lines[2]", "ttl_seconds", "user_id"];
    assert_eq!(named(&reply), found);
    let text = String::from_utf8(reply.bytes.to_vec()).unwrap();
    assert!(!text.contains(secret) && !text.contains("4711") && !text.contains("EUR"), "{text}");
    let kept: String = sqlx::query_scalar("SELECT outline FROM idempotency_keys WHERE key = 'key'")
        .fetch_one(&app.database.pool)
        .await
        .unwrap();
    assert!(!kept.contains(secret) && !kept.contains(&id.to_string()), "{kept}");
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_of_which_no_outline_is_kept_is_told_from_another_all_the_same() {
    let app = TestApp::without_redis().await;
    let (id, user) = (app.client.variant(50).await, unique("ann"));
    let path = format!("/inventory/{id}/decrement");
    app.client.post_keyed(&path, &json!({"quantity": 1}), "old").await.expect(200);
    app.client.order(&user, "order", &[(id, 1)]).await.expect(201);
    sqlx::query("UPDATE idempotency_keys SET outline = NULL").execute(&app.database.pool).await.unwrap();
    let none = Vec::<String>::new();
    let other = app.client.post_keyed(&path, &json!({"quantity": 2}), "old").await.expect(422);
    assert_eq!((other.code().as_str(), named(&other)), ("idempotency_key_reused", none.clone()));
    // An order's key outlives its answer, and the outline with it.
    app.age_answers().await;
    let late = app.client.order(&user, "order", &[(id, 2)]).await.expect(422);
    assert_eq!((late.code().as_str(), named(&late)), ("idempotency_key_reused", none));
    assert!(app.client.order(&user, "order", &[(id, 1)]).await.expect(200).was_replayed());
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_longest_order_keeps_a_short_outline_that_still_finds_the_line() {
    let app = TestApp::without_redis().await;
    let (id, user) = (app.client.variant(5_000).await, unique("ann"));
    let mut body = order_body(&user, &vec![(id, 1); 2_000]);
    app.client.post_keyed("/orders", &body, "key").await.expect(201);
    let bytes: i32 = sqlx::query_scalar("SELECT octet_length(outline) FROM idempotency_keys")
        .fetch_one(&app.database.pool)
        .await
        .unwrap();
    assert!(bytes as usize <= OUTLINE_MAX_BYTES, "{bytes}");
    body["lines"][1_234]["quantity"] = json!(2);
    let other = app.client.post_keyed("/orders", &body, "key").await.expect(422);
    assert_eq!(named(&other), ["lines[1234]"]);
    let lines: &mut Vec<Value> = body["lines"].as_array_mut().unwrap();
    lines.iter_mut().for_each(|line| line["quantity"] = json!(3));
    let other = app.client.post_keyed("/orders", &body, "key").await.expect(422);
    assert_eq!(named(&other).len(), 20, "and no more are named");
    app.finish().await;
}
