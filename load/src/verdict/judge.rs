//! The judge hears every outcome once, checks its answer, and keeps what the answers add up to.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::rc::Rc;
use std::time::Instant;

use hyper::StatusCode;
use serde::de::DeserializeOwned;
use uuid::Uuid;

use super::answers::{
    cancel_differences, movement_differences, order_differences, refusal_differences, wanted,
};
use super::heard::Heard;
use super::repeat::{Repeat, compare};
use super::{
    CallKind, CallReport, FaultKind, Faults, Opening, RepeatFigures, RepeatWhen, SentCancel, SentMovement,
    SentOrder, Stories, Tally, Told,
};
use crate::connection::{Answer, Cause, Settled};
use crate::picture::Scene;
use crate::service::{Movement, OrderAnswer, OrderStatus};

/// The judge of a run.
#[derive(Debug)]
pub struct Judge {
    pub(super) opening: Rc<Opening>,
    pub(super) tallies: Vec<Tally>,
    heard: BTreeMap<CallKind, Heard>,
    order_ids: HashSet<Uuid>,
    pub(super) faults: Faults,
    pub(super) repeats: RepeatFigures,
    pub(super) stories: Stories,
}

impl Judge {
    /// A judge who knows the opening stock.
    pub fn new(opening: Rc<Opening>) -> anyhow::Result<Self> {
        let tallies = opening.items().iter().map(|item| Tally::opened_with(item.on_hand)).collect();
        let (mut heard, began) = (BTreeMap::new(), Instant::now());
        for kind in CallKind::ALL {
            heard.insert(kind, Heard::new(began)?);
        }
        let (order_ids, faults, repeats) = (HashSet::new(), Faults::default(), RepeatFigures::default());
        Ok(Self { opening, tallies, heard, order_ids, faults, repeats, stories: Stories::default() })
    }

    /// Hears how an order ended; hands the order back if it was placed.
    pub fn order(&mut self, sent: &SentOrder<'_>, told: &Told) -> Option<OrderAnswer> {
        let wanted = wanted(sent.lines);
        let changes = wanted.iter().map(|(item, quantity)| (*item, -quantity));
        let answer = self.note(CallKind::Order, sent.key, told, changes)?;
        if !is_an_order(answer) {
            self.refused(CallKind::Order, sent.key, answer, &wanted);
            return None;
        }
        self.take_order(sent, answer)
    }

    /// Checks an order that was placed or captured, and takes what it sold off the tallies.
    pub(super) fn take_order(&mut self, sent: &SentOrder<'_>, answer: &Answer) -> Option<OrderAnswer> {
        let order: OrderAnswer = self.read(sent.key, answer)?;
        for words in order_differences(sent, &order, &self.opening) {
            self.faults.add(FaultKind::OrderDiffers, format!("{}: {words}", sent.key));
        }
        if !self.order_ids.insert(order.order_id) {
            self.faults.add(FaultKind::OrderIdTwice, format!("{}: {}", sent.key, order.order_id));
        }
        if order.status != OrderStatus::Cancelled {
            self.answered(wanted(sent.lines).into_iter().map(|(item, quantity)| (item, -quantity)));
        }
        Some(order)
    }

    /// Hears how a cancellation ended.
    pub fn cancel(&mut self, sent: &SentCancel<'_>, told: &Told) {
        let changes = sent.returned.iter().copied();
        let Some(answer) = self.note(CallKind::Cancel, sent.key, told, changes.clone()) else {
            return;
        };
        if answer.status != StatusCode::OK {
            self.unexpected(sent.key, answer);
            return;
        }
        if let Some(order) = self.read::<OrderAnswer>(sent.key, answer) {
            for words in cancel_differences(sent, &order) {
                self.faults.add(FaultKind::CancelDiffers, format!("{}: {words}", sent.key));
            }
            self.answered(changes);
        }
    }

    /// Hears how a single change of stock ended; true if it was carried out.
    pub fn movement(&mut self, kind: CallKind, sent: &SentMovement<'_>, told: &Told) -> bool {
        let changes = [(sent.item, sent.delta)].into_iter();
        let Some(answer) = self.note(kind, sent.key, told, changes.clone()) else {
            return false;
        };
        if answer.status != StatusCode::OK {
            self.refused(kind, sent.key, answer, &HashMap::from([(sent.item, -sent.delta)]));
            return false;
        }
        let Some(movement) = self.read::<Movement>(sent.key, answer) else {
            return false;
        };
        for words in movement_differences(sent, &movement, &self.opening) {
            self.faults.add(FaultKind::MovementDiffers, format!("{}: {words}", sent.key));
        }
        self.answered(changes);
        true
    }

    /// Compares the two answers that one key got.
    pub fn repeat(&mut self, key: &str, when: RepeatWhen, first: &Settled, second: &Settled) {
        *match when {
            RepeatWhen::Alongside => &mut self.repeats.alongside,
            RepeatWhen::StraightAfter => &mut self.repeats.straight_after,
            RepeatWhen::AtTheEnd => &mut self.repeats.at_the_end,
        } += 1;
        for cause in &second.causes {
            *self.repeats.said_again.entry(cause.phrase()).or_default() += 1;
        }
        match compare(first, second) {
            Repeat::Identical => self.repeats.identical += 1,
            Repeat::NotKept => self.repeats.not_kept += 1,
            Repeat::Fault(kind, words) => self.faults.add(kind, format!("{key}: {words}")),
        }
    }

    /// What the answers add up to, item by item.
    pub fn tallies(&self) -> &[Tally] {
        &self.tallies
    }

    /// The faults so far.
    pub fn faults(&self) -> &Faults {
        &self.faults
    }

    /// What became of repeated requests so far.
    pub fn repeats(&self) -> &RepeatFigures {
        &self.repeats
    }

    /// What was heard of each kind of call.
    pub fn calls(&self) -> BTreeMap<CallKind, CallReport> {
        let heard = self.heard.iter().filter(|(_, heard)| heard.is_any());
        heard.map(|(kind, heard)| (*kind, heard.report())).collect()
    }

    /// All that was heard, to be drawn.
    pub fn scene(&self) -> Scene {
        let heard = self.heard.iter().filter(|(_, heard)| heard.is_any());
        let (curves, lines) = heard.map(|(kind, heard)| heard.drawn(kind.word())).unzip();
        Scene { curves, lines, marks: Vec::new() }
    }

    /// Counts an outcome; hands back its answer, or keeps its changes as doubts if there is none.
    pub(super) fn note<'a>(
        &mut self,
        kind: CallKind,
        key: &str,
        told: &'a Told,
        changes: impl Iterator<Item = (usize, i64)>,
    ) -> Option<&'a Answer> {
        if let Some(heard) = self.heard.get_mut(&kind) {
            heard.take(told);
        }
        if told.settled.answer.is_none() {
            changes.for_each(|(item, delta)| self.tallies[item].doubt(delta));
            let last = told.settled.causes.last().map(Cause::phrase).unwrap_or_default();
            let tries = told.settled.causes.len();
            self.faults.add(FaultKind::Unresolved, format!("{key}: {tries} tries, the last: {last}"));
        }
        let answer = told.settled.answer.as_ref()?;
        if answer.replayed && !told.had_twin && !told.settled.had_doubt() {
            let words = format!("{key}: said for the first time and answered as a replay");
            self.faults.add(FaultKind::RepeatMark, words);
        }
        Some(answer)
    }

    fn answered(&mut self, changes: impl Iterator<Item = (usize, i64)>) {
        changes.for_each(|(item, delta)| self.tallies[item].answer(delta));
    }

    /// An answer that is no success: only an honest want of stock may be one.
    pub(super) fn refused(
        &mut self,
        kind: CallKind,
        key: &str,
        answer: &Answer,
        wanted: &HashMap<usize, i64>,
    ) {
        if !answer.is_short_of_stock() || kind == CallKind::Increment {
            self.unexpected(key, answer);
            return;
        }
        if let Some(refusal) = self.read(key, answer) {
            for words in refusal_differences(wanted, &refusal, &self.opening) {
                self.faults.add(FaultKind::RefusalUnfounded, format!("{key}: {words}"));
            }
        }
    }

    pub(super) fn unexpected(&mut self, key: &str, answer: &Answer) {
        let words = format!("{key}: {} {}", answer.phrase(), answer.excerpt());
        self.faults.add(FaultKind::UnexpectedAnswer, words);
    }

    pub(super) fn read<T: DeserializeOwned>(&mut self, key: &str, answer: &Answer) -> Option<T> {
        match answer.json() {
            Ok(read) => Some(read),
            Err(error) => {
                self.faults.add(FaultKind::UnreadableAnswer, format!("{key}: {error:#}"));
                None
            }
        }
    }
}

/// Whether an answer tells of an order that is there: one that was placed once and is asked for again later may
/// come back as 200.
pub(super) fn is_an_order(answer: &Answer) -> bool {
    answer.status == StatusCode::CREATED || answer.status == StatusCode::OK && answer.replayed
}

#[cfg(test)]
#[path = "judge_tests.rs"]
mod tests;
