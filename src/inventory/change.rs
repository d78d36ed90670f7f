//! One change of one variant's level: what [`adjust`](super::adjust), [`decrement`](super::decrement) and
//! [`increment`](super::increment) have in common, which is everything but the change itself.

use axum::http::StatusCode;
use sqlx::PgConnection;
use tokio::time::Instant;
use uuid::Uuid;

use super::error::StockError;
use super::ledger::Ledger;
use super::model::{Movement, Occasion, Witness};
use super::rules::{Change, Refusal};
use crate::app::App;
use crate::db::retrying;
use crate::http::answer::Answer;
use crate::http::auth::Caller;
use crate::idempotency::{self, Claim};
use crate::locks::{Evidence, LockKeys};

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

/// Changes one level.
///
/// # Errors
/// [`StockError`], but for refusals that were answered under an idempotency claim.
pub async fn change(app: &App, caller: &Caller, cmd: &StockChange) -> Result<Answer, StockError> {
    retrying(async || {
        let lease = app
            .locks
            .acquire(LockKeys::variant(cmd.variant_id), &caller.gone)
            .await?;
        let evidence = lease.evidence();
        lease.release_after(section(app, caller, cmd, evidence)).await
    })
    .await
}

async fn section(
    app: &App,
    caller: &Caller,
    cmd: &StockChange,
    lock: Evidence,
) -> Result<Answer, StockError> {
    let started = Instant::now();
    let claim = cmd.claim.as_ref();
    let mut tx = app.db.begin().await?;
    let answer = match idempotency::begin_in_tx::<StockError>(&mut tx, claim).await? {
        Some(first) => first,
        None => {
            let witness = Witness {
                subject: &caller.principal.subject,
                request_id: &caller.request_id,
                lock,
            };
            let outcome = change_in_tx(&mut tx, cmd, witness).await;
            idempotency::finish_in_tx(&mut tx, claim, &caller.request_id, StatusCode::OK, outcome).await?
        }
    };
    tx.commit().await.map_err(crate::db::DbError::from)?;
    Ok(answer.guarded(lock, started.elapsed()))
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
    ledger.decide(cmd.variant_id, cmd.change, cmd.occasion.clone())?;
    let movements = ledger.write_in_tx(conn, witness).await?;
    movements
        .into_iter()
        .next()
        .ok_or(StockError::Refused(Refusal::VariantNotFound(cmd.variant_id)))
}
