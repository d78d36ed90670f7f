//! Up to where nobody can write any more. Pure: no database, no clock.
//!
//! A position is drawn by a transaction that has its id already. So once a position is seen to have been drawn, and *then* a
//! new transaction id, the fence, is drawn, every position up to it belongs to an older transaction; and once all of those
//! have ended, what is not there by then never will be.
//!
//! What must stay true:
//! - Fences are asked for in this order, and by one session: all fences before the database broke off are void.
//! - No position counts before a crash can't take it back. A sequence is written to the log ahead of what is drawn, but
//!   nobody waits for that to be on disk unless the transaction that drew commits. One that was drawn, seen here and rolled
//!   back could, after a crash, be drawn again for another fact, which whoever goes on from there would never be told. So a
//!   fence is past only when the log is on disk up to where it was written when the fence was drawn.

use std::collections::VecDeque;

use tokio::time::Instant;

/// Fences that are waited for at most. With more, the next ones are left out: they would be asked for a little later.
const FENCES_MAX: usize = 64;

/// What waits for older transactions to end.
#[derive(Debug, Default)]
pub struct Fences {
    waiting: VecDeque<Fence>,
}

/// What is waited for.
#[derive(Debug, Clone, Copy)]
pub struct Fence {
    /// A position that was drawn;
    pub drawn: i64,
    /// after it, a transaction id that was drawn,
    pub fence: i64,
    /// how far the log was written,
    pub written: i64,
    /// and when that was.
    pub since: Instant,
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

    /// One more is waited for.
    pub fn add(&mut self, fence: Fence) {
        self.waiting.push_back(fence);
    }

    /// All transactions below `oldest_running` have ended, and the log is on disk up to `flushed`. Gives the position up to
    /// which nobody writes any more, if it has moved.
    pub fn settle(&mut self, oldest_running: i64, flushed: i64) -> Option<i64> {
        let mut settled = None;
        let is_past = |next: &&Fence| next.fence <= oldest_running && next.written <= flushed;
        while let Some(past) = self.waiting.front().filter(is_past) {
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

    fn fence(drawn: i64, fence: i64) -> Fence {
        Fence { drawn, fence, written: 0, since: Instant::now() }
    }

    #[test]
    fn nothing_is_settled_before_the_transactions_that_were_older_than_its_fence_have_ended() {
        let mut fences = Fences::default();
        fences.add(fence(10, 100));
        fences.add(fence(20, 105));
        assert_eq!((fences.settle(99, 0), fences.newest()), (None, Some(20)));
        assert_eq!(fences.settle(104, 0), Some(10));
        assert_eq!(fences.settle(104, 0), None);
        assert_eq!((fences.settle(105, 0), fences.is_waiting()), (Some(20), false));
    }

    #[test]
    fn nothing_is_settled_that_a_crash_could_take_back() {
        let mut fences = Fences::default();
        fences.add(Fence { written: 7, ..fence(10, 100) });
        assert_eq!(fences.settle(100, 6), None);
        assert_eq!(fences.settle(100, 7), Some(10));
    }

    /// However much is always under way: what waits is each time another.
    #[test]
    fn what_has_waited_longest_is_what_waits_and_not_what_has_waited_before() {
        let (mut fences, start) = (Fences::default(), Instant::now());
        let after = |seconds| start + Duration::from_secs(seconds);
        for (n, second) in (1..).zip(0..60) {
            fences.add(Fence { since: after(second), ..fence(n, n) });
            fences.settle(n - 1, 0);
            assert_eq!(fences.oldest(), Some(after(second)));
        }
        fences.add(Fence { since: after(60), ..fence(61, 61) });
        assert_eq!(fences.oldest(), Some(after(59)));
        fences.settle(61, 0);
        assert_eq!(fences.oldest(), None);
    }

    #[test]
    fn fences_are_bounded() {
        let mut fences = Fences::default();
        while fences.has_room() {
            fences.add(fence(1, 1));
        }
        assert_eq!((fences.waiting.len(), fences.settle(1, 0)), (FENCES_MAX, Some(1)));
    }
}
