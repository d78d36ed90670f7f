//! Whether the process lives, and whether it can serve. Open to anyone; says no more than it must.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::app::App;
use crate::locks::{BreakerState, LockMode};

#[derive(Serialize)]
struct Live {
    status: &'static str,
}

#[derive(Serialize)]
struct Ready {
    status: &'static str,
    database: &'static str,
    redis: &'static str,
    lock_mode: LockMode,
}

/// `GET /health/live`: the process answers.
pub async fn live() -> Response {
    Json(Live { status: "live" }).into_response()
}

/// `GET /health/ready`: 503 only while the database is away or the process is draining. Without Redis the
/// service is ready: its answers are the same.
pub async fn ready(State(app): State<Arc<App>>) -> Response {
    let database_up = app.db.is_up().await;
    let redis = match app.locks.breaker().map(|breaker| breaker.state()) {
        None => "not_configured",
        Some(BreakerState::Closed) => "up",
        Some(BreakerState::Open | BreakerState::HalfOpen) => "down",
    };
    let (status, code) = match (app.is_draining(), database_up) {
        (true, _) => ("draining", StatusCode::SERVICE_UNAVAILABLE),
        (false, false) => ("not_ready", StatusCode::SERVICE_UNAVAILABLE),
        (false, true) => ("ready", StatusCode::OK),
    };
    let database = if database_up { "up" } else { "down" };
    (code, Json(Ready { status, database, redis, lock_mode: app.locks.mode() })).into_response()
}
