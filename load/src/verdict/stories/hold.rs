//! One hold, from its beginning to whatever ended it.

use std::time::{Duration, Instant};

use uuid::Uuid;

use crate::service::{HoldAnswer, HoldState};
use crate::verdict::{FaultKind, Span};

/// A hold that was answered for, and all attempts to end it.
#[derive(Debug)]
pub struct HoldStory {
    pub hold_id: Uuid,
    pub user_id: String,
    pub lines: Vec<HeldLine>,
    pub held: Span,
    pub ttl: Duration,
    pub attempts: Vec<Attempt>,
}

/// One of its lines.
#[derive(Clone, Copy, Debug)]
pub struct HeldLine {
    pub line_id: Uuid,
    pub item: usize,
    pub quantity: i64,
}

/// An attempt to end it, under one key.
#[derive(Debug)]
pub struct Attempt {
    pub key: String,
    pub end: End,
    pub when: Span,
    pub outcome: Outcome,
}

/// How it was to end.
#[derive(Debug)]
pub enum End {
    /// As an order of so many of each item.
    Capture(Vec<(usize, i64)>),
    Release,
}

/// What came of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It ended so; a capture made this order.
    Done(Option<Uuid>),
    /// It had ended before, as this.
    Refused(HoldState),
    Unknown,
}

/// The service's clock and ours go on at the same pace, but not to the microsecond.
const CLOCKS_APART: Duration = Duration::from_millis(50);

impl HoldStory {
    /// When its time is over at the earliest, if it is not resolved before.
    pub fn over_at_the_earliest(&self) -> Instant {
        self.held.asked + self.ttl - CLOCKS_APART
    }

    /// When its time is over at the latest.
    pub fn over_at_the_latest(&self) -> Instant {
        self.held.answered + self.ttl + CLOCKS_APART
    }

    /// Whether only time ends it, as far as anybody was told.
    pub fn lapses(&self) -> bool {
        self.done().is_none()
    }

    fn done(&self) -> Option<&Attempt> {
        self.attempts.iter().find(|attempt| matches!(attempt.outcome, Outcome::Done(_)))
    }

    fn is_in_doubt(&self) -> bool {
        self.attempts.iter().any(|attempt| attempt.outcome == Outcome::Unknown)
    }

    fn quantity(&self) -> i64 {
        self.lines.iter().map(|line| line.quantity).sum()
    }

    /// What in the answers cannot be.
    pub fn contradictions(&self) -> Vec<(FaultKind, String)> {
        let mut found = Vec::new();
        let done = self.attempts.iter().filter(|attempt| matches!(attempt.outcome, Outcome::Done(_)));
        let keys: Vec<_> = done.clone().map(|attempt| attempt.key.as_str()).collect();
        if keys.len() > 1 {
            let words = format!("{} of {} ended by {}", self.hold_id, self.quantity(), keys.join(" and "));
            found.push((FaultKind::HoldEndedTwice, words));
        }
        for attempt in done.filter(|attempt| attempt.when.asked > self.over_at_the_latest()) {
            let late = attempt.when.asked - self.over_at_the_latest();
            let words = format!("{}: asked for {late:?} after its hold's time", attempt.key);
            found.push((FaultKind::EndedAfterItsTime, words));
        }
        for attempt in &self.attempts {
            let Outcome::Refused(state) = attempt.outcome else {
                continue;
            };
            if !self.bears_out(state, attempt.when.answered) {
                let words = format!("{}: told that its hold was {state:?}, which it was not", attempt.key);
                found.push((FaultKind::RefusalUnfounded, words));
            }
        }
        found
    }

    /// Whether it may have been in this state at `moment`.
    fn bears_out(&self, state: HoldState, moment: Instant) -> bool {
        let ended_by = |capture: bool| {
            self.attempts.iter().any(|attempt| {
                let may_be = matches!(attempt.outcome, Outcome::Done(_) | Outcome::Unknown);
                may_be && matches!(attempt.end, End::Capture(_)) == capture && attempt.when.asked <= moment
            })
        };
        match state {
            HoldState::Held => false,
            HoldState::Captured => ended_by(true),
            HoldState::Released => ended_by(false),
            HoldState::Expired => self.done().is_none() && moment >= self.over_at_the_earliest(),
        }
    }

    /// How it takes from what is free and gives back: taken at the latest moment it may have been, given at the
    /// earliest.
    pub fn moves(&self) -> Vec<(usize, Instant, i64)> {
        let mut moves = Vec::new();
        let doubted = self.attempts.iter().filter(|attempt| attempt.outcome == Outcome::Unknown);
        let earliest = doubted.map(|attempt| attempt.when.asked).min();
        for line in &self.lines {
            moves.push((line.item, self.held.answered, -line.quantity));
            let (moment, captured) = match (self.done(), earliest) {
                (_, Some(earliest)) => (earliest, 0),
                (Some(done), None) => (done.when.asked, done.captured(line.item)),
                (None, None) => (self.over_at_the_earliest(), 0),
            };
            moves.push((line.item, moment.max(self.held.answered), line.quantity - captured));
        }
        moves
    }

    /// How what the service has of it, once its time is over, differs from what was told.
    pub fn record_differences(&self, record: Option<&HoldAnswer>) -> Vec<String> {
        let Some(record) = record else {
            return vec!["it is not there".into()];
        };
        if self.is_in_doubt() {
            return Vec::new();
        }
        let (state, order_id) = match self.done() {
            Some(Attempt { end: End::Release, .. }) => (HoldState::Released, None),
            Some(Attempt { outcome: Outcome::Done(order_id), .. }) => (HoldState::Captured, *order_id),
            _ => (HoldState::Expired, None),
        };
        let mut found = Vec::new();
        if (record.state, record.order_id) != (state, order_id) {
            let told = format!("told {state:?} {order_id:?}");
            found.push(format!("{told}, there as {:?} {:?}", record.state, record.order_id));
        }
        if record.user_id != self.user_id {
            found.push(format!("it is {:?}'s and not {:?}'s", record.user_id, self.user_id));
        }
        let mut there: Vec<_> = record.lines.iter().map(|line| (line.line_id, line.quantity)).collect();
        let mut told: Vec<_> = self.lines.iter().map(|line| (line.line_id, line.quantity)).collect();
        there.sort_unstable();
        told.sort_unstable();
        if there != told {
            found.push(format!("told {told:?}, there as {there:?}"));
        }
        found
    }
}

impl Attempt {
    fn captured(&self, item: usize) -> i64 {
        match &self.end {
            End::Capture(lines) => {
                lines.iter().filter(|(captured, _)| *captured == item).map(|(_, quantity)| quantity).sum()
            }
            End::Release => 0,
        }
    }
}

#[cfg(test)]
#[path = "hold_tests.rs"]
mod tests;
