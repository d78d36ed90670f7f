//! Lets a flagged invoice pass, and keeps who said so and why; to override twice is the same answer.
//! Refuses one that is not flagged. A vendor's other name is learned by it, if the names are alike or somebody says that
//! both are one vendor's.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use schemars::JsonSchema;
use serde::Deserialize;
use sqlx::PgConnection;
use uuid::Uuid;

use super::error::{IntakeError, found};
use super::model::{Invoice, InvoiceState, locks_to_learn};
use super::rules::teaches;
use super::store;
use crate::app::App;
use crate::events::{self, About, EventKind};
use crate::http::answer::Answer;
use crate::http::auth::Caller;
use crate::http::extract::{Body, InPath};
use crate::http::problem::Problem;
use crate::idempotency::Claim;
use crate::inventory::model::Witness;
use crate::section::{Section, Verb};
use crate::text::Reason;

/// `POST /invoices/{invoice_id}/override`
#[derive(Debug, Deserialize, JsonSchema)]
pub struct OverrideVerdict {
    reason: Reason,
    #[serde(default)]
    same_vendor: Option<bool>,
}

/// # Errors
/// [`Problem`].
pub async fn override_verdict(
    State(app): State<Arc<App>>,
    caller: Caller,
    InPath(invoice_id): InPath<Uuid>,
    body: Body<OverrideVerdict>,
) -> Result<Answer, Problem> {
    let claim = body.keyed.map(|keyed| Claim::of_subject(&caller.principal.subject, keyed));
    Ok(override_one(&app, &caller, invoice_id, &body.value, claim.as_ref()).await?)
}

/// Overrides under the locks that uploads take who could be the same invoice, and that of the account's names.
///
/// # Errors
/// [`IntakeError`], but for refusals by the business, which are answers.
async fn override_one(
    app: &App,
    caller: &Caller,
    invoice_id: Uuid,
    cmd: &OverrideVerdict,
    claim: Option<&Claim>,
) -> Result<Answer, IntakeError> {
    let (account, facts) = found(store::find_facts(&mut *app.db.read().await?, invoice_id).await?)?;
    let keys = locks_to_learn(&account, &facts)?;
    let section = Section { app, caller, claim, success: StatusCode::OK };
    section.run(&keys, &Overriding { invoice_id, cmd }).await
}

struct Overriding<'a> {
    invoice_id: Uuid,
    cmd: &'a OverrideVerdict,
}

impl Verb for Overriding<'_> {
    type Done = Invoice;
    type Error = IntakeError;

    async fn in_tx(&self, conn: &mut PgConnection, witness: Witness<'_>) -> Result<Invoice, IntakeError> {
        override_in_tx(conn, self.invoice_id, self.cmd, witness).await
    }
}

/// Locks the invoice's row, and writes the decision and what is learned by it.
///
/// # Errors
/// A refusal before anything was written, or a database error.
pub async fn override_in_tx(
    conn: &mut PgConnection,
    invoice_id: Uuid,
    cmd: &OverrideVerdict,
    witness: Witness<'_>,
) -> Result<Invoice, IntakeError> {
    match found(store::lock_in_tx(conn, invoice_id).await?)? {
        InvoiceState::Flagged => {}
        InvoiceState::Overridden => return found(store::find(conn, invoice_id).await?),
        state => return Err(IntakeError::InState(state)),
    }
    let names = store::find_names(conn, invoice_id).await?;
    let learned = names
        .filter(|names| names.ours != names.theirs && teaches(cmd.same_vendor, &names.ours, &names.theirs));
    let same_vendor = cmd.same_vendor.or(learned.is_some().then_some(true));
    let (state, reason) = (InvoiceState::Overridden, cmd.reason.as_str());
    store::decide_in_tx(conn, invoice_id, state, reason, same_vendor, witness).await?;
    if let Some(names) = learned {
        store::learn_alias_in_tx(conn, &names, witness.subject).await?;
    }
    let mut invoice = found(store::find(conn, invoice_id).await?)?;
    invoice.lock = witness.lock.into();
    events::append_in_tx(conn, EventKind::InvoiceOverridden, About::Invoice(invoice_id), &invoice).await?;
    Ok(invoice)
}
