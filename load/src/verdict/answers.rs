//! Single answers against what was sent. Each check returns every way in which the two differ.

use std::collections::HashMap;
use std::time::Duration;

use rust_decimal::Decimal;
use uuid::Uuid;

use super::Opening;
use crate::service::{CURRENCY, HoldAnswer, HoldState, Movement, OrderAnswer, OrderStatus, Shortages};
use crate::shop::SaleLine;

/// An order as it was sent.
#[derive(Debug)]
pub struct SentOrder<'a> {
    pub key: &'a str,
    pub user_id: &'a str,
    pub lines: &'a [SaleLine],
    /// Whether a cancellation may have come before it.
    pub may_be_born_cancelled: bool,
}

/// A hold as it was sent.
#[derive(Debug)]
pub struct SentHold<'a> {
    pub key: &'a str,
    pub user_id: &'a str,
    pub lines: &'a [SaleLine],
    pub ttl: Duration,
}

/// A cancellation as it was sent.
#[derive(Debug)]
pub struct SentCancel<'a> {
    pub key: &'a str,
    pub order_id: Uuid,
    /// Each line of the order with its cancelled quantity after this cancellation.
    pub lines_after: Vec<(Uuid, i64)>,
    /// What comes back, by item.
    pub returned: Vec<(usize, i64)>,
}

/// A single change of one item's stock as it was sent.
#[derive(Debug)]
pub struct SentMovement<'a> {
    pub key: &'a str,
    pub item: usize,
    pub delta: i64,
}

/// How an order's answer differs from what was sent.
pub fn order_differences(sent: &SentOrder<'_>, answer: &OrderAnswer, opening: &Opening) -> Vec<String> {
    let mut found = Vec::new();
    if answer.user_id != sent.user_id {
        found.push(format!("user {:?} became {:?}", sent.user_id, answer.user_id));
    }
    if answer.currency != CURRENCY {
        found.push(format!("currency {CURRENCY} became {:?}", answer.currency));
    }
    let mut asked: Vec<_> =
        sent.lines.iter().map(|line| (opening.item(line.item).variant_id, line.quantity)).collect();
    let mut told: Vec<_> = answer.lines.iter().map(|line| (line.variant_id, line.quantity)).collect();
    asked.sort_unstable();
    told.sort_unstable();
    if asked != told {
        found.push(format!("{} lines became {} other lines", asked.len(), told.len()));
    }
    let mut ids: Vec<_> = answer.lines.iter().map(|line| line.line_id).collect();
    ids.sort_unstable();
    ids.dedup();
    if ids.len() != answer.lines.len() {
        found.push("two lines have one id".into());
    }
    let born_cancelled = answer.status == OrderStatus::Cancelled && sent.may_be_born_cancelled;
    if !born_cancelled && answer.status != OrderStatus::Placed {
        found.push(format!("a new order is {:?}", answer.status));
    }
    let mut sum = Decimal::ZERO;
    for line in &answer.lines {
        let Some(item) = opening.place(line.variant_id).map(|place| opening.item(place)) else {
            found.push(format!("item {} is not of this run", line.variant_id));
            continue;
        };
        if (line.sku.as_str(), line.unit_price) != (item.sku.as_str(), item.price) {
            found.push(format!(
                "{:?} at {} became {:?} at {}",
                item.sku, item.price, line.sku, line.unit_price
            ));
        }
        if item.price * Decimal::from(line.quantity) != line.line_total {
            found.push(format!("{} x {} is not {}", line.quantity, item.price, line.line_total));
        }
        if line.cancelled_quantity != if born_cancelled { line.quantity } else { 0 } {
            found.push(format!("a new line of {} has {} cancelled", line.quantity, line.cancelled_quantity));
        }
        sum += line.line_total;
    }
    if sum != answer.total {
        found.push(format!("the lines add up to {sum}, the total is {}", answer.total));
    }
    found
}

/// How a hold's answer differs from what was sent.
pub fn hold_differences(sent: &SentHold<'_>, answer: &HoldAnswer, opening: &Opening) -> Vec<String> {
    let mut found = Vec::new();
    if answer.user_id != sent.user_id {
        found.push(format!("user {:?} became {:?}", sent.user_id, answer.user_id));
    }
    if answer.state != HoldState::Held {
        found.push(format!("a new hold is {:?}", answer.state));
    }
    let asked: Vec<_> =
        sent.lines.iter().map(|line| (opening.item(line.item).variant_id, line.quantity)).collect();
    let told: Vec<_> = answer.lines.iter().map(|line| (line.variant_id, line.quantity)).collect();
    if asked != told {
        found.push(format!("{asked:?} became {told:?}"));
    }
    let mut sum = Decimal::ZERO;
    for (line, held) in sent.lines.iter().zip(&answer.lines) {
        let item = opening.item(line.item);
        if held.unit_price != item.price {
            found.push(format!("{:?} at {} became {}", item.sku, item.price, held.unit_price));
        }
        sum += item.price * Decimal::from(held.quantity);
    }
    if sum != answer.total {
        found.push(format!("the lines add up to {sum}, the total is {}", answer.total));
    }
    found
}

/// How a cancellation's answer differs from what was sent.
pub fn cancel_differences(sent: &SentCancel<'_>, answer: &OrderAnswer) -> Vec<String> {
    let mut found = Vec::new();
    if answer.order_id != sent.order_id {
        found.push(format!("order {} became {}", sent.order_id, answer.order_id));
    }
    let told: HashMap<_, _> =
        answer.lines.iter().map(|line| (line.line_id, line.cancelled_quantity)).collect();
    for (line_id, cancelled) in &sent.lines_after {
        match told.get(line_id) {
            Some(quantity) if quantity == cancelled => {}
            Some(quantity) => {
                found.push(format!("line {line_id} has {quantity} cancelled instead of {cancelled}"));
            }
            None => found.push(format!("line {line_id} is gone")),
        }
    }
    found
}

/// How a movement's answer differs from what was sent.
pub fn movement_differences(sent: &SentMovement<'_>, answer: &Movement, opening: &Opening) -> Vec<String> {
    let mut found = Vec::new();
    let variant_id = opening.item(sent.item).variant_id;
    if answer.variant_id != variant_id {
        found.push(format!("item {variant_id} became {}", answer.variant_id));
    }
    if answer.delta != sent.delta {
        found.push(format!("{:+} became {:+}", sent.delta, answer.delta));
    }
    if answer.previous_quantity + answer.delta != answer.new_quantity {
        found.push(format!("{} {:+} is not {}", answer.previous_quantity, answer.delta, answer.new_quantity));
    }
    found
}

/// How a refusal for want of stock is not borne out by its own figures. `wanted` is what was asked for,
/// item by item, added up.
pub fn refusal_differences(
    wanted: &HashMap<usize, i64>,
    refusal: &Shortages,
    opening: &Opening,
) -> Vec<String> {
    if refusal.errors.is_empty() {
        return vec!["it names no short item".into()];
    }
    let mut found = Vec::new();
    for short in &refusal.errors {
        let (Some(variant), Some(requested), Some(available)) =
            (short.variant_id, short.requested, short.available)
        else {
            found.push("a short item has no variant_id, requested or available".into());
            continue;
        };
        match opening.place(variant).and_then(|place| wanted.get(&place)) {
            None => found.push(format!("{variant} was not asked for")),
            Some(asked) if requested > *asked => {
                found.push(format!("{variant}: {requested} requested, but {asked} were asked for"));
            }
            Some(_) if available >= requested => {
                found.push(format!("{variant}: {available} available for {requested} requested"));
            }
            Some(_) => {}
        }
    }
    found
}

/// What an order wants of each item, its lines of one item added up.
pub fn wanted(lines: &[SaleLine]) -> HashMap<usize, i64> {
    let mut wanted = HashMap::new();
    for line in lines {
        *wanted.entry(line.item).or_default() += line.quantity;
    }
    wanted
}

#[cfg(test)]
#[path = "answers_tests.rs"]
mod tests;
