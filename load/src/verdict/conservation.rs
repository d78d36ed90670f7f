//! The arithmetic of conservation: opening stock + the sum of what was answered = what is there now =
//! the sum of the movements. And once everything is over, nothing is held for anybody.

use super::Chain;
use crate::service::Inventory;

/// What the answers say about one item.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// What was there at the start.
    pub opening: i64,
    /// The sum of all answered changes.
    pub answered: i64,
    /// Units of requests that were never answered, by direction: they may or may not have moved.
    pub doubted_out: i64,
    pub doubted_in: i64,
}

impl Tally {
    /// An untouched item.
    pub fn opened_with(opening: i64) -> Self {
        Self { opening, ..Self::default() }
    }

    /// Counts an answered change.
    pub fn answer(&mut self, delta: i64) {
        self.answered += delta;
    }

    /// Counts a change that nobody answered for.
    pub fn doubt(&mut self, delta: i64) {
        if delta < 0 {
            self.doubted_out -= delta;
        } else {
            self.doubted_in += delta;
        }
    }

    /// What must be there now, doubts aside.
    pub fn expected(&self) -> i64 {
        self.opening + self.answered
    }

    /// Whether any request for this item was sent and counted.
    pub fn is_touched(&self) -> bool {
        (self.answered, self.doubted_out, self.doubted_in) != (0, 0, 0)
    }

    /// Why `on_hand` cannot be right, if it cannot.
    pub fn contradicts(&self, on_hand: i64) -> Option<String> {
        let (least, most) = (self.expected() - self.doubted_out, self.expected() + self.doubted_in);
        if (least..=most).contains(&on_hand) {
            return None;
        }
        let doubt = if least == most { String::new() } else { format!(" (with doubts {least} to {most})") };
        Some(format!(
            "opened with {}, answered {:+}, so {} must be there{doubt}; the service has {on_hand} ({:+})",
            self.opening,
            self.answered,
            self.expected(),
            on_hand - self.expected()
        ))
    }
}

/// Every way in which an item's answers, level and history disagree, after everything is over.
pub fn differences(tally: &Tally, level: &Inventory, chain: &Chain) -> Vec<String> {
    let on_hand = level.on_hand;
    let mut found: Vec<String> = tally.contradicts(on_hand).into_iter().collect();
    if (level.held, level.available) != (0, on_hand) {
        found.push(format!(
            "nothing is held any more, but the service has {} held and {} of {on_hand} available",
            level.held, level.available
        ));
    }
    if chain.sum() != on_hand {
        found.push(format!("the movements add up to {}, the balance is {on_hand}", chain.sum()));
    }
    if let Some(newest) = chain.newest_quantity().filter(|newest| *newest != on_hand) {
        found.push(format!("the newest movement left {newest}, the balance is {on_hand}"));
    }
    if tally.opening > 0 && chain.oldest_delta() != Some(tally.opening) {
        found.push(format!("movement 1 is not the opening stock of {}", tally.opening));
    }
    found.extend(chain.faults().iter().cloned());
    found
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::service::{Movement, MovementKind};

    fn level(on_hand: i64) -> Inventory {
        Inventory { variant_id: Uuid::nil(), on_hand, held: 0, available: on_hand }
    }

    fn history(deltas: &[i64]) -> Chain {
        let mut quantity = 0;
        let mut movements: Vec<Movement> = Vec::new();
        for (position, delta) in deltas.iter().enumerate() {
            movements.push(Movement {
                variant_id: Uuid::nil(),
                kind: MovementKind::Adjustment,
                reference: None,
                version: position as i64 + 1,
                delta: *delta,
                previous_quantity: quantity,
                new_quantity: quantity + delta,
            });
            quantity += delta;
        }
        movements.reverse();
        let mut chain = Chain::new(Uuid::nil());
        chain.older(&movements);
        chain.finish();
        chain
    }

    fn tally(opening: i64, answered: &[i64]) -> Tally {
        let mut tally = Tally::opened_with(opening);
        answered.iter().for_each(|delta| tally.answer(*delta));
        tally
    }

    #[test]
    fn books_that_agree_have_no_differences() {
        assert!(differences(&tally(10, &[-3, -3, 2]), &level(6), &history(&[10, -3, -3, 2])).is_empty());
        assert!(differences(&tally(0, &[]), &level(0), &history(&[])).is_empty());
        assert!(differences(&tally(0, &[5]), &level(5), &history(&[5])).is_empty());
    }

    #[test]
    fn a_lost_unit_is_found() {
        let found = differences(&tally(10, &[-3, -3]), &level(7), &history(&[10, -3]));
        assert_eq!(found.len(), 1);
        assert!(found[0].ends_with("4 must be there; the service has 7 (+3)"), "{}", found[0]);
    }

    #[test]
    fn a_balance_without_its_movement_is_found() {
        let found = differences(&tally(10, &[-3, -3]), &level(4), &history(&[10, -3]));
        assert_eq!(
            found,
            ["the movements add up to 7, the balance is 4", "the newest movement left 7, the balance is 4"]
        );
    }

    #[test]
    fn an_opening_stock_must_be_the_first_movement() {
        assert_eq!(differences(&tally(10, &[-3]), &level(7), &history(&[7, 0])).len(), 1);
    }

    #[test]
    fn what_is_still_held_when_all_is_over_is_found() {
        let leaked = Inventory { held: 2, available: 5, ..level(7) };
        let found = differences(&tally(10, &[-3]), &leaked, &history(&[10, -3]));
        assert_eq!(found, ["nothing is held any more, but the service has 2 held and 5 of 7 available"]);
        let withheld = Inventory { available: 5, ..level(7) };
        assert_eq!(differences(&tally(10, &[-3]), &withheld, &history(&[10, -3])).len(), 1);
    }

    #[test]
    fn a_doubt_widens_what_may_be_there_in_its_direction_only() {
        let mut doubted = tally(10, &[-3]);
        doubted.doubt(-2);
        assert_eq!(doubted.contradicts(7), None);
        assert_eq!(doubted.contradicts(5), None);
        assert!(doubted.contradicts(4).is_some());
        assert!(doubted.contradicts(8).is_some());
        doubted.doubt(4);
        assert_eq!(doubted.contradicts(11), None);
        assert!(doubted.contradicts(12).is_some());
    }

    #[test]
    fn an_item_is_touched_once_something_was_answered_or_doubted() {
        assert!(!Tally::opened_with(5).is_touched());
        assert!(tally(5, &[-1]).is_touched());
        let mut doubted = Tally::opened_with(5);
        doubted.doubt(-1);
        assert!(doubted.is_touched());
    }
}
