//! What a count means for stock. Pure: no database, no clock, no network.

use super::model::Recount;
use crate::inventory::model::ON_HAND_MAX;

/// What was counted of an item, and what moved since. Other counts are not among what moved: they say nothing of the
/// shelf that this one did not see for itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counted {
    /// Units, damaged ones among them.
    pub units: i64,
    /// Damaged units.
    pub damaged: i64,
    /// The damaged units of the newest count of it that was posted: these have left stock, and may still be on the shelf.
    pub damaged_before: i64,
    /// The sum of what went out between the first and the last of its records: not positive.
    pub went_out: i64,
    /// The sum of what moved since the last of them.
    pub moved_after: i64,
}

/// What that means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settled {
    /// What moved since it was counted.
    pub moved: i64,
    /// What there should have been when it was counted, damaged units among it that had left stock before.
    pub expected: i64,
    /// How far the count is from that.
    pub variance: i64,
    /// What stock is set to.
    pub units: i64,
    /// How many of these are damaged since, and leave stock at once.
    pub damaged: i64,
    /// How many more were sold since than were counted: of these nothing is there.
    pub shortfall: i64,
}

/// More was counted than may be in stock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OverLimit;

/// Settles a count against a level. Stock becomes what was counted and what moved since; where more went out than that,
/// nothing is left, and the difference is told.
///
/// Damaged units stay on the shelf after they have left stock, and are counted again: as many as the count before found are no
/// news. Nor is any of them where what is sound is what stock says.
///
/// Between the first and the last record of an item nobody knows from which shelf a unit moved, the one that was counted
/// or the one that was not yet. So what went out counts from the first on, and what came in only from the last: in doubt
/// there is less, for what is not there can't be sold.
///
/// # Errors
/// [`OverLimit`].
pub fn settle(counted: Counted, on_hand: i64) -> Result<Settled, OverLimit> {
    let moved = counted.went_out + counted.moved_after;
    let target = counted.units.checked_add(moved).filter(|target| *target <= ON_HAND_MAX).ok_or(OverLimit)?;
    let damaged = counted.damaged.min(target.max(0));
    let is_as_booked = target - damaged == on_hand;
    let known = if is_as_booked { damaged } else { damaged.min(counted.damaged_before) };
    Ok(Settled {
        moved,
        expected: on_hand + known - moved,
        variance: target - known - on_hand,
        units: target.max(0) - known,
        damaged: damaged - known,
        shortfall: (-target).max(0),
    })
}

/// What is known against a count.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Against {
    /// How far it may be from what was expected.
    pub recount_over: Option<u32>,
    /// Whether a count was posted that is as new or newer.
    pub counted_since: bool,
    /// Whether the item was counted in a rack that this count did not look at.
    pub counted_elsewhere: bool,
    /// Whether several sessions of this count counted it in one rack.
    pub counted_twice: bool,
}

/// Why an item is to be counted again rather than posted, if nobody approves of it. A count sets the whole of an item's
/// stock: one that left out a rack would take what is there off the books, and one that is older than another would undo
/// it. Of two sessions that counted one rack nobody knows whether they saw the same units. A count that changes nothing is
/// only evidence, whatever its age.
#[must_use]
pub fn doubt(settled: Settled, on_hand: i64, against: Against) -> Option<Recount> {
    let changes = settled.units - settled.damaged != on_hand;
    if against.counted_elsewhere {
        Some(Recount::CountedElsewhere)
    } else if against.counted_twice {
        Some(Recount::CountedTwice)
    } else if against.counted_since && changes {
        Some(Recount::CountedSince)
    } else if against.recount_over.is_some_and(|most| settled.variance.unsigned_abs() > u64::from(most)) {
        Some(Recount::TooFar)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(units: i64, damaged: i64, went_out: i64, moved_after: i64) -> Counted {
        Counted { units, damaged, damaged_before: 0, went_out, moved_after }
    }

    #[test]
    fn damaged_units_that_left_stock_before_are_no_news_though_they_are_on_the_shelf() {
        for (units, damaged, damaged_before, on_hand, variance, set_to, newly) in [
            // The first count finds two of ten lost, and two of the others damaged.
            (8, 2, 0, 10, -2, 8, 2),
            // The next one finds the same.
            (8, 2, 2, 6, 0, 6, 0),
            // One more is damaged, or lost, or found; or the damaged ones were cleared away.
            (8, 3, 2, 6, 0, 6, 1),
            (7, 2, 2, 6, -1, 5, 0),
            (9, 2, 2, 6, 1, 7, 0),
            (6, 0, 2, 6, 0, 6, 0),
            // Somebody took them off the books by hand.
            (8, 2, 0, 6, 0, 6, 0),
        ] {
            let counted = Counted { damaged_before, ..counted(units, damaged, 0, 0) };
            let settled = settle(counted, on_hand).unwrap();
            let told = (settled.variance, settled.units, settled.damaged);
            assert_eq!(told, (variance, set_to, newly), "{counted:?} {on_hand}");
            assert_eq!(settled.expected, units - variance, "{counted:?} {on_hand}");
            assert_eq!(settled.units - settled.damaged, units - damaged, "{counted:?} {on_hand}");
        }
        // Two are sold after the count.
        let counted = Counted { damaged_before: 2, ..counted(8, 2, -2, 0) };
        let settled = settle(counted, 4).unwrap();
        assert_eq!((settled.expected, settled.variance, settled.units, settled.damaged), (8, 0, 4, 0));
    }

    #[test]
    fn what_was_sold_during_the_count_is_not_counted_again() {
        // 10 on the books, 8 on the shelf; 3 are sold after it was counted.
        let settled = settle(counted(8, 0, -3, 0), 7).unwrap();
        assert_eq!((settled.units, settled.expected, settled.variance, settled.shortfall), (5, 10, -2, 0));
    }

    #[test]
    fn stock_is_never_negative_and_what_is_short_is_told() {
        let settled = settle(counted(3, 2, -5, 0), 5).unwrap();
        assert_eq!((settled.units, settled.damaged, settled.shortfall), (0, 0, 2));
        let settled = settle(counted(3, 3, -2, 0), 5).unwrap();
        assert_eq!((settled.units, settled.damaged, settled.shortfall), (1, 1, 0));
    }

    #[test]
    fn more_than_may_be_in_stock_is_not_posted() {
        assert!(settle(counted(ON_HAND_MAX, 0, 0, 0), 0).is_ok());
        assert_eq!(settle(counted(ON_HAND_MAX, 0, 0, 1), 0), Err(OverLimit));
        assert_eq!(settle(counted(i64::MAX, 0, 0, 1), 0), Err(OverLimit));
    }

    #[test]
    fn a_count_that_another_contradicts_is_counted_again() {
        let settled = |units, damaged, on_hand| settle(counted(units, damaged, 0, 0), on_hand).unwrap();
        let (since, elsewhere, far) = (
            Against { counted_since: true, ..Against::default() },
            Against { counted_elsewhere: true, ..Against::default() },
            Against { recount_over: Some(3), ..Against::default() },
        );
        for (units, damaged, on_hand, against, why) in [
            (5, 0, 8, Against::default(), None),
            (5, 0, 8, since, Some(Recount::CountedSince)),
            // It says what the books say.
            (8, 0, 8, since, None),
            (8, 1, 7, since, None),
            (8, 1, 8, since, Some(Recount::CountedSince)),
            (8, 0, 8, elsewhere, Some(Recount::CountedElsewhere)),
            (8, 0, 8, Against { counted_twice: true, ..Against::default() }, Some(Recount::CountedTwice)),
            (5, 0, 8, far, None),
            (4, 0, 8, far, Some(Recount::TooFar)),
        ] {
            assert_eq!(doubt(settled(units, damaged, on_hand), on_hand, against), why, "{units} {against:?}");
        }
    }
}
