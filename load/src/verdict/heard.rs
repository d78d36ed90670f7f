//! What was heard of each kind of call: how often, what came back, how long it took.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use crate::connection::Settled;
use crate::measure::{Latency, LatencySummary};

/// The kinds of call that change stock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CallKind {
    Order,
    Cancel,
    Increment,
    Adjust,
}

impl CallKind {
    /// Every kind, in the order of reports.
    pub const ALL: [Self; 4] = [Self::Order, Self::Cancel, Self::Increment, Self::Adjust];

    /// The kind as it stands in reports.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Order => "order",
            Self::Cancel => "cancel",
            Self::Increment => "increment",
            Self::Adjust => "adjust",
        }
    }
}

/// How one request ended and how long that took, tries and pauses included.
#[derive(Debug)]
pub struct Told {
    pub settled: Settled,
    pub latency: Duration,
    /// Whether the same request was under way on another line at the time.
    pub had_twin: bool,
}

/// What was heard of one kind of call.
#[derive(Debug)]
pub(super) struct Heard {
    sent: u64,
    answers: BTreeMap<String, u64>,
    lock_modes: BTreeMap<&'static str, u64>,
    said_again: BTreeMap<String, u64>,
    replayed: u64,
    unresolved: u64,
    latency: Latency,
}

/// What a report says of one kind of call.
#[derive(Clone, Debug, Serialize)]
pub struct CallReport {
    pub sent: u64,
    pub answers: BTreeMap<String, u64>,
    pub lock_modes: BTreeMap<&'static str, u64>,
    pub said_again: BTreeMap<String, u64>,
    /// First answers marked as replayed: the original's answer had been lost on the way.
    pub replayed: u64,
    pub unresolved: u64,
    pub latency: LatencySummary,
}

impl Heard {
    /// Nothing heard yet.
    pub(super) fn new() -> anyhow::Result<Self> {
        Ok(Self {
            sent: 0,
            answers: BTreeMap::new(),
            lock_modes: BTreeMap::new(),
            said_again: BTreeMap::new(),
            replayed: 0,
            unresolved: 0,
            latency: Latency::new()?,
        })
    }

    /// Counts one outcome.
    pub(super) fn take(&mut self, told: &Told) {
        self.sent += 1;
        self.latency.record(told.latency);
        for cause in &told.settled.causes {
            *self.said_again.entry(cause.phrase()).or_default() += 1;
        }
        let Some(answer) = &told.settled.answer else {
            self.unresolved += 1;
            return;
        };
        *self.answers.entry(answer.phrase()).or_default() += 1;
        *self.lock_modes.entry(answer.lock_mode.word()).or_default() += 1;
        self.replayed += u64::from(answer.replayed);
    }

    /// What a report says of it.
    pub(super) fn report(&self) -> CallReport {
        CallReport {
            sent: self.sent,
            answers: self.answers.clone(),
            lock_modes: self.lock_modes.clone(),
            said_again: self.said_again.clone(),
            replayed: self.replayed,
            unresolved: self.unresolved,
            latency: self.latency.summary(),
        }
    }
}
