//! What happened, and who is told of it.

use serde_json::Value;

use crate::support::TestApp;

mod append;
mod crash;
mod idle;
mod kills;
mod modes;
mod publish;
mod silent;
mod slow;
mod stream;

/// What was appended so far: kinds, and what they tell.
async fn appended(app: &TestApp) -> Vec<(String, Value)> {
    sqlx::query_as("SELECT kind, data::jsonb FROM events ORDER BY position")
        .fetch_all(&app.database.pool)
        .await
        .unwrap()
}
