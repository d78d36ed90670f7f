//! One order, and all that was done to cancel it.

use std::collections::BTreeMap;
use std::time::Instant;

use uuid::Uuid;

use super::Moves;
use crate::service::{CancelLine, EventResult, OrderAnswer, OrderStatus};
use crate::verdict::{FaultKind, Opening, Span};

/// What was told of the order of one user and key. It may have been cancelled before it was placed.
#[derive(Debug, Default)]
pub struct OrderStory {
    pub user_id: String,
    /// Where it was placed.
    pub placed: Option<Placed>,
    /// Where it was refused for want of stock.
    pub refused: Option<Span>,
    pub blows: Vec<Blow>,
}

/// An order as it was placed.
#[derive(Debug)]
pub struct Placed {
    pub order_id: Uuid,
    pub born_cancelled: bool,
    /// Whether a hold kept its units before.
    pub was_held: bool,
    pub lines: Vec<PlacedLine>,
    pub when: Span,
}

/// One of its lines.
#[derive(Clone, Copy, Debug)]
pub struct PlacedLine {
    pub line_id: Uuid,
    pub item: usize,
    pub quantity: i64,
}

/// One cancellation, under one key or of one event, however often it was sent.
#[derive(Debug)]
pub struct Blow {
    pub name: String,
    /// All that is left, if no lines are named.
    pub lines: Option<Vec<CancelLine>>,
    pub when: Span,
    pub outcome: BlowOutcome,
}

/// Who cancels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    Api,
    Webhook,
}

/// What came of a cancellation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlowOutcome {
    /// The API answers so even if nothing was left to cancel.
    Done,
    /// The event says what it did.
    Told(EventResult),
    /// More than was left.
    Refused,
    Unknown,
}

impl Blow {
    /// Whether all of the order is cancelled by it or was before.
    fn leaves_nothing(&self) -> bool {
        self.lines.is_none() && matches!(self.outcome, BlowOutcome::Done | BlowOutcome::Told(_))
    }

    /// What it takes of a line, if it names lines and was carried out.
    fn takes(&self, line_id: Uuid) -> i64 {
        match self.outcome {
            BlowOutcome::Done | BlowOutcome::Told(EventResult::Cancelled) => self.asks(line_id),
            _ => 0,
        }
    }

    fn asks(&self, line_id: Uuid) -> i64 {
        let lines = self.lines.iter().flatten();
        lines.filter(|line| line.line_id == line_id).map(|line| line.quantity).sum()
    }

    fn says(&self, result: EventResult) -> bool {
        self.outcome == BlowOutcome::Told(result)
    }
}

impl OrderStory {
    /// Whether an outcome that nobody knows decides what is left of it.
    pub fn is_in_doubt(&self) -> bool {
        self.blows.iter().any(|blow| blow.outcome == BlowOutcome::Unknown)
    }

    /// How much of a line is cancelled in the end.
    fn cancelled(&self, placed: &Placed, line: &PlacedLine) -> i64 {
        if placed.born_cancelled || self.blows.iter().any(Blow::leaves_nothing) {
            return line.quantity;
        }
        self.blows.iter().map(|blow| blow.takes(line.line_id)).sum()
    }

    /// What comes back of each item, in the end; all of it if that is in doubt.
    pub fn returned(&self) -> Vec<(usize, i64)> {
        let Some(placed) = self.placed.as_ref().filter(|placed| !placed.born_cancelled) else {
            return Vec::new();
        };
        let back = |line: &PlacedLine| match self.is_in_doubt() {
            true => (line.item, line.quantity),
            false => (line.item, self.cancelled(placed, line)),
        };
        placed.lines.iter().map(back).filter(|(_, back)| *back > 0).collect()
    }

    /// What in the answers cannot be.
    pub fn contradictions(&self) -> Vec<(FaultKind, String)> {
        let Some(placed) = &self.placed else {
            // Nobody can cancel but in advance what is not there.
            let odd = self.blows.iter().filter(|blow| blow.leaves_nothing());
            let odd = odd.filter(|blow| !blow.says(EventResult::WaitingForOrder));
            let odd = odd.map(|blow| (FaultKind::CancelDiffers, format!("{} has no order", blow.name)));
            // What is born cancelled needs no stock.
            let waited = self.blows.iter().filter(|blow| {
                let before = |refused: Span| blow.when.answered < refused.asked;
                blow.says(EventResult::WaitingForOrder) && self.refused.is_some_and(before)
            });
            let waited = waited.map(|blow| {
                (FaultKind::BirthDiffers, format!("{} waited for it, and it was refused", blow.name))
            });
            return odd.chain(waited).collect();
        };
        let mut found = self.birth_contradictions(placed);
        for line in &placed.lines {
            let cancelled: i64 = self.blows.iter().map(|blow| blow.takes(line.line_id)).sum();
            if cancelled > line.quantity {
                let words = format!("{cancelled} cancelled of a line of {}", line.quantity);
                found.push((FaultKind::CancelledTwice, words));
            }
        }
        let whole = || self.blows.iter().filter(|blow| blow.lines.is_none());
        let cut = || whole().filter(|blow| blow.says(EventResult::Cancelled));
        if cut().count() > usize::from(!placed.born_cancelled) {
            let names: Vec<_> = cut().map(|blow| blow.name.as_str()).collect();
            found.push((FaultKind::CancelledTwice, format!("all of it, by {}", names.join(" and "))));
        }
        for blow in cut() {
            let before = |other: &&Blow| other.leaves_nothing() && other.when.answered < blow.when.asked;
            if let Some(first) = whole().find(before) {
                let words = format!("all of it, by {} and then by {}", first.name, blow.name);
                found.push((FaultKind::CancelledTwice, words));
            }
        }
        for blow in self.blows.iter().filter(|blow| !self.bears_out(placed, blow)) {
            let words = format!("{} was told {:?}, which does not fit", blow.name, blow.outcome);
            found.push((FaultKind::CancelDiffers, words));
        }
        found
    }

    /// An order is born cancelled exactly if a cancellation waited for it.
    fn birth_contradictions(&self, placed: &Placed) -> Vec<(FaultKind, String)> {
        let waiting = self.blows.iter().find(|blow| blow.says(EventResult::WaitingForOrder));
        match (placed.born_cancelled, waiting) {
            (true, None) if !self.is_in_doubt() => {
                vec![(FaultKind::BirthDiffers, "it was born cancelled, and nothing waited for it".into())]
            }
            (false, Some(blow)) => {
                vec![(FaultKind::BirthDiffers, format!("{} waited for it, and it was placed", blow.name))]
            }
            _ => Vec::new(),
        }
    }

    /// Whether what a cancellation was told can be, given all the others.
    fn bears_out(&self, placed: &Placed, blow: &Blow) -> bool {
        if self.is_in_doubt() {
            return true;
        }
        let others = || self.blows.iter().filter(|other| other.name != blow.name);
        match blow.outcome {
            // Something must have left nothing.
            BlowOutcome::Told(EventResult::AlreadyCancelled) => {
                let by_lines = |line: &PlacedLine| {
                    others().map(|other| other.takes(line.line_id)).sum::<i64>() == line.quantity
                };
                placed.born_cancelled
                    || others().any(Blow::leaves_nothing)
                    || placed.lines.iter().all(by_lines)
            }
            // Others must leave less of some line than it asks for.
            BlowOutcome::Refused => placed.lines.iter().any(|line| {
                let asked = blow.asks(line.line_id);
                asked > 0 && asked + self.cancelled(placed, line) > line.quantity
            }),
            _ => true,
        }
    }

    /// How it takes from what is free and gives back: taken at the latest moment it may have been, given at the
    /// earliest. What a hold had kept is the hold's to take.
    pub fn moves(&self) -> Vec<(usize, Instant, i64)> {
        let Some(placed) = self.placed.as_ref().filter(|placed| !placed.born_cancelled) else {
            return Vec::new();
        };
        let mut moves = Vec::new();
        if !placed.was_held {
            moves.extend(placed.lines.iter().map(|line| (line.item, placed.when.answered, -line.quantity)));
        }
        let open = self.blows.iter().filter(|blow| blow.outcome != BlowOutcome::Refused);
        if let Some(earliest) = open.map(|blow| blow.when.asked).min() {
            // By which of its cancellations a unit came back is not told.
            let moment = earliest.max(placed.when.answered);
            moves.extend(self.returned().into_iter().map(|(item, back)| (item, moment, back)));
        }
        moves
    }

    /// How what the service has of it differs from what was told: the order itself, and its movements.
    pub fn record_differences(
        &self,
        record: Option<&OrderAnswer>,
        moves: Option<&Moves>,
        opening: &Opening,
    ) -> Vec<String> {
        let Some(placed) = self.placed.as_ref().filter(|_| !self.is_in_doubt()) else {
            return Vec::new();
        };
        let Some(record) = record else {
            return vec!["it is not there".into()];
        };
        let mut found = Vec::new();
        if record.user_id != self.user_id {
            found.push(format!("it is {:?}'s and not {:?}'s", record.user_id, self.user_id));
        }
        let told = |line: &PlacedLine| {
            let cancelled = self.cancelled(placed, line);
            (line.line_id, opening.item(line.item).variant_id, line.quantity, cancelled)
        };
        let mut told: Vec<_> = placed.lines.iter().map(told).collect();
        let there = record
            .lines
            .iter()
            .map(|line| (line.line_id, line.variant_id, line.quantity, line.cancelled_quantity));
        let mut there: Vec<_> = there.collect();
        told.sort_unstable();
        there.sort_unstable();
        if told != there {
            found.push(format!("told {told:?}, there as {there:?}"));
        }
        let status = status(told.iter().map(|(_, _, quantity, cancelled)| (*quantity, *cancelled)));
        if record.status != status {
            found.push(format!("told {status:?}, there as {:?}", record.status));
        }
        let none = Moves::default();
        let moves = moves.unwrap_or(&none);
        let taken = placed.lines.iter().filter(|_| !placed.born_cancelled);
        let sold = by_item(taken.map(|line| (line.item, line.quantity)));
        if moves.sold != sold {
            found.push(format!("sold {sold:?}, its movements say {:?}", moves.sold));
        }
        let returned = by_item(self.returned().into_iter());
        if moves.returned != returned {
            found.push(format!("back came {returned:?}, its movements say {:?}", moves.returned));
        }
        found
    }
}

fn by_item(units: impl Iterator<Item = (usize, i64)>) -> BTreeMap<usize, i64> {
    units.fold(BTreeMap::new(), |mut sums, (item, quantity)| {
        *sums.entry(item).or_default() += quantity;
        sums
    })
}

/// The status of an order of which so much was ordered and so much cancelled.
fn status(lines: impl Iterator<Item = (i64, i64)>) -> OrderStatus {
    match lines
        .fold((0, 0), |(left, gone), (quantity, cancelled)| (left + quantity - cancelled, gone + cancelled))
    {
        (_, 0) => OrderStatus::Placed,
        (0, _) => OrderStatus::Cancelled,
        _ => OrderStatus::PartlyCancelled,
    }
}

#[cfg(test)]
#[path = "order_tests.rs"]
mod tests;
