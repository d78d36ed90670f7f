//! How an operator's call can fail.

use axum::response::{IntoResponse, Response};

use crate::db::DbError;
use crate::http::problem::Problem;
use crate::idempotency::{IdempotencyError, Refuses};

/// Why it was not done.
#[derive(Debug, thiserror::Error)]
pub enum OperationsError {
    /// Nobody holds the lock.
    #[error("nobody holds this lock")]
    NotHeld,
    /// The name is not one of a lock.
    #[error("this is not the name of a lock")]
    NotALock,
    /// Redis can't be asked.
    #[error("Redis can't be asked")]
    LocksUnavailable,
    /// Redis was told to delete the lock, and gave no answer.
    #[error("Redis gave no answer to the release of a lock")]
    ReleaseUnknown {
        /// Whose it was: a hash of the token.
        owner: String,
    },
    /// The request's key refuses.
    #[error(transparent)]
    Idempotency(#[from] IdempotencyError),
    /// The database failed.
    #[error(transparent)]
    Db(#[from] DbError),
}

impl Refuses for OperationsError {
    fn problem(&self) -> Problem {
        self.into()
    }
}

impl IntoResponse for OperationsError {
    fn into_response(self) -> Response {
        self.problem().into_response()
    }
}
