//! One change of one variant's level: what [`adjust`](super::adjust), [`decrement`](super::decrement) and
//! [`increment`](super::increment) have in common, which is everything but the change itself.

use std::sync::Arc;

use axum::http::StatusCode;
use sqlx::PgConnection;
use uuid::Uuid;

use super::error::StockError;
use super::ledger::Ledger;
use super::model::{Movement, Occasion, Witness};
use super::rules::{Change, Refusal};
use crate::app::App;
use crate::http::answer::Answer;
use crate::http::auth::Caller;
use crate::idempotency::Claim;
use crate::locks::LockKeys;
use crate::section::share::{Request, Work, share};
use crate::section::{Section, Verb};

/// A change somebody asked for.
#[derive(Debug, Clone)]
pub struct StockChange {
    /// Of what.
    pub variant_id: Uuid,
    /// What to do.
    pub change: Change,
    /// Why.
    pub occasion: Occasion,
    /// The request's idempotency claim, if it has a key.
    pub claim: Option<Claim>,
}

/// Changes one level, in a section that it may share.
///
/// # Errors
/// [`StockError`], but for refusals by the business, which are answers.
pub async fn change(app: &Arc<App>, caller: &Caller, cmd: StockChange) -> Result<Answer, StockError> {
    let keys = LockKeys::variant(cmd.variant_id);
    let request = Arc::new(Request::new(caller, keys, 1, Work::Change(Box::new(cmd.clone()))));
    let alone = Section { app, caller, claim: cmd.claim.as_ref(), success: StatusCode::OK };
    share(app, request, alone, &cmd).await
}

impl Verb for StockChange {
    type Done = Movement;
    type Error = StockError;

    async fn in_tx(&self, conn: &mut PgConnection, witness: Witness<'_>) -> Result<Movement, StockError> {
        change_in_tx(conn, self, witness).await
    }
}

/// Locks the row, decides, and writes the movement.
///
/// # Errors
/// A [`Refusal`] before anything was written, or a database error.
pub async fn change_in_tx(
    conn: &mut PgConnection,
    cmd: &StockChange,
    witness: Witness<'_>,
) -> Result<Movement, StockError> {
    let mut ledger = Ledger::lock_in_tx(conn, &[cmd.variant_id]).await?;
    ledger.decide(cmd.variant_id, cmd.change, cmd.occasion.clone(), witness)?;
    let movements = ledger.write_in_tx(conn).await?;
    movements.into_iter().next().ok_or(StockError::Refused(Refusal::VariantNotFound(cmd.variant_id)))
}
