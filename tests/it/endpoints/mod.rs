//! Other programs that are told by webhook: a receiver in the test takes, refuses, hangs and comes back.

use holdfast::endpoints::deliver::run_once;
use serde_json::{Value, json};

use crate::support::{Reply, TestApp, TestDatabase, eventually, shared_redis};

mod apart;
mod begin;
mod calls;
mod deliver;
mod gaps;
mod many;
pub mod receiver;
mod secure;
mod turns;

use receiver::Receiver;

/// However slow the machine is.
const SOON: std::time::Duration = std::time::Duration::from_secs(60);

/// A service that may send to this machine. It delivers when the test says so.
async fn start() -> TestApp {
    let settings = [("HOLDFAST_WEBHOOK_ALLOW_PRIVATE", "true")];
    TestApp::with(TestDatabase::fresh().await, Some(&shared_redis()), &settings).await
}

async fn register(app: &TestApp, url: &str, types: &[&str]) -> Value {
    app.client.post("/webhook-endpoints", &json!({"url": url, "types": types})).await.expect(201).json()
}

fn path(endpoint: &Value, rest: &str) -> String {
    format!("/webhook-endpoints/{}{rest}", endpoint["endpoint_id"].as_str().unwrap())
}

/// Delivers until this holds.
async fn deliver_until(app: &TestApp, what: &str, mut holds: impl AsyncFnMut() -> bool) {
    eventually(SOON, what, async || {
        run_once(&app.app).await.unwrap();
        holds().await
    })
    .await;
}

async fn deliveries(app: &TestApp, endpoint: &Value) -> Vec<Value> {
    let reply: Reply = app.client.get(&path(endpoint, "/deliveries?limit=1000")).await.expect(200);
    let mut items = reply.json()["items"].as_array().unwrap().clone();
    items.reverse();
    items
}

/// All pauses are over.
async fn time_passes(app: &TestApp) {
    sqlx::raw_sql(
        "UPDATE webhook_deliveries SET next_attempt_at = '2026-01-01' WHERE state = 'pending';
         UPDATE webhook_endpoints SET paused_until = '2026-01-01' WHERE paused_until IS NOT NULL",
    )
    .execute(&app.database.pool)
    .await
    .unwrap();
}
