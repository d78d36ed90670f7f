//! What may be captured of a hold. Pure: no database, no clock, no network.

use std::collections::{BTreeMap, HashMap};

use uuid::Uuid;

use super::model::{HoldLine, HoldState};
use crate::inventory::model::Level;
use crate::inventory::rules::becomes_low;
use crate::orders::rules::Excess;

/// Why a hold can't be resolved or extended as asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It is over: captured, released or expired.
    #[error("the hold is {}", .0.as_str())]
    Over(HoldState),
    /// The hold has no such line.
    #[error("the hold has no such line")]
    NoSuchLine(usize),
    /// More would be captured than is held.
    #[error("more would be captured than is held")]
    CaptureExceedsHeld(Vec<Excess>),
}

/// The levels once `lines` are held no more.
#[must_use]
pub fn without(levels: &HashMap<Uuid, Level>, lines: &[HoldLine]) -> HashMap<Uuid, Level> {
    with(levels, lines, -1)
}

fn with(levels: &HashMap<Uuid, Level>, lines: &[HoldLine], sign: i64) -> HashMap<Uuid, Level> {
    let mut after = levels.clone();
    for line in lines {
        if let Some(level) = after.get_mut(&line.variant_id) {
            level.held += sign * line.quantity;
        }
    }
    after
}

/// The levels that become low when `lines` are held in place of those `let_go`, as they are then.
#[must_use]
pub fn made_low(levels: &HashMap<Uuid, Level>, let_go: &[HoldLine], lines: &[HoldLine]) -> Vec<Level> {
    let mut after = with(&without(levels, let_go), lines, 1);
    after.retain(|id, after| levels.get(id).is_some_and(|before| becomes_low(before, after)));
    after.into_values().collect()
}

/// Only what is held can be captured, released or extended.
///
/// # Errors
/// [`Refusal::Over`].
pub fn still_held(state: HoldState) -> Result<(), Refusal> {
    if state == HoldState::Held { Ok(()) } else { Err(Refusal::Over(state)) }
}

/// Which lines are captured, by their place, and how much of each: all of all, unless some are asked for. Requests for
/// one line count together.
///
/// # Errors
/// [`Refusal::NoSuchLine`], [`Refusal::CaptureExceedsHeld`].
pub fn to_capture(lines: &[HoldLine], asked: Option<&[(Uuid, i64)]>) -> Result<Vec<(usize, i64)>, Refusal> {
    let Some(asked) = asked else {
        return Ok(lines.iter().map(|line| line.quantity).enumerate().collect());
    };
    let places: HashMap<_, _> = lines.iter().zip(0..).map(|(line, place)| (line.line_id, place)).collect();
    let mut wanted: BTreeMap<usize, i64> = BTreeMap::new();
    let mut excess = Vec::new();
    for (index, (line_id, units)) in asked.iter().enumerate() {
        let place: usize = *places.get(line_id).ok_or(Refusal::NoSuchLine(index))?;
        let together = wanted.entry(place).or_default();
        *together += units;
        let left = lines[place].quantity;
        if *together > left {
            excess.push(Excess { line: index, requested: *together, left });
        }
    }
    if excess.is_empty() {
        Ok(wanted.into_iter().collect())
    } else {
        Err(Refusal::CaptureExceedsHeld(excess))
    }
}

#[cfg(test)]
mod tests {
    use rust_decimal::Decimal;

    use super::*;

    fn line(id: u128, quantity: i64) -> HoldLine {
        let line_id = Uuid::from_u128(id);
        let (unit_price, line_total) = (Decimal::ONE, quantity.into());
        HoldLine { line_id, variant_id: line_id, sku: String::new(), quantity, unit_price, line_total }
    }

    #[test]
    fn all_is_captured_unless_less_is_asked_for_and_never_more() {
        let (lines, id) = ([line(1, 3), line(2, 2)], Uuid::from_u128);
        assert_eq!(to_capture(&lines, None), Ok(vec![(0, 3), (1, 2)]));
        assert_eq!(to_capture(&lines, Some(&[(id(2), 1), (id(2), 1)])), Ok(vec![(1, 2)]));
        assert_eq!(
            to_capture(&lines, Some(&[(id(2), 1), (id(2), 2)])),
            Err(Refusal::CaptureExceedsHeld(vec![Excess { line: 1, requested: 3, left: 2 }]))
        );
        assert_eq!(to_capture(&lines, Some(&[(id(1), 1), (id(9), 1)])), Err(Refusal::NoSuchLine(1)));
    }

    #[test]
    fn what_is_over_is_over() {
        assert_eq!(still_held(HoldState::Held), Ok(()));
        for over in [HoldState::Captured, HoldState::Released, HoldState::Expired] {
            assert_eq!(still_held(over), Err(Refusal::Over(over)));
        }
    }
}
