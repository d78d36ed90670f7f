//! The ways a hold can be refused, or fail to be reached.

use std::time::Duration;

use axum::response::{IntoResponse, Response};

use super::model::{HoldState, LIVE_HOLDS_MAX};
use super::rules::Refusal;
use crate::db::{Collides, DbError};
use crate::http::problem::{Code, FieldError, Problem};
use crate::idempotency::{IdempotencyError, Refuses};
use crate::inventory::rules::Refusal as StockRefusal;
use crate::locks::{LockError, TooManyKeys};
use crate::orders::OrderError;
use crate::orders::rules::{Excess, Refusal as OrderRefusal};

/// When a user with too many holds may try again: some may have ended by then.
const AFTER_TOO_MANY: Duration = Duration::from_secs(10);

/// What can keep a hold call from being carried out.
#[derive(Debug, thiserror::Error)]
pub enum HoldError {
    /// There is no such hold.
    #[error("there is no such hold")]
    NotFound,
    /// The user has as many as one may have.
    #[error("the user has {LIVE_HOLDS_MAX} live holds")]
    TooMany,
    /// The rules of holds say no.
    #[error("the hold is refused")]
    Refused(#[from] Refusal),
    /// The same lines could not be ordered.
    #[error("no order can be made of this")]
    Order(#[from] OrderError),
    /// The idempotency key says no.
    #[error("the idempotency key refuses")]
    Idempotency(#[from] IdempotencyError),
    /// No lease was to be had.
    #[error("no lease was to be had")]
    Lock(#[from] LockError),
    /// Too many variants at once.
    #[error("too many variants at once")]
    TooManyKeys(#[from] TooManyKeys),
    /// The database failed.
    #[error("the database failed")]
    Db(#[from] DbError),
}

impl From<OrderRefusal> for HoldError {
    fn from(refusal: OrderRefusal) -> Self {
        Self::Order(refusal.into())
    }
}

impl From<StockRefusal> for HoldError {
    fn from(refusal: StockRefusal) -> Self {
        OrderRefusal::from(refusal).into()
    }
}

impl IntoResponse for HoldError {
    fn into_response(self) -> Response {
        self.problem().into_response()
    }
}

impl Refuses for HoldError {
    fn problem(&self) -> Problem {
        self.into()
    }
}

impl Collides for HoldError {
    fn collided(&self) -> bool {
        match self {
            Self::Order(error) => error.collided(),
            error => matches!(error, Self::Db(DbError::Collision(_))),
        }
    }
}

/// What a user with too many holds is told.
pub(crate) fn too_many() -> Problem {
    let detail = format!("The user has {LIVE_HOLDS_MAX} live holds: capture or release one first.");
    Problem::new(Code::TooManyHolds, detail).retry_after(AFTER_TOO_MANY)
}

impl Refusal {
    /// The refusal as a caller sees it.
    #[must_use]
    pub fn problem(&self) -> Problem {
        match self {
            Self::Over(HoldState::Captured) => {
                Problem::new(Code::HoldCaptured, "The hold has become an order; read it to learn which.")
            }
            Self::Over(HoldState::Released) => {
                Problem::new(Code::HoldReleased, "The hold was given up: hold anew.")
            }
            Self::Over(_) => Problem::new(Code::HoldExpired, "The hold's time is over: hold anew."),
            Self::NoSuchLine(line) => {
                Problem::invalid(format!("lines[{line}].line_id"), "is not a line of this hold")
            }
            Self::CaptureExceedsHeld(lines) => {
                Problem::new(Code::CaptureExceedsHeld, "More would be captured than is held.")
                    .with_errors(lines.iter().map(excess).collect())
            }
        }
    }
}

fn excess(excess: &Excess) -> FieldError {
    FieldError {
        requested: Some(excess.requested),
        available: Some(excess.left),
        ..FieldError::new(format!("lines[{}].quantity", excess.line), "is more than is held")
    }
}
