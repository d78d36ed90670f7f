//! Places an order: all lines or none, once a key.
//! Refuses if a line is short, a variant unknown, a currency or the expected total another. An order whose
//! cancellation came before it is born cancelled (see [`cancel_early`](super::cancel_early)).

use std::collections::HashMap;
use std::ops::Deref;
use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value};
use sqlx::PgConnection;
use uuid::Uuid;

use super::error::OrderError;
use super::model::{LINES_MAX, Line, LineWanted, Order, OrderStatus};
use super::rules::{self, Offered};
use super::states::{self, Actor};
use super::store::{self, Locked, NewOrder};
use crate::app::App;
use crate::db::Db;
use crate::http::answer::Answer;
use crate::http::auth::Caller;
use crate::http::extract::Body;
use crate::http::problem::Problem;
use crate::idempotency::{Claim, IdempotencyError};
use crate::ids;
use crate::inventory::ledger::Ledger;
use crate::inventory::model::{Occasion, Witness};
use crate::inventory::rules::Change;
use crate::json;
use crate::locks::{LockKey, LockKeys};
use crate::money::{Currency, Total};
use crate::section::share::{Request, Work, share};
use crate::section::{Section, Verb};
use crate::text::{Reason, Reference, UserId};

/// The most bytes of metadata an order may carry.
const METADATA_MAX_BYTES: usize = 16 * 1024;
/// The reason an order's sales carry.
const REASON: &str = "order_purchase";

/// `POST /orders`
#[derive(Debug, Deserialize, JsonSchema)]
pub struct PlaceOrder {
    user_id: UserId,
    currency: Option<Currency>,
    #[schemars(length(min = 1, max = LINES_MAX))]
    lines: Vec<LineWanted>,
    expected_total: Option<Total>,
    metadata: Option<Map<String, Value>>,
}

/// # Errors
/// [`Problem`].
pub async fn place(
    State(app): State<Arc<App>>,
    caller: Caller,
    body: Body<PlaceOrder>,
) -> Result<Answer, Problem> {
    let (cmd, keyed) = body.with_key()?;
    check(&cmd)?;
    let claim = Claim::of_user(cmd.user_id.as_str(), keyed);
    Ok(place_order(&app, &caller, cmd, claim).await?)
}

fn check(cmd: &PlaceOrder) -> Result<(), Problem> {
    if !(1..=LINES_MAX).contains(&cmd.lines.len()) {
        return Err(Problem::invalid("lines", format!("must be 1 to {LINES_MAX} lines")));
    }
    check_metadata(cmd.metadata.as_ref())
}

/// What an order may carry along.
pub(crate) fn check_metadata(metadata: Option<&Map<String, Value>>) -> Result<(), Problem> {
    let Some(metadata) = metadata else {
        return Ok(());
    };
    let text = serde_json::to_string(metadata).unwrap_or_default();
    if text.len() > METADATA_MAX_BYTES {
        return Err(Problem::invalid(
            "metadata",
            format!("must be at most {METADATA_MAX_BYTES} bytes of JSON"),
        ));
    }
    if metadata.iter().any(|(key, value)| key.contains('\0') || json::has_nul(value)) {
        return Err(Problem::invalid("metadata", "must not contain U+0000"));
    }
    if metadata.values().any(json::has_rounded_integer) {
        let message = "has a whole number that is too large to be kept as it is: send it as a string";
        return Err(Problem::invalid("metadata", message));
    }
    Ok(())
}

/// Places the order under the lease of its key and of all its variants, in a section that it may share.
///
/// # Errors
/// [`OrderError`], but for refusals by the business, which are answers the key keeps.
pub async fn place_order(
    app: &Arc<App>,
    caller: &Caller,
    cmd: PlaceOrder,
    claim: Claim,
) -> Result<Answer, OrderError> {
    let order = LockKey::order(cmd.user_id.as_str(), &claim.key);
    let variants = cmd.lines.iter().map(|line| LockKey::Inventory(line.variant_id));
    let keys = LockKeys::new(variants.chain([order]).collect())?;
    let lines = cmd.lines.len();
    let placing = Placing(Arc::new(Wanted { cmd, claim, keys: keys.clone() }));
    let alone = Section { app, caller, claim: Some(&placing.claim), success: StatusCode::CREATED };
    let request = Arc::new(Request::new(caller, keys, lines, Work::Place(placing.clone())));
    share(app, request, alone, &placing).await
}

/// An order about to be placed.
#[derive(Debug, Clone)]
pub struct Placing(Arc<Wanted>);

/// What it is made of.
#[derive(Debug)]
pub struct Wanted {
    /// What is asked for.
    pub cmd: PlaceOrder,
    /// Its key.
    pub claim: Claim,
    keys: LockKeys,
}

impl Deref for Placing {
    type Target = Wanted;

    fn deref(&self) -> &Wanted {
        &self.0
    }
}

impl Verb for Placing {
    type Done = Order;
    type Error = OrderError;

    async fn known_answer(&self, db: &Db, claim: &Claim) -> Result<Option<Answer>, OrderError> {
        known_order(db, claim).await
    }

    async fn in_tx(&self, conn: &mut PgConnection, witness: Witness<'_>) -> Result<Order, OrderError> {
        place_in_tx(conn, &self.cmd, &self.claim, &self.keys, witness).await
    }
}

/// The stored answer to a user's key; or the order itself, once its answer is no longer kept: a key makes one order,
/// for ever.
pub(crate) async fn known_order(db: &Db, claim: &Claim) -> Result<Option<Answer>, OrderError> {
    let mut conn = db.read().await?;
    let known = store::find_by_key(&mut conn, claim.user_id().unwrap_or_default(), &claim.key).await?;
    if let Some(stored) = known.answer {
        return Ok(Some(stored.replay(claim)?));
    }
    let Some(placed) = known.order else { return Ok(None) };
    if placed.request_hash != claim.fingerprint.0 {
        // Its outline is gone with its answer.
        return Err(IdempotencyError::Reused(Vec::new()).into());
    }
    drop(conn);
    let order = store::find_order(&mut *db.snapshot().await?, placed.order_id).await?;
    Ok(order.map(|order| Answer::json(StatusCode::OK, &order).replayed()))
}

/// What the sale of an order's line says about its occasion.
pub(crate) fn occasion(order_id: Uuid, line_id: Uuid) -> Occasion {
    Occasion {
        reason: Reason::try_from(REASON.to_owned()).ok(),
        reference: Reference::try_from(order_id.to_string()).ok(),
        order_id: Some(order_id),
        source_id: Some(line_id),
    }
}

/// Locks the stock rows, decides on all lines, and writes order, lines, movements and stock.
///
/// # Errors
/// A refusal before anything was written, or a database error.
pub async fn place_in_tx(
    conn: &mut PgConnection,
    cmd: &PlaceOrder,
    claim: &Claim,
    keys: &LockKeys,
    witness: Witness<'_>,
) -> Result<Order, OrderError> {
    let Locked { levels, catalogue, is_cancelled } =
        store::lock_items_in_tx(conn, &keys.variant_ids(), Some(claim)).await?;
    let mut ledger = Ledger::over(levels.into_values());
    let mut order = decide(cmd, &catalogue, is_cancelled, &mut ledger, witness)?;
    order.placed_at = store::insert_orders_in_tx(conn, &[NewOrder { order: &order, claim, witness }]).await?;
    ledger.write_in_tx(conn).await?;
    Ok(order)
}

/// The order, and its sales in the ledger, if all of it can be had. One whose cancellation came before it needs and
/// takes no stock.
///
/// # Errors
/// A refusal; then the ledger is as it was.
pub fn decide<'a>(
    cmd: &PlaceOrder,
    catalogue: &HashMap<Uuid, Offered>,
    is_cancelled: bool,
    ledger: &mut Ledger<'a>,
    witness: Witness<'a>,
) -> Result<Order, OrderError> {
    let offers = rules::offers(&cmd.lines, |id| ledger.level(id), catalogue);
    let currency = rules::common_currency(&cmd.lines, &offers, cmd.currency)?;
    let (line_totals, total) =
        rules::totals(&cmd.lines, &offers, currency, cmd.expected_total.map(Total::get))?;
    let status = if is_cancelled {
        states::turn(None, OrderStatus::Cancelled, Actor::Webhook)?
    } else {
        rules::all_available(&cmd.lines, &offers)?;
        states::turn(None, OrderStatus::Placed, Actor::Api)?
    };

    let line = |(wanted, line_total): (&LineWanted, _)| {
        let offered = catalogue.get(&wanted.variant_id)?;
        let quantity = wanted.quantity.get();
        Some(Line {
            line_id: ids::fresh(),
            variant_id: wanted.variant_id,
            sku: offered.sku.clone(),
            quantity,
            unit_price: currency.written(offered.price),
            line_total: currency.written(line_total),
            cancelled_quantity: if is_cancelled { quantity } else { 0 },
        })
    };
    let order = Order {
        order_id: ids::fresh(),
        user_id: cmd.user_id.as_str().to_owned(),
        status,
        currency,
        total: currency.written(total),
        lines: cmd.lines.iter().zip(line_totals).filter_map(line).collect(),
        metadata: cmd.metadata.clone().map(Value::Object),
        placed_at: chrono::DateTime::UNIX_EPOCH,
        lock: witness.lock.into(),
    };
    if !is_cancelled {
        let sell = |ledger: &mut Ledger<'a>| {
            order.lines.iter().zip(&cmd.lines).try_for_each(|(line, wanted)| {
                let occasion = occasion(order.order_id, line.line_id);
                ledger.decide(line.variant_id, Change::Sell(wanted.quantity), occasion, witness)
            })
        };
        ledger.all_or_none(sell).map_err(rules::Refusal::from)?;
    }
    Ok(order)
}
