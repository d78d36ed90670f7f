//! A customer holds a basket, pays somewhere else, and the hold is captured; or the payment fails, or the customer
//! never comes back, or pays when the hold may be over.

use std::time::{Duration, Instant};

use anyhow::ensure;

use super::{Buyer, Scenario};
use crate::chance::Chance;

/// The most lines of a basket, and units of each.
const MOST_LINES: usize = 3;
const MOST_UNITS: usize = 3;
/// How long a hold lasts whose customer comes back, and one whose customer may not: the shortest there is.
const LONG_HOLD: Duration = Duration::from_secs(600);
const SHORT_HOLD: Duration = Duration::from_secs(10);
/// Who pays late does so from this long before the hold's time is over to this long after.
const LATE_FROM: Duration = Duration::from_millis(600);
const LATE_TO: Duration = Duration::from_millis(900);

/// The shares of customers to whom something happens; all others pay and get what they held.
#[derive(Clone, Copy, Debug)]
pub struct Checkout {
    /// The payment fails: the hold is released.
    pub failing: f64,
    /// They never come back: the hold lapses.
    pub vanishing: f64,
    /// They pay when the hold may be over.
    pub late: f64,
    /// Part of the hold is captured.
    pub partial: f64,
    /// They pay twice at once: the hold is captured under two keys.
    pub double: f64,
    pub payment: Pauses,
}

/// How long something takes at least and at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pauses {
    least: Duration,
    most: Duration,
}

/// What becomes of one customer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    PaymentFails,
    Vanishes,
    PaysLate,
    PaysForPart,
    PaysTwice,
    Pays,
}

impl Scenario for Checkout {
    const NAME: &'static str = "checkout";

    async fn visit(&self, buyer: &mut Buyer) -> anyhow::Result<&'static str> {
        let fate = self.fate(&mut buyer.chance);
        let ttl = if matches!(fate, Fate::Vanishes | Fate::PaysLate) { SHORT_HOLD } else { LONG_HOLD };
        let lines = buyer.basket(MOST_LINES, MOST_UNITS);
        let Some(hold) = buyer.hold(&lines, ttl).await? else {
            return Ok("too little there");
        };
        let held = Instant::now();
        if !matches!(fate, Fate::Vanishes | Fate::PaysLate) {
            let payment = self.payment.draw(&mut buyer.chance);
            buyer.pause(payment).await;
        }
        match fate {
            Fate::Vanishes => Ok("vanished"),
            Fate::PaymentFails => {
                buyer.release(&hold).await?;
                Ok("payment failed")
            }
            Fate::PaysLate => {
                let late = Pauses { least: SHORT_HOLD - LATE_FROM, most: SHORT_HOLD + LATE_TO };
                let pays = held + late.draw(&mut buyer.chance);
                buyer.away_until(pays).await?;
                let orders = buyer.capture(&hold, None, &["order"]).await?;
                Ok(if orders == 0 { "paid too late" } else { "paid just in time" })
            }
            Fate::PaysForPart => {
                let held = hold.lines.iter().map(|line| line.quantity);
                let units = part_of(held, &mut buyer.chance);
                buyer.capture(&hold, Some(&units), &["order"]).await?;
                Ok("paid for part")
            }
            Fate::PaysTwice => {
                buyer.capture(&hold, None, &["order", "order-again"]).await?;
                Ok("paid twice at once")
            }
            Fate::Pays => {
                buyer.capture(&hold, None, &["order"]).await?;
                Ok("paid")
            }
        }
    }
}

impl Checkout {
    /// Checks what no share can say alone.
    pub fn check(&self) -> anyhow::Result<()> {
        let all = self.failing + self.vanishing + self.late + self.partial + self.double;
        // Shares that are written as all may add up to a hair more.
        ensure!(all < 1.000_001, "the shares of customers to whom something happens add up to {all:.3}");
        Ok(())
    }

    fn fate(&self, chance: &mut Chance) -> Fate {
        let fates = [
            (self.failing, Fate::PaymentFails),
            (self.vanishing, Fate::Vanishes),
            (self.late, Fate::PaysLate),
            (self.partial, Fate::PaysForPart),
            (self.double, Fate::PaysTwice),
        ];
        // Each share is of all, so of those that are left it is more.
        let mut left = 1.0;
        for (share, fate) in fates {
            if chance.falls_within(share / left) {
                return fate;
            }
            left -= share;
        }
        Fate::Pays
    }
}

impl Pauses {
    /// From `least` to `most`.
    pub fn new(least: Duration, most: Duration) -> anyhow::Result<Self> {
        ensure!(least <= most, "the least is more than the most");
        Ok(Self { least, most })
    }

    fn draw(&self, chance: &mut Chance) -> Duration {
        let spread = usize::try_from((self.most - self.least).as_micros()).unwrap_or(usize::MAX - 1);
        self.least + Duration::from_micros(chance.below(spread + 1) as u64)
    }
}

/// So many of each line as are captured: some of all.
fn part_of(held: impl Iterator<Item = i64>, chance: &mut Chance) -> Vec<i64> {
    let below = |most: i64| usize::try_from(most).unwrap_or_default();
    let mut units: Vec<_> = held.map(|held| chance.below(below(held) + 1) as i64).collect();
    if let Some(first) = units.first_mut().filter(|first| **first == 0) {
        *first = 1;
    }
    units
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checkout() -> anyhow::Result<Checkout> {
        let payment = Pauses::new(Duration::from_millis(20), Duration::from_millis(50))?;
        Ok(Checkout { failing: 0.1, vanishing: 0.2, late: 0.1, partial: 0.2, double: 0.1, payment })
    }

    #[test]
    fn every_fate_gets_its_share_of_all_customers() -> anyhow::Result<()> {
        let (checkout, mut chance) = (checkout()?, Chance::seeded(3));
        let fates: Vec<_> = (0..10_000).map(|_| checkout.fate(&mut chance)).collect();
        let count = |fate| fates.iter().filter(|one| **one == fate).count();
        for (fate, expected) in [
            (Fate::PaymentFails, 1_000),
            (Fate::Vanishes, 2_000),
            (Fate::PaysLate, 1_000),
            (Fate::PaysForPart, 2_000),
            (Fate::PaysTwice, 1_000),
            (Fate::Pays, 3_000),
        ] {
            let found = count(fate);
            assert!(found.abs_diff(expected) < 200, "{fate:?}: {found} instead of {expected}");
        }
        Ok(())
    }

    #[test]
    fn shares_of_more_than_all_are_refused() -> anyhow::Result<()> {
        assert!(checkout()?.check().is_ok());
        assert!(Checkout { failing: 0.5, ..checkout()? }.check().is_err());
        Ok(())
    }

    #[test]
    fn a_part_is_some_of_what_is_held_and_never_more() {
        let mut chance = Chance::seeded(4);
        for _ in 0..1_000 {
            let units = part_of([1, 3, 2].into_iter(), &mut chance);
            assert!(units.iter().zip([1, 3, 2]).all(|(units, held)| (0..=held).contains(units)));
            assert!(units.iter().sum::<i64>() > 0);
        }
    }

    #[test]
    fn a_payment_takes_as_long_as_it_may() -> anyhow::Result<()> {
        let (pauses, mut chance) = (checkout()?.payment, Chance::seeded(5));
        let drawn: Vec<_> = (0..1_000).map(|_| pauses.draw(&mut chance)).collect();
        assert!(drawn.iter().all(|pause| (pauses.least..=pauses.most).contains(pause)));
        assert!(drawn.iter().max() > drawn.iter().min());
        assert!(Pauses::new(Duration::from_secs(2), Duration::from_secs(1)).is_err());
        Ok(())
    }
}
