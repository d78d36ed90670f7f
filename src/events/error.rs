//! The ways the stream of events can refuse, or fail to be reached.

use axum::response::{IntoResponse, Response};

use super::model::EventKind;
use crate::db::DbError;
use crate::http::problem::Problem;

/// What can keep a reader from its stream.
#[derive(Debug, thiserror::Error)]
pub enum EventError {
    /// What follows the cursor is forgotten, or the cursor is not one of this database.
    #[error("the cursor is gone")]
    CursorGone,
    /// The cursor is none.
    #[error("the cursor is none")]
    NotACursor,
    /// The key may not see this type.
    #[error("{} is not for this key", .0.as_str())]
    Hidden(EventKind),
    /// As many streams are open as may be.
    #[error("too many streams are open")]
    TooManyReaders,
    /// The database failed.
    #[error("the database failed")]
    Db(#[from] DbError),
}

impl IntoResponse for EventError {
    fn into_response(self) -> Response {
        Problem::from(&self).into_response()
    }
}
