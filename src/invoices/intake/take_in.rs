//! Takes a supplier's invoice in, if it is not in already.
//! Refuses a duplicate and says of what, and why; keeps a near one, flagged, if it is asked to.

use std::collections::HashMap;
use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use chrono::{DateTime, NaiveDate};
use rust_decimal::Decimal;
use serde::Serialize;
use sqlx::PgConnection;

use super::case::{Case, Finding, open_cases};
use super::error::IntakeError;
use super::model::{GivenInvoice, Invoice, InvoiceLine, InvoiceState, LINES_MAX, Match, Verdict, locks_of};
use super::rules::Kind;
use super::store::{self, NewInvoice, NewMatch};
use crate::app::App;
use crate::events::{self, About, EventKind, NewEvent};
use crate::http::answer::Answer;
use crate::http::auth::Caller;
use crate::http::extract::Body;
use crate::http::problem::Problem;
use crate::idempotency::Claim;
use crate::ids;
use crate::inventory::model::Witness;
use crate::leases::Fence;
use crate::leases::marker::Marker;
use crate::money::Currency;
use crate::section::{Section, Verb};
use crate::text::FileHash;

/// `POST /invoices`
///
/// # Errors
/// [`Problem`].
pub async fn take_in(
    State(app): State<Arc<App>>,
    caller: Caller,
    body: Body<GivenInvoice>,
) -> Result<Answer, Problem> {
    let claim = body.keyed.map(|keyed| Claim::of_subject(&caller.principal.subject, keyed));
    check_given(&body.value, "")?;
    Ok(take_invoice_in(&app, &caller, &body.value, claim.as_ref()).await?)
}

/// What is seen of an invoice alone, before anything is locked.
///
/// # Errors
/// [`Problem`].
pub fn check_given(given: &GivenInvoice, at: &str) -> Result<(), Problem> {
    if given.lines.len() > LINES_MAX {
        return Err(Problem::invalid(format!("{at}lines"), format!("must be at most {LINES_MAX} lines")));
    }
    let decimals = given.total.get().normalize().scale();
    if let Some(most) = given.currency.decimals().filter(|most| decimals > *most) {
        let rule = format!("must have at most {most} decimals in {}", given.currency);
        return Err(Problem::invalid(format!("{at}total"), rule));
    }
    if given.fence.is_some() && marker_of(given).is_none() {
        return Err(Problem::invalid(
            format!("{at}fence"),
            "is that of a file's marker: give its file_hash too",
        ));
    }
    Ok(())
}

fn marker_of(given: &GivenInvoice) -> Option<Marker> {
    Marker::of(given.account_id.as_str(), given.file_hash.as_ref()?.as_str()).ok()
}

/// Takes in under the locks of everything that could be the same invoice.
///
/// # Errors
/// [`IntakeError`], but for refusals by the business, which are answers.
pub async fn take_invoice_in(
    app: &App,
    caller: &Caller,
    given: &GivenInvoice,
    claim: Option<&Claim>,
) -> Result<Answer, IntakeError> {
    let keys = locks_of([(given.account_id.as_str(), &given.facts(None))].into_iter())?;
    let section = Section { app, caller, claim, success: StatusCode::CREATED };
    let answer = section.run(&keys, &TakingIn { app, given }).await.map_err(IntakeError::of_an_upload)?;
    fade_markers(app, std::slice::from_ref(given)).await;
    Ok(answer)
}

/// After the commit: Redis shows those markers no more that ended.
pub(super) async fn fade_markers(app: &App, given: &[GivenInvoice]) {
    let markers: Vec<_> = given.iter().filter_map(claim_of).collect();
    let claims: Vec<_> = markers.iter().map(|(marker, fence)| (marker, *fence)).collect();
    if let Err(error) = app.leases.fade_ended(&app.db, &claims).await {
        // The shadows stay until their time is over, and keep nobody out but other programs.
        tracing::warn!(error = &error as &dyn std::error::Error, "shadows of markers were not taken away");
    }
}

/// The claim that ends with an invoice.
fn claim_of(given: &GivenInvoice) -> Option<(Marker, Fence)> {
    Some((marker_of(given)?, given.fence?))
}

struct TakingIn<'a> {
    app: &'a App,
    given: &'a GivenInvoice,
}

impl Verb for TakingIn<'_> {
    type Done = Invoice;
    type Error = IntakeError;

    async fn in_tx(&self, conn: &mut PgConnection, witness: Witness<'_>) -> Result<Invoice, IntakeError> {
        let mut taken = take_all_in_tx(conn, self.app, std::slice::from_ref(self.given), witness).await?;
        taken.pop().ok_or(IntakeError::NotFound)?
    }
}

/// Judges each in its turn, beside those before it too, and writes those that may be in, and of the others that they were
/// refused.
///
/// # Errors
/// A database error; then nothing was written. That one is refused is its answer.
pub(super) async fn take_all_in_tx(
    conn: &mut PgConnection,
    app: &App,
    given: &[GivenInvoice],
    witness: Witness<'_>,
) -> Result<Vec<Result<Invoice, IntakeError>>, IntakeError> {
    let mut lost = hold_markers_in_tx(conn, app, given, witness).await?;
    let mut cases = open_cases(conn, given).await?;
    let mut taken = Vec::with_capacity(given.len());
    let mut near = Vec::with_capacity(given.len());
    for index in 0..given.len() {
        let (one, case) = (&given[index], &cases[index]);
        let found = match (case.judge_strictly(), lost.remove(&index)) {
            (Ok(_), Some(lost)) => Err(lost),
            (found, _) => found,
        };
        let found = match found {
            Ok(found) => found,
            Err(refused) => {
                near.push(Vec::new());
                taken.push(Err(refused));
                continue;
            }
        };
        let invoice = invoice_of(one, &found, witness);
        near.push(found.near);
        let (id, facts) = (invoice.invoice_id, case.facts.clone());
        let later = given.iter().zip(&mut cases).skip(index + 1);
        for (_, case) in later.filter(|(later, _)| later.account_id == one.account_id) {
            case.add(id, &facts);
        }
        taken.push(Ok(invoice));
    }
    end_markers_in_tx(conn, app, given, &taken).await?;
    write_in_tx(conn, &cases, &near, &mut taken, witness).await?;
    tell_in_tx(conn, given, &taken, witness).await?;
    Ok(taken)
}

/// Holds the markers that may end, and says which are not their callers' to end, by the place of their invoices.
async fn hold_markers_in_tx(
    conn: &mut PgConnection,
    app: &App,
    given: &[GivenInvoice],
    witness: Witness<'_>,
) -> Result<HashMap<usize, IntakeError>, IntakeError> {
    let named: Vec<_> =
        given.iter().enumerate().filter_map(|(index, given)| Some((index, claim_of(given)?))).collect();
    let claims: Vec<_> = named.iter().map(|(_, (marker, fence))| (marker, *fence)).collect();
    let held = app.leases.hold_all_to_end_in_tx(conn, &claims, witness.subject).await?;
    let lost = named.iter().zip(held).filter_map(|((index, _), held)| Some((*index, held.err()?.into())));
    Ok(lost.collect())
}

/// The markers of those that are in end with them.
async fn end_markers_in_tx(
    conn: &mut PgConnection,
    app: &App,
    given: &[GivenInvoice],
    taken: &[Result<Invoice, IntakeError>],
) -> Result<(), IntakeError> {
    let is_in = given.iter().zip(taken).filter(|(_, taken)| taken.is_ok());
    let markers: Vec<_> = is_in.filter_map(|(given, _)| claim_of(given)).collect();
    Ok(app
        .leases
        .finish_all_in_tx(conn, &markers.iter().map(|(marker, _)| marker).collect::<Vec<_>>())
        .await?)
}

async fn write_in_tx(
    conn: &mut PgConnection,
    cases: &[Case],
    near: &[Vec<NewMatch>],
    taken: &mut [Result<Invoice, IntakeError>],
    witness: Witness<'_>,
) -> Result<(), IntakeError> {
    let new: Vec<_> = taken
        .iter()
        .enumerate()
        .filter_map(|(index, taken)| {
            let invoice = taken.as_ref().ok()?;
            Some(NewInvoice { facts: &cases[index].facts, invoice, matches: &near[index] })
        })
        .collect();
    if new.is_empty() {
        return Ok(());
    }
    let at = store::insert_in_tx(conn, &new, witness).await?;
    for invoice in taken.iter_mut().flatten() {
        invoice.uploaded_at = at;
    }
    Ok(())
}

/// What was refused, and why.
#[derive(Serialize)]
struct Refused<'a> {
    account_id: &'a str,
    vendor_name: &'a str,
    invoice_number: &'a str,
    invoice_date: NaiveDate,
    total: Decimal,
    currency: Currency,
    file_hash: Option<&'a str>,
    uploaded_by: &'a str,
    verdict: &'a Verdict,
}

/// Tells of each what became of it: what was refused leaves no other trace.
async fn tell_in_tx(
    conn: &mut PgConnection,
    given: &[GivenInvoice],
    taken: &[Result<Invoice, IntakeError>],
    witness: Witness<'_>,
) -> Result<(), IntakeError> {
    let mut told = Vec::with_capacity(taken.len());
    for (given, taken) in given.iter().zip(taken) {
        told.push(match taken {
            Ok(invoice) => {
                let kind = match invoice.state {
                    InvoiceState::Flagged => EventKind::InvoiceFlagged,
                    _ => EventKind::InvoiceReceived,
                };
                NewEvent::new(kind, About::Invoice(invoice.invoice_id), invoice)?
            }
            Err(IntakeError::Duplicate(verdict)) => {
                let refused = Refused {
                    account_id: given.account_id.as_str(),
                    vendor_name: given.vendor_name.as_str(),
                    invoice_number: given.invoice_number.as_str(),
                    invoice_date: given.invoice_date.get(),
                    total: given.currency.written(given.total.get()),
                    currency: given.currency,
                    file_hash: given.file_hash.as_ref().map(FileHash::as_str),
                    uploaded_by: witness.subject,
                    verdict,
                };
                let about = verdict.invoice_id.map_or(About::Nothing, About::Invoice);
                NewEvent::new(EventKind::InvoiceRefused, about, &refused)?
            }
            Err(_) => continue,
        });
    }
    if !told.is_empty() {
        events::append_all_in_tx(conn, &told).await?;
    }
    Ok(())
}

fn invoice_of(given: &GivenInvoice, found: &Finding, witness: Witness<'_>) -> Invoice {
    let is_near = found.verdict.r#type != Kind::New;
    let currency = given.currency;
    let line = |line: &super::model::GivenLine| InvoiceLine {
        line_id: ids::fresh(),
        sku: line.sku.clone().map(Into::into),
        description: line.description.as_str().to_owned(),
        quantity: line.quantity.get(),
        unit_price: currency.written(line.unit_price.get()),
        received_quantity: 0,
    };
    let matched = |found: &NewMatch| Match {
        invoice_id: found.earlier_id,
        score: f64::from(found.score) / 100.0,
        evidence: serde_json::to_value(&found.evidence).unwrap_or_default(),
    };
    Invoice {
        invoice_id: ids::fresh(),
        account_id: given.account_id.as_str().to_owned(),
        vendor_name: given.vendor_name.as_str().to_owned(),
        invoice_number: given.invoice_number.as_str().to_owned(),
        invoice_date: given.invoice_date.get(),
        total: currency.written(given.total.get()),
        currency,
        file_hash: given.file_hash.clone().map(Into::into),
        state: if is_near { InvoiceState::Flagged } else { InvoiceState::Accepted },
        verdict: if is_near { Kind::Near } else { Kind::New },
        matches: found.near.iter().map(matched).collect(),
        compared_all: found.verdict.compared_all,
        lines: given.lines.iter().map(line).collect(),
        decisions: Vec::new(),
        uploaded_by: witness.subject.to_owned(),
        uploaded_at: DateTime::UNIX_EPOCH,
        lock: witness.lock.into(),
    }
}
