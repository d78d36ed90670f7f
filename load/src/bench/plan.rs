//! What is sent, and in what order: a plan has phases, a phase has streams that run beside each other.

use std::time::Duration;

use super::{Kind, PhaseReport};
use crate::measure::Rate;

/// Requests of one kind over some connections.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Stream {
    /// Who sends them, in a report's words.
    pub who: &'static str,
    pub kind: Kind,
    pub connections: usize,
    /// Requests per second; none in a closed loop.
    pub rate: Option<Rate>,
}

/// Some streams beside each other, for a while.
#[derive(Clone, Debug, PartialEq)]
pub struct Phase {
    /// Empty where there is only one.
    pub name: &'static str,
    pub streams: Vec<Stream>,
    /// For how long it is measured.
    pub length: Duration,
    /// Commands that are run in it, at this share of its length.
    pub events: Vec<Event>,
}

/// A command that is run in the middle of a phase.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// What the time from it on is called.
    pub name: &'static str,
    pub at: f64,
    pub command: String,
}

/// What a run sends.
#[derive(Clone, Debug)]
pub enum Plan {
    /// One stream.
    Steady(Stream),
    /// Others buy, and then a crowd comes to one item.
    Storm { others: Stream, crowd: Stream },
    /// An order of many lines alone; small orders alone; small ones beside many large ones at once.
    Bulk { small: Stream, large: Stream },
    /// One stream, in which one command takes Redis away and another brings it back.
    Outage { stream: Stream, away: String, back: String },
    /// As much as is answered, and then several times as much as that.
    Overload { stream: Stream, times: f64, at_once: usize },
}

/// The name of a part of the window that no event has begun.
pub const BEFORE: &str = "with";
pub const AWAY: &str = "away";
pub const BACK: &str = "back";

impl Plan {
    /// The word on the command line.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Steady(stream) => stream.kind.word(),
            Self::Storm { .. } => "storm",
            Self::Bulk { .. } => "bulk",
            Self::Outage { .. } => "outage",
            Self::Overload { .. } => "overload",
        }
    }

    /// All streams, as far as they are known before anything was sent.
    pub fn streams(&self) -> Vec<Stream> {
        match self {
            Self::Steady(stream) | Self::Outage { stream, .. } | Self::Overload { stream, .. } => {
                vec![*stream]
            }
            Self::Storm { others, crowd } => vec![*others, *crowd],
            Self::Bulk { small, large } => vec![*small, *large],
        }
    }

    /// How many items it needs if `asked` are asked for.
    pub fn items(&self, asked: usize) -> usize {
        self.streams().iter().map(|stream| stream.kind.items(asked)).max().unwrap_or(1)
    }

    /// The phase that comes after those that were measured; none after the last.
    pub fn phase(&self, measured: &[PhaseReport], length: Duration) -> Option<Phase> {
        let phase =
            |name, streams: &[Stream]| Phase { name, streams: streams.to_vec(), length, events: Vec::new() };
        match (self, measured.len()) {
            (Self::Steady(stream), 0) => Some(phase("", &[*stream])),
            (Self::Storm { others, .. }, 0) => Some(phase("calm", &[*others])),
            (Self::Storm { others, crowd }, 1) => Some(phase("storm", &[*others, *crowd])),
            (Self::Bulk { large, .. }, 0) => Some(phase("one large", &[Stream { connections: 1, ..*large }])),
            (Self::Bulk { small, .. }, 1) => Some(phase("small alone", &[*small])),
            (Self::Bulk { small, large }, 2) => Some(phase("both", &[*small, *large])),
            (Self::Outage { stream, away, back }, 0) => {
                let event = |name, at, command: &String| Event { name, at, command: command.clone() };
                let events = vec![event(AWAY, 1.0 / 3.0, away), event(BACK, 2.0 / 3.0, back)];
                Some(Phase { events, ..phase("", &[*stream]) })
            }
            (Self::Overload { stream, .. }, 0) => Some(phase("peak", &[Stream { rate: None, ..*stream }])),
            (Self::Overload { stream, times, at_once }, 1) => {
                let peak = measured[0].streams[0].window.per_second;
                let rate = stream.rate.unwrap_or_else(|| Rate::about(peak * times));
                Some(phase("overload", &[Stream { rate: Some(rate), connections: *at_once, ..*stream }]))
            }
            _ => None,
        }
    }
}
