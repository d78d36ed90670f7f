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
    /// Some operations of an atomic batch can't be done.
    #[error("the batch was refused")]
    Batch(Box<Problem>),
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
        Problem::new(self.code(), self.to_string()).with_errors(vec![self.field_error("quantity")])
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

    /// The refusal as one entry of `errors`, with `quantity` naming the field that asked for units.
    #[must_use]
    pub fn field_error(&self, quantity: &str) -> FieldError {
        let message = self.to_string();
        match self {
            Self::VariantNotFound(variant_id) => FieldError {
                variant_id: Some(*variant_id),
                ..FieldError::new("variant_id", message)
            },
            Self::Insufficient {
                variant_id,
                requested,
                available,
            } => FieldError {
                variant_id: Some(*variant_id),
                requested: Some(*requested),
                available: Some(*available),
                ..FieldError::new(quantity, message)
            },
            Self::Stale { variant_id, actual } => FieldError {
                variant_id: Some(*variant_id),
                actual: Some((*actual).into()),
                ..FieldError::new("change_from", message)
            },
            Self::AboveMax { variant_id } => FieldError {
                variant_id: Some(*variant_id),
                ..FieldError::new(quantity, message)
            },
        }
    }
}
