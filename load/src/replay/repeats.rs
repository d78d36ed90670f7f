//! Requests sent twice on purpose, with the same key and the same bytes: the service must do the work once
//! and answer alike.
//!
//! What must stay true: whether and when a request is repeated depends on its key alone, so a run can be
//! run again.

use std::cell::RefCell;

use crate::chance::Chance;
use crate::connection::{Call, Settled};
use crate::verdict::RepeatWhen;

/// The requests to be repeated.
#[derive(Debug)]
pub struct Repeats {
    share: f64,
    late: RefCell<Vec<Late>>,
}

/// A request whose repeat waits for the end of the run, when its order may long be cancelled.
#[derive(Debug)]
pub struct Late {
    pub call: Call,
    pub first: Settled,
    /// Where the first one went; the repeat goes elsewhere.
    pub position: usize,
}

impl Repeats {
    /// Repeats `share` of all requests: 0 for none, 1 for every one.
    pub fn new(share: f64) -> Self {
        Self { share, late: RefCell::default() }
    }

    /// Whether and when the request with this key is repeated.
    pub fn choose(&self, key: &str) -> Option<RepeatWhen> {
        let mut chance = Chance::of(key);
        if !chance.falls_within(self.share) {
            return None;
        }
        Some(match chance.below(3) {
            0 => RepeatWhen::Alongside,
            1 => RepeatWhen::StraightAfter,
            _ => RepeatWhen::AtTheEnd,
        })
    }

    /// Keeps a request for the end.
    pub fn keep(&self, late: Late) {
        self.late.borrow_mut().push(late);
    }

    /// Hands out what was kept.
    pub fn kept(&self) -> Vec<Late> {
        self.late.take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_share_is_spread_over_all_times() {
        let repeats = Repeats::new(0.3);
        let chosen: Vec<_> = (0..3_000).filter_map(|number| repeats.choose(&format!("r-{number}"))).collect();
        assert!((800..1_000).contains(&chosen.len()), "{} of 3,000", chosen.len());
        for when in [RepeatWhen::Alongside, RepeatWhen::StraightAfter, RepeatWhen::AtTheEnd] {
            let number = chosen.iter().filter(|one| **one == when).count();
            assert!((220..400).contains(&number), "{when:?}: {number}");
        }
    }

    #[test]
    fn a_key_is_always_treated_alike() {
        let (one, two) = (Repeats::new(0.5), Repeats::new(0.5));
        assert!((0..100).all(|number| one.choose(&format!("{number}")) == two.choose(&format!("{number}"))));
        assert!((0..100).all(|number| Repeats::new(0.0).choose(&format!("{number}")).is_none()));
    }
}
