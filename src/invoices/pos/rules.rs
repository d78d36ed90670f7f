//! What a till may do to an invoice. Pure: no database, no clock, no network.

use std::collections::HashMap;

use rust_decimal::Decimal;
use uuid::Uuid;

use super::model::{ItemWanted, PosItem, PosState};
use crate::ids;
use crate::inventory::rules::Refusal as StockRefusal;
use crate::money::Currency;
use crate::orders::rules::Offered;

/// What the sum of an invoice stays below: 24 digits.
fn total_max() -> Decimal {
    Decimal::from_i128_with_scale(1_000_000_000_000_000_000_000_000, 0)
}

/// Why a till can't do what it wants.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The edit was made from another version than the newest.
    #[error("the newest version is {0}")]
    Stale(i64),
    /// Its items are sold, or came back.
    #[error("the invoice is {}", .0.as_str())]
    NotADraft(PosState),
    /// Its items are not sold, so they can't come back.
    #[error("the invoice is not submitted")]
    NotSubmitted,
    /// Items name variants that do not exist.
    #[error("items name variants that do not exist")]
    VariantsNotFound(Vec<(usize, Uuid)>),
    /// The items are not all in one currency.
    #[error("the items are not all in one currency")]
    CurrencyMismatch(Vec<(usize, Currency)>),
    /// The total would not be exact any more.
    #[error("the total has too many digits")]
    TotalTooLarge,
    /// Items are short.
    #[error("not enough stock for some items")]
    Short(Vec<Shortage>),
    /// The stock refuses what comes back.
    #[error("the stock refuses")]
    Stock(#[from] StockRefusal),
}

/// An item that is short.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shortage {
    /// Which item, from 0.
    pub item: usize,
    /// Of what.
    pub variant_id: Uuid,
    /// Units that all items of this variant want together.
    pub requested: i64,
    /// Units to be had.
    pub available: i64,
}

/// An edit is accepted if it was made from the newest version of a draft; `found` is that, 0 if there is none.
///
/// # Errors
/// [`Refusal::NotADraft`], [`Refusal::Stale`].
pub fn may_save(found: Option<(i64, PosState)>, made_from: i64) -> Result<(), Refusal> {
    let (newest, state) = found.unwrap_or((0, PosState::Draft));
    if state != PosState::Draft {
        return Err(Refusal::NotADraft(state));
    }
    if newest == made_from { Ok(()) } else { Err(Refusal::Stale(newest)) }
}

/// The items at their prices, their currency and their sum.
///
/// # Errors
/// [`Refusal::VariantsNotFound`], [`Refusal::CurrencyMismatch`], [`Refusal::TotalTooLarge`].
pub fn priced(
    wanted: &[ItemWanted],
    catalogue: &HashMap<Uuid, Offered>,
) -> Result<(Vec<PosItem>, Currency, Decimal), Refusal> {
    let offered: Vec<_> = wanted.iter().map(|item| catalogue.get(&item.variant_id)).collect();
    let Some(common) = offered.iter().flatten().next().map(|offered| offered.currency) else {
        return Err(unknown(wanted, &offered));
    };
    if offered.iter().any(Option::is_none) {
        return Err(unknown(wanted, &offered));
    }
    let others: Vec<_> = offered
        .iter()
        .enumerate()
        .filter_map(|(index, offered)| Some((index, offered.filter(|o| o.currency != common)?.currency)))
        .collect();
    if !others.is_empty() {
        return Err(Refusal::CurrencyMismatch(others));
    }
    let mut total = Decimal::ZERO;
    let mut items = Vec::with_capacity(wanted.len());
    for (item, offered) in wanted.iter().zip(offered.into_iter().flatten()) {
        let quantity = item.quantity.get();
        let unit_price = item.unit_price.map_or(offered.price, |price| price.get());
        let line_total = unit_price.checked_mul(quantity.into()).ok_or(Refusal::TotalTooLarge)?;
        total =
            total.checked_add(line_total).filter(|sum| *sum < total_max()).ok_or(Refusal::TotalTooLarge)?;
        items.push(PosItem {
            item_id: ids::fresh(),
            variant_id: item.variant_id,
            sku: offered.sku.clone(),
            quantity,
            unit_price: common.written(unit_price),
            line_total: common.written(line_total),
        });
    }
    Ok((items, common, common.written(total)))
}

fn unknown(wanted: &[ItemWanted], offered: &[Option<&Offered>]) -> Refusal {
    let unknown = wanted.iter().zip(offered).enumerate().filter(|(_, (_, offered))| offered.is_none());
    Refusal::VariantsNotFound(unknown.map(|(index, (item, _))| (index, item.variant_id)).collect())
}

/// Refuses if any item is short. Items of one variant count together.
///
/// # Errors
/// [`Refusal::VariantsNotFound`], [`Refusal::Short`] with every short item.
pub fn all_available(items: &[PosItem], available: impl Fn(Uuid) -> Option<i64>) -> Result<(), Refusal> {
    let mut wanted: HashMap<Uuid, i64> = HashMap::new();
    for item in items {
        *wanted.entry(item.variant_id).or_default() += item.quantity;
    }
    let shortage = |(index, item): (usize, &PosItem)| {
        let variant_id = item.variant_id;
        let requested = wanted.get(&variant_id).copied().unwrap_or(0);
        let available = available(variant_id).unwrap_or(0);
        (requested > available).then_some(Shortage { item: index, variant_id, requested, available })
    };
    let short: Vec<_> = items.iter().enumerate().filter_map(shortage).collect();
    if short.is_empty() { Ok(()) } else { Err(Refusal::Short(short)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inventory::model::Quantity;

    fn wanted(variant: u128, quantity: i64) -> ItemWanted {
        let quantity = Quantity::try_from(quantity).unwrap();
        ItemWanted { variant_id: Uuid::from_u128(variant), quantity, unit_price: None }
    }

    fn offered(price: &str, currency: &str) -> Offered {
        let currency = Currency::from_code(currency).unwrap();
        Offered { sku: "A".into(), price: price.parse().unwrap(), currency }
    }

    #[test]
    fn an_edit_is_of_the_newest_version_of_a_draft_and_of_nothing_else() {
        assert_eq!(may_save(None, 0), Ok(()));
        assert_eq!(may_save(None, 1), Err(Refusal::Stale(0)));
        let at = |version, state| Some((version, state));
        assert_eq!(may_save(at(3, PosState::Draft), 3), Ok(()));
        for other in [0, 2, 4] {
            assert_eq!(may_save(at(3, PosState::Draft), other), Err(Refusal::Stale(3)));
        }
        for over in [PosState::Submitted, PosState::Returned] {
            assert_eq!(may_save(at(3, over), 3), Err(Refusal::NotADraft(over)));
        }
    }

    #[test]
    fn items_have_the_price_that_was_said_or_the_catalogues_and_one_currency() {
        let id = Uuid::from_u128;
        let catalogue = HashMap::from([(id(1), offered("2", "EUR")), (id(2), offered("3", "USD"))]);
        let dearer = ItemWanted { unit_price: Some("2.5".to_owned().try_into().unwrap()), ..wanted(1, 2) };
        let (items, _, total) = priced(&[wanted(1, 3), dearer], &catalogue).unwrap();
        assert_eq!((items[1].line_total.to_string(), total.to_string()), ("5.00".into(), "11.00".into()));
        let mixed = priced(&[wanted(1, 1), wanted(2, 1)], &catalogue);
        assert!(matches!(mixed, Err(Refusal::CurrencyMismatch(others)) if others[0].0 == 1));
        let unknown = priced(&[wanted(1, 1), wanted(9, 1)], &catalogue);
        assert_eq!(unknown, Err(Refusal::VariantsNotFound(vec![(1, id(9))])));
        let huge = ItemWanted {
            unit_price: Some("9999999999999".to_owned().try_into().unwrap()),
            ..wanted(1, 1_000_000_000)
        };
        assert_eq!(priced(&vec![huge; 200], &catalogue), Err(Refusal::TotalTooLarge));
    }
}
