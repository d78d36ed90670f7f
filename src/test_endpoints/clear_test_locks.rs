//! `POST /test/locks/clear-test-locks`: ends every hold of the test endpoints, here at once and at other replicas within
//! a second. Touches no other lock: only the very tokens that test endpoints took.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::given::{self, Asked};
use crate::app::App;
use crate::clock;
use crate::db::DbError;
use crate::http::answer::Answer;
use crate::http::auth::Caller;
use crate::http::problem::Problem;
use crate::idempotency::{self, Claim};
use crate::operations::OperationsError;

/// It takes no fields.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "ClearTestLocks")]
pub struct Given {}

impl given::Given for Given {
    const CALL: &str = "clear-test-locks";

    fn or(self, _: Self) -> Self {
        self
    }
}

/// What was done.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "TestLocksCleared")]
pub struct Cleared {
    success: bool,
    message: &'static str,
    total_active_locks_before: usize,
    locks_cleared: usize,
    timestamp: DateTime<Utc>,
}

/// # Errors
/// [`Problem`] if the request can't be read or its key refuses.
pub async fn clear_test_locks(
    State(app): State<Arc<App>>,
    caller: Caller,
    Asked(Given {}, keyed): Asked<Given>,
) -> Result<Answer, Problem> {
    // Without a key to keep the answer with, it works without Postgres too.
    let Some(keyed) = keyed else { return Ok(Answer::json(StatusCode::OK, &clear(&app).await)) };
    let claim = Claim::of_subject(&caller.principal.subject, keyed);
    let mut tx = app.db.begin().await?;
    if let Some(first) = idempotency::begin_in_tx::<OperationsError>(&mut tx, Some(&claim)).await? {
        return Ok(first);
    }
    let done: Result<_, OperationsError> = Ok(clear(&app).await);
    let answer =
        idempotency::finish_in_tx(&mut tx, Some(&claim), &caller.request_id, StatusCode::OK, done).await?;
    tx.commit().await.map_err(DbError::from)?;
    Ok(answer)
}

async fn clear(app: &App) -> Cleared {
    let total_active_locks_before = app.locks.status().await.total_active_locks;
    let here = match &app.test_holds {
        Some(holds) => holds.clear().await,
        None => 0,
    };
    // What is left now is other replicas', or a dead one's.
    let elsewhere = app.locks.break_test_locks().await;
    let message = match elsewhere {
        Some(_) => "All locks of the test endpoints were let go.",
        None => "Those of this replica were let go; Redis can't be asked about others.",
    };
    let locks_cleared = here + elsewhere.unwrap_or_default();
    Cleared {
        success: true,
        message,
        total_active_locks_before,
        locks_cleared,
        timestamp: clock::shown_now(),
    }
}
