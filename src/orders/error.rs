//! The ways an order can be refused, or fail to be reached.

use axum::response::{IntoResponse, Response};

use uuid::Uuid;

use super::rules::{Excess, Refusal, Shortage};
use crate::db::{Collides, DbError};
use crate::http::problem::{Code, FieldError, Problem};
use crate::idempotency::{IdempotencyError, Refuses};
use crate::locks::{LockError, TooManyKeys};
use crate::money::Currency;

/// What can keep an order call from being carried out.
#[derive(Debug, thiserror::Error)]
pub enum OrderError {
    /// There is no such order.
    #[error("there is no such order")]
    NotFound,
    /// The order is there already, which was to be cancelled before it came.
    #[error("the order came meanwhile")]
    IsThere,
    /// The rules say no.
    #[error("the order is refused")]
    Refused(#[from] Refusal),
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

impl IntoResponse for OrderError {
    fn into_response(self) -> Response {
        self.problem().into_response()
    }
}

impl Refuses for OrderError {
    fn problem(&self) -> Problem {
        self.into()
    }
}

impl Collides for OrderError {
    fn collided(&self) -> bool {
        matches!(self, Self::Db(DbError::Collision(_)))
    }
}

impl Refusal {
    /// The refusal as a caller sees it.
    #[must_use]
    pub fn problem(&self) -> Problem {
        let (code, detail, errors) = match self {
            Self::VariantsNotFound(lines) => {
                let detail = "Some lines name variants that do not exist.".to_owned();
                (Code::VariantNotFound, detail, lines.iter().map(not_found).collect())
            }
            Self::Short(lines) => {
                let detail = lines.first().map_or_else(String::new, Shortage::to_string);
                (Code::InsufficientStock, detail, lines.iter().map(short).collect())
            }
            Self::CurrencyMismatch(lines) => {
                let detail = "All lines of an order must be priced in its currency.".to_owned();
                (Code::CurrencyMismatch, detail, lines.iter().map(in_other_currency).collect())
            }
            Self::TotalChanged(total) => {
                let error = FieldError::new("expected_total", format!("the total is {total}"));
                let error = FieldError { actual: Some(total.to_string().into()), ..error };
                (Code::TotalChanged, format!("The total is {total}, not what was expected."), vec![error])
            }
            Self::TotalTooLarge => {
                let detail = "The total would have more than 24 digits.".to_owned();
                (Code::LimitExceeded, detail, vec![FieldError::new("lines", "sum to more than 24 digits")])
            }
            Self::CancelExceedsOrdered(lines) => {
                let detail = "More would be cancelled than was ordered and is left.".to_owned();
                (Code::CancelExceedsOrdered, detail, lines.iter().map(excess).collect())
            }
            Self::NoSuchTurn { .. } => {
                let detail = "From where this order is, it can't be cancelled this way.".to_owned();
                (Code::CancelExceedsOrdered, detail, Vec::new())
            }
            Self::NoSuchLine(line) => {
                return Problem::invalid(format!("lines[{line}].line_id"), "is not a line of this order");
            }
            Self::Stock(refusal) => return refusal.problem(),
        };
        Problem::new(code, detail).with_errors(errors)
    }
}

fn not_found((line, variant_id): &(usize, Uuid)) -> FieldError {
    let error = FieldError::new(format!("lines[{line}].variant_id"), "there is no such variant");
    FieldError { variant_id: Some(*variant_id), ..error }
}

fn short(short: &Shortage) -> FieldError {
    FieldError {
        variant_id: Some(short.variant_id),
        requested: Some(short.requested),
        available: Some(short.available),
        ..FieldError::new(format!("lines[{}].quantity", short.line), short.to_string())
    }
}

fn in_other_currency((line, currency): &(usize, Currency)) -> FieldError {
    FieldError::new(format!("lines[{line}].variant_id"), format!("is priced in {currency}"))
}

fn excess(excess: &Excess) -> FieldError {
    FieldError {
        requested: Some(excess.requested),
        available: Some(excess.left),
        ..FieldError::new(format!("lines[{}].quantity", excess.line), "is more than is left to cancel")
    }
}
