//! The race with another program that uses the usual client on the published names.
//!
//! Without a take that respects whoever holds the key, Holdfast and the other program would both believe to be
//! alone; without a wait of its own limit, a request would hang as long as the stranger pleases.

use holdfast::ids;
use serde_json::json;

use super::SOON;
use crate::support::stranger::{inventory_lock, order_lock};
use crate::support::{Stranger, TestApp, TestDatabase, eventually, shared_redis, unique};

const SHORT_WAIT: &[(&str, &str)] = &[("HOLDFAST_LOCK_WAIT_MS", "300")];

async fn impatient() -> TestApp {
    TestApp::with(TestDatabase::fresh().await, Some(&shared_redis()), SHORT_WAIT).await
}

#[tokio::test]
async fn a_stranger_is_waited_for_and_not_deleted() {
    let app = TestApp::start().await;
    let redis = Stranger::at(&shared_redis()).await;
    let variant = app.client.variant(5).await;
    let key = inventory_lock(variant);
    // As random as ours, and no replica of ours behind it.
    let token = format!("{}{}", ids::token(), ids::token());
    assert!(redis.take(&key, &token).await);
    let client = app.client.clone();
    let sale = tokio::spawn(async move { client.decrement(variant, 1).await });
    eventually(SOON, "the sale stands in line", async || redis.line(&key).await.len() == 1).await;
    assert_eq!(redis.holder(&key).await, Some(token));
    assert!(!sale.is_finished());

    redis.delete(&key).await;
    let sold = sale.await.unwrap().expect(200);
    assert_eq!(sold.json()["lock"]["mode"], "two_layer");
    assert!(redis.line(&key).await.is_empty());
    app.finish().await;
}

#[tokio::test]
async fn a_variant_held_past_the_wait_is_429_and_nothing_is_written() {
    let app = impatient().await;
    let redis = Stranger::at(&shared_redis()).await;
    let variant = app.client.variant(5).await;
    let key = inventory_lock(variant);
    assert!(redis.take(&key, "a stranger").await);

    let refused = app.client.decrement(variant, 1).await.expect(429);
    assert_eq!(refused.code(), "lock_timeout");
    assert!(refused.header("retry-after").unwrap().parse::<u32>().unwrap() >= 1);
    let level = app.client.get(&format!("/inventory/{variant}")).await.json();
    assert_eq!((&level["on_hand"], &level["version"]), (&json!(5), &json!(1)));
    assert_eq!(redis.holder(&key).await.as_deref(), Some("a stranger"));
    eventually(SOON, "whoever gave up left the line", async || redis.line(&key).await.is_empty()).await;

    redis.delete(&key).await;
    app.client.decrement(variant, 1).await.expect(200);
    app.finish().await;
}

#[tokio::test]
async fn an_order_held_past_the_wait_is_in_flight_and_its_key_works_afterwards() {
    let app = impatient().await;
    let redis = Stranger::at(&shared_redis()).await;
    let (variant, user) = (app.client.variant(5).await, unique("user"));
    let key = order_lock(&user, "key-1");
    assert!(redis.take(&key, "a stranger").await);

    let refused = app.client.order(&user, "key-1", &[(variant, 1)]).await.expect(409);
    assert_eq!(refused.code(), "idempotency_in_flight");
    assert!(refused.header("retry-after").is_some());
    assert_eq!(app.client.on_hand(variant).await, 5);
    assert_eq!(redis.holder(&key).await.as_deref(), Some("a stranger"));
    // Another order of the same user is none of the stranger's business.
    app.client.order(&user, "key-2", &[(variant, 1)]).await.expect(201);

    redis.delete(&key).await;
    let placed = app.client.order(&user, "key-1", &[(variant, 1)]).await.expect(201);
    assert!(!placed.was_replayed());
    assert_eq!(app.client.on_hand(variant).await, 3);
    app.finish().await;
}
