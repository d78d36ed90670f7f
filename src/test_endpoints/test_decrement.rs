//! `POST /test/inventory/test-decrement`: sells some units, as `POST /inventory/{variant_id}/decrement` does.
//! Refuses what that refuses, in the shape of its own answer.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sqlx::PgConnection;
use tokio::time::Instant;
use uuid::Uuid;

use super::given::{self, required};
use crate::app::App;
use crate::clock;
use crate::http::answer::Answer;
use crate::http::auth::Caller;
use crate::http::problem::{Code, Problem};
use crate::idempotency::Claim;
use crate::inventory::StockError;
use crate::inventory::change::{StockChange, change_in_tx};
use crate::inventory::model::{Occasion, Quantity, Witness};
use crate::inventory::rules::Change;
use crate::locks::{Evidence, LockKeys, LockMode};
use crate::section::{Section, Verb};
use crate::text::Reason;

/// The reason that the movement is written with unless another is given.
const REASON: &str = "test";

/// What to sell.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(rename = "TestDecrementAsked")]
pub struct Given {
    variant_id: Option<Uuid>,
    quantity: Option<Quantity>,
    reason: Option<Reason>,
}

impl given::Given for Given {
    const CALL: &str = "test-decrement";

    fn or(self, query: Self) -> Self {
        Self {
            variant_id: self.variant_id.or(query.variant_id),
            quantity: self.quantity.or(query.quantity),
            reason: self.reason.or(query.reason),
        }
    }
}

/// How it went.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "TestDecrement")]
pub struct Outcome {
    success: bool,
    message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Code>")]
    code: Option<&'static str>,
    variant_id: Option<Uuid>,
    quantity_decremented: i64,
    duration_ms: f64,
    timestamp: DateTime<Utc>,
    lock_service_available: bool,
    lock: Option<Evidence>,
}

/// What is known of the request so far.
#[derive(Debug, Clone, Copy)]
struct Asked {
    variant_id: Option<Uuid>,
    since: Instant,
}

/// The sale. Its outcome, a refusal too, is kept with the request's key in the shape that was answered.
#[derive(Debug)]
struct Sale {
    asked: Asked,
    quantity: Quantity,
    change: StockChange,
}

/// Sells. Every outcome has the same shape.
pub async fn test_decrement(
    State(app): State<Arc<App>>,
    caller: Caller,
    asked: Result<given::Asked<Given>, Problem>,
) -> Response {
    let variant_id = asked.as_ref().ok().and_then(|given::Asked(given, _)| given.variant_id);
    let this = Asked { variant_id, since: Instant::now() };
    let outcome = match asked {
        Ok(asked) => sell(&app, &caller, asked, this).await,
        Err(problem) => Err(problem),
    };
    match outcome {
        Ok(answer) => respond(answer),
        Err(problem) => {
            let outcome = Outcome {
                lock_service_available: app.locks.mode() == LockMode::TwoLayer,
                ..this.refused(&problem)
            };
            let mut response = (problem.code.status(), Json(outcome)).into_response();
            if let Some(pause) = problem.retry_after {
                let pause = HeaderValue::from(pause.as_secs().max(1));
                response.headers_mut().insert(header::RETRY_AFTER, pause);
            }
            response
        }
    }
}

async fn sell(
    app: &App,
    caller: &Caller,
    given::Asked(given, keyed): given::Asked<Given>,
    asked: Asked,
) -> Result<Answer, Problem> {
    let variant_id = required(given.variant_id)?;
    let one = || Quantity::try_from(1).map_err(|rule| Problem::invalid("quantity", rule));
    let quantity = given.quantity.map_or_else(one, Ok)?;
    let reason = given.reason.or_else(|| Reason::try_from(REASON.to_owned()).ok());
    let change = StockChange {
        variant_id,
        change: Change::Sell(quantity),
        occasion: Occasion { reason, ..Occasion::default() },
        claim: keyed.map(|keyed| Claim::of_subject(&caller.principal.subject, keyed)),
    };
    let sale = Sale { asked, quantity, change };
    let section = Section { app, caller, claim: sale.change.claim.as_ref(), success: StatusCode::OK };
    Ok(section.run(&LockKeys::variant(variant_id), &sale).await?)
}

/// A refusal was kept as an outcome like another: here it gets its status.
fn respond(answer: Answer) -> Response {
    #[derive(Deserialize)]
    struct Kept {
        success: bool,
    }
    let was_sold = serde_json::from_slice::<Kept>(answer.body()).is_ok_and(|kept| kept.success);
    let mut response = answer.into_response();
    if !was_sold {
        *response.status_mut() = Code::InsufficientStock.status();
    }
    response
}

impl Verb for Sale {
    type Done = Outcome;
    type Error = StockError;

    async fn in_tx(&self, conn: &mut PgConnection, witness: Witness<'_>) -> Result<Outcome, StockError> {
        let lock = witness.lock;
        let outcome = match change_in_tx(conn, &self.change, witness).await {
            Ok(_) => self.asked.sold(self.quantity),
            Err(StockError::Refused(refusal)) if refusal.code().is_refusal() => {
                self.asked.refused(&refusal.problem())
            }
            Err(fault) => return Err(fault),
        };
        let lock_service_available = lock.mode == LockMode::TwoLayer;
        Ok(Outcome { lock_service_available, lock: Some(lock), ..outcome })
    }
}

impl Asked {
    fn sold(&self, quantity: Quantity) -> Outcome {
        let quantity = quantity.get();
        self.outcome(true, format!("Decremented by {quantity}."), None, quantity)
    }

    fn refused(&self, problem: &Problem) -> Outcome {
        self.outcome(false, problem.detail.clone(), Some(problem.code.as_str()), 0)
    }

    fn outcome(&self, success: bool, message: String, code: Option<&'static str>, sold: i64) -> Outcome {
        Outcome {
            success,
            message,
            code,
            variant_id: self.variant_id,
            quantity_decremented: sold,
            duration_ms: self.since.elapsed().as_secs_f64() * 1_000.0,
            timestamp: clock::shown_now(),
            lock_service_available: false,
            lock: None,
        }
    }
}
