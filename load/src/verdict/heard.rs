//! What was heard of each kind of call: how often, what came back, how long it took.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::connection::{Call, Caller, Settled};
use crate::measure::{Ending, Latency, LatencySummary, Timeline};
use crate::picture::{Curve, Line};

/// The kinds of call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CallKind {
    Level,
    Hold,
    Capture,
    Release,
    Order,
    Cancel,
    Webhook,
    Decrement,
    Increment,
    Adjust,
}

impl CallKind {
    /// Every kind, in the order of reports.
    pub const ALL: [Self; 10] = [
        Self::Level,
        Self::Hold,
        Self::Capture,
        Self::Release,
        Self::Order,
        Self::Cancel,
        Self::Webhook,
        Self::Decrement,
        Self::Increment,
        Self::Adjust,
    ];

    /// The kind as it stands in reports.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Level => "level",
            Self::Hold => "hold",
            Self::Capture => "capture",
            Self::Release => "release",
            Self::Order => "order",
            Self::Cancel => "cancel",
            Self::Webhook => "webhook",
            Self::Decrement => "decrement",
            Self::Increment => "increment",
            Self::Adjust => "adjust",
        }
    }
}

/// When something was carried out: at some moment from the first time it was asked for to its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    pub asked: Instant,
    pub answered: Instant,
}

/// How one request ended.
#[derive(Debug)]
pub struct Told {
    pub settled: Settled,
    pub when: Span,
    /// How long it took, tries and pauses included; in an open loop from when it was due.
    pub latency: Duration,
    /// Whether the same request was under way on another line at the time.
    pub had_twin: bool,
}

impl Told {
    /// Says a request until it is settled; its latency begins when it was due.
    pub async fn by(caller: &mut Caller, call: &Call, position: usize, due: Instant) -> Self {
        let asked = Instant::now();
        let settled = caller.insist(call, position).await;
        let answered = Instant::now();
        Self { settled, when: Span { asked, answered }, latency: answered - due, had_twin: false }
    }
}

/// What was heard of one kind of call.
#[derive(Debug)]
pub(super) struct Heard {
    sent: u64,
    answers: BTreeMap<String, u64>,
    lock_modes: BTreeMap<&'static str, u64>,
    said_again: BTreeMap<String, u64>,
    unknown: u64,
    replayed: u64,
    unresolved: u64,
    latency: Latency,
    timeline: Timeline,
}

/// What a report says of one kind of call.
#[derive(Clone, Debug, Serialize)]
pub struct CallReport {
    pub sent: u64,
    pub answers: BTreeMap<String, u64>,
    pub lock_modes: BTreeMap<&'static str, u64>,
    pub said_again: BTreeMap<String, u64>,
    /// Of these tries, those that may have been carried out although no answer said so.
    pub unknown: u64,
    /// First answers marked as replayed: the original's answer had been lost on the way.
    pub replayed: u64,
    pub unresolved: u64,
    pub latency: LatencySummary,
}

impl Heard {
    /// Nothing heard yet, of a run that began then.
    pub(super) fn new(began: Instant) -> anyhow::Result<Self> {
        Ok(Self {
            sent: 0,
            answers: BTreeMap::new(),
            lock_modes: BTreeMap::new(),
            said_again: BTreeMap::new(),
            unknown: 0,
            replayed: 0,
            unresolved: 0,
            latency: Latency::new()?,
            timeline: Timeline::new(began),
        })
    }

    /// Whether anything was.
    pub(super) fn is_any(&self) -> bool {
        self.sent > 0
    }

    /// Counts one outcome.
    pub(super) fn take(&mut self, told: &Told) {
        self.draw(told);
        self.sent += 1;
        self.latency.record(told.latency);
        for cause in &told.settled.causes {
            *self.said_again.entry(cause.phrase()).or_default() += 1;
            self.unknown += u64::from(cause.leaves_doubt());
        }
        let Some(answer) = &told.settled.answer else {
            self.unresolved += 1;
            return;
        };
        *self.answers.entry(answer.phrase()).or_default() += 1;
        *self.lock_modes.entry(answer.lock_mode.word()).or_default() += 1;
        self.replayed += u64::from(answer.replayed);
    }

    fn draw(&mut self, told: &Told) {
        let answer = told.settled.answer.as_ref();
        let ending = match answer {
            None => Ending::Broken,
            Some(answer) if answer.status.is_success() => Ending::Done,
            Some(_) => Ending::Refused,
        };
        let lock_mode = answer.map(|answer| answer.lock_mode);
        let drawn = self.timeline.take(told.when.answered, ending, lock_mode, told.latency);
        debug_assert!(drawn.is_ok(), "two histograms of the same kind always add up: {drawn:?}");
    }

    /// Its curve and its line in time.
    pub(super) fn drawn(&self, name: &str) -> (Curve, Line) {
        let (curve, line) = (name.to_owned(), name.to_owned());
        let (points, moments) = (self.latency.curve(), self.timeline.moments());
        (Curve { name: curve, points }, Line { name: line, moments })
    }

    /// What a report says of it.
    pub(super) fn report(&self) -> CallReport {
        CallReport {
            sent: self.sent,
            answers: self.answers.clone(),
            lock_modes: self.lock_modes.clone(),
            said_again: self.said_again.clone(),
            unknown: self.unknown,
            replayed: self.replayed,
            unresolved: self.unresolved,
            latency: self.latency.summary(),
        }
    }
}
