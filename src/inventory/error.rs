//! The ways stock can refuse, or fail to be reached.

use axum::response::{IntoResponse, Response};

use super::rules::Refusal;
use crate::db::{Collides, DbError};
use crate::http::problem::{Code, FieldError, Problem};
use crate::idempotency::{IdempotencyError, Refuses};
use crate::locks::{LockError, TooManyKeys};

/// What can keep a stock call from being carried out.
#[derive(Debug, thiserror::Error)]
pub enum StockError {
    /// The rules say no.
    #[error("the stock refuses")]
    Refused(#[from] Refusal),
    /// Another variant has the SKU.
    #[error("the SKU is taken")]
    SkuTaken,
    /// Some operations of an atomic batch can't be done: which, and why.
    #[error("{} operations can't be done, so none was", .0.len())]
    Batch(Vec<(usize, OperationFailure)>),
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

impl IntoResponse for StockError {
    fn into_response(self) -> Response {
        self.problem().into_response()
    }
}

impl Refuses for StockError {
    fn problem(&self) -> Problem {
        self.into()
    }
}

impl Collides for StockError {
    fn collided(&self) -> bool {
        matches!(self, Self::Db(DbError::Collision(_)))
    }
}

impl Refusal {
    /// The refusal as a caller sees it.
    #[must_use]
    pub fn problem(&self) -> Problem {
        Problem::new(self.code(), self.to_string()).with_errors(vec![self.field_error()])
    }

    /// The stable name of this refusal.
    #[must_use]
    pub fn code(&self) -> Code {
        match self {
            Self::VariantNotFound(_) => Code::VariantNotFound,
            Self::Insufficient { .. } => Code::InsufficientStock,
            Self::Stale { .. } => Code::StaleQuantity,
            Self::AboveMax { .. } => Code::LimitExceeded,
        }
    }

    /// The refusal as one entry of `errors`.
    #[must_use]
    pub fn field_error(&self) -> FieldError {
        let message = self.to_string();
        match self {
            Self::VariantNotFound(variant_id) => {
                FieldError { variant_id: Some(*variant_id), ..FieldError::new("variant_id", message) }
            }
            Self::Insufficient { variant_id, field, requested, available } => FieldError {
                variant_id: Some(*variant_id),
                requested: Some(*requested),
                available: Some(*available),
                ..FieldError::new(*field, message)
            },
            Self::Stale { variant_id, actual } => FieldError {
                variant_id: Some(*variant_id),
                actual: Some((*actual).into()),
                ..FieldError::new("change_from", message)
            },
            Self::AboveMax { variant_id, field } => {
                FieldError { variant_id: Some(*variant_id), ..FieldError::new(*field, message) }
            }
        }
    }
}

/// Why one operation of a batch can't be done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OperationFailure {
    /// The rules say no.
    #[error("{0}")]
    Refused(Refusal),
    /// Its key belongs to another operation.
    #[error("the key was used for another operation")]
    KeyReused,
}

impl OperationFailure {
    /// The stable name of this failure.
    #[must_use]
    pub fn code(&self) -> Code {
        match self {
            Self::Refused(refusal) => refusal.code(),
            Self::KeyReused => Code::IdempotencyKeyReused,
        }
    }

    /// The failure as one entry of `errors`.
    #[must_use]
    pub fn field_error(&self) -> FieldError {
        match self {
            Self::Refused(refusal) => refusal.field_error(),
            Self::KeyReused => FieldError::new("key", self.to_string()),
        }
    }
}

/// An atomic batch's refusal. Its code is that of its failures if all are short of stock.
pub(crate) fn batch_problem(failures: &[(usize, OperationFailure)]) -> Problem {
    let short = failures.iter().all(|(_, failure)| failure.code() == Code::InsufficientStock);
    let code = if short { Code::InsufficientStock } else { Code::BatchRefused };
    let errors = failures.iter().map(|(index, failure)| {
        let error = failure.field_error();
        let field = format!("operations[{index}].{}", error.field);
        FieldError { field, code: Some(failure.code().as_str()), ..error }
    });
    let detail = match failures {
        [(_, only)] => only.to_string(),
        several => format!("{} operations can't be done, so none was.", several.len()),
    };
    Problem::new(code, detail).with_errors(errors.collect())
}
