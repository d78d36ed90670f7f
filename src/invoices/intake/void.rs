//! Takes an invoice out, and keeps who did so and why; to void twice is the same answer. Its file and its number may come
//! in anew, and what was flagged for its sake alone is free.
//! Refuses one of which something came in.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sqlx::PgConnection;
use uuid::Uuid;

use super::error::{IntakeError, found};
use super::model::{Invoice, InvoiceState, locks_of};
use super::store;
use crate::app::App;
use crate::events::{self, About, EventKind, NewEvent};
use crate::http::answer::Answer;
use crate::http::auth::Caller;
use crate::http::extract::{Body, InPath};
use crate::http::problem::Problem;
use crate::idempotency::Claim;
use crate::inventory::model::Witness;
use crate::section::{Section, Verb};
use crate::text::Reason;

/// `POST /invoices/{invoice_id}/void`
#[derive(Debug, Deserialize, JsonSchema)]
pub struct VoidInvoice {
    reason: Reason,
}

/// An invoice that is out, and those it stood in the way of.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "VoidedInvoice")]
pub struct Voided {
    #[serde(flatten)]
    invoice: Invoice,
    freed: Vec<Uuid>,
}

/// # Errors
/// [`Problem`].
pub async fn void(
    State(app): State<Arc<App>>,
    caller: Caller,
    InPath(invoice_id): InPath<Uuid>,
    body: Body<VoidInvoice>,
) -> Result<Answer, Problem> {
    let claim = body.keyed.map(|keyed| Claim::of_subject(&caller.principal.subject, keyed));
    Ok(void_invoice(&app, &caller, invoice_id, &body.value, claim.as_ref()).await?)
}

/// Voids under the locks that uploads take who could be the same invoice: none is judged by it while it goes.
///
/// # Errors
/// [`IntakeError`], but for refusals by the business, which are answers.
async fn void_invoice(
    app: &App,
    caller: &Caller,
    invoice_id: Uuid,
    cmd: &VoidInvoice,
    claim: Option<&Claim>,
) -> Result<Answer, IntakeError> {
    let (account, facts) = found(store::find_facts(&mut *app.db.read().await?, invoice_id).await?)?;
    let keys = locks_of([(account.as_str(), &facts)].into_iter())?;
    let section = Section { app, caller, claim, success: StatusCode::OK };
    section.run(&keys, &Voiding { invoice_id, cmd }).await
}

struct Voiding<'a> {
    invoice_id: Uuid,
    cmd: &'a VoidInvoice,
}

impl Verb for Voiding<'_> {
    type Done = Voided;
    type Error = IntakeError;

    async fn in_tx(&self, conn: &mut PgConnection, witness: Witness<'_>) -> Result<Voided, IntakeError> {
        void_in_tx(conn, self.invoice_id, self.cmd, witness).await
    }
}

/// Locks the invoice's row, writes the decision, and frees those that were flagged for its sake.
///
/// # Errors
/// A refusal before anything was written, or a database error.
pub async fn void_in_tx(
    conn: &mut PgConnection,
    invoice_id: Uuid,
    cmd: &VoidInvoice,
    witness: Witness<'_>,
) -> Result<Voided, IntakeError> {
    let state = found(store::lock_in_tx(conn, invoice_id).await?)?;
    let invoice = found(store::find(conn, invoice_id).await?)?;
    if state == InvoiceState::Voided {
        return Ok(Voided { invoice, freed: Vec::new() });
    }
    if invoice.lines.iter().any(|line| line.received_quantity > 0) {
        return Err(IntakeError::Received);
    }
    store::decide_in_tx(conn, invoice_id, InvoiceState::Voided, cmd.reason.as_str(), None, witness).await?;
    let freed = store::free_in_tx(conn, invoice_id).await?;
    let mut invoice = found(store::find(conn, invoice_id).await?)?;
    invoice.lock = witness.lock.into();
    let mut told = vec![NewEvent::new(EventKind::InvoiceVoided, About::Invoice(invoice_id), &invoice)?];
    for freed in store::find_all(conn, &freed).await? {
        told.push(NewEvent::new(EventKind::InvoiceReceived, About::Invoice(freed.invoice_id), &freed)?);
    }
    events::append_all_in_tx(conn, &told).await?;
    Ok(Voided { invoice, freed })
}
