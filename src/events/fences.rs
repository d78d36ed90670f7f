//! Up to where nobody can write any more. Pure: no database, no clock.
//!
//! A position is drawn by a transaction that has its id already. So once a position is seen to have been drawn, and *then* a
//! new transaction id, the fence, is drawn, every position up to it belongs to an older transaction; and once all of those
//! have ended, what is not there by then never will be.
//!
//! What must stay true: fences are asked for in this order, and by one session: if the database broke off, positions that
//! were drawn and never written may be drawn again, so all fences before that are void.

use std::collections::VecDeque;

use tokio::time::Instant;

/// Fences that are waited for at most. With more, the next ones are left out: they would be asked for a little later.
const FENCES_MAX: usize = 64;

/// What waits for older transactions to end.
#[derive(Debug, Default)]
pub struct Fences {
    waiting: VecDeque<Fence>,
}

#[derive(Debug)]
struct Fence {
    /// A position that was drawn,
    drawn: i64,
    /// a transaction id drawn after it,
    fence: i64,
    /// and when that was.
    since: Instant,
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
        self.waiting.back().map(|fence| fence.drawn)
    }

    /// `drawn` was the last position before `fence`, a transaction id that was drawn at `since`.
    pub fn add(&mut self, drawn: i64, fence: i64, since: Instant) {
        self.waiting.push_back(Fence { drawn, fence, since });
    }

    /// All transactions below `oldest_running` have ended. Gives the position up to which nobody writes any more, if it
    /// has moved.
    pub fn settle(&mut self, oldest_running: i64) -> Option<i64> {
        let mut settled = None;
        while let Some(past) = self.waiting.front().filter(|next| next.fence <= oldest_running) {
            settled = Some(past.drawn);
            self.waiting.pop_front();
        }
        settled
    }

    /// Whether something waits.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Since when that has waited which has waited longest.
    #[must_use]
    pub fn oldest(&self) -> Option<Instant> {
        self.waiting.front().map(|fence| fence.since)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn nothing_is_settled_before_the_transactions_that_were_older_than_its_fence_have_ended() {
        let (mut fences, now) = (Fences::default(), Instant::now());
        fences.add(10, 100, now);
        fences.add(20, 105, now);
        assert_eq!((fences.settle(99), fences.newest()), (None, Some(20)));
        assert_eq!(fences.settle(104), Some(10));
        assert_eq!(fences.settle(104), None);
        assert_eq!((fences.settle(105), fences.is_waiting()), (Some(20), false));
    }

    /// However much is always under way: what waits is each time another.
    #[test]
    fn what_has_waited_longest_is_what_waits_and_not_what_has_waited_before() {
        let (mut fences, start) = (Fences::default(), Instant::now());
        let after = |seconds| start + Duration::from_secs(seconds);
        for (n, second) in (1..).zip(0..60) {
            fences.add(n, n, after(second));
            fences.settle(n - 1);
            assert_eq!(fences.oldest(), Some(after(second)));
        }
        fences.add(61, 61, after(60));
        assert_eq!(fences.oldest(), Some(after(59)));
        fences.settle(61);
        assert_eq!(fences.oldest(), None);
    }

    #[test]
    fn fences_are_bounded() {
        let (mut fences, now) = (Fences::default(), Instant::now());
        while fences.has_room() {
            fences.add(1, 1, now);
        }
        assert_eq!((fences.waiting.len(), fences.settle(1)), (FENCES_MAX, Some(1)));
    }
}
