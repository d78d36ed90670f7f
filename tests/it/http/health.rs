//! Whether the service lives and can serve.

use hyper::Method;
use serde_json::json;

use crate::support::{Client, Reply, TestApp};

async fn health(client: &Client, which: &str) -> Reply {
    client.with_key("").send(Method::GET, &format!("/health/{which}"), &[], "").await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_with_both_servers_is_live_and_ready() {
    let app = TestApp::start().await;
    assert_eq!(health(&app.client, "live").await.expect(200).json(), json!({"status": "live"}));
    assert_eq!(
        health(&app.client, "ready").await.expect(200).json(),
        json!({"status": "ready", "database": "up", "redis": "up", "lock_mode": "two_layer"})
    );
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_without_redis_by_choice_is_ready() {
    let app = TestApp::without_redis().await;
    assert_eq!(
        health(&app.client, "ready").await.expect(200).json(),
        json!({"status": "ready", "database": "up", "redis": "not_configured", "lock_mode": "database_only"})
    );
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_is_stopping_lives_and_is_not_ready() {
    let app = TestApp::without_redis().await;
    app.app.drain();
    let reply = health(&app.client, "ready").await.expect(503);
    assert_eq!(reply.json()["status"], "draining");
    health(&app.client, "live").await.expect(200);
    app.finish().await;
}
