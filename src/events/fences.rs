//! Up to where nobody can write any more. Pure: no database, no clock.
//!
//! A position is drawn by a transaction that has its id already. So once a position is seen to have been drawn, and *then* a
//! new transaction id, the fence, is drawn, every position up to it belongs to an older transaction; and once all of those
//! have ended, what is not there by then never will be.
//!
//! What must stay true: fences are asked for in this order, and by one session: if the database broke off, positions that
//! were drawn and never written may be drawn again, so all fences before that are void.

use std::collections::VecDeque;

/// Fences that are waited for at most. With more, the next ones are left out: they would be asked for a little later.
const FENCES_MAX: usize = 64;

/// What waits for older transactions to end.
#[derive(Debug, Default)]
pub struct Fences {
    /// A position that was drawn, and a transaction id drawn after it.
    waiting: VecDeque<(i64, i64)>,
}

impl Fences {
    /// Whether one more is worth asking for.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.waiting.len() < FENCES_MAX
    }

    /// The highest position that a fence was asked for.
    #[must_use]
    pub fn newest(&self) -> Option<i64> {
        self.waiting.back().map(|(drawn, _)| *drawn)
    }

    /// `drawn` was the last position before `fence`, a transaction id.
    pub fn add(&mut self, drawn: i64, fence: i64) {
        self.waiting.push_back((drawn, fence));
    }

    /// All transactions below `oldest_running` have ended. Gives the position up to which nobody writes any more, if it
    /// has moved.
    pub fn settle(&mut self, oldest_running: i64) -> Option<i64> {
        let mut settled = None;
        while let Some((drawn, _)) = self.waiting.front().filter(|(_, fence)| *fence <= oldest_running) {
            settled = Some(*drawn);
            self.waiting.pop_front();
        }
        settled
    }

    /// Whether something waits.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_settled_before_the_transactions_that_were_older_than_its_fence_have_ended() {
        let mut fences = Fences::default();
        fences.add(10, 100);
        fences.add(20, 105);
        assert_eq!((fences.settle(99), fences.newest()), (None, Some(20)));
        assert_eq!(fences.settle(104), Some(10));
        assert_eq!(fences.settle(104), None);
        assert_eq!((fences.settle(105), fences.is_waiting()), (Some(20), false));
    }

    #[test]
    fn fences_are_bounded() {
        let mut fences = Fences::default();
        while fences.has_room() {
            fences.add(1, 1);
        }
        assert_eq!((fences.waiting.len(), fences.settle(1)), (FENCES_MAX, Some(1)));
    }
}
