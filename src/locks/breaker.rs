//! Whether Redis is asked at all.
//!
//! Closed: requests use Redis. Open: no request touches it; one background probe does. Half open: a first
//! probe went well, a second decides; requests still stay away, so there is no herd at the moment of
//! return. What must stay true: a request is never a probe, and nothing here decides whether a write is
//! safe. An open breaker means the Redis layer is skipped, never the row lock.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::Serialize;
use tokio::sync::broadcast;
use tokio::time::Instant;

use super::LockMode;
use crate::clock;

/// Calls looked at for the failure rate, and the span they must fall in.
const RATE_CALLS: usize = 10;
const RATE_SPAN: Duration = Duration::from_secs(1);
/// Mode changes that are kept for operators.
const HISTORY: usize = 100;

/// The breaker's state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum BreakerState {
    /// Requests use Redis.
    Closed,
    /// Redis is left alone, but for the probe.
    Open,
    /// One probe went well; the next one closes or opens.
    HalfOpen,
}

/// One change of the mode in which leases are given: the fact behind the event `lock.mode_changed`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct ModeChange {
    /// When, by this host's clock.
    pub at: DateTime<Utc>,
    /// What it became.
    pub mode: LockMode,
    /// What made it change.
    pub why: String,
}

/// Counts failures and decides.
#[derive(Debug)]
pub struct Breaker {
    failures_to_open: u32,
    inner: Mutex<Inner>,
    changes: broadcast::Sender<ModeChange>,
}

#[derive(Debug)]
struct Inner {
    state: BreakerState,
    in_a_row: u32,
    /// When the first of these began.
    failing_since: Option<Instant>,
    /// The last calls: when, and whether they failed.
    recent: VecDeque<(Instant, bool)>,
    history: VecDeque<ModeChange>,
    /// How long either mode has lasted in all, up to `since`: two-layer, database-only.
    lasted: [Duration; 2],
    /// How often it became each.
    turned: [u64; 2],
    since: Instant,
}

impl Breaker {
    /// A closed breaker that opens after `failures_to_open` failures in a row, or when half of the last
    /// ten calls failed within a second.
    #[must_use]
    pub fn new(failures_to_open: u32) -> Self {
        let inner = Inner {
            state: BreakerState::Closed,
            in_a_row: 0,
            failing_since: None,
            recent: VecDeque::with_capacity(RATE_CALLS),
            history: VecDeque::new(),
            lasted: [Duration::ZERO; 2],
            turned: [0; 2],
            since: Instant::now(),
        };
        Self { failures_to_open, inner: Mutex::new(inner), changes: broadcast::Sender::new(HISTORY) }
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

    /// When the first of the failures in a row began, if the last call failed.
    #[must_use]
    pub fn failing_since(&self) -> Option<Instant> {
        self.inner().failing_since
    }

    /// A call went well.
    pub fn succeeded(&self) {
        let mut inner = self.inner();
        inner.in_a_row = 0;
        inner.failing_since = None;
        inner.saw(false);
    }

    /// A call failed because of `why`, and it `took` so long to. True if this opened the breaker.
    pub fn failed(&self, why: &str, took: Duration) -> bool {
        let mut inner = self.inner();
        inner.in_a_row += 1;
        let now = Instant::now();
        inner.failing_since.get_or_insert(now.checked_sub(took).unwrap_or(now));
        inner.saw(true);
        if inner.state != BreakerState::Closed {
            return false;
        }
        let opens = inner.in_a_row >= self.failures_to_open || inner.half_failed_lately();
        if opens {
            self.turn(&mut inner, BreakerState::Open, why);
        }
        opens
    }

    /// Opens at once: Redis was found away before any request was.
    pub fn open(&self, why: &str) {
        let mut inner = self.inner();
        if inner.state == BreakerState::Closed {
            self.turn(&mut inner, BreakerState::Open, why);
        }
    }

    /// A probe of an open breaker went well. The first makes it half open, the second closes it.
    pub fn probe_succeeded(&self) -> BreakerState {
        let mut inner = self.inner();
        match inner.state {
            BreakerState::Open => self.turn(&mut inner, BreakerState::HalfOpen, "a probe wrote and read"),
            BreakerState::HalfOpen => {
                inner.in_a_row = 0;
                inner.failing_since = None;
                inner.recent.clear();
                self.turn(&mut inner, BreakerState::Closed, "a second probe wrote and read");
            }
            BreakerState::Closed => {}
        }
        inner.state
    }

    /// A probe failed: back to open.
    pub fn probe_failed(&self, why: &str) {
        let mut inner = self.inner();
        if inner.state == BreakerState::HalfOpen {
            self.turn(&mut inner, BreakerState::Open, why);
        }
    }

    /// The last changes of mode, oldest first.
    #[must_use]
    pub fn history(&self) -> Vec<ModeChange> {
        self.inner().history.iter().cloned().collect()
    }

    /// The changes of mode so far, and the ears for every one from now on: none is in both, none in neither.
    #[must_use]
    pub fn all_changes(&self) -> (VecDeque<ModeChange>, broadcast::Receiver<ModeChange>) {
        // Changes are told under this lock.
        let inner = self.inner();
        (inner.history.clone(), self.changes.subscribe())
    }

    /// Hears every change of mode from now on.
    #[must_use]
    pub fn changes(&self) -> broadcast::Receiver<ModeChange> {
        self.changes.subscribe()
    }

    /// How long leases have been given in this mode in all.
    #[must_use]
    pub fn lasted(&self, mode: LockMode) -> Duration {
        let inner = self.inner();
        let going_on = if inner.state.mode() == mode { inner.since.elapsed() } else { Duration::ZERO };
        inner.lasted[place_of(mode)] + going_on
    }

    /// How often the mode has become this one.
    #[must_use]
    pub fn turned(&self, mode: LockMode) -> u64 {
        self.inner().turned[place_of(mode)]
    }

    /// Changes the state. A change of mode, which a half-open breaker does not make, is logged, kept and told.
    fn turn(&self, inner: &mut Inner, to: BreakerState, why: &str) {
        let (before, mode) = (inner.state.mode(), to.mode());
        inner.state = to;
        if before == mode {
            return;
        }
        let now = Instant::now();
        inner.lasted[place_of(before)] += now - inner.since;
        inner.turned[place_of(mode)] += 1;
        inner.since = now;
        match mode {
            LockMode::DatabaseOnly => tracing::warn!(breaker.state = "open", why, "locks are database-only"),
            LockMode::TwoLayer => tracing::info!(breaker.state = "closed", why, "locks are two-layer again"),
        }
        if inner.history.len() == HISTORY {
            inner.history.pop_front();
        }
        let change = ModeChange { at: clock::shown_now(), mode, why: why.to_owned() };
        inner.history.push_back(change.clone());
        // Fails when nobody listens.
        let _heard = self.changes.send(change);
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn place_of(mode: LockMode) -> usize {
    usize::from(mode == LockMode::DatabaseOnly)
}

impl BreakerState {
    /// The mode in which leases are given in this state.
    #[must_use]
    pub fn mode(self) -> LockMode {
        match self {
            Self::Closed => LockMode::TwoLayer,
            Self::Open | Self::HalfOpen => LockMode::DatabaseOnly,
        }
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
}

#[cfg(test)]
mod tests {
    use super::BreakerState::{Closed, HalfOpen, Open};
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn failures_in_a_row_open_it_and_a_success_between_starts_the_count_again() {
        let breaker = Breaker::new(3);
        assert!(!breaker.failed("refused", Duration::ZERO) && !breaker.failed("refused", Duration::ZERO));
        breaker.succeeded();
        assert!(
            !breaker.failed("refused", Duration::ZERO)
                && !breaker.failed("refused", Duration::ZERO)
                && breaker.failed("refused", Duration::ZERO)
        );
        assert_eq!(breaker.state(), Open);
    }

    #[tokio::test(start_paused = true)]
    async fn half_of_ten_calls_within_a_second_open_it_but_not_the_same_spread_out() {
        let spread = Breaker::new(100);
        for _ in 0..20 {
            spread.succeeded();
            spread.failed("slow", Duration::ZERO);
            tokio::time::advance(Duration::from_millis(300)).await;
        }
        assert_eq!(spread.state(), Closed);
        let dense = Breaker::new(100);
        for _ in 0..5 {
            dense.succeeded();
            dense.failed("slow", Duration::ZERO);
        }
        assert_eq!(dense.state(), Open);
    }

    #[tokio::test(start_paused = true)]
    async fn two_good_probes_close_it_and_a_bad_one_between_opens_it_again() {
        let breaker = Breaker::new(1);
        breaker.failed("refused", Duration::ZERO);
        assert_eq!(breaker.probe_succeeded(), HalfOpen);
        breaker.probe_failed("refused");
        assert_eq!(breaker.state(), Open);
        breaker.probe_succeeded();
        assert_eq!(breaker.probe_succeeded(), Closed);
        assert_eq!(breaker.failures(), 0);
        let modes: Vec<_> = breaker.history().into_iter().map(|change| change.mode).collect();
        assert_eq!(modes, [LockMode::DatabaseOnly, LockMode::TwoLayer], "a probe between changes no mode");
    }

    #[tokio::test(start_paused = true)]
    async fn failures_while_open_change_nothing() {
        let breaker = Breaker::new(1);
        assert!(breaker.failed("refused", Duration::ZERO));
        assert!(!breaker.failed("refused", Duration::ZERO));
        assert_eq!(breaker.history().len(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn changes_of_mode_are_told_kept_to_the_last_hundred_and_timed() {
        let breaker = Breaker::new(1);
        let mut heard = breaker.changes();
        for _ in 0..60 {
            tokio::time::advance(Duration::from_secs(2)).await;
            breaker.failed("refused", Duration::ZERO);
            tokio::time::advance(Duration::from_secs(1)).await;
            breaker.probe_succeeded();
            breaker.probe_succeeded();
        }
        assert_eq!(breaker.history().len(), HISTORY);
        let (so_far, mut from_now_on) = breaker.all_changes();
        assert!(so_far.iter().eq(&breaker.history()) && from_now_on.try_recv().is_err());
        assert_eq!(breaker.turned(LockMode::TwoLayer), 60);
        assert_eq!(breaker.lasted(LockMode::TwoLayer), Duration::from_secs(120));
        assert_eq!(breaker.lasted(LockMode::DatabaseOnly), Duration::from_secs(60));
        assert_eq!(heard.try_recv().unwrap().mode, LockMode::DatabaseOnly);
        assert_eq!(heard.try_recv().unwrap().mode, LockMode::TwoLayer);
    }
}
