//! How the judge hears of holds, orders and cancellations, and keeps what was told of each.

use hyper::StatusCode;

use super::{
    Attempt, Blow, BlowOutcome, By, End, HeldLine, HoldStory, ItemChange, OrderStory, Outcome, Placed,
    PlacedLine, Record, Stories,
};
use crate::connection::Answer;
use crate::service::{
    CancelLine, EventResult, HoldAnswer, HoldState, Inventory, OrderAnswer, OrderStatus, ReceiptAnswer,
};
use crate::verdict::answers::{hold_differences, wanted};
use crate::verdict::event::compare_deliveries;
use crate::verdict::judge::is_an_order;
use crate::verdict::{CallKind, FaultKind, Judge, RepeatWhen, SentHold, SentMovement, SentOrder, Span, Told};

/// A cancellation as it was sent.
#[derive(Debug)]
pub struct SentBlow<'a> {
    /// The key, or the event's id.
    pub name: &'a str,
    pub by: By,
    /// All that is left, if no lines are named.
    pub lines: Option<&'a [CancelLine]>,
}

impl Judge {
    /// Hears how a hold ended; hands it back if it was made.
    pub fn hold(&mut self, sent: &SentHold<'_>, told: &Told) -> Option<HoldAnswer> {
        self.stories.users.insert(sent.user_id.to_owned());
        // What is held is still on hand.
        let answer = self.note(CallKind::Hold, sent.key, told, std::iter::empty())?;
        if answer.status != StatusCode::CREATED {
            self.refused(CallKind::Hold, sent.key, answer, &wanted(sent.lines));
            return None;
        }
        let hold: HoldAnswer = self.read(sent.key, answer)?;
        for words in hold_differences(sent, &hold, &self.opening) {
            self.faults.add(FaultKind::HoldDiffers, format!("{}: {words}", sent.key));
        }
        let lines = hold.lines.iter().filter_map(|line| {
            let item = self.opening.place(line.variant_id)?;
            Some(HeldLine { line_id: line.line_id, item, quantity: line.quantity })
        });
        let story = HoldStory {
            hold_id: hold.hold_id,
            user_id: sent.user_id.to_owned(),
            lines: lines.collect(),
            held: told.when,
            ttl: sent.ttl,
            attempts: Vec::new(),
        };
        if self.stories.holds.insert(hold.hold_id, story).is_some() {
            self.faults.add(FaultKind::HoldDiffers, format!("{}: {} twice", sent.key, hold.hold_id));
        }
        Some(hold)
    }

    /// Hears how a capture of a hold ended; hands the order back if it made one.
    pub fn capture(&mut self, hold: &HoldAnswer, sent: &SentOrder<'_>, told: &Told) -> Option<OrderAnswer> {
        let lines = wanted(sent.lines);
        let changes = lines.iter().map(|(item, quantity)| (*item, -quantity));
        let answer = self.note(CallKind::Capture, sent.key, told, changes);
        let (outcome, order) = match answer {
            None => (Outcome::Unknown, None),
            Some(answer) if is_an_order(answer) => {
                let order = self.take_order(sent, answer)?;
                self.placed(sent, &order, true, told.when);
                (Outcome::Done(Some(order.order_id)), Some(order))
            }
            Some(answer) => (self.over(sent.key, answer)?, None),
        };
        let (key, end) = (sent.key.to_owned(), End::Capture(lines.into_iter().collect()));
        self.attempt(hold, Attempt { key, end, when: told.when, outcome });
        order
    }

    /// Hears how a release of a hold ended.
    pub fn release(&mut self, hold: &HoldAnswer, key: &str, told: &Told) {
        let answer = self.note(CallKind::Release, key, told, std::iter::empty());
        let outcome = match answer {
            None => Some(Outcome::Unknown),
            Some(answer) if answer.status == StatusCode::OK => self.released(hold, key, answer),
            Some(answer) => self.over(key, answer),
        };
        if let Some(outcome) = outcome {
            self.attempt(hold, Attempt { key: key.to_owned(), end: End::Release, when: told.when, outcome });
        }
    }

    fn released(&mut self, hold: &HoldAnswer, key: &str, answer: &Answer) -> Option<Outcome> {
        let after: HoldAnswer = self.read(key, answer)?;
        if (after.hold_id, after.state) != (hold.hold_id, HoldState::Released) {
            let words = format!("{key}: {} came back as {:?} {}", hold.hold_id, after.state, after.hold_id);
            self.faults.add(FaultKind::HoldDiffers, words);
        }
        Some(Outcome::Done(None))
    }

    /// An answer that is no success: only that the hold was over may be one.
    fn over(&mut self, key: &str, answer: &Answer) -> Option<Outcome> {
        let code = if answer.status == StatusCode::CONFLICT { answer.code() } else { None };
        let state = match code.as_deref() {
            Some("hold_captured") => HoldState::Captured,
            Some("hold_released") => HoldState::Released,
            Some("hold_expired") => HoldState::Expired,
            _ => {
                self.unexpected(key, answer);
                return None;
            }
        };
        Some(Outcome::Refused(state))
    }

    fn attempt(&mut self, hold: &HoldAnswer, attempt: Attempt) {
        if let Some(story) = self.stories.holds.get_mut(&hold.hold_id) {
            story.attempts.push(attempt);
        }
    }

    /// Hears how an order ended, as [`Self::order`] does, and keeps its story.
    pub fn place(&mut self, sent: &SentOrder<'_>, told: &Told) -> Option<OrderAnswer> {
        self.stories.users.insert(sent.user_id.to_owned());
        let order = self.order(sent, told);
        match &order {
            Some(order) => self.placed(sent, order, false, told.when),
            None => self.story(sent.user_id, sent.key).refused = Some(told.when),
        }
        order
    }

    fn placed(&mut self, sent: &SentOrder<'_>, order: &OrderAnswer, was_held: bool, when: Span) {
        let lines = order.lines.iter().filter_map(|line| {
            let item = self.opening.place(line.variant_id)?;
            Some(PlacedLine { line_id: line.line_id, item, quantity: line.quantity })
        });
        let placed = Placed {
            order_id: order.order_id,
            born_cancelled: order.status == OrderStatus::Cancelled,
            was_held,
            lines: lines.collect(),
            when,
        };
        self.story(sent.user_id, sent.key).placed = Some(placed);
    }

    fn story(&mut self, user_id: &str, key: &str) -> &mut OrderStory {
        let fresh = || OrderStory { user_id: user_id.to_owned(), ..OrderStory::default() };
        self.stories.orders.entry(key.to_owned()).or_insert_with(fresh)
    }

    /// Hears how one cancellation of the order of this user and key ended, each time it was sent.
    pub fn blow(&mut self, (user_id, key): (&str, &str), sent: &SentBlow<'_>, times: &[Told]) {
        self.stories.users.insert(user_id.to_owned());
        let kind = if sent.by == By::Api { CallKind::Cancel } else { CallKind::Webhook };
        let mut outcomes = Vec::new();
        for told in times {
            let answer = self.note(kind, sent.name, told, std::iter::empty());
            outcomes
                .push(answer.map_or(Some(BlowOutcome::Unknown), |answer| self.blow_outcome(sent, answer)));
        }
        match sent.by {
            By::Api => {
                for pair in times.windows(2) {
                    self.repeat(sent.name, RepeatWhen::Alongside, &pair[0].settled, &pair[1].settled);
                }
            }
            By::Webhook => {
                let settled: Vec<_> = times.iter().map(|told| &told.settled).collect();
                for words in compare_deliveries(&settled) {
                    self.faults.add(FaultKind::EventDiffers, format!("{}: {words}", sent.name));
                }
            }
        }
        // Done once, it is done: silence the other times leaves no doubt.
        let is_known = |outcome: &BlowOutcome| *outcome != BlowOutcome::Unknown;
        let mut outcomes = outcomes.into_iter().flatten();
        let Some(first) = outcomes.next() else {
            return;
        };
        let outcome = std::iter::once(first).chain(outcomes).find(is_known).unwrap_or(first);
        let when = Span {
            asked: times.iter().map(|told| told.when.asked).min().unwrap_or(times[0].when.asked),
            answered: times.iter().map(|told| told.when.answered).min().unwrap_or(times[0].when.answered),
        };
        let (name, lines) = (sent.name.to_owned(), sent.lines.map(<[_]>::to_vec));
        self.story(user_id, key).blows.push(Blow { name, lines, when, outcome });
    }

    /// What one answer says; none if it should never have come.
    fn blow_outcome(&mut self, sent: &SentBlow<'_>, answer: &Answer) -> Option<BlowOutcome> {
        match (sent.by, answer.status) {
            (By::Api, StatusCode::OK) => {
                let order: OrderAnswer = self.read(sent.name, answer)?;
                let is_whole = sent.lines.is_none();
                if is_whole && order.status != OrderStatus::Cancelled {
                    let words = format!("{}: all is cancelled and it is {:?}", sent.name, order.status);
                    self.faults.add(FaultKind::CancelDiffers, words);
                }
                for asked in sent.lines.into_iter().flatten() {
                    let line = order.lines.iter().find(|line| line.line_id == asked.line_id);
                    if line.is_none_or(|line| line.cancelled_quantity < asked.quantity) {
                        let words = format!("{}: {asked:?} became {line:?}", sent.name);
                        self.faults.add(FaultKind::CancelDiffers, words);
                    }
                }
                Some(BlowOutcome::Done)
            }
            (By::Webhook, StatusCode::OK) => {
                let receipt: ReceiptAnswer = self.read(sent.name, answer)?;
                if receipt.order_id.is_none() != (receipt.result == EventResult::WaitingForOrder) {
                    let words = format!("{}: {receipt:?}", sent.name);
                    self.faults.add(FaultKind::CancelDiffers, words);
                }
                Some(BlowOutcome::Told(receipt.result))
            }
            (_, StatusCode::CONFLICT) if answer.code().as_deref() == Some("cancel_exceeds_ordered") => {
                Some(BlowOutcome::Refused)
            }
            _ => {
                self.unexpected(sent.name, answer);
                None
            }
        }
    }

    /// Hears how a single change of stock ended, as [`Self::movement`] does, and keeps it.
    pub fn change(&mut self, kind: CallKind, sent: &SentMovement<'_>, told: &Told) -> bool {
        let done = self.movement(kind, sent, told);
        let is_known = told.settled.answer.is_some();
        if done || !is_known {
            let change = ItemChange { item: sent.item, delta: sent.delta, when: told.when, is_known };
            self.stories.changes.insert(sent.key.to_owned(), change);
        }
        done
    }

    /// Hears what there is of an item while others buy.
    pub fn level(&mut self, item: usize, told: &Told) {
        let sku = self.opening.item(item).sku.clone();
        let Some(answer) = self.note(CallKind::Level, &sku, told, std::iter::empty()) else {
            return;
        };
        if answer.status != StatusCode::OK {
            self.unexpected(&sku, answer);
            return;
        }
        let Some(level) = self.read::<Inventory>(&sku, answer) else {
            return;
        };
        let adds_up = level.variant_id == self.opening.item(item).variant_id
            && level.held >= 0
            && level.available >= 0
            && level.on_hand - level.held == level.available;
        if !adds_up {
            self.faults.add(FaultKind::LevelDiffers, format!("{sku}: {level:?}"));
        }
    }

    /// Judges all that was told, once everything is over.
    pub fn settle(&mut self) {
        self.stories.settle(&self.opening, &mut self.tallies, &mut self.faults);
    }

    /// Judges what the service has written down.
    pub fn compare(&mut self, record: &Record) {
        self.stories.compare(record, &self.opening, &mut self.faults);
    }

    /// All that was told so far.
    pub fn stories(&self) -> &Stories {
        &self.stories
    }
}
