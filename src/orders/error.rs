//! The ways an order can be refused, or fail to be reached.

use axum::response::{IntoResponse, Response};

use super::rules::Refusal;
use crate::db::{Collides, DbError};
use crate::http::problem::Problem;
use crate::idempotency::{IdempotencyError, Refuses};
use crate::locks::{LockError, TooManyKeys};

/// What can keep an order call from being carried out.
#[derive(Debug, thiserror::Error)]
pub enum OrderError {
    /// There is no such order.
    #[error("there is no such order")]
    NotFound,
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
