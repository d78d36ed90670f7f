//! The last minute of this process: how much it does, how fast, and of which items.
//!
//! What must stay true: noting costs a request well under a microsecond, and looking reads nothing but what stands here.
//! All of it is of this process alone, and is gone with it.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::http::{Method, StatusCode};
use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::Serialize;
use tokio::time::Instant;
use uuid::Uuid;

use crate::clock;
use crate::locks::{LockKey, LockKeys};

/// How many seconds are kept, the one under way not among them.
const SECONDS: usize = 60;
/// Times are told apart from 0.1 ms on, each limit a fifth above the one before: up to 41 s.
const LIMITS: usize = 72;
const LIMIT_FIRST_MS: f64 = 0.1;
const LIMIT_FACTOR: f64 = 1.2;
/// How long requests for an item are counted together; those of the span before still count.
const SPAN_SECONDS: u64 = 30;
/// How many items are told apart in a span.
const ITEMS_MAX: usize = 4_096;
/// How many of them are told.
const HOT_TOLD: usize = 10;

/// What is noted. Shared by all requests.
#[derive(Debug)]
pub struct Pulse {
    started: Instant,
    started_at: DateTime<Utc>,
    seconds: Mutex<Vec<Second>>,
    items: Mutex<Items>,
}

/// One second. Its place is its number modulo the seconds kept, and one more for the second under way.
#[derive(Debug, Clone)]
struct Second {
    number: u64,
    writes: u32,
    reads: u32,
    refused: u32,
    failed: u32,
    /// Writes by the limit that their time is within.
    times: [u32; LIMITS],
}

/// Requests by variant.
#[derive(Debug, Default)]
struct Items {
    span: u64,
    now: HashMap<Uuid, u32>,
    before: HashMap<Uuid, u32>,
}

/// How fast writes were answered: of so many in a hundred, the longest, to within a fifth.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, JsonSchema)]
pub struct Times {
    /// Half of them.
    pub p50: f64,
    /// 95 in a hundred.
    pub p95: f64,
    /// 99 in a hundred.
    pub p99: f64,
}

/// What was answered in a time.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Answered {
    /// Requests that may write.
    pub writes: u32,
    /// Requests that only read; those of onlookers are not among them.
    pub reads: u32,
    /// Those of both that were answered with a 4xx.
    pub refused: u32,
    /// Those of both that were answered with a 5xx.
    pub failed: u32,
    /// How fast writes were, in milliseconds; null if there were none.
    pub write_ms: Option<Times>,
}

/// An item that many want.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Hot {
    /// Which.
    pub variant_id: Uuid,
    /// Guarded writes that wanted it in the last 30 to 60 seconds, about.
    pub requests: u32,
}

impl Default for Pulse {
    fn default() -> Self {
        Self {
            started: Instant::now(),
            started_at: clock::shown_now(),
            seconds: Mutex::new(vec![Second::nothing_in(u64::MAX); SECONDS + 1]),
            items: Mutex::default(),
        }
    }
}

impl Pulse {
    /// When this process began.
    #[must_use]
    pub fn started_at(&self) -> DateTime<Utc> {
        self.started_at
    }

    /// How long ago that was.
    #[must_use]
    pub fn lasted(&self) -> Duration {
        self.started.elapsed()
    }

    /// Notes a request that was answered.
    pub fn answered(&self, method: &Method, status: StatusCode, took: Duration) {
        let number = self.started.elapsed().as_secs();
        let mut seconds = locked(&self.seconds);
        let second = &mut seconds[place_of(number)];
        if second.number != number {
            *second = Second::nothing_in(number);
        }
        if method.is_safe() {
            second.reads += 1;
        } else {
            second.writes += 1;
            second.times[limit_over(took)] += 1;
        }
        second.refused += u32::from(status.is_client_error());
        second.failed += u32::from(status.is_server_error());
    }

    /// Notes what a guarded write wants.
    pub fn wanted(&self, keys: &LockKeys) {
        let span = self.started.elapsed().as_secs() / SPAN_SECONDS;
        let mut items = locked(&self.items);
        items.go_on_to(span);
        for key in keys.as_slice() {
            if let LockKey::Inventory(variant_id) = key {
                items.count(*variant_id);
            }
        }
    }

    /// Each of the last seconds, oldest first, without the one under way; fewer if the process is younger.
    #[must_use]
    pub fn seconds(&self) -> Vec<Answered> {
        self.last().iter().map(Second::told).collect()
    }

    /// All of them together.
    #[must_use]
    pub fn minute(&self) -> Answered {
        let mut whole = Second::nothing_in(0);
        self.last().iter().for_each(|second| whole.add(second));
        whole.told()
    }

    /// The items that most requests want, those first.
    #[must_use]
    pub fn hot(&self) -> Vec<Hot> {
        let span = self.started.elapsed().as_secs() / SPAN_SECONDS;
        let mut items = locked(&self.items);
        items.go_on_to(span);
        let mut all = items.before.clone();
        for (variant_id, requests) in &items.now {
            *all.entry(*variant_id).or_default() += requests;
        }
        drop(items);
        let mut all: Vec<_> =
            all.into_iter().map(|(variant_id, requests)| Hot { variant_id, requests }).collect();
        all.sort_unstable_by_key(|hot| (std::cmp::Reverse(hot.requests), hot.variant_id));
        all.truncate(HOT_TOLD);
        all
    }

    fn last(&self) -> Vec<Second> {
        let now = self.started.elapsed().as_secs();
        let seconds = locked(&self.seconds);
        let kept = |number| {
            let second = &seconds[place_of(number)];
            if second.number == number { second.clone() } else { Second::nothing_in(number) }
        };
        (now.saturating_sub(SECONDS as u64)..now).map(kept).collect()
    }
}

impl Second {
    fn nothing_in(number: u64) -> Self {
        Self { number, writes: 0, reads: 0, refused: 0, failed: 0, times: [0; LIMITS] }
    }

    fn add(&mut self, other: &Self) {
        self.writes += other.writes;
        self.reads += other.reads;
        self.refused += other.refused;
        self.failed += other.failed;
        self.times.iter_mut().zip(&other.times).for_each(|(all, some)| *all += some);
    }

    fn told(&self) -> Answered {
        let within = |part| limit_ms(self.limit_of(part));
        let times = || Times { p50: within(0.5), p95: within(0.95), p99: within(0.99) };
        Answered {
            writes: self.writes,
            reads: self.reads,
            refused: self.refused,
            failed: self.failed,
            write_ms: (self.writes > 0).then(times),
        }
    }

    /// The limit that this part of the writes is within.
    fn limit_of(&self, part: f64) -> usize {
        let wanted = (f64::from(self.writes) * part).ceil();
        let mut within = 0;
        self.times
            .iter()
            .position(|count| {
                within += count;
                f64::from(within) >= wanted
            })
            .unwrap_or(LIMITS - 1)
    }
}

impl Items {
    fn go_on_to(&mut self, span: u64) {
        if span == self.span {
            return;
        }
        let last = std::mem::take(&mut self.now);
        self.before = if span == self.span + 1 { last } else { HashMap::new() };
        self.span = span;
    }

    /// Where there are too many to tell apart, those go that were wanted least: what is hot stays.
    fn count(&mut self, variant_id: Uuid) {
        if self.now.len() >= ITEMS_MAX && !self.now.contains_key(&variant_id) {
            self.now.retain(|_, requests| {
                *requests /= 2;
                *requests > 0
            });
        }
        if self.now.len() < ITEMS_MAX || self.now.contains_key(&variant_id) {
            *self.now.entry(variant_id).or_default() += 1;
        }
    }
}

fn locked<T>(kept: &Mutex<T>) -> MutexGuard<'_, T> {
    kept.lock().unwrap_or_else(PoisonError::into_inner)
}

fn place_of(number: u64) -> usize {
    usize::try_from(number % (SECONDS as u64 + 1)).unwrap_or_default()
}

/// The first limit that a time is within; the last for all that take longer.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the ceiling of a number from 0 to 71"
)]
fn limit_over(took: Duration) -> usize {
    let times_the_first = took.as_secs_f64() * 1_000.0 / LIMIT_FIRST_MS;
    let exponent = times_the_first.ln() / LIMIT_FACTOR.ln();
    exponent.ceil().clamp(0.0, (LIMITS - 1) as f64) as usize
}

fn limit_ms(limit: usize) -> f64 {
    let ms = LIMIT_FIRST_MS * LIMIT_FACTOR.powi(i32::try_from(limit).unwrap_or_default());
    (ms * 100.0).round() / 100.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sold(pulse: &Pulse, count: u32, ms: u64) {
        for _ in 0..count {
            pulse.answered(&Method::POST, StatusCode::OK, Duration::from_millis(ms));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_second_is_told_when_it_is_over_and_for_a_minute() {
        let pulse = Pulse::default();
        sold(&pulse, 3, 1);
        pulse.answered(&Method::GET, StatusCode::NOT_FOUND, Duration::ZERO);
        pulse.answered(&Method::POST, StatusCode::SERVICE_UNAVAILABLE, Duration::ZERO);
        assert!(pulse.seconds().is_empty(), "it is under way");
        tokio::time::advance(Duration::from_secs(1)).await;
        let seconds = pulse.seconds();
        assert_eq!(seconds.len(), 1);
        let second = &seconds[0];
        assert_eq!((second.writes, second.reads, second.refused, second.failed), (4, 1, 1, 1));
        tokio::time::advance(Duration::from_secs(59)).await;
        assert_eq!((pulse.seconds().len(), pulse.minute().writes), (60, 4));
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!((pulse.seconds().len(), pulse.minute().writes), (60, 0));
        assert_eq!(pulse.minute().write_ms, None);
    }

    #[tokio::test(start_paused = true)]
    async fn times_are_told_to_within_a_fifth() {
        let pulse = Pulse::default();
        sold(&pulse, 94, 2);
        sold(&pulse, 5, 50);
        sold(&pulse, 1, 100_000);
        tokio::time::advance(Duration::from_secs(1)).await;
        let times = pulse.minute().write_ms.unwrap();
        assert!((2.0..=2.4).contains(&times.p50), "{times:?}");
        assert!((50.0..=60.0).contains(&times.p95), "{times:?}");
        assert!((50.0..=60.0).contains(&times.p99), "{times:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn the_item_that_most_want_is_told_first_and_forgotten_when_nobody_does() {
        let pulse = Pulse::default();
        let hot = Uuid::from_u128(1);
        for n in 0..10_000 {
            let keys = [LockKey::Inventory(hot), LockKey::Inventory(Uuid::from_u128(2 + n))];
            pulse.wanted(&LockKeys::new(keys.to_vec()).unwrap());
        }
        let told = pulse.hot();
        assert_eq!((told.len(), told[0].variant_id), (10, hot));
        assert!(told[0].requests > 1_000 && told[1].requests == 1, "{told:?}");
        tokio::time::advance(Duration::from_secs(SPAN_SECONDS)).await;
        assert_eq!(pulse.hot()[0].variant_id, hot);
        tokio::time::advance(Duration::from_secs(SPAN_SECONDS)).await;
        assert!(pulse.hot().is_empty());
    }
}
