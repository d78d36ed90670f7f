//! The ways a processing marker can be refused, or fail to be reached.

use axum::response::{IntoResponse, Response};

use crate::db::{Collides, DbError};
use crate::http::problem::Problem;
use crate::idempotency::{IdempotencyError, Refuses};
use crate::leases::{Holder, LeaseError};

/// What can keep a call about a marker from being carried out.
#[derive(Debug, thiserror::Error)]
pub enum MarkerError {
    /// Somebody is at the file: who, unless it is another program.
    #[error("somebody is at the file")]
    Running(Option<Holder>),
    /// Nobody is at the file.
    #[error("nobody is at the file")]
    NotFound,
    /// Somebody else is at the file.
    #[error("somebody else is at the file")]
    NotOwner,
    /// It is no longer the caller's.
    #[error("the marker is lost")]
    Lost(#[source] LeaseError),
    /// The idempotency key says no.
    #[error("the idempotency key refuses")]
    Idempotency(#[from] IdempotencyError),
    /// The database failed.
    #[error("the database failed")]
    Db(#[from] DbError),
}

impl From<LeaseError> for MarkerError {
    fn from(error: LeaseError) -> Self {
        match error {
            LeaseError::Db(error) => Self::Db(error),
            LeaseError::NotOwner => Self::NotOwner,
            error => Self::Lost(error),
        }
    }
}

impl IntoResponse for MarkerError {
    fn into_response(self) -> Response {
        self.problem().into_response()
    }
}

impl Refuses for MarkerError {
    fn problem(&self) -> Problem {
        self.into()
    }
}

impl Collides for MarkerError {
    fn collided(&self) -> bool {
        matches!(self, Self::Db(DbError::Collision(_)))
    }
}
