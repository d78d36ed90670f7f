//! Puts what an invoice bills into stock: whole or in part, each unit once. To receive what is received whole changes
//! nothing.
//! Refuses what is flagged or voided, more than was invoiced, and lines whose stock keeping unit nobody knows.

use std::collections::HashMap;
use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use schemars::JsonSchema;
use serde::Deserialize;
use sqlx::PgConnection;
use uuid::Uuid;

use super::error::{IntakeError, found};
use super::model::{InvoiceLine, InvoiceState, LINES_MAX, Received};
use super::store;
use crate::app::App;
use crate::events::{self, About, EventKind};
use crate::http::answer::Answer;
use crate::http::auth::Caller;
use crate::http::extract::{InPath, OrDefault};
use crate::http::problem::Problem;
use crate::idempotency::Claim;
use crate::ids;
use crate::inventory::ledger::Ledger;
use crate::inventory::model::{Occasion, Quantity, Witness};
use crate::inventory::rules::Change;
use crate::locks::LockKeys;
use crate::section::{Section, Verb};
use crate::text::{Reason, Reference};

/// The reason receipts carry.
const REASON: &str = "invoice_receipt";

/// `POST /invoices/{invoice_id}/receive`
#[derive(Debug, Default, Deserialize, JsonSchema)]
pub struct ReceiveInvoice {
    #[schemars(length(min = 1, max = LINES_MAX))]
    lines: Option<Vec<LineCame>>,
}

/// What came in of a line.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
pub struct LineCame {
    line_id: Uuid,
    quantity: Quantity,
}

/// # Errors
/// [`Problem`].
pub async fn receive(
    State(app): State<Arc<App>>,
    caller: Caller,
    InPath(invoice_id): InPath<Uuid>,
    OrDefault(body): OrDefault<ReceiveInvoice>,
) -> Result<Answer, Problem> {
    if body.value.lines.as_ref().is_some_and(|lines| !(1..=LINES_MAX).contains(&lines.len())) {
        return Err(Problem::invalid("lines", format!("must be 1 to {LINES_MAX} lines")));
    }
    let claim = body.keyed.map(|keyed| Claim::of_subject(&caller.principal.subject, keyed));
    Ok(receive_invoice(&app, &caller, invoice_id, &body.value, claim.as_ref()).await?)
}

/// Receives under the lease of the variants its lines are of.
///
/// # Errors
/// [`IntakeError`], but for refusals by the business, which are answers.
async fn receive_invoice(
    app: &App,
    caller: &Caller,
    invoice_id: Uuid,
    cmd: &ReceiveInvoice,
    claim: Option<&Claim>,
) -> Result<Answer, IntakeError> {
    let variants = store::find_variants(&mut *app.db.read().await?, invoice_id).await?;
    let keys = LockKeys::variants(variants.values().copied())?;
    let section = Section { app, caller, claim, success: StatusCode::OK };
    section.run(&keys, &Receiving { invoice_id, cmd, variants: &variants, keys: &keys }).await
}

struct Receiving<'a> {
    invoice_id: Uuid,
    cmd: &'a ReceiveInvoice,
    variants: &'a HashMap<String, Uuid>,
    keys: &'a LockKeys,
}

impl Verb for Receiving<'_> {
    type Done = Received;
    type Error = IntakeError;

    async fn in_tx(&self, conn: &mut PgConnection, witness: Witness<'_>) -> Result<Received, IntakeError> {
        let state = found(store::lock_in_tx(conn, self.invoice_id).await?)?;
        if matches!(state, InvoiceState::Flagged | InvoiceState::Voided) {
            return Err(IntakeError::InState(state));
        }
        self.receive_in_tx(conn, witness).await
    }
}

impl Receiving<'_> {
    /// What is done to an invoice whose row is locked: decides what comes in, locks the stock rows, writes receipts and
    /// movements.
    async fn receive_in_tx(
        &self,
        conn: &mut PgConnection,
        witness: Witness<'_>,
    ) -> Result<Received, IntakeError> {
        let invoice = found(store::find(conn, self.invoice_id).await?)?;
        let coming = to_receive(&invoice.lines, self.cmd.lines.as_deref())?;
        let unknown: Vec<_> = coming
            .iter()
            .map(|(place, _)| *place)
            .filter(|place| self.variant(&invoice.lines[*place]).is_none())
            .collect();
        if !unknown.is_empty() {
            return Err(IntakeError::UnknownSkus(unknown));
        }
        if coming.is_empty() {
            return Ok(Received { invoice, movements: Vec::new() });
        }
        let mut ledger = Ledger::lock_in_tx(conn, &self.keys.variant_ids()).await?;
        let mut receipts = Vec::with_capacity(coming.len());
        for (place, units) in coming {
            let (line, receipt_id) = (&invoice.lines[place], ids::fresh());
            let variant_id = found(self.variant(line))?;
            let occasion = Occasion {
                reason: Reason::try_from(REASON.to_owned()).ok(),
                reference: Reference::try_from(invoice.invoice_number.clone()).ok(),
                order_id: None,
                source_id: Some(receipt_id),
            };
            ledger.decide(variant_id, Change::Receive(units), occasion, witness)?;
            receipts.push((receipt_id, line.line_id, units));
        }
        store::write_receipts_in_tx(conn, self.invoice_id, &receipts, witness).await?;
        let movements = ledger.write_in_tx(conn).await?;
        let mut invoice = found(store::find(conn, self.invoice_id).await?)?;
        invoice.lock = witness.lock.into();
        let received = Received { invoice, movements };
        let about = About::Invoice(self.invoice_id);
        events::append_in_tx(conn, EventKind::InvoiceGoodsReceived, about, &received).await?;
        Ok(received)
    }

    fn variant(&self, line: &InvoiceLine) -> Option<Uuid> {
        self.variants.get(line.sku.as_ref()?).copied()
    }
}

/// Which lines come in, by their place, and how much of each: what is left of all that name a stock keeping unit, unless
/// some are asked for. Requests for one line count together.
fn to_receive(lines: &[InvoiceLine], asked: Option<&[LineCame]>) -> Result<Vec<(usize, i64)>, IntakeError> {
    let left = |line: &InvoiceLine| line.quantity - line.received_quantity;
    let Some(asked) = asked else {
        if lines.iter().all(|line| line.sku.is_none()) {
            return Err(IntakeError::NothingToReceive);
        }
        let ours = lines.iter().enumerate().filter(|(_, line)| line.sku.is_some() && left(line) > 0);
        return Ok(ours.map(|(place, line)| (place, left(line))).collect());
    };
    let mut wanted: Vec<(usize, i64)> = Vec::new();
    for (index, came) in asked.iter().enumerate() {
        let place = lines
            .iter()
            .position(|line| line.line_id == came.line_id)
            .ok_or(IntakeError::NoSuchLine(index))?;
        let units = came.quantity.get();
        let together = match wanted.iter_mut().find(|(wanted, _)| *wanted == place) {
            Some((_, together)) => {
                *together += units;
                *together
            }
            None => {
                wanted.push((place, units));
                units
            }
        };
        if together > left(&lines[place]) {
            return Err(IntakeError::Excess(index, together, left(&lines[place])));
        }
    }
    Ok(wanted)
}
