//! Makes an order of a hold, whole or in part, at the hold's prices; what is not captured is available again.
//! Refuses a hold that is over, and more than it holds. An order whose cancellation came before it is born cancelled and
//! takes nothing.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use chrono::DateTime;
use rust_decimal::Decimal;
use serde::Deserialize;
use serde_json::{Map, Value};
use sqlx::PgConnection;
use uuid::Uuid;

use super::error::HoldError;
use super::model::{Hold, HoldState};
use super::{rules, store};
use crate::app::App;
use crate::db::{Db, DbError};
use crate::events::{self, About, EventKind};
use crate::http::answer::Answer;
use crate::http::auth::Caller;
use crate::http::extract::{Body, InPath};
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
use crate::section::{Section, Verb};

/// `POST /holds/{hold_id}/capture`
#[derive(Debug, Default, Deserialize)]
pub struct CaptureHold {
    lines: Option<Vec<LineToCapture>>,
    metadata: Option<Map<String, Value>>,
}

/// So many of one line.
#[derive(Debug, Deserialize)]
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
    body: Body<CaptureHold>,
) -> Result<Answer, Problem> {
    let (cmd, keyed) = body.with_key()?;
    if cmd.lines.as_ref().is_some_and(|lines| !(1..=LINES_MAX).contains(&lines.len())) {
        let message = format!("must be 1 to {LINES_MAX} lines, or left out to capture all");
        return Err(Problem::invalid("lines", message));
    }
    place::check_metadata(cmd.metadata.as_ref())?;
    let whose = store::find_whose(&app, hold_id).await?;
    let claim = Claim::of_user(&whose.user_id, keyed);
    Ok(capture_hold(&app, &caller, hold_id, &cmd, whose, &claim).await?)
}

/// Captures under the lease of the order's key and of the hold's variants, which never change.
///
/// # Errors
/// [`HoldError`], but for refusals by the business, which are answers the key keeps.
pub async fn capture_hold(
    app: &App,
    caller: &Caller,
    hold_id: Uuid,
    cmd: &CaptureHold,
    whose: store::Whose,
    claim: &Claim,
) -> Result<Answer, HoldError> {
    let order = LockKey::order(&whose.user_id, &claim.key);
    let keys = LockKeys::new(whose.variants.into_iter().map(LockKey::Inventory).chain([order]).collect())?;
    let section = Section { app, caller, claim: Some(claim), success: StatusCode::CREATED };
    section.run(&keys, &Capturing { hold_id, cmd, claim, keys: &keys }).await
}

struct Capturing<'a> {
    hold_id: Uuid,
    cmd: &'a CaptureHold,
    claim: &'a Claim,
    keys: &'a LockKeys,
}

impl Verb for Capturing<'_> {
    type Done = Order;
    type Error = HoldError;

    async fn known_answer(&self, db: &Db, claim: &Claim) -> Result<Option<Answer>, HoldError> {
        Ok(place::known_order(db, claim).await?)
    }

    async fn in_tx(&self, conn: &mut PgConnection, witness: Witness<'_>) -> Result<Order, HoldError> {
        capture_in_tx(conn, self.hold_id, self.cmd, self.claim, self.keys, witness).await
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
    let (hold, mut levels) = store::lock_hold_in_tx(conn, hold_id, keys).await?;
    rules::still_held(hold.state)?;
    let asked: Option<Vec<_>> = cmd
        .lines
        .as_ref()
        .map(|lines| lines.iter().map(|line| (line.line_id, line.quantity.get())).collect());
    let captured = rules::to_capture(&hold.lines, asked.as_deref())?;
    // No more is captured than this hold keeps, so others' holds stand in its way no more than its own does. Only a
    // correction can leave too little on hand for all; then whoever captures first has what there is.
    levels.values_mut().for_each(|level| level.held = 0);

    let is_cancelled = orders::is_cancelled_early_in_tx(conn, claim).await?;
    let status = match is_cancelled {
        true => states::turn(None, OrderStatus::Cancelled, Actor::Webhook),
        false => states::turn(None, OrderStatus::Placed, Actor::Api),
    };
    let order_id = ids::fresh();
    let mut ledger = Ledger::over_held(levels.into_values());
    let mut lines = Vec::with_capacity(captured.len());
    for (place, units) in captured {
        let held = &hold.lines[place];
        let line = Line {
            line_id: ids::fresh(),
            variant_id: held.variant_id,
            sku: held.sku.clone(),
            quantity: units,
            unit_price: held.unit_price,
            line_total: hold.currency.written(held.unit_price * Decimal::from(units)),
            cancelled_quantity: if is_cancelled { units } else { 0 },
        };
        if !is_cancelled {
            let sold = Quantity::try_from(units).map_err(|_| not_a_quantity())?;
            ledger.decide(
                line.variant_id,
                Change::Sell(sold),
                place::occasion(order_id, line.line_id),
                witness,
            )?;
        }
        lines.push(line);
    }
    let mut order = Order {
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
    let new = orders::NewOrder { order: &order, claim, witness };
    order.placed_at = orders::insert_orders_in_tx(conn, &[new]).await?;
    ledger.write_in_tx(conn).await?;
    store::resolve_in_tx(conn, hold_id, HoldState::Captured, Some(order_id)).await?;
    let hold =
        Hold { state: HoldState::Captured, order_id: Some(order_id), lock: order.lock.clone(), ..hold };
    events::append_in_tx(conn, EventKind::HoldCaptured, About::Hold(hold_id), &hold).await?;
    Ok(order)
}

/// What was held was asked for as a quantity, and part of it is captured.
fn not_a_quantity() -> DbError {
    DbError::Unexpected(sqlx::Error::Decode("a held quantity is none".into()))
}
