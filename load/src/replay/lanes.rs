//! Which invoice may be sent next: the earliest in the file whose customer has nothing under way.
//!
//! What must stay true: two invoices of one customer are never out at once and never swap places;
//! invoices of different customers wait for nobody.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};

/// The invoices still to be sent, by their positions in the file.
#[derive(Debug)]
pub struct Lanes {
    ready: BinaryHeap<Reverse<usize>>,
    /// The customer's next invoice after each.
    next: Vec<Option<usize>>,
    unfinished: usize,
}

impl Lanes {
    /// The lanes of invoices whose users are `users`, in the order of the file.
    pub fn new<'a>(users: impl IntoIterator<Item = &'a str>) -> Self {
        let mut latest: HashMap<&str, usize> = HashMap::new();
        let mut ready = BinaryHeap::new();
        let mut next = Vec::new();
        for (position, user) in users.into_iter().enumerate() {
            next.push(None);
            match latest.insert(user, position) {
                None => ready.push(Reverse(position)),
                Some(before) => next[before] = Some(position),
            }
        }
        Self { ready, unfinished: next.len(), next }
    }

    /// Takes the earliest invoice that may go now.
    pub fn take(&mut self) -> Option<usize> {
        self.ready.pop().map(|Reverse(position)| position)
    }

    /// An invoice that was taken has been answered: its customer's next one may go.
    pub fn finish(&mut self, position: usize) {
        self.unfinished -= 1;
        self.ready.extend(self.next[position].map(Reverse));
    }

    /// Whether every invoice has been answered.
    pub fn are_done(&self) -> bool {
        self.unfinished == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_customers_invoices_go_one_by_one_in_order() {
        let mut lanes = Lanes::new(["a", "a", "a"]);
        for position in 0..3 {
            assert_eq!(lanes.take(), Some(position));
            assert_eq!(lanes.take(), None);
            lanes.finish(position);
        }
        assert!(lanes.are_done());
    }

    #[test]
    fn other_customers_do_not_wait() {
        let mut lanes = Lanes::new(["a", "a", "b", "c"]);
        assert_eq!(
            [lanes.take(), lanes.take(), lanes.take(), lanes.take()],
            [Some(0), Some(2), Some(3), None]
        );
        lanes.finish(3);
        assert_eq!(lanes.take(), None);
        lanes.finish(0);
        assert_eq!(lanes.take(), Some(1));
    }

    #[test]
    fn the_earliest_in_the_file_goes_first() {
        let mut lanes = Lanes::new(["a", "b", "a", "b", "c"]);
        let (first, second) = (lanes.take(), lanes.take());
        assert_eq!((first, second), (Some(0), Some(1)));
        lanes.finish(1);
        assert_eq!(lanes.take(), Some(3));
        lanes.finish(0);
        assert_eq!(lanes.take(), Some(2));
        assert_eq!(lanes.take(), Some(4));
    }

    #[test]
    fn nothing_to_send_is_done_at_once() {
        assert!(Lanes::new([]).are_done());
    }
}
