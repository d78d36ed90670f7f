//! Makes an order of a hold, whole or in part, at the hold's prices; what is not captured is available again.
//! Refuses a hold that is over, and more than it holds. An order whose cancellation came before it is born cancelled and
//! takes nothing.

use std::ops::Deref;
use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use chrono::DateTime;
use rust_decimal::Decimal;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value};
use sqlx::PgConnection;
use uuid::Uuid;

use super::error::HoldError;
use super::model::{Hold, HoldState};
use super::{rules, store};
use crate::app::App;
use crate::db::{Db, DbError};
use crate::events::{self, About, EventKind, NewEvent};
use crate::http::answer::Answer;
use crate::http::auth::Caller;
use crate::http::extract::{InPath, OrDefault};
use crate::http::problem::Problem;
use crate::idempotency::Claim;
use crate::ids;
use crate::inventory::ledger::Ledger;
use crate::inventory::model::{Quantity, Witness};
use crate::inventory::rules::Change;
use crate::locks::{LockKey, LockKeys};
use crate::orders::model::{LINES_MAX, Line, Order, OrderStatus};
use crate::orders::states::{self, Actor};
use crate::orders::{OrderError, place, store as orders};
use crate::section::share::{Request, Work, share};
use crate::section::{Section, Verb};

/// `POST /holds/{hold_id}/capture`
#[derive(Debug, Default, Deserialize, JsonSchema)]
pub struct CaptureHold {
    #[schemars(length(min = 1, max = LINES_MAX))]
    lines: Option<Vec<LineToCapture>>,
    metadata: Option<Map<String, Value>>,
}

/// So many of one line.
#[derive(Debug, Deserialize, JsonSchema)]
struct LineToCapture {
    line_id: Uuid,
    quantity: Quantity,
}

/// # Errors
/// [`Problem`].
pub async fn capture(
    State(app): State<Arc<App>>,
    InPath(hold_id): InPath<Uuid>,
    caller: Caller,
    OrDefault(body): OrDefault<CaptureHold>,
) -> Result<Answer, Problem> {
    let (cmd, keyed) = body.with_key()?;
    if cmd.lines.as_ref().is_some_and(|lines| !(1..=LINES_MAX).contains(&lines.len())) {
        let message = format!("must be 1 to {LINES_MAX} lines, or left out to capture all");
        return Err(Problem::invalid("lines", message));
    }
    place::check_metadata(cmd.metadata.as_ref())?;
    let whose = store::find_whose(&app, hold_id).await?;
    let claim = Claim::of_user(&whose.user_id, keyed);
    Ok(capture_hold(&app, &caller, hold_id, cmd, whose, claim).await?)
}

/// Captures under the lease of the order's key and of the hold's variants, which never change, in a section that it may
/// share.
///
/// # Errors
/// [`HoldError`], but for refusals by the business, which are answers the key keeps.
pub async fn capture_hold(
    app: &Arc<App>,
    caller: &Caller,
    hold_id: Uuid,
    cmd: CaptureHold,
    whose: store::Whose,
    claim: Claim,
) -> Result<Answer, HoldError> {
    let order = LockKey::order(&whose.user_id, &claim.key);
    let lines = whose.variants.len();
    let keys = LockKeys::new(whose.variants.into_iter().map(LockKey::Inventory).chain([order]).collect())?;
    let capturing = Capturing(Arc::new(Wanted { hold_id, cmd, claim, keys: keys.clone() }));
    let alone = Section { app, caller, claim: Some(&capturing.claim), success: StatusCode::CREATED };
    let request = Arc::new(Request::new(caller, keys, lines, Work::Capture(capturing.clone())));
    share(app, request, alone, &capturing).await
}

/// A hold about to be captured.
#[derive(Debug, Clone)]
pub struct Capturing(Arc<Wanted>);

/// What is asked for.
#[derive(Debug)]
pub struct Wanted {
    /// Which hold.
    pub hold_id: Uuid,
    /// What of it.
    pub cmd: CaptureHold,
    /// The key of the order that it makes.
    pub claim: Claim,
    keys: LockKeys,
}

impl Deref for Capturing {
    type Target = Wanted;

    fn deref(&self) -> &Wanted {
        &self.0
    }
}

impl Verb for Capturing {
    type Done = Order;
    type Error = HoldError;

    async fn known_answer(&self, db: &Db, claim: &Claim) -> Result<Option<Answer>, HoldError> {
        Ok(place::known_order(db, claim).await?)
    }

    async fn in_tx(&self, conn: &mut PgConnection, witness: Witness<'_>) -> Result<Order, HoldError> {
        capture_in_tx(conn, self.hold_id, &self.cmd, &self.claim, &self.keys, witness).await
    }
}

/// Locks the hold and its stock rows, and sells what is captured of what it keeps.
///
/// # Errors
/// A refusal before anything was written, or a database error.
pub async fn capture_in_tx(
    conn: &mut PgConnection,
    hold_id: Uuid,
    cmd: &CaptureHold,
    claim: &Claim,
    keys: &LockKeys,
    witness: Witness<'_>,
) -> Result<Order, HoldError> {
    let (hold, levels) = store::lock_hold_in_tx(conn, hold_id, keys).await?;
    let is_cancelled = orders::is_cancelled_early_in_tx(conn, claim).await?;
    let mut ledger = Ledger::over(levels.into_values());
    let (mut order, hold) = decide(hold, cmd, is_cancelled, &mut ledger, witness)?;
    let new = orders::NewOrder { order: &order, claim, witness };
    order.placed_at = orders::insert_orders_in_tx(conn, &[new]).await?;
    ledger.write_in_tx(conn).await?;
    write_in_tx(conn, &[(&hold, witness.traceparent)]).await?;
    Ok(order)
}

/// The order that is made of `hold`, which is locked, with its sales in the ledger, and the hold as it is then. One whose
/// cancellation came before it takes no stock, and keeps none any more.
///
/// # Errors
/// A refusal; then the ledger is as it was.
pub fn decide<'a>(
    hold: Hold,
    cmd: &CaptureHold,
    is_cancelled: bool,
    ledger: &mut Ledger<'a>,
    witness: Witness<'a>,
) -> Result<(Order, Hold), HoldError> {
    rules::still_held(hold.state)?;
    let asked: Option<Vec<_>> = cmd
        .lines
        .as_ref()
        .map(|lines| lines.iter().map(|line| (line.line_id, line.quantity.get())).collect());
    let captured = rules::to_capture(&hold.lines, asked.as_deref())?;
    let status = match is_cancelled {
        true => states::turn(None, OrderStatus::Cancelled, Actor::Webhook),
        false => states::turn(None, OrderStatus::Placed, Actor::Api),
    };
    let order_id = ids::fresh();
    let line = |(place, units): (usize, i64)| {
        let held = &hold.lines[place];
        Line {
            line_id: ids::fresh(),
            variant_id: held.variant_id,
            sku: held.sku.clone(),
            quantity: units,
            unit_price: held.unit_price,
            line_total: hold.currency.written(held.unit_price * Decimal::from(units)),
            cancelled_quantity: if is_cancelled { units } else { 0 },
        }
    };
    let lines: Vec<_> = captured.into_iter().map(line).collect();
    let order = Order {
        order_id,
        total: hold.currency.written(lines.iter().map(|line| line.line_total).sum()),
        user_id: hold.user_id.clone(),
        status: status.map_err(OrderError::from)?,
        currency: hold.currency,
        lines,
        metadata: cmd.metadata.clone().map(Value::Object),
        placed_at: DateTime::UNIX_EPOCH,
        lock: witness.lock.into(),
    };
    let sold = if is_cancelled { &[] } else { order.lines.as_slice() };
    sell(sold, order_id, ledger, witness)?;
    // What is sold is not held any more, nor is the rest.
    hold.lines.iter().for_each(|line| ledger.let_go(line.variant_id, line.quantity));
    sold.iter().for_each(|line| ledger.let_go(line.variant_id, -line.quantity));
    let hold =
        Hold { state: HoldState::Captured, order_id: Some(order_id), lock: order.lock.clone(), ..hold };
    Ok((order, hold))
}

fn sell<'a>(
    lines: &[Line],
    order_id: Uuid,
    ledger: &mut Ledger<'a>,
    witness: Witness<'a>,
) -> Result<(), HoldError> {
    ledger.all_or_none(|ledger| {
        for line in lines {
            let units = Quantity::try_from(line.quantity).map_err(|_| not_a_quantity())?;
            let occasion = place::occasion(order_id, line.line_id);
            ledger.decide(line.variant_id, Change::SellHeld(units), occasion, witness)?;
        }
        Ok(())
    })
}

/// Writes down that holds have become orders, each by the request that `traceparent` names, and tells of it.
///
/// # Errors
/// [`DbError`].
pub async fn write_in_tx(conn: &mut PgConnection, captured: &[(&Hold, Option<&str>)]) -> Result<(), DbError> {
    if captured.is_empty() {
        return Ok(());
    }
    let resolved: Vec<_> = captured.iter().map(|(hold, _)| (hold.hold_id, hold.order_id)).collect();
    store::resolve_all_in_tx(conn, HoldState::Captured, &resolved).await?;
    let event = |(hold, traceparent): &(&Hold, Option<&str>)| {
        let event = NewEvent::new(EventKind::HoldCaptured, About::Hold(hold.hold_id), *hold)?;
        Ok(event.made_by(*traceparent))
    };
    let events: Vec<_> = captured.iter().map(event).collect::<Result<_, DbError>>()?;
    events::append_all_in_tx(conn, &events).await
}

/// What was held was asked for as a quantity, and part of it is captured.
fn not_a_quantity() -> DbError {
    DbError::Unexpected(sqlx::Error::Decode("a held quantity is none".into()))
}
