//! Takes a supplier's invoice in, if it is not in already.
//! Refuses a duplicate and says of what, and why; keeps a near one, flagged, if it is asked to.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use chrono::{DateTime, Days};
use sqlx::PgConnection;
use uuid::Uuid;

use super::compare::{Evidence, Facts};
use super::error::IntakeError;
use super::model::{GivenInvoice, Invoice, InvoiceLine, InvoiceState, LINES_MAX, Match, Verdict, locks_of};
use super::rules::{Kind, OnDuplicate, Policy, judge};
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
use crate::leases::marker::Marker;
use crate::section::{Section, Verb};

/// An invoice may be of a day so far ahead.
const DAYS_AHEAD_MAX: u64 = 366;
/// The most earlier invoices that a flagged one is kept beside.
const MATCHES_MAX: usize = 20;

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

/// After the commit: Redis shows those markers no more that ended. Of one that did not end nothing changes, for its
/// fence is another.
pub(super) async fn fade_markers(app: &App, given: &[GivenInvoice]) {
    for (marker, fence) in given.iter().filter_map(|given| Some((marker_of(given)?, given.fence?))) {
        if matches!(app.leases.running(&app.db, &marker).await, Ok(None)) {
            app.leases.fade(marker.name(), fence).await;
        }
    }
}

struct TakingIn<'a> {
    app: &'a App,
    given: &'a GivenInvoice,
}

impl Verb for TakingIn<'_> {
    type Done = Invoice;
    type Error = IntakeError;

    fn name(&self) -> &'static str {
        "invoices.take_in"
    }

    async fn in_tx(&self, conn: &mut PgConnection, witness: Witness<'_>) -> Result<Invoice, IntakeError> {
        let mut taken = take_all_in_tx(conn, self.app, std::slice::from_ref(self.given), witness).await?;
        taken.pop().ok_or(IntakeError::NotFound)?.map_err(IntakeError::Duplicate)
    }
}

/// What an upload is judged by.
pub(super) struct Case {
    pub(super) facts: Facts,
    pub(super) policy: Policy,
    others: Vec<(Uuid, Facts)>,
}

/// Reads what each is judged by.
///
/// # Errors
/// [`IntakeError::TooFarAhead`], or a database error.
pub(super) async fn open_cases(
    conn: &mut PgConnection,
    given: &[GivenInvoice],
) -> Result<Vec<Case>, IntakeError> {
    let known = store::find_known(conn, given).await?;
    let mut cases = Vec::with_capacity(given.len());
    for (index, (given, known)) in given.iter().zip(known).enumerate() {
        let facts = given.facts(known.vendor_key.as_deref());
        if known.today.checked_add_days(Days::new(DAYS_AHEAD_MAX)).is_some_and(|last| facts.date > last) {
            return Err(IntakeError::TooFarAhead(index));
        }
        cases.push(Case { facts, policy: known.policy, others: Vec::new() });
    }
    let judged: Vec<_> = given
        .iter()
        .zip(&cases)
        .map(|(given, case)| (given.account_id.as_str(), &case.facts, case.policy.limits))
        .collect();
    for candidate in store::find_candidates(conn, &judged).await? {
        if let Some(case) = cases.get_mut(candidate.place) {
            case.others.push((candidate.invoice_id, candidate.facts));
        }
    }
    Ok(cases)
}

/// What an upload came to be judged as.
pub(super) struct Finding {
    pub(super) verdict: Verdict,
    /// What it is near to, the most alike first.
    near: Vec<NewMatch>,
}

impl Case {
    /// Judges it beside all it may be. The gravest verdict counts, and of equal ones the most alike; if there is none,
    /// what came closest is told along.
    pub(super) fn judge(&self) -> Finding {
        let mut all: Vec<(Kind, i32, Uuid, Vec<Evidence>)> = self
            .others
            .iter()
            .map(|(id, theirs)| {
                let judged = judge(&self.facts, theirs, &self.policy);
                (judged.kind, judged.score, *id, judged.evidence)
            })
            .collect();
        all.sort_by(|one, other| (other.0, other.1, one.2).cmp(&(one.0, one.1, other.2)));
        let near = all
            .iter()
            .filter(|(kind, ..)| *kind == Kind::Near)
            .take(MATCHES_MAX)
            .map(|(_, score, id, evidence)| NewMatch {
                earlier_id: *id,
                score: *score,
                evidence: evidence.clone(),
            })
            .collect();
        let verdict = match all.into_iter().next() {
            Some((kind, score, id, evidence)) => Verdict::new(kind, score, evidence, Some(id)),
            None => Verdict::new(Kind::New, 0, Vec::new(), None),
        };
        Finding { verdict, near }
    }
}

/// Judges each in its turn, beside those before it too, and writes those that may be in.
///
/// # Errors
/// A marker that is lost, or a database error; then nothing was written. That one is a duplicate is its answer.
pub(super) async fn take_all_in_tx(
    conn: &mut PgConnection,
    app: &App,
    given: &[GivenInvoice],
    witness: Witness<'_>,
) -> Result<Vec<Result<Invoice, Box<Verdict>>>, IntakeError> {
    let mut cases = open_cases(conn, given).await?;
    let mut taken = Vec::with_capacity(given.len());
    let mut near = Vec::with_capacity(given.len());
    for index in 0..given.len() {
        let (one, case) = (&given[index], &cases[index]);
        let finding = case.judge();
        let flags = one.on_duplicate.unwrap_or(case.policy.on_duplicate) == OnDuplicate::Flag;
        let is_in = match finding.verdict.r#type {
            Kind::New => true,
            kind => kind == Kind::Near && flags,
        };
        near.push(finding.near);
        if !is_in {
            taken.push(Err(Box::new(finding.verdict)));
            continue;
        }
        let invoice = invoice_of(one, &finding.verdict, &near[index], witness);
        let (id, facts) = (invoice.invoice_id, case.facts.clone());
        let later = given.iter().zip(&mut cases).skip(index + 1);
        for (_, case) in later.filter(|(later, _)| later.account_id == one.account_id) {
            case.others.push((id, facts.clone()));
        }
        taken.push(Ok(invoice));
    }
    end_markers_in_tx(conn, app, given, &taken).await?;
    write_in_tx(conn, &cases, &near, &mut taken, witness).await?;
    Ok(taken)
}

/// The markers of those that are in end with them, in the order of their names.
async fn end_markers_in_tx(
    conn: &mut PgConnection,
    app: &App,
    given: &[GivenInvoice],
    taken: &[Result<Invoice, Box<Verdict>>],
) -> Result<(), IntakeError> {
    let is_in = given.iter().zip(taken).filter(|(_, taken)| taken.is_ok());
    let mut markers: Vec<_> =
        is_in.filter_map(|(given, _)| Some((marker_of(given)?, given.fence?))).collect();
    markers.sort_unstable_by(|(one, _), (other, _)| one.name().as_str().cmp(other.name().as_str()));
    for (marker, fence) in markers {
        app.leases.finish_in_tx(conn, &marker, fence).await?;
    }
    Ok(())
}

async fn write_in_tx(
    conn: &mut PgConnection,
    cases: &[Case],
    near: &[Vec<NewMatch>],
    taken: &mut [Result<Invoice, Box<Verdict>>],
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
    let mut told = Vec::new();
    for invoice in taken.iter_mut().flatten() {
        invoice.uploaded_at = at;
        let kind = match invoice.state {
            InvoiceState::Flagged => EventKind::InvoiceFlagged,
            _ => EventKind::InvoiceReceived,
        };
        told.push(NewEvent::new(kind, About::Invoice(invoice.invoice_id), invoice)?);
    }
    events::append_all_in_tx(conn, &told).await?;
    Ok(())
}

fn invoice_of(given: &GivenInvoice, verdict: &Verdict, near: &[NewMatch], witness: Witness<'_>) -> Invoice {
    let is_near = verdict.r#type == Kind::Near;
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
        matches: near.iter().map(matched).collect(),
        lines: given.lines.iter().map(line).collect(),
        decisions: Vec::new(),
        uploaded_by: witness.subject.to_owned(),
        uploaded_at: DateTime::UNIX_EPOCH,
        lock: witness.lock.into(),
    }
}
