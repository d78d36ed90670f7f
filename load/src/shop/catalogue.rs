//! The items a file speaks of, with what each costs, how it is called and how much of it is opened.

use std::collections::HashMap;

use rust_decimal::prelude::ToPrimitive;
use rust_decimal::{Decimal, RoundingStrategy};

use super::naming::{NameChange, fit_name};
use super::{Dirt, Naming, Row};

/// One item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    pub sku: String,
    pub name: String,
    pub price: Decimal,
    /// All that the file's sales ask for.
    pub demand: i64,
    /// What is there at the start.
    pub opening: i64,
}

/// Items while the file is being read.
#[derive(Debug, Default)]
pub struct Gathering {
    places: HashMap<String, usize>,
    drafts: Vec<Draft>,
}

#[derive(Debug, Default)]
struct Draft {
    code: String,
    price: Option<Decimal>,
    sold_as: Option<String>,
    called: Option<String>,
    demand: i64,
}

impl Gathering {
    /// The place of a row's item; what the row says of its price and name is kept.
    ///
    /// The price is the first one in the file that is not negative: 0 is a price. The name is the first
    /// that a sale gives, since returns and corrections often describe the incident instead.
    pub fn place(&mut self, row: &Row, is_sale: bool) -> usize {
        let place = *self.places.entry(row.stock_code.clone()).or_insert_with(|| {
            self.drafts.push(Draft { code: row.stock_code.clone(), ..Draft::default() });
            self.drafts.len() - 1
        });
        let draft = &mut self.drafts[place];
        if draft.price.is_none() && !row.unit_price.is_sign_negative() {
            draft.price = Some(row.unit_price);
        }
        let name = if is_sale { &mut draft.sold_as } else { &mut draft.called };
        if name.is_none() && !row.description.is_empty() {
            *name = Some(row.description.clone());
        }
        place
    }

    /// Adds to what an item's sales ask for.
    pub fn ask_for(&mut self, place: usize, quantity: i64) {
        self.drafts[place].demand += quantity;
    }

    /// The finished items, opened at `cover` of their demand, rounded down.
    pub fn finish(self, naming: &Naming, cover: Decimal, dirt: &mut Dirt) -> Vec<Item> {
        let mut folded: HashMap<String, u64> = HashMap::new();
        for draft in &self.drafts {
            *folded.entry(draft.code.to_lowercase()).or_default() += 1;
        }
        dirt.items_differing_in_case_only += folded.values().filter(|count| **count > 1).sum::<u64>();
        self.drafts.into_iter().map(|draft| draft.finish(naming, cover, dirt)).collect()
    }
}

impl Draft {
    fn finish(self, naming: &Naming, cover: Decimal, dirt: &mut Dirt) -> Item {
        let described = self.sold_as.or(self.called).unwrap_or_default();
        let (name, change) = fit_name(&described, &self.code);
        match change {
            NameChange::None => {}
            NameChange::WasEmpty => dirt.items_named_by_their_code += 1,
            NameChange::HadControls => dirt.items_with_control_characters_in_name += 1,
            NameChange::WasLong => dirt.items_with_shortened_name += 1,
        }
        dirt.items_with_odd_code += u64::from(!self.code.bytes().all(|byte| byte.is_ascii_alphanumeric()));
        dirt.items_with_only_negative_prices += u64::from(self.price.is_none());
        let price = self.price.unwrap_or_default();
        let rounded = price.round_dp_with_strategy(2, RoundingStrategy::MidpointAwayFromZero);
        dirt.items_with_fractions_of_a_penny += u64::from(rounded != price);
        Item {
            // Rows whose code cannot be a sku never come as far as this.
            sku: naming.sku(&self.code).unwrap_or_default(),
            name,
            price: rounded,
            demand: self.demand,
            opening: opening(self.demand, cover),
        }
    }
}

/// `cover` of `demand`, rounded down.
fn opening(demand: i64, cover: Decimal) -> i64 {
    (Decimal::from(demand) * cover).floor().to_i64().unwrap_or(demand)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_opening_stock_is_rounded_down() -> anyhow::Result<()> {
        let cover = "0.9".parse()?;
        for (demand, expected) in [(0, 0), (1, 0), (9, 8), (10, 9), (100, 90), (74_215, 66_793)] {
            assert_eq!(opening(demand, cover), expected, "of {demand}");
        }
        assert_eq!(opening(10, "1.5".parse()?), 15);
        Ok(())
    }
}
