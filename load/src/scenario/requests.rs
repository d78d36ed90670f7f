//! What a buyer can ask of the service, each told to the judge as it ends.

use std::time::Duration;

use anyhow::Context;
use uuid::Uuid;

use super::Buyer;
use crate::connection::Call;
use crate::service::{
    CURRENCY, CancelBody, CancelLine, CaptureBody, EventBody, EventData, HoldAnswer, HoldBody, NoFields,
    OrderAnswer, OrderBody, OrderLineBody, StockBody,
};
use crate::shop::SaleLine;
use crate::verdict::{By, CallKind, SentBlow, SentHold, SentMovement, SentOrder, Told};

/// One cancellation of an order, under one key or of one event.
#[derive(Clone, Debug)]
pub struct Cancellation {
    /// The key, or the event's id.
    pub name: String,
    pub by: By,
    /// The order, if its id is named; else its user and key are.
    pub order_id: Option<Uuid>,
    /// All that is left, if no lines are named.
    pub lines: Option<Vec<CancelLine>>,
    /// How often it is sent at once.
    pub times: usize,
    /// Whether it is sent once more afterwards.
    pub again: bool,
}

impl Buyer {
    /// Fills a basket.
    pub fn basket(&mut self, most_lines: usize, most_units: usize) -> Vec<SaleLine> {
        self.stage.baskets.lines(most_lines, most_units, &mut self.chance)
    }

    fn asked(&self, lines: &[SaleLine]) -> Vec<OrderLineBody> {
        let opening = &self.stage.opening;
        let line = |line: &SaleLine| OrderLineBody {
            variant_id: opening.item(line.item).variant_id,
            quantity: line.quantity,
        };
        lines.iter().map(line).collect()
    }

    /// Holds a basket for a while; none if there was too little.
    pub async fn hold(&mut self, lines: &[SaleLine], ttl: Duration) -> anyhow::Result<Option<HoldAnswer>> {
        let (user, key) = (self.user(), self.name("hold"));
        let body = HoldBody {
            user_id: &user,
            currency: CURRENCY,
            lines: self.asked(lines),
            ttl_seconds: ttl.as_secs(),
        };
        let told = self.say(&Call::post("/api/v1/holds", &key, &body)?).await?;
        let sent = SentHold { key: &key, user_id: &user, lines, ttl };
        Ok(self.stage.judge.borrow_mut().hold(&sent, &told))
    }

    /// Captures so many of each line of a hold, or all of it: once for each key, all at once. Gives how many orders
    /// that made.
    pub async fn capture(
        &mut self,
        hold: &HoldAnswer,
        units: Option<&[i64]>,
        keys: &[&str],
    ) -> anyhow::Result<usize> {
        let captured = |units: &[i64]| {
            let lines = hold.lines.iter().zip(units).filter(|(_, units)| **units > 0);
            lines.map(|(line, units)| CancelLine { line_id: line.line_id, quantity: *units }).collect()
        };
        let body = CaptureBody { lines: units.map(captured) };
        let path = format!("/api/v1/holds/{}/capture", hold.hold_id);
        let names: Vec<_> = keys.iter().map(|key| self.name(key)).collect();
        let calls = names.iter().map(|key| Call::post(&path, key, &body)).collect::<Result<Vec<_>, _>>()?;
        let told = self.say_at_once(&calls).await?;
        let whole: Vec<_> = hold.lines.iter().map(|line| line.quantity).collect();
        let mut lines = Vec::new();
        for (line, quantity) in
            hold.lines.iter().zip(units.unwrap_or(&whole)).filter(|(_, units)| **units > 0)
        {
            let item = self.stage.opening.place(line.variant_id).context("a held item is not of this run")?;
            lines.push(SaleLine { item, quantity: *quantity });
        }
        let (user, mut judge) = (self.user(), self.stage.judge.borrow_mut());
        let mut orders = 0;
        for (key, told) in names.iter().zip(&told) {
            let sent = SentOrder { key, user_id: &user, lines: &lines, may_be_born_cancelled: false };
            orders += usize::from(judge.capture(hold, &sent, told).is_some());
        }
        Ok(orders)
    }

    /// Gives a hold up.
    pub async fn release(&mut self, hold: &HoldAnswer) -> anyhow::Result<()> {
        let key = self.name("release");
        let path = format!("/api/v1/holds/{}/release", hold.hold_id);
        let told = self.say(&Call::post(&path, &key, &NoFields {})?).await?;
        self.stage.judge.borrow_mut().release(hold, &key, &told);
        Ok(())
    }

    /// The request for an order.
    pub fn order_call(&self, key: &str, lines: &[SaleLine]) -> anyhow::Result<Call> {
        let user = self.user();
        let body = OrderBody { user_id: &user, currency: CURRENCY, lines: self.asked(lines) };
        Call::post("/api/v1/orders", key, &body)
    }

    /// Places an order; none if there was too little.
    pub async fn order(&mut self, key: &str, lines: &[SaleLine]) -> anyhow::Result<Option<OrderAnswer>> {
        let told = self.say(&self.order_call(key, lines)?).await?;
        Ok(self.heard_of_order(key, lines, &told))
    }

    /// Tells the judge how an order ended that was said with others at once.
    pub fn heard_of_order(&self, key: &str, lines: &[SaleLine], told: &Told) -> Option<OrderAnswer> {
        let user = self.user();
        // Whether it should have been is the story's to say.
        let sent = SentOrder { key, user_id: &user, lines, may_be_born_cancelled: true };
        self.stage.judge.borrow_mut().place(&sent, told)
    }

    /// The request of a cancellation of the order with this key.
    pub fn cancel_call(&self, key: &str, cancellation: &Cancellation) -> anyhow::Result<Call> {
        let (reason, lines) = ("changed my mind", cancellation.lines.as_deref());
        match cancellation.by {
            By::Api => {
                let order_id = cancellation.order_id.context("the API cancels by id")?;
                let path = format!("/api/v1/orders/{order_id}/cancel");
                Call::post(&path, &cancellation.name, &CancelBody { reason, lines })
            }
            By::Webhook => {
                let user = self.user();
                let by_key = cancellation.order_id.is_none();
                let data = EventData {
                    order_id: cancellation.order_id,
                    user_id: by_key.then_some(user.as_str()),
                    idempotency_key: by_key.then_some(key),
                    reason,
                    lines,
                };
                let signer = self.stage.signer.as_ref().context("webhooks need a secret")?;
                signer.delivery(&cancellation.name, &EventBody { r#type: "order.cancelled", data })
            }
        }
    }

    /// Sends cancellations of the order with this key, each as often as it says, all at once and in any order; then
    /// those again that are to come again.
    pub async fn cancel(&mut self, key: &str, cancellations: &[Cancellation]) -> anyhow::Result<()> {
        let mut sent = Vec::new();
        for (place, one) in cancellations.iter().enumerate() {
            let call = self.cancel_call(key, one)?;
            sent.extend(std::iter::repeat_n((place, call), one.times));
        }
        self.chance.shuffle(&mut sent);
        let calls: Vec<_> = sent.iter().map(|(_, call)| call.clone()).collect();
        let mut times: Vec<Vec<Told>> = cancellations.iter().map(|_| Vec::new()).collect();
        for ((place, _), mut told) in sent.iter().zip(self.say_at_once(&calls).await?) {
            told.had_twin = cancellations[*place].times > 1;
            times[*place].push(told);
        }
        for (place, one) in cancellations.iter().enumerate().filter(|(_, one)| one.again) {
            let told = self.say(&self.cancel_call(key, one)?).await?;
            times[place].push(Told { had_twin: true, ..told });
        }
        for (one, times) in cancellations.iter().zip(&times) {
            self.heard_of_cancellation(key, one, times);
        }
        Ok(())
    }

    /// Tells the judge how a cancellation ended, each time it was sent.
    pub fn heard_of_cancellation(&self, key: &str, one: &Cancellation, times: &[Told]) {
        let sent = SentBlow { name: &one.name, by: one.by, lines: one.lines.as_deref() };
        self.stage.judge.borrow_mut().blow((&self.user(), key), &sent, times);
    }

    /// Takes units of one item off the shelf (below 0), or puts some back.
    pub async fn change(&mut self, item: usize, delta: i64) -> anyhow::Result<bool> {
        let (kind, key) = if delta < 0 {
            (CallKind::Decrement, self.name("take"))
        } else {
            (CallKind::Increment, self.name("give"))
        };
        let path = format!("/api/v1/inventory/{}/{}", self.stage.opening.item(item).variant_id, kind.word());
        let body = StockBody { quantity: Some(delta.abs()), delta: None, reason: "counter", reference: &key };
        let told = self.say(&Call::post(&path, &key, &body)?).await?;
        Ok(self.stage.judge.borrow_mut().change(kind, &SentMovement { key: &key, item, delta }, &told))
    }

    /// Looks at what there is of one item.
    pub async fn look(&mut self, item: usize) -> anyhow::Result<()> {
        let path = format!("/api/v1/inventory/{}", self.stage.opening.item(item).variant_id);
        let told = self.say(&Call::get(&path)?).await?;
        self.stage.judge.borrow_mut().level(item, &told);
        Ok(())
    }
}
