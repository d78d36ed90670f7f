//! The ways a webhook can be refused, or fail to be carried out.

use axum::response::{IntoResponse, Response};

use crate::db::{Collides, DbError};
use crate::http::problem::Problem;
use crate::idempotency::{IdempotencyError, Refuses};
use crate::locks::{LockError, TooManyKeys};
use crate::orders::OrderError;

/// What can keep a webhook from being carried out.
#[derive(Debug, thiserror::Error)]
pub enum WebhookError {
    /// No secret is set, so nobody could sign one.
    #[error("no webhook secret is set")]
    NotConfigured,
    /// It is not signed by anyone who knows a secret.
    #[error("the signature is not good")]
    BadSignature,
    /// It was signed too long ago, or will have been.
    #[error("the timestamp is too far from now")]
    Stale,
    /// Its id belongs to another event.
    #[error("the id was used for another event")]
    IdReused,
    /// There is no such entry in the inbox.
    #[error("there is no such entry")]
    EntryNotFound,
    /// The order says no, or it can't be reached.
    #[error(transparent)]
    Order(#[from] OrderError),
}

macro_rules! as_of_the_order {
    ($($error:ty),*) => {$(
        impl From<$error> for WebhookError {
            fn from(error: $error) -> Self {
                Self::Order(error.into())
            }
        }
    )*};
}
as_of_the_order!(DbError, LockError, IdempotencyError, TooManyKeys);

impl IntoResponse for WebhookError {
    fn into_response(self) -> Response {
        self.problem().into_response()
    }
}

impl Refuses for WebhookError {
    fn problem(&self) -> Problem {
        self.into()
    }
}

impl Collides for WebhookError {
    fn collided(&self) -> bool {
        matches!(self, Self::Order(error) if error.collided())
    }
}
