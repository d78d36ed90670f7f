//! The ways counting can refuse, or fail to be reached.

use std::time::Duration;

use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::db::{Collides, DbError};
use crate::http::problem::{Code, FieldError, Problem};
use crate::idempotency::{IdempotencyError, Refuses};
use crate::inventory::rules::Refusal;
use crate::leases::{Ending, LeaseError};
use crate::locks::{LockError, TooManyKeys};

/// What can keep a call of counting from being carried out.
#[derive(Debug, thiserror::Error)]
pub enum CountError {
    /// The rules say no, in the words that the caller is told. Made by the functions of this module.
    #[error("{}", .0.detail)]
    Refused(Box<Problem>),
    /// The claim of the rack does not stand.
    #[error("the claim does not stand")]
    Lease(#[source] LeaseError),
    /// The idempotency key says no.
    #[error("the idempotency key refuses")]
    Idempotency(#[from] IdempotencyError),
    /// No lease was to be had.
    #[error("no lease was to be had")]
    Lock(#[from] LockError),
    /// Too many variants at once.
    #[error("too many variants at once")]
    TooManyKeys(#[from] TooManyKeys),
    /// The stock says no.
    #[error("the stock refuses")]
    Stock(#[from] Refusal),
    /// The database failed.
    #[error("the database failed")]
    Db(#[from] DbError),
}

impl From<LeaseError> for CountError {
    fn from(error: LeaseError) -> Self {
        match error {
            LeaseError::Db(error) => Self::Db(error),
            error => Self::Lease(error),
        }
    }
}

impl From<sqlx::Error> for CountError {
    fn from(error: sqlx::Error) -> Self {
        DbError::from(error).into()
    }
}

impl From<Problem> for CountError {
    fn from(problem: Problem) -> Self {
        Self::Refused(Box::new(problem))
    }
}

impl IntoResponse for CountError {
    fn into_response(self) -> Response {
        self.problem().into_response()
    }
}

impl Refuses for CountError {
    fn problem(&self) -> Problem {
        self.into()
    }
}

impl Collides for CountError {
    fn collided(&self) -> bool {
        matches!(self, Self::Db(DbError::Collision(_)))
    }
}

/// A claim that was lost, as its session is told.
pub(crate) fn lost(error: &LeaseError) -> Problem {
    let detail = match error {
        LeaseError::Superseded { .. } => {
            "Another session has claimed the rack since: what was counted is reviewed."
        }
        LeaseError::Ended(Ending::ByHand) => "An operator has ended the claim. Claim the rack anew.",
        _ => "The session does not hold this rack. Claim it.",
    };
    Problem::new(Code::NotRackOwner, detail)
}

fn refused(code: Code, detail: impl Into<String>) -> CountError {
    Problem::new(code, detail).into()
}

/// There is no such rack.
pub(super) fn rack_not_found() -> CountError {
    refused(Code::RackNotFound, "No rack has this id. Register it, or say its floor when claiming it.")
}

/// The rack is registered.
pub(super) fn rack_exists() -> CountError {
    refused(Code::RackExists, "A rack has this id already.")
}

/// The rack is another session's, or another program's.
pub(super) fn rack_locked(holder: Option<(&str, i64)>) -> CountError {
    let Some((user, seconds)) = holder else {
        return refused(Code::RackLocked, "Another program holds the rack's key in Redis.");
    };
    let detail = format!("{user} counts this rack; the claim lasts {seconds} s unless it is renewed.");
    let held = json!({"holder": user, "seconds_left": seconds});
    let field = FieldError { actual: Some(held), ..FieldError::new("rack_id", "is held by another session") };
    let problem = Problem::new(Code::RackLocked, detail).with_errors(vec![field]);
    problem.with("holder", user.into()).with("seconds_left", seconds.into()).into()
}

/// The rack stands on another floor than the caller believes.
pub(super) fn rack_elsewhere(floor: &str) -> CountError {
    let field = FieldError { actual: Some(floor.into()), ..FieldError::new("floor", "is not the rack's") };
    Problem::new(Code::RackElsewhere, format!("The rack stands on floor {floor}."))
        .with_errors(vec![field])
        .into()
}

/// The rack is not the session's, or the session not the caller's.
pub(super) fn not_rack_owner() -> CountError {
    refused(Code::NotRackOwner, "The session does not hold this rack. Claim it.")
}

/// The rack is paused.
pub(super) fn rack_paused() -> CountError {
    refused(Code::RackPaused, "The rack is paused: resume it.")
}

/// There is no such session.
pub(super) fn session_not_found() -> CountError {
    refused(Code::SessionNotFound, "No session has this id. Claim a rack, or open one.")
}

/// The session was opened before.
pub(super) fn session_exists() -> CountError {
    refused(Code::SessionExists, "A session has this id already.")
}

/// The session is another's.
pub(super) fn not_session_owner() -> CountError {
    refused(Code::NotSessionOwner, "The session belongs to another user.")
}

/// Who counts without seeing what is expected does not post it: the answer tells.
pub(super) fn blind_session() -> CountError {
    refused(Code::Forbidden, "Somebody else posts what was counted blind, or an operator.")
}

/// Nothing enters a session that is over.
pub(super) fn session_posted() -> CountError {
    let detail = "The session has been posted, is being posted, or was discarded: count on in another one.";
    refused(Code::SessionPosted, detail)
}

/// There is nothing to post.
pub(super) fn nothing_to_post() -> CountError {
    refused(Code::NothingToPost, "No finalized record is in this session.")
}

/// There is no such conflict.
pub(super) fn conflict_not_found() -> CountError {
    refused(Code::ConflictNotFound, "There is no conflict with this id.")
}

/// It was resolved in another way.
pub(super) fn conflict_resolved(how: &str) -> CountError {
    refused(Code::ConflictResolved, format!("The conflict has been resolved: {how}."))
}

/// The user has had its batches of this minute.
pub(super) fn too_many_batches(limit: i32, pause: Duration) -> CountError {
    let detail = format!("A user may send {limit} batches a minute. Nothing of this one was read.");
    Problem::new(Code::TooManyBatches, detail).retry_after(pause).into()
}
