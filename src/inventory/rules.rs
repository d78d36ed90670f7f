//! What may happen to a level. Pure: no database, no clock, no network.

use uuid::Uuid;

use super::model::{Delta, Level, MovementKind, ON_HAND_MAX, OnHand, Quantity, StockStatus};

/// The field that most changes ask for units by.
const QUANTITY: &str = "quantity";

/// A change somebody wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// Correct by `delta`, if `on_hand` is what the caller believes (or whatever it is).
    Adjust {
        /// By how much.
        delta: Delta,
        /// What the caller believes there is.
        believed: Option<OnHand>,
    },
    /// Open with so many, which may be more than one request can move.
    Open(OnHand),
    /// Set to what was counted, or to what of it is good.
    Count(OnHand),
    /// Sell so many.
    Sell(Quantity),
    /// Sell so many of those that are held for whoever buys them: no hold of others' stands in the way, for each hold
    /// has its own. Only a correction can leave too little on hand for all; then whoever comes first has what there is.
    SellHeld(Quantity),
    /// Take so many back.
    Return(Quantity),
    /// Take in what a supplier billed.
    Receive(i64),
    /// Take back what is left of an order line: as many as were sold, and so at least one.
    TakeBack(i64),
}

/// A change that may be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// The movement's kind.
    pub kind: MovementKind,
    /// By how much.
    pub delta: i64,
    /// The level before it.
    pub before: Level,
    /// The level after it.
    pub after: Level,
}

/// Why a change may not be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// There is no such variant.
    #[error("there is no variant {0}")]
    VariantNotFound(Uuid),
    /// Not enough is available.
    #[error("Insufficient stock. Available: {available}, Requested: {requested}")]
    Insufficient {
        /// Of what.
        variant_id: Uuid,
        /// The field that asked for them.
        field: &'static str,
        /// Units wanted.
        requested: i64,
        /// Units to be had.
        available: i64,
    },
    /// The caller believed something else.
    #[error("on_hand is {actual}, not what the caller believes")]
    Stale {
        /// Of what.
        variant_id: Uuid,
        /// Units there are.
        actual: i64,
    },
    /// More than may be in stock.
    #[error("on_hand would pass {ON_HAND_MAX}")]
    AboveMax {
        /// Of what.
        variant_id: Uuid,
        /// The field that asked for them.
        field: &'static str,
    },
}

/// Decides on one change.
///
/// # Errors
/// A [`Refusal`].
pub fn decide(level: &Level, change: Change) -> Result<Step, Refusal> {
    match change {
        Change::Adjust { delta, believed } => {
            if believed.is_some_and(|believed| believed.get() != level.on_hand) {
                return Err(Refusal::Stale { variant_id: level.variant_id, actual: level.on_hand });
            }
            moved(level, MovementKind::Adjustment, delta.get(), "delta")
        }
        Change::Open(units) => moved(level, MovementKind::Adjustment, units.get(), "on_hand"),
        Change::Count(units) => moved(level, MovementKind::Count, units.get() - level.on_hand, QUANTITY),
        Change::Sell(quantity) => {
            if quantity.get() > level.available() {
                return Err(short(level, quantity.get(), QUANTITY));
            }
            moved(level, MovementKind::Sale, -quantity.get(), QUANTITY)
        }
        Change::SellHeld(quantity) => {
            let units = quantity.get();
            let others_apart = Level { held: 0, ..*level };
            let step = moved(&others_apart, MovementKind::Sale, -units, QUANTITY)?;
            let held = level.held - units;
            Ok(Step { before: *level, after: Level { held, ..step.after }, ..step })
        }
        Change::Return(quantity) => moved(level, MovementKind::Return, quantity.get(), QUANTITY),
        Change::Receive(units) => moved(level, MovementKind::Receipt, units, QUANTITY),
        Change::TakeBack(units) => moved(level, MovementKind::Return, units, QUANTITY),
    }
}

/// Whether a variant that was not low is low now, or has run out.
#[must_use]
pub fn becomes_low(before: &Level, after: &Level) -> bool {
    let is_in_stock = |level: &Level| StockStatus::of(level.available()) == StockStatus::InStock;
    is_in_stock(before) && !is_in_stock(after)
}

fn moved(level: &Level, kind: MovementKind, delta: i64, field: &'static str) -> Result<Step, Refusal> {
    // Both are far from i64's ends: both are at most 9e12.
    let on_hand = level.on_hand + delta;
    if on_hand < 0 {
        return Err(short(level, -delta, field));
    }
    if on_hand > ON_HAND_MAX {
        return Err(Refusal::AboveMax { variant_id: level.variant_id, field });
    }
    Ok(Step { kind, delta, before: *level, after: Level { on_hand, version: level.version + 1, ..*level } })
}

fn short(level: &Level, requested: i64, field: &'static str) -> Refusal {
    Refusal::Insufficient { variant_id: level.variant_id, field, requested, available: level.available() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn level(on_hand: i64, held: i64) -> Level {
        Level { variant_id: Uuid::from_u128(1), on_hand, held, version: 4 }
    }

    fn quantity(units: i64) -> Quantity {
        Quantity::try_from(units).unwrap()
    }

    fn adjust(delta: i64, believed: Option<i64>) -> Change {
        let believed = believed.map(|units| OnHand::try_from(units).unwrap());
        Change::Adjust { delta: Delta::try_from(delta).unwrap(), believed }
    }

    #[test]
    fn the_last_unit_is_sold_and_the_one_after_it_is_not() {
        let step = decide(&level(1, 0), Change::Sell(quantity(1))).unwrap();
        assert_eq!((step.delta, step.after.on_hand, step.after.version), (-1, 0, 5));
        let refusal = decide(&step.after, Change::Sell(quantity(1))).unwrap_err();
        assert_eq!(refusal.to_string(), "Insufficient stock. Available: 0, Requested: 1");
    }

    #[test]
    fn what_is_held_is_not_sold() {
        assert!(decide(&level(5, 3), Change::Sell(quantity(2))).is_ok());
        let refusal = decide(&level(5, 3), Change::Sell(quantity(3))).unwrap_err();
        assert_eq!(
            refusal,
            Refusal::Insufficient {
                variant_id: Uuid::from_u128(1),
                field: QUANTITY,
                requested: 3,
                available: 2
            }
        );
    }

    #[test]
    fn a_correction_needs_the_stock_to_be_as_believed() {
        assert!(decide(&level(5, 0), adjust(-5, Some(5))).is_ok());
        assert!(matches!(decide(&level(5, 0), adjust(1, Some(4))), Err(Refusal::Stale { actual: 5, .. })));
        assert!(matches!(decide(&level(5, 0), adjust(-6, None)), Err(Refusal::Insufficient { .. })));
    }

    #[test]
    fn a_variant_becomes_low_when_it_passes_the_limit_downwards_and_only_then() {
        for (before, after, becomes) in
            [(11, 10, true), (11, 0, true), (10, 9, false), (12, 11, false), (9, 11, false)]
        {
            assert_eq!(becomes_low(&level(before, 0), &level(after, 0)), becomes);
            assert_eq!(becomes_low(&level(20, 20 - before), &level(20, 20 - after)), becomes, "by holding");
        }
    }

    #[test]
    fn what_is_held_is_sold_whatever_others_hold_as_long_as_it_is_there() {
        let sold = decide(&level(5, 7), Change::SellHeld(quantity(3))).unwrap();
        assert_eq!((sold.delta, sold.before, sold.after.on_hand, sold.after.held), (-3, level(5, 7), 2, 4));
        assert_eq!(
            decide(&level(2, 7), Change::SellHeld(quantity(3))),
            Err(Refusal::Insufficient {
                variant_id: Uuid::from_u128(1),
                field: "quantity",
                requested: 3,
                available: 2
            })
        );
    }

    #[test]
    fn stock_never_passes_its_limit() {
        assert!(decide(&level(ON_HAND_MAX - 1, 0), Change::Return(quantity(1))).is_ok());
        assert!(matches!(
            decide(&level(ON_HAND_MAX, 0), Change::Return(quantity(1))),
            Err(Refusal::AboveMax { .. })
        ));
    }
}
