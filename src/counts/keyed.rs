//! One transaction for a call of counting: begin → claim of the idempotency key → the verb → answer kept → commit.

use axum::http::StatusCode;
use serde::Serialize;
use serde_json::json;
use sqlx::Executor;

use super::error::CountError;
use crate::app::App;
use crate::db::{DbError, Tx};
use crate::http::answer::Answer;
use crate::http::auth::Caller;
use crate::idempotency::{self, Claim, KeyedRequest};
use crate::telemetry::trace::Span;

/// The claim of a request's key. The ids in our paths differ by case, which a path's fingerprint does not see.
pub(super) fn claim_of(caller: &Caller, id: &str, keyed: Option<KeyedRequest>) -> Option<Claim> {
    let keyed = keyed?;
    let meant = json!({"id": id, "request": keyed.fingerprint.0});
    let keyed = KeyedRequest::new(keyed.key, "POST", "count", &meant);
    Some(Claim::of_subject(&caller.principal.subject, keyed))
}

/// What a request begins with.
pub(super) enum Begun<'a> {
    /// It is a repetition, and this its answer.
    Known(Answer),
    /// It is to be carried out.
    New(Work<'a>),
}

/// A transaction in which a request is carried out.
pub(super) struct Work<'a> {
    pub(super) tx: Tx,
    /// Told until it has ended.
    _told: Span,
    caller: &'a Caller,
    claim: Option<&'a Claim>,
}

/// Begins a transaction and claims the request's key in it.
pub(super) async fn begin<'a>(
    app: &App,
    caller: &'a Caller,
    claim: Option<&'a Claim>,
) -> Result<Begun<'a>, CountError> {
    let told = caller.trace.span("transaction");
    let mut tx = app.db.begin_within(caller.patience.left()).await?;
    if let Some(first) = idempotency::begin_in_tx::<CountError>(&mut tx, claim).await? {
        return Ok(Begun::Known(first));
    }
    if claim.is_some() {
        tx.execute("SAVEPOINT verb").await.map_err(DbError::from)?;
    }
    Ok(Begun::New(Work { tx, _told: told, caller, claim }))
}

impl Work<'_> {
    /// Writes nothing of what the verb did, and keeps the answer that says so.
    pub(super) async fn finish_unwritten<T: Serialize>(
        mut self,
        success: StatusCode,
        told: T,
    ) -> Result<Answer, CountError> {
        if self.claim.is_none() {
            // Nothing of this transaction is to be kept.
            return Ok(Answer::json(success, &told));
        }
        self.tx.execute("ROLLBACK TO SAVEPOINT verb").await.map_err(DbError::from)?;
        self.finish(success, Ok(told)).await
    }

    /// Keeps the answer and commits. A refusal is an answer, of which nothing else is committed.
    pub(super) async fn finish<T: Serialize>(
        mut self,
        success: StatusCode,
        outcome: Result<T, CountError>,
    ) -> Result<Answer, CountError> {
        if outcome.is_err() && self.claim.is_some() {
            self.tx.execute("ROLLBACK TO SAVEPOINT verb").await.map_err(DbError::from)?;
        } else if let Err(error) = outcome {
            return Err(error);
        }
        let request_id = &self.caller.request_id;
        let answer =
            idempotency::finish_in_tx(&mut self.tx, self.claim, request_id, success, outcome).await?;
        self.tx.commit().await.map_err(DbError::from)?;
        Ok(answer)
    }
}
