//! Who would wait in vain is told at once, and not when its time is over.
//!
//! A queue knows how fast it moves: by the time from one grant to the next while whoever got it waited. Whoever comes when those
//! before it will take longer than it may wait, is turned away. A queue that does not move at all turns nobody away, for
//! nothing is known of it; those in it are told when their time is over.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout};

/// How long one takes after the other: the mean of the first `OF`, and then smoothed, as if it were that of the last.
#[derive(Debug, Clone, Copy, Default)]
pub struct Stride<const OF: u32> {
    each: Duration,
    /// How many there were, up to `OF`.
    seen: u32,
}

impl<const OF: u32> Stride<OF> {
    /// One more took so long.
    pub fn took(&mut self, took: Duration) {
        self.seen = OF.min(self.seen + 1);
        self.each = (self.each * (self.seen - 1) + took) / self.seen;
    }

    /// Whether so many will take longer than `limit`, as far as can be told: by fewer than `telling` it can't.
    #[must_use]
    pub fn is_too_slow(&self, number: u32, limit: Duration, telling: u32) -> bool {
        self.seen >= telling && self.each.saturating_mul(number) > limit
    }
}

/// Those who wait for one thing, and how fast they get it.
#[derive(Debug, Default)]
pub struct Queue(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    waiting: u32,
    /// When somebody was served while others waited on.
    last: Option<Instant>,
    /// The time from one grant to the next. Forgotten when nobody waits.
    stride: Stride<8>,
}

/// A place in a queue. Dropped, it is given up.
#[derive(Debug)]
pub struct Waiting<'a> {
    queue: &'a Queue,
    since: Instant,
}

/// Those before it will take longer than it may wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("those who wait already will take longer than may be waited")]
pub struct TooLong;

impl Queue {
    /// Joins, if those who wait already will be served within `limit`.
    ///
    /// # Errors
    /// [`TooLong`]; then nothing was joined.
    pub fn join(&self, limit: Duration) -> Result<Waiting<'_>, TooLong> {
        let mut state = self.state();
        if state.stride.is_too_slow(state.waiting, limit, 1) {
            return Err(TooLong);
        }
        state.waiting += 1;
        Ok(Waiting { queue: self, since: Instant::now() })
    }

    /// How many wait now.
    #[must_use]
    pub fn waiting(&self) -> u32 {
        self.state().waiting
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting<'_> {
    /// It has what it waited for.
    pub fn served(self) {
        let (mut state, now) = (self.queue.state(), Instant::now());
        if let Some(last) = state.last {
            // While it was not there, nobody need have wanted what was to be had.
            state.stride.took(now.saturating_duration_since(last.max(self.since)));
        }
        state.last = Some(now);
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut state = self.queue.state();
        state.waiting -= 1;
        if state.waiting == 0 {
            (state.last, state.stride) = (None, Stride::default());
        }
    }
}

/// Lets so many pass at a time; the rest wait, first come, first served.
#[derive(Debug)]
pub struct Gate {
    permits: Arc<Semaphore>,
    queue: Queue,
    /// Who would have to wait longer than this is turned away, however long it may wait.
    longest: Duration,
}

impl Gate {
    /// For `at_once` at a time.
    #[must_use]
    pub fn new(at_once: usize) -> Self {
        Self { permits: Arc::new(Semaphore::new(at_once)), queue: Queue::default(), longest: Duration::MAX }
    }

    /// Before which never more stands than is let in within `longest`, as far as its pace is known.
    #[must_use]
    pub fn before_which(self, longest: Duration) -> Self {
        Self { longest, ..self }
    }

    /// How many may pass now.
    #[must_use]
    pub fn free(&self) -> usize {
        self.permits.available_permits()
    }

    /// Whether nobody would have to wait now.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.free() > 0
    }

    /// How many wait before it.
    #[must_use]
    pub fn waiting(&self) -> u32 {
        self.queue.waiting()
    }

    /// Passes if that takes no wait.
    #[must_use]
    pub fn try_pass(&self) -> Option<OwnedSemaphorePermit> {
        self.permits.clone().try_acquire_owned().ok()
    }

    /// Waits until it may pass.
    ///
    /// # Errors
    /// [`TooLong`], at once, if that would take longer than `limit`, or than anybody is let wait.
    pub async fn pass(&self, limit: Duration) -> Result<OwnedSemaphorePermit, TooLong> {
        if let Some(permit) = self.try_pass() {
            return Ok(permit);
        }
        let waiting = self.queue.join(limit.min(self.longest))?;
        // It is never closed.
        let permit = self.permits.clone().acquire_owned().await.map_err(|_| TooLong)?;
        waiting.served();
        Ok(permit)
    }

    /// The same, and gives up after `limit`.
    ///
    /// # Errors
    /// [`TooLong`], at once where it is known.
    pub async fn pass_in_time(&self, limit: Duration) -> Result<OwnedSemaphorePermit, TooLong> {
        timeout(limit, self.pass(limit)).await.unwrap_or(Err(TooLong))
    }
}

/// How fast requests are served, some of them together.
#[derive(Debug, Default)]
pub struct Pace(Mutex<Served>);

#[derive(Debug, Default)]
struct Served {
    last: Option<Instant>,
    /// How many lately, and in how long while somebody waited: those count half who were served so many before.
    requests: f64,
    seconds: f64,
}

/// After so many more, what was served before counts half.
const HALF_AFTER: f64 = 256.0;
/// So long it is known how fast somebody was served, or for the limit if that is longer: a crowd may hold up those whom it waits
/// for, and is not to be let in for that.
const KNOWN_FOR: Duration = Duration::from_secs(2);
/// Of so few nothing can be told.
const TELLING: f64 = 64.0;

impl Pace {
    /// So many are served now together, of whom the first has waited since `came`.
    pub fn served(&self, requests: usize, came: Instant) {
        let (mut served, now) = (self.state(), Instant::now());
        let took = now.saturating_duration_since(served.last.map_or(came, |last| last.max(came)));
        let (requests, left) = (requests as f64, 0.5_f64.powf(requests as f64 / HALF_AFTER));
        *served = Served {
            last: Some(now),
            requests: served.requests * left + requests,
            seconds: served.seconds * left + took.as_secs_f64(),
        };
    }

    /// Somebody is served now who waited for others than those before him: that tells nothing.
    pub fn interrupted(&self) {
        self.state().last = Some(Instant::now());
    }

    /// Whether serving so many takes longer than `limit`, as far as that can be told: not by what was long ago.
    #[must_use]
    pub fn is_too_slow(&self, requests: usize, limit: Duration) -> bool {
        let served = self.state();
        let is_recent = served.last.is_some_and(|last| last.elapsed() <= limit.max(KNOWN_FOR));
        is_recent
            && served.requests >= TELLING
            && requests as f64 * served.seconds / served.requests > limit.as_secs_f64()
    }

    fn state(&self) -> MutexGuard<'_, Served> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(1);

    fn wait(queue: &Queue) -> Waiting<'_> {
        queue.join(LIMIT).expect("there is time enough")
    }

    async fn after(ms: u64, waiting: Waiting<'_>) {
        tokio::time::advance(Duration::from_millis(ms)).await;
        waiting.served();
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_would_be_served_too_late_is_turned_away_and_nobody_else() {
        let queue = Queue::default();
        let mut crowd: Vec<_> = (0..6).map(|_| wait(&queue)).collect();
        after(300, crowd.remove(0)).await;
        // Nothing is known of the pace yet.
        crowd.push(wait(&queue));
        after(300, crowd.remove(0)).await;
        assert_eq!(queue.join(LIMIT).err(), Some(TooLong), "five wait, and each takes 300 ms");
        crowd.truncate(3);
        crowd.push(wait(&queue));
        assert_eq!(queue.join(LIMIT).err(), Some(TooLong));
    }

    #[tokio::test(start_paused = true)]
    async fn a_queue_that_moves_faster_takes_more() {
        let queue = Queue::default();
        let mut crowd: Vec<_> = (0..40).map(|_| wait(&queue)).collect();
        after(0, crowd.remove(0)).await;
        after(300, crowd.remove(0)).await;
        assert_eq!(queue.join(LIMIT).err(), Some(TooLong));
        for _ in 0..20 {
            after(1, crowd.remove(0)).await;
        }
        crowd.push(wait(&queue));
    }

    #[tokio::test(start_paused = true)]
    async fn a_queue_that_was_empty_since_knows_nothing() {
        let queue = Queue::default();
        let slow: Vec<_> = (0..3).map(|_| wait(&queue)).collect();
        for one in slow {
            after(5_000, one).await;
        }
        let _crowd: Vec<_> = (0..100).map(|_| wait(&queue)).collect();
    }

    #[tokio::test(start_paused = true)]
    async fn those_who_are_stuck_make_no_queue_slow_that_serves_all_others_at_once() {
        let queue = Queue::default();
        let _stuck: Vec<_> = (0..10).map(|_| wait(&queue)).collect();
        for _ in 0..20 {
            tokio::time::advance(Duration::from_millis(900)).await;
            wait(&queue).served();
        }
        wait(&queue).served();
    }

    #[tokio::test(start_paused = true)]
    async fn a_gate_lets_no_more_stand_before_it_than_it_lets_in_in_time_however_long_they_may_wait() {
        let gate = Arc::new(Gate::new(1).before_which(LIMIT));
        let come = || {
            let gate = gate.clone();
            tokio::spawn(async move { gate.pass(10 * LIMIT).await })
        };
        let mut inside = gate.pass(LIMIT).await.expect("it is open");
        let crowd: Vec<_> = (0..6).map(|_| come()).collect();
        while gate.waiting() < 6 {
            tokio::task::yield_now().await;
        }
        for next in crowd.into_iter().take(2) {
            tokio::time::advance(Duration::from_millis(300)).await;
            drop(inside);
            inside = next.await.unwrap().expect("it came in time");
        }
        // It took 300 ms from one to the next, and four wait.
        assert_eq!(come().await.unwrap().err(), Some(TooLong));
        drop(inside);
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_gives_up_is_waited_for_no_more() {
        let queue = Queue::default();
        let mut crowd: Vec<_> = (0..4).map(|_| wait(&queue)).collect();
        after(0, crowd.remove(0)).await;
        after(600, crowd.remove(0)).await;
        assert_eq!(queue.join(LIMIT).err(), Some(TooLong));
        drop(crowd.remove(0));
        crowd.push(wait(&queue));
    }

    #[tokio::test(start_paused = true)]
    async fn a_pace_is_that_of_those_who_were_served_lately_while_somebody_waited() {
        let (pace, ms) = (Pace::default(), Duration::from_millis);
        let serve = async |requests, waited| {
            let came = Instant::now();
            tokio::time::advance(ms(waited)).await;
            pace.served(requests, came);
        };
        serve(50, 5_000).await;
        assert!(!pace.is_too_slow(10_000, LIMIT), "nothing is known yet");
        serve(50, 5_000).await;
        assert!(pace.is_too_slow(11, LIMIT) && !pace.is_too_slow(9, LIMIT), "some 100 ms each");
        tokio::time::advance(KNOWN_FOR).await;
        assert!(pace.is_too_slow(11, LIMIT), "nobody was served since");
        tokio::time::advance(ms(1)).await;
        assert!(!pace.is_too_slow(11, LIMIT), "that was long ago");
        // Nobody wanted anything for a while.
        tokio::time::advance(ms(60_000)).await;
        for _ in 0..10 {
            serve(256, 256).await;
        }
        assert!(!pace.is_too_slow(900, LIMIT) && pace.is_too_slow(1_100, LIMIT), "a millisecond each");
        // One stood still, for something else.
        tokio::time::advance(ms(10_000)).await;
        pace.interrupted();
        serve(1, 2_000).await;
        assert!(!pace.is_too_slow(100, LIMIT), "and one did here");
    }
}
