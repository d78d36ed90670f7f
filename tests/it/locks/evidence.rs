//! What a write says about its lock, in four places, must be one thing: the body, the headers, the movement and
//! the order. Else nobody can tell afterwards what protected a write.

use serde_json::{Value, json};

use super::SOON;
use crate::support::stranger::inventory_lock;
use crate::support::{Reply, Stranger, TestApp, eventually, shared_redis, unique};

/// The lock's story as headers and body tell it.
fn told(reply: &Reply) -> Value {
    let lock = reply.json()["lock"].clone();
    assert_eq!(reply.header("lock-mode"), lock["mode"].as_str());
    let wait = lock["wait_ms"].as_i64().unwrap();
    assert_eq!(reply.header("lock-wait-ms"), Some(wait.to_string().as_str()));
    let timing = reply.header("server-timing").unwrap();
    assert!(timing.starts_with(&format!("lock;dur={wait}, db;dur=")), "{timing}");
    lock
}

#[tokio::test]
async fn body_headers_movement_and_order_tell_the_same_of_the_lock_in_both_modes() {
    for (app, mode) in
        [(TestApp::start().await, "two_layer"), (TestApp::without_redis().await, "database_only")]
    {
        let variant = app.client.variant(10).await;
        let sold = app.client.decrement(variant, 1).await.expect(200);
        let order = app.client.order(&unique("user"), "key-1", &[(variant, 2)]).await.expect(201);
        assert_eq!(told(&sold)["mode"], mode);
        assert_eq!(told(&order)["mode"], mode);

        let movements = app.client.get(&format!("/inventory/{variant}/movements")).await.json();
        assert_eq!(movements["items"][0]["lock"], told(&order));
        assert_eq!(movements["items"][1]["lock"], told(&sold));
        let path = format!("/orders/{}", order.json()["order_id"].as_str().unwrap());
        assert_eq!(app.client.get(&path).await.json()["lock"], told(&order));
        app.finish().await;
    }
}

#[tokio::test]
async fn the_wait_that_is_told_is_the_wait_that_was() {
    let app = TestApp::start().await;
    let redis = Stranger::at(&shared_redis()).await;
    let variant = app.client.variant(10).await;
    let key = inventory_lock(variant);
    assert!(redis.take(&key, "a stranger").await);
    let (client, sent) = (app.client.clone(), tokio::time::Instant::now());
    let path = format!("/inventory/{variant}/decrement");
    let sale = tokio::spawn(async move { client.post(&path, &json!({"quantity": 1})).await });
    eventually(SOON, "it stands in line", async || redis.line(&key).await.len() == 1).await;
    let in_line = tokio::time::Instant::now();
    eventually(SOON, "a while has passed", async || in_line.elapsed().as_millis() > 150).await;
    redis.delete(&key).await;
    let sold = sale.await.unwrap().expect(200);
    let wait = told(&sold)["wait_ms"].as_u64().unwrap();
    assert!((150..=sent.elapsed().as_millis() as u64).contains(&wait), "{wait}");
    let movements = app.client.get(&format!("/inventory/{variant}/movements")).await.json();
    assert_eq!(movements["items"][0]["lock"], told(&sold));
    app.finish().await;
}
