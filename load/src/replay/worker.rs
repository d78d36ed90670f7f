//! A worker takes the next invoice that may go, sends what it asks for, and tells the judge what came back.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Instant;

use tokio::join;
use tokio::sync::{Notify, watch};

use super::{Cancel, Lanes, Late, PlacedOrder, Repeats, match_returns};
use crate::connection::{Call, Caller, Turn};
use crate::measure::Schedule;
use crate::progress::Progress;
use crate::service::{CURRENCY, CancelBody, OrderBody, OrderLineBody, StockBody};
use crate::shop::{Correction, Invoice, Naming, Plan, ReturnRow, SaleLine, Work};
use crate::verdict::{
    CallKind, Judge, Opening, PlanFigures, RepeatWhen, SentCancel, SentMovement, SentOrder, Told,
};

/// What all workers of a run share; they take turns on one thread.
#[derive(Debug)]
pub struct Shared {
    pub plan: Plan,
    pub naming: Naming,
    pub opening: Rc<Opening>,
    pub judge: RefCell<Judge>,
    pub figures: RefCell<PlanFigures>,
    pub repeats: Repeats,
    pub turn: Turn,
    pub lanes: RefCell<Lanes>,
    /// Told whenever an invoice has been answered.
    pub answered: Notify,
    /// Each customer's orders, under the position of the customer's first invoice.
    pub histories: RefCell<std::collections::HashMap<String, Vec<PlacedOrder>>>,
    /// For each invoice, which slot of the timetable it goes in.
    pub slots: Vec<u64>,
    /// The timetable and how many of its slots have come; none in a closed loop.
    pub timetable: Option<(Schedule, watch::Receiver<u64>)>,
    pub progress: Progress,
}

/// One of the concurrent senders.
#[derive(Debug)]
pub struct Worker {
    shared: Rc<Shared>,
    caller: Caller,
    /// For repeats sent alongside, which need a line of their own.
    second: Caller,
}

impl Worker {
    /// A worker with its own lines.
    pub fn new(shared: Rc<Shared>, caller: Caller, second: Caller) -> Self {
        Self { shared, caller, second }
    }

    /// Works until every invoice has been answered.
    pub async fn work(mut self) -> anyhow::Result<()> {
        let shared = Rc::clone(&self.shared);
        while let Some(position) = shared.next().await {
            let due = shared.wait_until_due(position).await?;
            self.send(&shared.plan.invoices[position], due).await?;
            shared.finish(position);
        }
        Ok(())
    }

    async fn send(&mut self, invoice: &Invoice, due: Instant) -> anyhow::Result<()> {
        match &invoice.work {
            Work::Sale(lines) => self.sell(invoice, lines, due).await,
            Work::Return(rows) => self.take_back(invoice, rows, due).await,
            Work::Corrections(corrections) => self.correct(invoice, corrections, due).await,
        }
    }

    async fn sell(&mut self, invoice: &Invoice, lines: &[SaleLine], due: Instant) -> anyhow::Result<()> {
        let shared = Rc::clone(&self.shared);
        let key = shared.naming.sale_key(&invoice.number);
        let body = OrderBody {
            user_id: &invoice.user_id,
            currency: CURRENCY,
            lines: lines
                .iter()
                .map(|line| OrderLineBody {
                    variant_id: shared.opening.item(line.item).variant_id,
                    quantity: line.quantity,
                })
                .collect(),
        };
        let told = self.say(Call::post("/api/v1/orders", &key, &body)?, due).await;
        let sent = SentOrder { key: &key, user_id: &invoice.user_id, lines, may_be_born_cancelled: false };
        let placed = shared.judge.borrow_mut().order(&sent, &told);
        // Guests never come back under the same name.
        if let (Some(order), Some(customer)) = (placed, &invoice.customer) {
            let order = PlacedOrder::new(&invoice.number, &order, &shared.opening);
            shared.histories.borrow_mut().entry(customer.clone()).or_default().push(order);
        }
        Ok(())
    }

    async fn take_back(
        &mut self,
        invoice: &Invoice,
        rows: &[ReturnRow],
        mut due: Instant,
    ) -> anyhow::Result<()> {
        let shared = Rc::clone(&self.shared);
        // The lane keeps everybody else off this customer's history until it is put back.
        let customer = invoice.customer.clone().unwrap_or_default();
        let mut history = shared.histories.borrow_mut().remove(&customer).unwrap_or_default();
        let plan = match_returns(&mut history, rows);
        {
            let mut figures = shared.figures.borrow_mut();
            figures.units_matched_to_orders += plan.matched_units();
            figures.units_not_matched += plan.unmatched_units();
        }
        for cancel in plan.cancels {
            self.cancel(invoice, &history[cancel.order], cancel, due).await?;
            due = Instant::now();
        }
        for row in &plan.unmatched {
            let body = StockBody {
                quantity: Some(row.quantity),
                delta: None,
                reason: "return",
                reference: &invoice.number,
            };
            self.change(invoice, CallKind::Increment, row.line, (row.item, row.quantity), &body, due).await?;
            due = Instant::now();
        }
        if !history.is_empty() {
            shared.histories.borrow_mut().insert(customer, history);
        }
        Ok(())
    }

    async fn cancel(
        &mut self,
        invoice: &Invoice,
        order: &PlacedOrder,
        cancel: Cancel,
        due: Instant,
    ) -> anyhow::Result<()> {
        let key = self.shared.naming.cancel_key(&invoice.number, &order.invoice);
        let path = format!("/api/v1/orders/{}/cancel", order.order_id);
        let body = CancelBody { reason: "return", lines: Some(&cancel.lines) };
        let told = self.say(Call::post(&path, &key, &body)?, due).await;
        let sent = SentCancel {
            key: &key,
            order_id: order.order_id,
            lines_after: order.cancelled(),
            returned: cancel.returned,
        };
        self.shared.judge.borrow_mut().cancel(&sent, &told);
        Ok(())
    }

    async fn correct(
        &mut self,
        invoice: &Invoice,
        corrections: &[Correction],
        mut due: Instant,
    ) -> anyhow::Result<()> {
        for one in corrections {
            let body = StockBody {
                quantity: None,
                delta: Some(one.delta),
                reason: &one.reason,
                reference: &invoice.number,
            };
            self.change(invoice, CallKind::Adjust, one.line, (one.item, one.delta), &body, due).await?;
            due = Instant::now();
        }
        Ok(())
    }

    /// Changes one item's stock for one row of the file.
    async fn change(
        &mut self,
        invoice: &Invoice,
        kind: CallKind,
        line: u64,
        (item, delta): (usize, i64),
        body: &StockBody<'_>,
        due: Instant,
    ) -> anyhow::Result<()> {
        let shared = Rc::clone(&self.shared);
        let key = shared.naming.row_key(&invoice.number, line);
        let path = format!("/api/v1/inventory/{}/{}", shared.opening.item(item).variant_id, kind.word());
        let told = self.say(Call::post(&path, &key, body)?, due).await;
        shared.judge.borrow_mut().movement(kind, &SentMovement { key: &key, item, delta }, &told);
        Ok(())
    }

    /// Says one request until it is settled, and repeats it if its turn has come.
    async fn say(&mut self, call: Call, due: Instant) -> Told {
        let position = self.shared.turn.next();
        let when = self.shared.repeats.choose(call.key());
        if when == Some(RepeatWhen::Alongside) {
            let (told, second) = join!(
                Told::by(&mut self.caller, &call, position, due),
                self.second.insist(&call, position + 1)
            );
            let mut judge = self.shared.judge.borrow_mut();
            judge.repeat(call.key(), RepeatWhen::Alongside, &told.settled, &second);
            return Told { had_twin: true, ..told };
        }
        let told = Told::by(&mut self.caller, &call, position, due).await;
        match when {
            Some(RepeatWhen::StraightAfter) => {
                let second = self.second.insist(&call, position + 1).await;
                let mut judge = self.shared.judge.borrow_mut();
                judge.repeat(call.key(), RepeatWhen::StraightAfter, &told.settled, &second);
            }
            Some(RepeatWhen::AtTheEnd) => {
                self.shared.repeats.keep(Late { call, first: told.settled.clone(), position });
            }
            Some(RepeatWhen::Alongside) | None => {}
        }
        told
    }
}

impl Shared {
    /// The next invoice that may go; none once all are answered.
    async fn next(&self) -> Option<usize> {
        loop {
            // Made before looking, so that an answer in between is not missed.
            let answered = self.answered.notified();
            if let Some(position) = self.lanes.borrow_mut().take() {
                return Some(position);
            }
            if self.lanes.borrow().are_done() {
                return None;
            }
            answered.await;
        }
    }

    /// When an invoice's latency begins: at its place in the timetable, or now in a closed loop.
    async fn wait_until_due(&self, position: usize) -> anyhow::Result<Instant> {
        let Some((schedule, come)) = &self.timetable else {
            return Ok(Instant::now());
        };
        let slot = self.slots[position];
        come.clone().wait_for(|come| *come > slot).await?;
        Ok(schedule.due(slot))
    }

    fn finish(&self, position: usize) {
        self.lanes.borrow_mut().finish(position);
        self.answered.notify_waiters();
        self.progress.step();
    }
}
