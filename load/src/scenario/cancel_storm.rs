//! Orders are placed, and cancelled by everybody at once: by the API and by webhook, whole and by line, several times
//! over, before they are there and while they are made.

use super::{Buyer, Cancellation, Scenario};
use crate::chance::Chance;
use crate::service::{CancelLine, OrderAnswer};
use crate::shop::SaleLine;
use crate::verdict::By;

/// The most lines of an order, and units of each.
const MOST_LINES: usize = 3;
const MOST_UNITS: usize = 4;
/// One in so many cancellations is delivered once more when all is done.
const AGAIN: usize = 3;

/// The storm; it has no settings.
#[derive(Clone, Copy, Debug)]
pub struct CancelStorm;

/// When and how one order is cancelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Weather {
    /// Whole, by both ways, once it is there.
    Whole,
    /// By line, by both ways, and sometimes whole besides.
    ByLine,
    /// By webhook, before it is there.
    Early,
    /// By webhook, while it is made.
    Racing,
}

impl Scenario for CancelStorm {
    const NAME: &'static str = "cancel-storm";

    async fn visit(&self, buyer: &mut Buyer) -> anyhow::Result<&'static str> {
        let weather = Weather::draw(&mut buyer.chance);
        let (key, lines) = (buyer.name("order"), buyer.basket(MOST_LINES, MOST_UNITS));
        if weather == Weather::Early {
            let event = one(buyer, "early", By::Webhook, None);
            buyer.cancel(&key, &[event]).await?;
        }
        let order = match weather {
            Weather::Racing => race(buyer, &key, &lines).await?,
            _ => buyer.order(&key, &lines).await?,
        };
        let Some(order) = order else {
            return Ok("too little there");
        };
        let blows = match weather {
            Weather::ByLine => by_line(buyer, &order),
            _ => whole(buyer, &order),
        };
        buyer.cancel(&key, &blows).await?;
        Ok(weather.word())
    }
}

impl Weather {
    fn draw(chance: &mut Chance) -> Self {
        match chance.below(10) {
            0..4 => Self::Whole,
            4..7 => Self::ByLine,
            7 | 8 => Self::Early,
            _ => Self::Racing,
        }
    }

    const fn word(self) -> &'static str {
        match self {
            Self::Whole => "cancelled whole",
            Self::ByLine => "cancelled by line",
            Self::Early => "cancelled before",
            Self::Racing => "cancelled while made",
        }
    }
}

/// A cancellation of all that is left, sent once or twice at once, and perhaps once more.
fn one(buyer: &mut Buyer, what: &str, by: By, order: Option<&OrderAnswer>) -> Cancellation {
    Cancellation {
        name: buyer.name(what),
        by,
        order_id: order.map(|order| order.order_id),
        lines: None,
        times: 1 + buyer.chance.below(2),
        // The API's answers are compared where they are sent at once; an event's, whenever it is delivered.
        again: by == By::Webhook && buyer.chance.below(AGAIN) == 0,
    }
}

/// Places the order and delivers its cancellation at once.
async fn race(buyer: &mut Buyer, key: &str, lines: &[SaleLine]) -> anyhow::Result<Option<OrderAnswer>> {
    let event = one(buyer, "racing", By::Webhook, None);
    let mut calls = vec![buyer.order_call(key, lines)?];
    for _ in 0..event.times {
        calls.push(buyer.cancel_call(key, &event)?);
    }
    let mut told = buyer.say_at_once(&calls).await?;
    let order = told.remove(0);
    buyer.heard_of_cancellation(key, &event, &told);
    Ok(buyer.heard_of_order(key, lines, &order))
}

/// All of it, by everybody.
fn whole(buyer: &mut Buyer, order: &OrderAnswer) -> Vec<Cancellation> {
    vec![
        one(buyer, "by-api", By::Api, Some(order)),
        one(buyer, "by-id", By::Webhook, Some(order)),
        one(buyer, "by-key", By::Webhook, None),
    ]
}

/// Some of it by each, perhaps more than there is together, and in a third of all cases the whole besides.
fn by_line(buyer: &mut Buyer, order: &OrderAnswer) -> Vec<Cancellation> {
    let mut all = Vec::new();
    for (what, by) in [("line-by-api", By::Api), ("line-by-event", By::Webhook)] {
        let lines = some_of(order, &mut buyer.chance);
        all.push(Cancellation { lines: Some(lines), ..one(buyer, what, by, Some(order)) });
    }
    if buyer.chance.below(3) == 0 {
        let by = if buyer.chance.below(2) == 0 { By::Api } else { By::Webhook };
        all.push(one(buyer, "whole-besides", by, Some(order)));
    }
    all
}

/// Some units of some lines, of one at least.
fn some_of(order: &OrderAnswer, chance: &mut Chance) -> Vec<CancelLine> {
    let first = chance.below(order.lines.len());
    let lines = order.lines.iter().enumerate().filter_map(|(place, line)| {
        let most = usize::try_from(line.quantity).unwrap_or_default();
        let quantity = 1 + chance.below(most) as i64;
        (place == first || chance.below(2) == 0).then_some(CancelLine { line_id: line.line_id, quantity })
    });
    lines.collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use uuid::Uuid;

    use super::*;

    #[test]
    fn every_weather_comes_up() {
        let mut chance = Chance::seeded(6);
        let drawn: Vec<_> = (0..1_000).map(|_| Weather::draw(&mut chance)).collect();
        for weather in [Weather::Whole, Weather::ByLine, Weather::Early, Weather::Racing] {
            let count = drawn.iter().filter(|one| **one == weather).count();
            assert!(count > 50, "{weather:?}: {count}");
        }
    }

    #[test]
    fn some_of_an_order_is_never_nothing_and_never_more_than_a_line() -> anyhow::Result<()> {
        let line = |id: u128, quantity: i64| {
            json!({"line_id": Uuid::from_u128(id), "variant_id": Uuid::from_u128(id), "sku": "s",
                "quantity": quantity, "unit_price": "1", "line_total": "1", "cancelled_quantity": 0})
        };
        let order: OrderAnswer = serde_json::from_value(json!({"order_id": Uuid::nil(), "user_id": "u",
            "status": "placed", "currency": "GBP", "total": "1", "lines": [line(1, 1), line(2, 4)]}))?;
        let (mut chance, mut sizes) = (Chance::seeded(7), [0; 3]);
        for _ in 0..500 {
            let some = some_of(&order, &mut chance);
            sizes[some.len()] += 1;
            for line in some {
                let most = if line.line_id == Uuid::from_u128(1) { 1 } else { 4 };
                assert!((1..=most).contains(&line.quantity));
            }
        }
        assert!(sizes[0] == 0 && sizes[1] > 0 && sizes[2] > 0, "{sizes:?}");
        Ok(())
    }
}
