//! The ways a call about endpoints can be refused.

use axum::response::{IntoResponse, Response};

use crate::db::DbError;
use crate::http::problem::Problem;
use crate::idempotency::{IdempotencyError, Refuses};

/// Why it was not done.
#[derive(Debug, thiserror::Error)]
pub enum EndpointError {
    /// There is no such endpoint.
    #[error("there is no such endpoint")]
    NotFound,
    /// Where it would begin is not known yet: something has been under way since this process started.
    #[error("where the endpoint begins is not known yet")]
    NotYet,
    /// There are as many as may be.
    #[error("there are too many endpoints")]
    TooMany,
    /// It names an address of a private network.
    #[error("the address is private")]
    Private,
    /// The request's key refuses.
    #[error(transparent)]
    Idempotency(#[from] IdempotencyError),
    /// The database failed.
    #[error(transparent)]
    Db(#[from] DbError),
}

impl Refuses for EndpointError {
    fn problem(&self) -> Problem {
        self.into()
    }
}

impl IntoResponse for EndpointError {
    fn into_response(self) -> Response {
        self.problem().into_response()
    }
}
