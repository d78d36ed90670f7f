//! Whether the process lives, and whether it can serve. Open to anyone; says no more than it must.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::Serialize;

use super::api::{Group, get};
use crate::app::App;
use crate::locks::{BreakerState, LockMode};

/// That the process answers.
#[derive(Serialize, JsonSchema)]
struct Live {
    /// `live`
    status: &'static str,
}

/// Whether the process can serve.
#[derive(Serialize, JsonSchema)]
struct Ready {
    /// `ready`, `not_ready` or `draining`
    status: &'static str,
    /// `up` or `down`
    database: &'static str,
    /// `up`, `down` or `not_configured`
    redis: &'static str,
    /// How leases are given.
    lock_mode: LockMode,
}

/// The calls of health, which need no key.
#[must_use]
pub fn routes() -> Group {
    let ready = "Only while the database is away or the process is draining.";
    Group::new("Health", "Whether the process lives, and whether it can serve.", &[])
        .at_the_root()
        .with(
            get("/health/live", "health.live", live)
                .says("Ask whether the process lives", "")
                .open()
                .answers::<Live>(200, "It does."),
        )
        .with(
            get("/health/ready", "health.ready", self::ready)
                .says("Ask whether the process can serve", "Without Redis it can: its answers are the same.")
                .open()
                .answers::<Ready>(200, "It can.")
                .answers::<Ready>(503, ready),
        )
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
