//! Two answers for one key: the same status and the same bytes, and exactly one of them the first.

use std::collections::BTreeMap;

use hyper::StatusCode;
use serde::Serialize;

use super::FaultKind;
use crate::connection::{Answer, Settled};

/// When a repeated request was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RepeatWhen {
    Alongside,
    StraightAfter,
    AtTheEnd,
}

/// What became of repeated requests.
#[derive(Clone, Debug, Default, Serialize)]
pub struct RepeatFigures {
    pub alongside: u64,
    pub straight_after: u64,
    pub at_the_end: u64,
    /// Pairs that were byte for byte the same, with exactly one first answer.
    pub identical: u64,
    /// Pairs neither of which the service keeps an answer for.
    pub not_kept: u64,
    /// Why a repeat was itself said again.
    pub said_again: BTreeMap<String, u64>,
}

/// What two answers for one key say together.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Repeat {
    Identical,
    NotKept,
    Fault(FaultKind, String),
}

/// Compares the two.
pub(super) fn compare(first: &Settled, second: &Settled) -> Repeat {
    let (Some(one), Some(two)) = (&first.answer, &second.answer) else {
        // The original's silence has been counted by itself; a silent repeat counts here.
        return Repeat::Fault(FaultKind::Unresolved, "a repeated request was never answered".into());
    };
    if !is_kept(one) && !is_kept(two) {
        return Repeat::NotKept;
    }
    if one.status != two.status || one.body != two.body {
        let words = format!("{} {} / {} {}", one.phrase(), one.excerpt(), two.phrase(), two.excerpt());
        return Repeat::Fault(FaultKind::RepeatDiffers, words);
    }
    // A try whose answer was lost may have been the first one: then both that came through are replays.
    let doubted = first.had_doubt() || second.had_doubt();
    match (one.replayed, two.replayed) {
        (true, false) | (false, true) => Repeat::Identical,
        (true, true) if doubted => Repeat::Identical,
        (true, true) => Repeat::Fault(FaultKind::RepeatMark, "both answers are marked as replayed".into()),
        (false, false) => Repeat::Fault(FaultKind::RepeatMark, "neither answer is marked as replayed".into()),
    }
}

/// Whether the service keeps this answer for its key: what was done, and what was refused for business
/// reasons, but no fault of the request itself.
fn is_kept(answer: &Answer) -> bool {
    answer.status.is_success() || answer.status == StatusCode::CONFLICT
}
