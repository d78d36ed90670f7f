//! Brings the items of a till's invoice back into stock, once: what came back does not come back again.
//! Refuses if they are not sold.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use schemars::JsonSchema;
use serde::Deserialize;
use sqlx::PgConnection;

use super::error::PosError;
use super::model::{PosInvoice, PosState};
use super::rules::Refusal;
use super::store;
use super::submit::{occasion, seen};
use crate::app::App;
use crate::db::ATTEMPTS;
use crate::events::{self, About, EventKind};
use crate::http::answer::Answer;
use crate::http::auth::Caller;
use crate::http::extract::{InPath, OrDefault};
use crate::http::problem::Problem;
use crate::idempotency::Claim;
use crate::inventory::ledger::Ledger;
use crate::inventory::model::Witness;
use crate::inventory::rules::Change;
use crate::locks::LockKeys;
use crate::section::{Section, Verb};
use crate::text::{Name, Reason};

/// The reason returns carry that have none of their own.
const REASON: &str = "pos_return";

/// `POST /pos/invoices/{name}/return`
#[derive(Debug, Default, Deserialize, JsonSchema)]
pub struct TakeBackInvoice {
    reason: Option<Reason>,
}

/// # Errors
/// [`Problem`].
pub async fn take_back(
    State(app): State<Arc<App>>,
    caller: Caller,
    InPath(name): InPath<Name>,
    OrDefault(body): OrDefault<TakeBackInvoice>,
) -> Result<Answer, Problem> {
    let claim = body.keyed.map(|keyed| Claim::of_subject(&caller.principal.subject, keyed));
    Ok(take_back_invoice(&app, &caller, &name, &body.value, claim.as_ref()).await?)
}

/// Takes back under the locks of the invoice's name and of its variants. Those are read first: an edit in between begins
/// it anew.
///
/// # Errors
/// [`PosError`], but for refusals by the business, which are answers.
pub async fn take_back_invoice(
    app: &App,
    caller: &Caller,
    name: &Name,
    cmd: &TakeBackInvoice,
    claim: Option<&Claim>,
) -> Result<Answer, PosError> {
    for _ in 0..ATTEMPTS {
        let (version, keys) = seen(app, name).await?;
        let section = Section { app, caller, claim, success: StatusCode::OK };
        match section.run(&keys, &TakingBack { name, cmd, version, keys: &keys }).await {
            Err(PosError::Moved) => {}
            outcome => return outcome.map_err(PosError::of_a_till),
        }
    }
    Err(PosError::Busy)
}

struct TakingBack<'a> {
    name: &'a Name,
    cmd: &'a TakeBackInvoice,
    version: i64,
    keys: &'a LockKeys,
}

impl Verb for TakingBack<'_> {
    type Done = PosInvoice;
    type Error = PosError;

    async fn in_tx(&self, conn: &mut PgConnection, witness: Witness<'_>) -> Result<PosInvoice, PosError> {
        let found = store::lock_newest_in_tx(conn, self.name.as_str()).await?.ok_or(PosError::NotFound)?;
        if found.0 != self.version {
            return Err(PosError::Moved);
        }
        take_back_in_tx(conn, self.name, self.cmd, found, self.keys, witness).await
    }
}

/// What is done to an invoice whose row is locked: locks the stock rows, and writes the returns.
///
/// # Errors
/// A refusal before anything was written, or a database error.
pub async fn take_back_in_tx(
    conn: &mut PgConnection,
    name: &Name,
    cmd: &TakeBackInvoice,
    (version, state): (i64, PosState),
    keys: &LockKeys,
    witness: Witness<'_>,
) -> Result<PosInvoice, PosError> {
    let mut invoice = store::find(conn, name.as_str(), Some(version)).await?.ok_or(PosError::NotFound)?;
    match state {
        PosState::Draft => return Err(Refusal::NotSubmitted.into()),
        PosState::Submitted => {}
        PosState::Returned => return Ok(invoice),
    }
    let locked = Ledger::lock_in_tx(conn, &keys.variant_ids()).await;
    let mut ledger = locked.map_err(PosError::of_stock)?;
    let reason = cmd.reason.as_ref().map_or(REASON, Reason::as_str);
    for item in &invoice.items {
        ledger
            .decide(item.variant_id, Change::TakeBack(item.quantity), occasion(name, reason, item), witness)
            .map_err(Refusal::from)?;
    }
    ledger.write_in_tx(conn).await?;
    invoice.state = PosState::Returned;
    invoice.returned_at = Some(store::set_returned_in_tx(conn, name.as_str()).await?);
    invoice.lock = witness.lock.into();
    events::append_in_tx(conn, EventKind::InvoiceReturned, About::InvoiceNamed(name.as_str()), &invoice)
        .await?;
    Ok(invoice)
}
