//! Cancels an order, whole or by line, and puts its stock back, at most once.
//! Refuses to cancel more than was ordered; cancelling what is cancelled already changes nothing.

use std::collections::BTreeMap;
use std::ops::Deref;
use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;
use sqlx::PgConnection;
use uuid::Uuid;

use super::error::OrderError;
use super::model::{LINES_MAX, Order};
use super::rules;
use super::states::{self, Actor};
use super::store;
use crate::app::App;
use crate::db::DbError;
use crate::events::{self, About, EventKind, NewEvent};
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
use crate::section::share::{Request as InSection, Work, share};
use crate::section::{Section, Verb};
use crate::text::{Reason, Reference};

/// The reason a return carries when the caller gives none.
const REASON: &str = "order_cancelled";

/// `POST /orders/{order_id}/cancel`
#[derive(Debug, Default, Deserialize, JsonSchema)]
pub struct CancelOrder {
    /// Why, in the caller's words.
    pub reason: Option<Reason>,
    /// What of it; all that is left if this is left out.
    #[schemars(length(min = 1, max = LINES_MAX))]
    pub lines: Option<Vec<LineToCancel>>,
}

/// So many of one line.
#[derive(Debug, Deserialize, JsonSchema)]
pub struct LineToCancel {
    line_id: Uuid,
    quantity: Quantity,
}

impl CancelOrder {
    /// Checks what no field can say alone. `at` names the lines.
    ///
    /// # Errors
    /// A [`Problem`] that names the field.
    pub fn check(&self, at: &str) -> Result<(), Problem> {
        if self.lines.as_ref().is_none_or(|lines| (1..=LINES_MAX).contains(&lines.len())) {
            return Ok(());
        }
        Err(Problem::invalid(at, format!("must be 1 to {LINES_MAX} lines, or left out to cancel all")))
    }

    /// The key of a cancellation by line that came without one: what it says. So the same call twice, whoever makes it,
    /// returns stock once, as it does where all is cancelled.
    fn claim_of_its_own(&self, order_id: Uuid) -> Option<Claim> {
        let mut lines: BTreeMap<Uuid, i64> = BTreeMap::new();
        for line in self.lines.as_ref()? {
            *lines.entry(line.line_id).or_default() += line.quantity.get();
        }
        let said = json!({"reason": self.reason.as_ref().map_or(REASON, Reason::as_str), "lines": lines});
        Some(Claim::of_what_is_said(format!("order:{order_id}"), &said))
    }
}

/// # Errors
/// [`Problem`].
pub async fn cancel(
    State(app): State<Arc<App>>,
    caller: Caller,
    InPath(order_id): InPath<Uuid>,
    OrDefault(body): OrDefault<CancelOrder>,
) -> Result<Answer, Problem> {
    let (cmd, keyed) = (body.value, body.keyed);
    cmd.check("lines")?;
    let claim = match keyed {
        Some(keyed) => Some(Claim::of_subject(&caller.principal.subject, keyed)),
        None => cmd.claim_of_its_own(order_id),
    };
    Ok(cancel_order(&app, &caller, order_id, cmd, claim).await?)
}

/// Cancels under the lease of the order's variants, which never change, in a section that it may share.
///
/// # Errors
/// [`OrderError`], but for refusals by the business, which are answers.
pub async fn cancel_order(
    app: &Arc<App>,
    caller: &Caller,
    order_id: Uuid,
    cmd: CancelOrder,
    claim: Option<Claim>,
) -> Result<Answer, OrderError> {
    let variants = {
        let mut conn = app.db.read().await?;
        store::variants_of(&mut conn, order_id).await?
    };
    if variants.is_empty() {
        return Err(OrderError::NotFound);
    }
    let lines = variants.len();
    let keys = LockKeys::variants(variants)?;
    let cancelling = Cancelling(Arc::new(Wanted { order_id, cmd, claim }));
    let alone = Section { app, caller, claim: cancelling.claim.as_ref(), success: StatusCode::OK };
    let request = Arc::new(InSection::new(caller, keys, lines, Work::Cancel(cancelling.clone())));
    share(app, request, alone, &cancelling).await
}

/// An order about to be cancelled.
#[derive(Debug, Clone)]
pub struct Cancelling(Arc<Wanted>);

/// What is asked for.
#[derive(Debug)]
pub struct Wanted {
    /// Which order.
    pub order_id: Uuid,
    /// What of it.
    pub cmd: CancelOrder,
    /// The request's key, if it has one.
    pub claim: Option<Claim>,
}

impl Deref for Cancelling {
    type Target = Wanted;

    fn deref(&self) -> &Wanted {
        &self.0
    }
}

impl Verb for Cancelling {
    type Done = Order;
    type Error = OrderError;

    async fn in_tx(&self, conn: &mut PgConnection, witness: Witness<'_>) -> Result<Order, OrderError> {
        Ok(cancel_in_tx(conn, self.order_id, &self.cmd, Actor::Api, witness).await?.order)
    }
}

/// What came of a cancellation.
#[derive(Debug)]
pub struct Outcome {
    /// The order as it is now.
    pub order: Order,
    /// Whether this cancelled any of it: not if nothing was left.
    pub cancelled_some: bool,
}

/// Locks the order, then the stock rows, decides what is left to cancel, and writes cancellations,
/// returns and the order's new state.
///
/// # Errors
/// A refusal before anything was written, or a database error.
pub async fn cancel_in_tx(
    conn: &mut PgConnection,
    order_id: Uuid,
    cmd: &CancelOrder,
    by: Actor,
    witness: Witness<'_>,
) -> Result<Outcome, OrderError> {
    store::lock_order_in_tx(conn, order_id).await?;
    let order = store::find_order(conn, order_id).await?.ok_or(OrderError::NotFound)?;
    let to_cancel = what_of(&order, cmd)?;
    let variants = to_cancel.iter().map(|(line, _)| order.lines[*line].variant_id);
    let mut ledger = Ledger::lock_in_tx(conn, &LockKeys::variants(variants)?.variant_ids()).await?;
    let decided = decide(order, cmd, by, &mut ledger, witness)?;
    ledger.write_in_tx(conn).await?;
    write_in_tx(conn, &[(&decided, cmd, witness)]).await?;
    Ok(Outcome { cancelled_some: !decided.lines.is_empty(), order: decided.order })
}

/// A cancellation that has been decided on.
#[derive(Debug)]
pub struct Decided {
    /// The order after it.
    pub order: Order,
    lines: Vec<store::Cancellation>,
}

/// Decides what is left to cancel of `order`, which is locked, and puts it back into the ledger.
///
/// # Errors
/// A refusal.
pub fn decide<'a>(
    mut order: Order,
    cmd: &CancelOrder,
    by: Actor,
    ledger: &mut Ledger<'a>,
    witness: Witness<'a>,
) -> Result<Decided, OrderError> {
    order.lock = witness.lock.into();
    let to_cancel = what_of(&order, cmd)?;
    if to_cancel.is_empty() {
        return Ok(Decided { order, lines: Vec::new() });
    }
    let mut lines = Vec::with_capacity(to_cancel.len());
    ledger.all_or_none(|ledger| {
        for (index, units) in to_cancel {
            let line = &mut order.lines[index];
            let cancellation =
                store::Cancellation { cancellation_id: ids::fresh(), line_id: line.line_id, quantity: units };
            let occasion = Occasion {
                reason: cmd.reason.clone().or_else(|| Reason::try_from(REASON.to_owned()).ok()),
                reference: Reference::try_from(order.order_id.to_string()).ok(),
                order_id: Some(order.order_id),
                source_id: Some(cancellation.cancellation_id),
            };
            ledger.decide(line.variant_id, Change::TakeBack(units), occasion, witness)?;
            line.cancelled_quantity += units;
            lines.push(cancellation);
        }
        order.status = states::turn(Some(order.status), rules::status_of(&order.lines), by)?;
        Ok::<_, rules::Refusal>(())
    })?;
    Ok(Decided { order, lines })
}

fn what_of(order: &Order, cmd: &CancelOrder) -> Result<Vec<(usize, i64)>, rules::Refusal> {
    let asked: Option<Vec<_>> = cmd
        .lines
        .as_ref()
        .map(|lines| lines.iter().map(|line| (line.line_id, line.quantity.get())).collect());
    rules::to_cancel(&order.lines, asked.as_deref())
}

/// Writes cancellations, in the order they were decided in, and tells of them. One that cancelled nothing writes nothing.
///
/// # Errors
/// [`DbError`].
pub async fn write_in_tx(
    conn: &mut PgConnection,
    decided: &[(&Decided, &CancelOrder, Witness<'_>)],
) -> Result<(), DbError> {
    let decided: Vec<_> = decided.iter().filter(|(decided, ..)| !decided.lines.is_empty()).collect();
    if decided.is_empty() {
        return Ok(());
    }
    let mut new = Vec::with_capacity(decided.len());
    let mut events = Vec::with_capacity(decided.len());
    for (decided, cmd, witness) in decided {
        let Decided { order, lines } = decided;
        let reason = cmd.reason.as_ref().map(Reason::as_str);
        let (order_id, status) = (order.order_id, order.status);
        new.push(store::NewCancellation { order_id, lines, reason, status, witness: *witness });
        let event = NewEvent::new(EventKind::OrderCancelled, About::Order(order_id), order)?;
        events.push(event.made_by(witness.traceparent));
    }
    store::insert_cancellations_in_tx(conn, &new).await?;
    events::append_all_in_tx(conn, &events).await
}
