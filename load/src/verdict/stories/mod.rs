//! What happened to each hold and each order from its beginning to its end, as the answers tell it, and the ways in
//! which that cannot be: in itself, against the clock, against the stock there was, and against what the service
//! has written down.
//!
//! In reading order: a [`HoldStory`] and an [`OrderStory`] say what was asked and answered, and judge it alone;
//! [`Free`] says how many units of an item could have been left to take at each moment; the [`Record`] is what the
//! service has of all of them; [`Stories`] puts it together; `told` is how the [`Judge`](super::Judge) hears of it.
//!
//! What must stay true:
//! - everything is judged at the end, so that it does not matter in which order answers were heard;
//! - a moment is only known to lie between the asking and the answer: what is called a fault was one at every moment
//!   in between;
//! - a rule that no wrong history can break is no rule: each has a test that breaks it.

mod free;
mod hold;
mod order;
mod record;
mod told;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Instant;

use uuid::Uuid;

use super::{FaultKind, Faults, Opening, Span, Tally};

pub use free::Free;
pub use hold::{Attempt, End, HeldLine, HoldStory, Outcome};
pub use order::{Blow, BlowOutcome, By, OrderStory, Placed, PlacedLine};
pub use record::{Moves, Record, read_record};
pub use told::SentBlow;

/// All that is told in a run.
#[derive(Debug, Default)]
pub struct Stories {
    pub holds: HashMap<Uuid, HoldStory>,
    /// By the key that the order is placed with.
    pub orders: BTreeMap<String, OrderStory>,
    /// Everybody who asked for an order or a hold, whatever came of it.
    pub users: BTreeSet<String>,
    /// Changes of single items, by their keys.
    pub changes: BTreeMap<String, ItemChange>,
}

/// A change of one item's stock that was answered, or never was.
#[derive(Clone, Copy, Debug)]
pub struct ItemChange {
    pub item: usize,
    pub delta: i64,
    pub when: Span,
    pub is_known: bool,
}

impl Stories {
    /// Once everything is over: puts what came back on the tallies, and finds what cannot be.
    pub fn settle(&self, opening: &Opening, tallies: &mut [Tally], faults: &mut Faults) {
        let mut free: Vec<Free> = opening.items().iter().map(|item| Free::of(item.on_hand)).collect();
        for change in self.changes.values().filter(|change| change.is_known || change.delta > 0) {
            let moment = if change.delta > 0 { change.when.asked } else { change.when.answered };
            free[change.item].change(moment, change.delta);
        }
        for story in self.holds.values() {
            story.contradictions().into_iter().for_each(|(kind, words)| faults.add(kind, words));
            story.moves().into_iter().for_each(|(item, moment, delta)| free[item].change(moment, delta));
        }
        for (key, story) in &self.orders {
            for (kind, words) in story.contradictions() {
                faults.add(kind, format!("{key}: {words}"));
            }
            story.moves().into_iter().for_each(|(item, moment, delta)| free[item].change(moment, delta));
            for (item, back) in story.returned() {
                if story.is_in_doubt() { tallies[item].doubt(back) } else { tallies[item].answer(back) }
            }
        }
        for (item, free) in opening.items().iter().zip(free) {
            if let Some(beyond) = free.taken_beyond() {
                let words = format!("{}: {beyond} more were taken or held than there were", item.sku);
                faults.add(FaultKind::Oversold, words);
            }
        }
    }

    /// When the last hold that nobody resolved is surely over, if there is one.
    pub fn last_lapse(&self) -> Option<Instant> {
        self.holds.values().filter(|story| story.lapses()).map(HoldStory::over_at_the_latest).max()
    }

    /// Finds where what the service has written down is not what was told.
    pub fn compare(&self, record: &Record, opening: &Opening, faults: &mut Faults) {
        let mut told = BTreeSet::new();
        for story in self.orders.values() {
            let Some(placed) = &story.placed else {
                continue;
            };
            told.insert(placed.order_id);
            let moves = record.moves.get(&placed.order_id.to_string());
            for words in story.record_differences(record.orders.get(&placed.order_id), moves, opening) {
                faults.add(FaultKind::OrderRecordDiffers, format!("{}: {words}", placed.order_id));
            }
        }
        for story in self.holds.values() {
            for words in story.record_differences(record.holds.get(&story.hold_id)) {
                faults.add(FaultKind::HoldRecordDiffers, format!("{}: {words}", story.hold_id));
            }
        }
        for order_id in record.orders.keys().filter(|order_id| !told.contains(order_id)) {
            faults.add(FaultKind::NobodyWasTold, format!("of order {order_id}"));
        }
        for hold_id in record.holds.keys().filter(|hold_id| !self.holds.contains_key(hold_id)) {
            faults.add(FaultKind::NobodyWasTold, format!("of hold {hold_id}"));
        }
        for (key, change) in self.changes.iter().filter(|(_, change)| change.is_known) {
            let (asked, there) = (Moves::of_change(change.item, change.delta), record.moves.get(key));
            if there != Some(&asked) {
                let words = format!("{key}: told {asked:?}, its movements say {there:?}");
                faults.add(FaultKind::MovementDiffers, words);
            }
        }
        let known = |reference: &str| {
            self.changes.contains_key(reference) || reference.parse().is_ok_and(|id| told.contains(&id))
        };
        for reference in record.moves.keys().filter(|reference| !known(reference)) {
            faults.add(FaultKind::NobodyWasTold, format!("of the movement for {reference:?}"));
        }
    }
}

#[cfg(test)]
#[path = "stories_tests.rs"]
mod tests;
