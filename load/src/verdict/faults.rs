//! What went wrong, counted by kind, with the first few examples of each.

use std::collections::BTreeMap;

use serde::Serialize;

/// The kinds of fault; any one of them fails the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultKind {
    /// Nobody answered while patience lasted.
    Unresolved,
    /// An answer that this request should never get.
    UnexpectedAnswer,
    /// A body that does not have the promised shape.
    UnreadableAnswer,
    /// An order that is not what was sent, or does not add up.
    OrderDiffers,
    /// One order id for two keys.
    OrderIdTwice,
    /// A cancellation that does not say what was taken back.
    CancelDiffers,
    /// A movement that is not what was sent, or does not add up.
    MovementDiffers,
    /// A refusal that its own figures, or all else that was told, do not bear out.
    RefusalUnfounded,
    /// A hold that is not what was sent, or does not add up.
    HoldDiffers,
    /// A level of stock that does not add up.
    LevelDiffers,
    /// One hold that ended twice: captured or released.
    HoldEndedTwice,
    /// A hold that was captured or released although its time was over.
    EndedAfterItsTime,
    /// Units of an order that were cancelled twice.
    CancelledTwice,
    /// An order that was born cancelled and should not have been, or the other way round.
    BirthDiffers,
    /// Two answers to one event that differ, or not exactly one of which is the first.
    EventDiffers,
    /// More sold and held at once than there was.
    Oversold,
    /// An order, or its movements, that the service has otherwise than it told.
    OrderRecordDiffers,
    /// A hold that the service has otherwise than it told.
    HoldRecordDiffers,
    /// An order, a hold or a movement that the service has and told nobody of.
    NobodyWasTold,
    /// Two answers for one key that differ.
    RepeatDiffers,
    /// Of the answers for one key, not exactly one was the first; or a first one came as a replay.
    RepeatMark,
}

impl FaultKind {
    /// The kind as it stands in reports.
    pub const fn phrase(self) -> &'static str {
        match self {
            Self::Unresolved => "outcome never known",
            Self::UnexpectedAnswer => "unexpected answer",
            Self::UnreadableAnswer => "unreadable answer",
            Self::OrderDiffers => "order differs from what was sent",
            Self::OrderIdTwice => "one order id for two keys",
            Self::CancelDiffers => "cancellation differs from what was sent",
            Self::MovementDiffers => "movement differs from what was sent",
            Self::RefusalUnfounded => "refusal not borne out",
            Self::HoldDiffers => "hold differs from what was sent",
            Self::LevelDiffers => "level of stock does not add up",
            Self::HoldEndedTwice => "hold ended twice",
            Self::EndedAfterItsTime => "hold captured or released after its time",
            Self::CancelledTwice => "units cancelled twice",
            Self::BirthDiffers => "order wrongly born cancelled, or wrongly not",
            Self::EventDiffers => "event answered differently",
            Self::Oversold => "more sold and held at once than there was",
            Self::OrderRecordDiffers => "order is there otherwise than it was told",
            Self::HoldRecordDiffers => "hold is there otherwise than it was told",
            Self::NobodyWasTold => "nobody was told",
            Self::RepeatDiffers => "repeated request answered differently",
            Self::RepeatMark => "first and repeated answers not told apart",
        }
    }
}

const EXAMPLES: usize = 10;

/// The faults of a run.
#[derive(Debug, Default)]
pub struct Faults(BTreeMap<FaultKind, FaultReport>);

/// How often one kind came up, and the first examples.
#[derive(Clone, Debug, Default, Serialize)]
pub struct FaultReport {
    pub count: u64,
    pub examples: Vec<String>,
}

impl Faults {
    /// Counts a fault; its words are kept while there are few.
    pub fn add(&mut self, kind: FaultKind, words: String) {
        let entry = self.0.entry(kind).or_default();
        entry.count += 1;
        if entry.examples.len() < EXAMPLES {
            entry.examples.push(words);
        }
    }

    /// The faults by kind.
    pub fn report(&self) -> BTreeMap<FaultKind, FaultReport> {
        self.0.clone()
    }

    /// Whether there are none.
    #[cfg(test)]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many there are of a kind.
    #[cfg(test)]
    pub fn count(&self, kind: FaultKind) -> u64 {
        self.0.get(&kind).map_or(0, |report| report.count)
    }
}
