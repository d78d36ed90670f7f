//! Sells the items of a till's invoice, all or none, once: submitting what is sold changes nothing.
//! Refuses if an item is short, if the items came back, and if the version is not the one the till has seen.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use schemars::JsonSchema;
use serde::Deserialize;
use sqlx::PgConnection;

use super::error::PosError;
use super::model::{PosInvoice, PosItem, PosState, Version};
use super::rules::Refusal;
use super::{rules, store};
use crate::app::App;
use crate::db::ATTEMPTS;
use crate::events::{self, About, EventKind};
use crate::http::answer::Answer;
use crate::http::auth::Caller;
use crate::http::extract::{InPath, OrDefault};
use crate::http::problem::Problem;
use crate::idempotency::Claim;
use crate::inventory::ledger::Ledger;
use crate::inventory::model::{Level, Occasion, Quantity, Witness};
use crate::inventory::rules::Change;
use crate::locks::{LockKey, LockKeys};
use crate::section::{Section, Verb};
use crate::text::{Name, Reason, Reference};

/// The reason its sales carry.
const REASON: &str = "pos_sale";

/// `POST /pos/invoices/{name}/submit`
#[derive(Debug, Default, Deserialize, JsonSchema)]
pub struct SubmitInvoice {
    version: Option<Version>,
}

/// # Errors
/// [`Problem`].
pub async fn submit(
    State(app): State<Arc<App>>,
    caller: Caller,
    InPath(name): InPath<Name>,
    OrDefault(body): OrDefault<SubmitInvoice>,
) -> Result<Answer, Problem> {
    let claim = body.keyed.map(|keyed| Claim::of_subject(&caller.principal.subject, keyed));
    Ok(submit_invoice(&app, &caller, &name, &body.value, claim.as_ref()).await?)
}

/// Sells under the locks of the invoice's name and of its variants. Those are read first: an edit in between begins it
/// anew.
///
/// # Errors
/// [`PosError`], but for refusals by the business, which are answers.
pub async fn submit_invoice(
    app: &App,
    caller: &Caller,
    name: &Name,
    cmd: &SubmitInvoice,
    claim: Option<&Claim>,
) -> Result<Answer, PosError> {
    for _ in 0..ATTEMPTS {
        let (version, keys) = seen(app, name).await?;
        let section = Section { app, caller, claim, success: StatusCode::OK };
        let verb = Submitting { name, made_for: cmd.version.map(Version::get), version, keys: &keys };
        match section.run(&keys, &verb).await {
            Err(PosError::Moved) => {}
            outcome => return outcome.map_err(PosError::of_a_till),
        }
    }
    Err(PosError::Busy)
}

/// The newest version, and what has to be locked to sell it or bring it back.
///
/// # Errors
/// [`PosError`].
pub(super) async fn seen(app: &App, name: &Name) -> Result<(i64, LockKeys), PosError> {
    let (version, variants) = store::find_variants(&mut *app.db.read().await?, name.as_str()).await?;
    let variants = variants.into_iter().map(LockKey::Inventory);
    Ok((version, LockKeys::new(variants.chain([LockKey::invoice(name)]).collect())?))
}

struct Submitting<'a> {
    name: &'a Name,
    made_for: Option<i64>,
    version: i64,
    keys: &'a LockKeys,
}

impl Verb for Submitting<'_> {
    type Done = PosInvoice;
    type Error = PosError;

    async fn in_tx(&self, conn: &mut PgConnection, witness: Witness<'_>) -> Result<PosInvoice, PosError> {
        let (newest, state) =
            store::lock_newest_in_tx(conn, self.name.as_str()).await?.ok_or(PosError::NotFound)?;
        if newest != self.version {
            return Err(PosError::Moved);
        }
        if self.made_for.is_some_and(|version| version != newest) {
            return Err(Refusal::Stale(newest).into());
        }
        submit_in_tx(conn, self.name, (newest, state), self.keys, witness).await
    }
}

/// What is done to an invoice whose row is locked: locks the stock rows, decides on all items, writes the sales.
///
/// # Errors
/// A refusal before anything was written, or a database error.
pub async fn submit_in_tx(
    conn: &mut PgConnection,
    name: &Name,
    (version, state): (i64, PosState),
    keys: &LockKeys,
    witness: Witness<'_>,
) -> Result<PosInvoice, PosError> {
    let mut invoice = store::find(conn, name.as_str(), Some(version)).await?.ok_or(PosError::NotFound)?;
    match state {
        PosState::Draft => {}
        PosState::Submitted => return Ok(invoice),
        PosState::Returned => return Err(Refusal::NotADraft(state).into()),
    }
    let locked = Ledger::lock_in_tx(conn, &keys.variant_ids()).await;
    let mut ledger = locked.map_err(PosError::of_stock)?;
    rules::all_available(&invoice.items, |id| ledger.level(id).map(Level::available))?;
    for item in &invoice.items {
        let units = Quantity::try_from(item.quantity).map_err(|_| PosError::NotFound)?;
        ledger
            .decide(item.variant_id, Change::Sell(units), occasion(name, REASON, item), witness)
            .map_err(Refusal::from)?;
    }
    ledger.write_in_tx(conn).await?;
    invoice.state = PosState::Submitted;
    invoice.submitted_at = Some(store::set_submitted_in_tx(conn, name.as_str()).await?);
    invoice.lock = witness.lock.into();
    events::append_in_tx(conn, EventKind::InvoiceSubmitted, About::InvoiceNamed(name.as_str()), &invoice)
        .await?;
    Ok(invoice)
}

/// What a movement of an item says about its occasion.
pub(super) fn occasion(name: &Name, reason: &str, item: &PosItem) -> Occasion {
    Occasion {
        reason: Reason::try_from(reason.to_owned()).ok(),
        reference: Reference::try_from(name.as_str().to_owned()).ok(),
        order_id: None,
        source_id: Some(item.item_id),
    }
}
