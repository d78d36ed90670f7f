//! Reads: one invoice, and lists of them. As of one moment, without a lock.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use schemars::JsonSchema;
use serde::Deserialize;
use uuid::Uuid;

use super::error::{IntakeError, found};
use super::model::{Invoice, InvoiceDate, InvoiceNumber, InvoiceState, VendorName};
use super::store::{self, Filter};
use crate::app::App;
use crate::http::extract::{InPath, Params};
use crate::http::page::{Limit, Page};
use crate::text::AccountId;

/// The most invoices on a page, whatever is asked for.
const PAGE_MAX: u16 = 100;

/// One invoice.
///
/// # Errors
/// [`IntakeError`].
pub async fn get_invoice(
    State(app): State<Arc<App>>,
    InPath(invoice_id): InPath<Uuid>,
) -> Result<Json<Invoice>, IntakeError> {
    let mut conn = app.db.snapshot().await?;
    Ok(Json(found(store::find(&mut conn, invoice_id).await?)?))
}

/// `GET /invoices?account_id=&vendor_name=&invoice_number=&state=&from=&to=&limit=&cursor=`
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ListInvoices {
    account_id: Option<AccountId>,
    vendor_name: Option<VendorName>,
    invoice_number: Option<InvoiceNumber>,
    state: Option<InvoiceState>,
    from: Option<InvoiceDate>,
    to: Option<InvoiceDate>,
    #[serde(default)]
    limit: Limit,
    cursor: Option<Uuid>,
}

/// Invoices, the last uploaded first. Vendor and number may be spelled in any way; within an account, a vendor's other
/// names are found too.
///
/// # Errors
/// [`IntakeError`].
pub async fn list_invoices(
    State(app): State<Arc<App>>,
    Params(query): Params<ListInvoices>,
) -> Result<Json<Page<Invoice>>, IntakeError> {
    let limit = query.limit.at_most(PAGE_MAX);
    let mut conn = app.db.snapshot().await?;
    let names = match (&query.account_id, &query.vendor_name) {
        (Some(account), Some(name)) => {
            Some(store::find_names_of_vendor(&mut conn, account.as_str(), name.key()).await?)
        }
        // Names are one vendor's within an account.
        (None, Some(name)) => Some(vec![name.key().to_owned()]),
        (_, None) => None,
    };
    let filter = Filter {
        account_id: query.account_id.as_ref().map(AccountId::as_str),
        vendor_keys: names.as_deref(),
        number_key: query.invoice_number.as_ref().map(InvoiceNumber::key),
        state: query.state.map(InvoiceState::as_str),
        from: query.from.map(InvoiceDate::get),
        to: query.to.map(InvoiceDate::get),
        before: query.cursor,
    };
    let (items, more) = store::list(&mut conn, &filter, limit).await?;
    let next_cursor = items.last().filter(|_| more).map(|invoice| invoice.invoice_id.to_string());
    Ok(Json(Page { items, next_cursor }))
}
