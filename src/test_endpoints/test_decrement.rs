//! `POST /test/inventory/test-decrement`: sells some units, as `POST /inventory/{variant_id}/decrement` does.
//! Refuses what that refuses, in the shape of its own answer.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;
use tokio::time::Instant;
use uuid::Uuid;

use super::given::Given;
use crate::app::App;
use crate::clock;
use crate::http::answer::Answer;
use crate::http::auth::Caller;
use crate::http::problem::Problem;
use crate::idempotency::Claim;
use crate::inventory::change::{StockChange, change};
use crate::inventory::model::{Occasion, Quantity};
use crate::inventory::rules::Change;
use crate::locks::LockMode;
use crate::text::Reason;

/// How it went.
#[derive(Debug, Serialize)]
struct Outcome {
    success: bool,
    message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<Value>,
    variant_id: Option<Uuid>,
    quantity_decremented: i64,
    duration_ms: f64,
    timestamp: DateTime<Utc>,
    lock_service_available: bool,
    lock: Value,
}

/// Sells. Every outcome has the same shape.
pub async fn test_decrement(State(app): State<Arc<App>>, caller: Caller, request: Request) -> Response {
    let started = Instant::now();
    let mut asked = Asked::default();
    let sold = sell(&app, &caller, request, &mut asked).await;
    let (status, body, retry_after) = match sold {
        Ok(answer) => (answer.status(), serde_json::from_slice(answer.body()).unwrap_or_default(), None),
        Err(problem) => {
            let body = serde_json::from_slice(&problem.render(&caller.request_id)).unwrap_or_default();
            (problem.code.status(), body, problem.retry_after)
        }
    };
    let outcome = asked.outcome(&app, status, &body, started);
    let mut response = (status, Json(outcome)).into_response();
    if let Some(pause) = retry_after {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(pause.as_secs().max(1)));
    }
    response
}

/// What is known of the request so far.
#[derive(Debug, Default)]
struct Asked {
    variant_id: Option<Uuid>,
    quantity: i64,
}

async fn sell(app: &App, caller: &Caller, request: Request, asked: &mut Asked) -> Result<Answer, Problem> {
    let (given, keyed) = Given::read(request).await?;
    let variant_id = given.variant_id()?;
    let quantity = given.quantity.or(Quantity::try_from(1).ok());
    let quantity = quantity.ok_or_else(|| Problem::invalid("quantity", "is required"))?;
    *asked = Asked { variant_id: Some(variant_id), quantity: quantity.get() };
    let reason = given.reason.or_else(|| Reason::try_from("test".to_owned()).ok());
    let cmd = StockChange {
        variant_id,
        change: Change::Sell(quantity),
        occasion: Occasion { reason, ..Occasion::default() },
        claim: keyed.map(|keyed| Claim::of_subject(&caller.principal.subject, keyed)),
    };
    Ok(change(app, caller, &cmd).await?)
}

impl Asked {
    fn outcome(&self, app: &App, status: StatusCode, body: &Value, started: Instant) -> Outcome {
        let success = status.is_success();
        let sold = if success { self.quantity } else { 0 };
        let why_not = body["detail"].as_str().unwrap_or("It was not done.");
        Outcome {
            success,
            message: if success { format!("Decremented by {sold}.") } else { why_not.to_owned() },
            code: body.get("code").cloned(),
            variant_id: self.variant_id,
            quantity_decremented: sold,
            duration_ms: started.elapsed().as_secs_f64() * 1_000.0,
            timestamp: clock::shown_now(),
            lock_service_available: app.locks.mode() == LockMode::TwoLayer,
            lock: body["lock"].clone(),
        }
    }
}
