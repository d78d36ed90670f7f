//! Whether Redis is asked at all.
//!
//! Closed: requests use Redis. Open: no request touches it; one background probe does. Half open: a first
//! probe went well, a second decides; requests still stay away, so there is no herd at the moment of
//! return. What must stay true: a request is never a probe, and nothing here decides whether a write is
//! safe. An open breaker means the Redis layer is skipped, never the row lock.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Calls looked at for the failure rate, and the span they must fall in.
const RATE_CALLS: usize = 10;
const RATE_SPAN: Duration = Duration::from_secs(1);
/// Mode changes that are kept for operators.
const HISTORY: usize = 100;

/// The breaker's state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BreakerState {
    /// Requests use Redis.
    Closed,
    /// Redis is left alone, but for the probe.
    Open,
    /// One probe went well; the next one closes or opens.
    HalfOpen,
}

/// One change of state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transition {
    /// When, by this process's monotonic clock.
    pub at: Instant,
    /// The state it changed to.
    pub to: BreakerState,
    /// What made it change.
    pub why: String,
}

/// Counts failures and decides.
#[derive(Debug)]
pub struct Breaker {
    failures_to_open: u32,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    state: BreakerState,
    in_a_row: u32,
    /// The last calls: when, and whether they failed.
    recent: VecDeque<(Instant, bool)>,
    history: VecDeque<Transition>,
}

impl Breaker {
    /// A closed breaker that opens after `failures_to_open` failures in a row, or when half of the last
    /// ten calls failed within a second.
    #[must_use]
    pub fn new(failures_to_open: u32) -> Self {
        let inner = Inner {
            state: BreakerState::Closed,
            in_a_row: 0,
            recent: VecDeque::with_capacity(RATE_CALLS),
            history: VecDeque::new(),
        };
        Self { failures_to_open, inner: Mutex::new(inner) }
    }

    /// The state now.
    #[must_use]
    pub fn state(&self) -> BreakerState {
        self.inner().state
    }

    /// Failures in a row so far.
    #[must_use]
    pub fn failures(&self) -> u32 {
        self.inner().in_a_row
    }

    /// A call went well.
    pub fn succeeded(&self) {
        let mut inner = self.inner();
        inner.in_a_row = 0;
        inner.saw(false);
    }

    /// A call failed because of `why`. True if this opened the breaker.
    pub fn failed(&self, why: &str) -> bool {
        let mut inner = self.inner();
        inner.in_a_row += 1;
        inner.saw(true);
        if inner.state != BreakerState::Closed {
            return false;
        }
        let opens = inner.in_a_row >= self.failures_to_open || inner.half_failed_lately();
        if opens {
            inner.turn(BreakerState::Open, why);
        }
        opens
    }

    /// Opens at once: Redis was found away before any request was.
    pub fn open(&self, why: &str) {
        let mut inner = self.inner();
        if inner.state == BreakerState::Closed {
            inner.turn(BreakerState::Open, why);
        }
    }

    /// A probe of an open breaker went well. The first makes it half open, the second closes it.
    pub fn probe_succeeded(&self) -> BreakerState {
        let mut inner = self.inner();
        match inner.state {
            BreakerState::Open => inner.turn(BreakerState::HalfOpen, "a probe wrote and read"),
            BreakerState::HalfOpen => {
                inner.in_a_row = 0;
                inner.recent.clear();
                inner.turn(BreakerState::Closed, "a second probe wrote and read");
            }
            BreakerState::Closed => {}
        }
        inner.state
    }

    /// A probe failed: back to open.
    pub fn probe_failed(&self, why: &str) {
        let mut inner = self.inner();
        if inner.state == BreakerState::HalfOpen {
            inner.turn(BreakerState::Open, why);
        }
    }

    /// The last changes of state, oldest first.
    #[must_use]
    pub fn history(&self) -> Vec<Transition> {
        self.inner().history.iter().cloned().collect()
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn saw(&mut self, failed: bool) {
        if self.recent.len() == RATE_CALLS {
            self.recent.pop_front();
        }
        self.recent.push_back((Instant::now(), failed));
    }

    fn half_failed_lately(&self) -> bool {
        let (Some(first), Some(last)) = (self.recent.front(), self.recent.back()) else {
            return false;
        };
        let failed = self.recent.iter().filter(|(_, failed)| *failed).count();
        self.recent.len() == RATE_CALLS && last.0 - first.0 <= RATE_SPAN && failed * 2 >= RATE_CALLS
    }

    fn turn(&mut self, to: BreakerState, why: &str) {
        self.state = to;
        if self.history.len() == HISTORY {
            self.history.pop_front();
        }
        self.history.push_back(Transition { at: Instant::now(), to, why: why.to_owned() });
        match to {
            BreakerState::Open => tracing::warn!(breaker.state = "open", why, "locks are database-only"),
            BreakerState::HalfOpen => tracing::info!(breaker.state = "half_open", why, "Redis answers again"),
            BreakerState::Closed => {
                tracing::info!(breaker.state = "closed", why, "locks are two-layer again")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::BreakerState::{Closed, HalfOpen, Open};
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn failures_in_a_row_open_it_and_a_success_between_starts_the_count_again() {
        let breaker = Breaker::new(3);
        assert!(!breaker.failed("refused") && !breaker.failed("refused"));
        breaker.succeeded();
        assert!(!breaker.failed("refused") && !breaker.failed("refused") && breaker.failed("refused"));
        assert_eq!(breaker.state(), Open);
    }

    #[tokio::test(start_paused = true)]
    async fn half_of_ten_calls_within_a_second_open_it_but_not_the_same_spread_out() {
        let spread = Breaker::new(100);
        for _ in 0..20 {
            spread.succeeded();
            spread.failed("slow");
            tokio::time::advance(Duration::from_millis(300)).await;
        }
        assert_eq!(spread.state(), Closed);
        let dense = Breaker::new(100);
        for _ in 0..5 {
            dense.succeeded();
            dense.failed("slow");
        }
        assert_eq!(dense.state(), Open);
    }

    #[tokio::test(start_paused = true)]
    async fn two_good_probes_close_it_and_a_bad_one_between_opens_it_again() {
        let breaker = Breaker::new(1);
        breaker.failed("refused");
        assert_eq!(breaker.probe_succeeded(), HalfOpen);
        breaker.probe_failed("refused");
        assert_eq!(breaker.state(), Open);
        breaker.probe_succeeded();
        assert_eq!(breaker.probe_succeeded(), Closed);
        assert_eq!(breaker.failures(), 0);
        let states: Vec<_> = breaker.history().into_iter().map(|change| change.to).collect();
        assert_eq!(states, [Open, HalfOpen, Open, HalfOpen, Closed]);
    }

    #[tokio::test(start_paused = true)]
    async fn failures_while_open_change_nothing() {
        let breaker = Breaker::new(1);
        assert!(breaker.failed("refused"));
        assert!(!breaker.failed("refused"));
        assert_eq!(breaker.history().len(), 1);
    }
}
