//! `POST /test/locks/clear-test-locks`: ends every hold of the test endpoints, here and at other replicas.
//! Touches no other lock: only the very tokens that test endpoints took.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::app::App;
use crate::clock;

/// What was done.
#[derive(Debug, Serialize)]
pub struct Cleared {
    success: bool,
    message: String,
    total_active_locks_before: usize,
    locks_cleared: usize,
    timestamp: DateTime<Utc>,
}

/// Clears.
pub async fn clear_test_locks(State(app): State<Arc<App>>) -> Json<Cleared> {
    let total_active_locks_before = app.locks.status().await.total_active_locks;
    let here = match &app.test_holds {
        Some(holds) => holds.clear().await,
        None => 0,
    };
    // What is left now is other replicas', or a dead one's.
    let elsewhere = app.locks.break_test_locks().await;
    let (success, message) = match elsewhere {
        Some(_) => (true, "All locks of the test endpoints were let go."),
        None => (true, "Those of this replica were let go; Redis can't be asked about others."),
    };
    let locks_cleared = here + elsewhere.unwrap_or_default();
    let (message, timestamp) = (message.to_owned(), clock::shown_now());
    Json(Cleared { success, message, total_active_locks_before, locks_cleared, timestamp })
}
