//! What operators see and do. Each test has a Redis of its own, for what is looked at is everything that is in it.

mod alerts;
mod doctor;
mod lock_status;
mod metrics;
mod migrate;
mod process_status;
mod red;
mod release_lock;
mod traces;

use std::time::Duration;

use serde_json::Value;
use tokio::task::JoinHandle;
use uuid::Uuid;

use crate::support::row::until_at_a_row;
use crate::support::{Client, HeldRow, Private, Reply, TestApp, TestDatabase};

/// A limit for what should take no time: it only tells a hang from an answer.
const SOON: Duration = Duration::from_secs(15);

/// A service on `redis`.
async fn start(redis: &Private<holdfast::servers::Redis>) -> TestApp {
    TestApp::with(TestDatabase::fresh().await, Some(&redis.url()), &[]).await
}

/// What `GET /locks/status` says.
async fn status(client: &Client) -> Value {
    client.get("/locks/status").await.expect(200).json()
}

/// The lock of this name, if the status has it.
fn lock<'a>(status: &'a Value, key: &str) -> Option<&'a Value> {
    status["locks"].as_array().unwrap().iter().find(|lock| lock["key"] == key)
}

/// A sale that stands at its row, in the middle of its section, until the row is let go.
async fn open_section(app: &TestApp, variant: Uuid) -> (HeldRow, JoinHandle<Reply>) {
    let row = HeldRow::of(&app.database, variant).await;
    let client = app.client.clone();
    let sale = tokio::spawn(async move { client.decrement(variant, 1).await });
    until_at_a_row(&app.database.pool, 1).await;
    (row, sale)
}
