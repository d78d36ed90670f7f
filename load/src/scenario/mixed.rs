//! Everything at once, by weights: looks at stock, single changes, orders, checkouts and cancellations.

use std::str::FromStr;

use anyhow::{Context, bail, ensure};

use super::{Buyer, CancelStorm, Checkout, Scenario};
use crate::chance::Chance;

/// The most lines of a plain order, and units of each; also of a change.
const MOST_LINES: usize = 3;
const MOST_UNITS: usize = 3;

/// What buyers come for, and how those check out who come for that.
#[derive(Clone, Copy, Debug)]
pub struct Mixed {
    pub weights: Weights,
    pub checkout: Checkout,
}

/// What a buyer may come for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Errand {
    Look,
    Take,
    Give,
    Order,
    CheckOut,
    Cancel,
}

impl Errand {
    const ALL: [(&'static str, Self); 6] = [
        ("look", Self::Look),
        ("take", Self::Take),
        ("give", Self::Give),
        ("order", Self::Order),
        ("checkout", Self::CheckOut),
        ("cancel", Self::Cancel),
    ];
}

/// How often each errand comes up, in relation to the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Weights([usize; Errand::ALL.len()]);

impl Scenario for Mixed {
    const NAME: &'static str = "mixed";

    async fn visit(&self, buyer: &mut Buyer) -> anyhow::Result<&'static str> {
        let item = buyer.stage.baskets.item(&mut buyer.chance);
        let units = 1 + buyer.chance.below(MOST_UNITS) as i64;
        match self.weights.draw(&mut buyer.chance) {
            Errand::Look => {
                buyer.look(item).await?;
                Ok("looked")
            }
            Errand::Take => Ok(if buyer.change(item, -units).await? { "took" } else { "too little there" }),
            Errand::Give => {
                buyer.change(item, units).await?;
                Ok("gave back")
            }
            Errand::Order => {
                let (key, lines) = (buyer.name("order"), buyer.basket(MOST_LINES, MOST_UNITS));
                let order = buyer.order(&key, &lines).await?;
                Ok(if order.is_some() { "ordered" } else { "too little there" })
            }
            Errand::CheckOut => self.checkout.visit(buyer).await,
            Errand::Cancel => CancelStorm.visit(buyer).await,
        }
    }
}

impl Weights {
    fn draw(&self, chance: &mut Chance) -> Errand {
        let mut drawn = chance.below(self.0.iter().sum());
        for ((_, errand), weight) in Errand::ALL.into_iter().zip(self.0) {
            if drawn < weight {
                return errand;
            }
            drawn -= weight;
        }
        Errand::Look
    }
}

impl FromStr for Weights {
    type Err = anyhow::Error;

    /// `look=4,take=2`: what is not named does not come up.
    fn from_str(text: &str) -> anyhow::Result<Self> {
        const HEAVIEST: usize = 1_000_000;
        let mut weights = [0; Errand::ALL.len()];
        for part in text.split(',') {
            let (name, weight) =
                part.split_once('=').with_context(|| format!("{part:?} is not NAME=WEIGHT"))?;
            let Some(place) = Errand::ALL.iter().position(|(word, _)| *word == name.trim()) else {
                bail!("{name:?} is none of {}", Errand::ALL.map(|(word, _)| word).join(", "));
            };
            weights[place] = weight.trim().parse().with_context(|| format!("{weight:?} is no weight"))?;
            ensure!(weights[place] <= HEAVIEST, "a weight is at most {HEAVIEST}");
        }
        ensure!(weights.iter().any(|weight| *weight > 0), "some weight must be above 0");
        Ok(Self(weights))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errands_come_up_by_their_weights() -> anyhow::Result<()> {
        let (weights, mut chance): (Weights, _) = ("look=3, take=1".parse()?, Chance::seeded(8));
        let drawn: Vec<_> = (0..4_000).map(|_| weights.draw(&mut chance)).collect();
        let looks = drawn.iter().filter(|errand| **errand == Errand::Look).count();
        assert!((2_850..3_150).contains(&looks), "{looks} of 4,000");
        assert!(drawn.iter().all(|errand| matches!(errand, Errand::Look | Errand::Take)));
        Ok(())
    }

    #[test]
    fn weights_are_named_and_some_are_above_nothing() {
        for wrong in ["", "look", "look=-1", "sing=1", "look=0", "look=1,take=x", "look=9999999"] {
            assert!(wrong.parse::<Weights>().is_err(), "{wrong:?} was taken");
        }
    }
}
