//! Makes a till's invoice, or writes its next version.
//! Refuses an edit that was made from another version than the newest, and one of what is sold.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use schemars::JsonSchema;
use serde::Deserialize;
use sqlx::PgConnection;

use super::error::PosError;
use super::model::{ITEMS_MAX, ItemWanted, PosInvoice, PosState, Version};
use super::{rules, store};
use crate::app::App;
use crate::events::{self, About, EventKind};
use crate::http::answer::Answer;
use crate::http::auth::Caller;
use crate::http::extract::{Body, InPath};
use crate::http::problem::Problem;
use crate::inventory::model::Witness;
use crate::locks::{LockKey, LockKeys};
use crate::orders::store::read_catalogue_in_tx;
use crate::section::{Section, Verb};
use crate::text::Name;

/// `PUT /pos/invoices/{name}`
#[derive(Debug, Deserialize, JsonSchema)]
pub struct SaveInvoice {
    version: Version,
    customer: Option<Name>,
    #[schemars(length(min = 1, max = ITEMS_MAX))]
    items: Vec<ItemWanted>,
}

/// # Errors
/// [`Problem`].
pub async fn save(
    State(app): State<Arc<App>>,
    caller: Caller,
    InPath(name): InPath<Name>,
    body: Body<SaveInvoice>,
) -> Result<Answer, Problem> {
    if !(1..=ITEMS_MAX).contains(&body.value.items.len()) {
        return Err(Problem::invalid("items", format!("must be 1 to {ITEMS_MAX} items")));
    }
    Ok(save_invoice(&app, &caller, &name, &body.value).await?)
}

/// Saves under the lock of the invoice's name. Whoever waits in vain for it, in Redis or in Postgres, is told that it
/// is busy.
///
/// # Errors
/// [`PosError`], but for refusals by the business, which are answers.
pub async fn save_invoice(
    app: &App,
    caller: &Caller,
    name: &Name,
    cmd: &SaveInvoice,
) -> Result<Answer, PosError> {
    let keys = LockKeys::new(vec![LockKey::invoice(name)])?;
    let success = if cmd.version.get() == 0 { StatusCode::CREATED } else { StatusCode::OK };
    let section = Section { app, caller, claim: None, success };
    section.run(&keys, &Saving { name, cmd }).await.map_err(PosError::of_a_till)
}

struct Saving<'a> {
    name: &'a Name,
    cmd: &'a SaveInvoice,
}

impl Verb for Saving<'_> {
    type Done = PosInvoice;
    type Error = PosError;

    async fn in_tx(&self, conn: &mut PgConnection, witness: Witness<'_>) -> Result<PosInvoice, PosError> {
        save_in_tx(conn, self.name, self.cmd, witness).await
    }
}

/// Locks the invoice's row, checks the version, prices the items, and writes the next version.
///
/// # Errors
/// A refusal before anything was written, or a database error.
pub async fn save_in_tx(
    conn: &mut PgConnection,
    name: &Name,
    cmd: &SaveInvoice,
    witness: Witness<'_>,
) -> Result<PosInvoice, PosError> {
    let newest = store::lock_newest_in_tx(conn, name.as_str()).await?;
    rules::may_save(newest, cmd.version.get())?;
    let mut ids: Vec<_> = cmd.items.iter().map(|item| item.variant_id).collect();
    ids.sort_unstable();
    ids.dedup();
    let catalogue = read_catalogue_in_tx(conn, &ids).await?;
    let (items, currency, total) = rules::priced(&cmd.items, &catalogue)?;
    let mut invoice = PosInvoice {
        name: name.as_str().to_owned(),
        version: cmd.version.get() + 1,
        state: PosState::Draft,
        customer: cmd.customer.as_ref().map(|customer| customer.as_str().to_owned()),
        currency,
        total,
        items,
        saved_by: witness.subject.to_owned(),
        saved_at: chrono::DateTime::UNIX_EPOCH,
        submitted_at: None,
        returned_at: None,
        lock: witness.lock.into(),
    };
    invoice.saved_at = store::write_version_in_tx(conn, &invoice, witness).await?;
    events::append_in_tx(conn, EventKind::InvoiceUpdated, About::InvoiceNamed(name.as_str()), &invoice)
        .await?;
    Ok(invoice)
}
