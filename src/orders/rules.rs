//! What makes an order, and what may be cancelled of one. Pure: no database, no clock, no network.

use std::collections::HashMap;
use std::fmt;

use rust_decimal::Decimal;
use uuid::Uuid;

use super::model::{Line, LineWanted, OrderStatus};
use crate::inventory::model::Level;
use crate::inventory::rules::Refusal as StockRefusal;
use crate::money::Currency;

/// The largest total: 24 digits.
fn total_max() -> Decimal {
    Decimal::from_i128_with_scale(1_000_000_000_000_000_000_000_000, 0)
}

/// What a variant is and costs.
#[derive(Debug, Clone)]
pub struct Offered {
    /// Its name to people.
    pub sku: String,
    /// The price of one.
    pub price: Decimal,
    /// The price's currency.
    pub currency: Currency,
}

/// What an order needs to know of a variant.
#[derive(Debug, Clone, Copy)]
pub struct Offer<'a> {
    /// Its stock.
    pub level: &'a Level,
    /// The price of one.
    pub price: Decimal,
    /// The price's currency.
    pub currency: Currency,
}

/// What `lines` ask for, as far as there is such a variant.
#[must_use]
pub fn offers<'a>(
    lines: &[LineWanted],
    level: impl Fn(Uuid) -> Option<&'a Level>,
    catalogue: &HashMap<Uuid, Offered>,
) -> HashMap<Uuid, Offer<'a>> {
    let offer = |line: &LineWanted| {
        let (level, offered) = (level(line.variant_id)?, catalogue.get(&line.variant_id)?);
        Some((line.variant_id, Offer { level, price: offered.price, currency: offered.currency }))
    };
    lines.iter().filter_map(offer).collect()
}

/// Why an order can't be placed or cancelled as asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// A line names a variant that does not exist.
    #[error("lines name variants that do not exist")]
    VariantsNotFound(Vec<(usize, Uuid)>),
    /// Lines are short.
    #[error("not enough stock for some lines")]
    Short(Vec<Shortage>),
    /// The prices are not all in the order's currency.
    #[error("the lines are not all in one currency")]
    CurrencyMismatch(Vec<(usize, Currency)>),
    /// The total is another than the caller expected.
    #[error("the total is {0}")]
    TotalChanged(Decimal),
    /// The total would not be exact any more.
    #[error("the total has too many digits")]
    TotalTooLarge,
    /// The order has no such line.
    #[error("the order has no such line")]
    NoSuchLine(usize),
    /// More would be cancelled than is left.
    #[error("more would be cancelled than is left")]
    CancelExceedsOrdered(Vec<Excess>),
    /// From where the order is, nobody of this kind may take it there.
    #[error("the order can't go from {from:?} to {to:?}")]
    NoSuchTurn {
        /// Where it is; `None` before it was placed.
        from: Option<OrderStatus>,
        /// Where it was to go.
        to: OrderStatus,
    },
    /// The stock refuses what is returned.
    #[error("the stock refuses")]
    Stock(#[from] StockRefusal),
}

/// A line that is short.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shortage {
    /// Which line, from 0.
    pub line: usize,
    /// Of what.
    pub variant_id: Uuid,
    /// Units that all lines of this variant want together.
    pub requested: i64,
    /// Units to be had.
    pub available: i64,
}

impl fmt::Display for Shortage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Insufficient stock. Available: {}, Requested: {}", self.available, self.requested)
    }
}

/// A line of which too many would be cancelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Excess {
    /// Which line of the request, from 0.
    pub line: usize,
    /// Units to cancel.
    pub requested: i64,
    /// Units not cancelled yet.
    pub left: i64,
}

/// The currency all lines share: the one asked for, if one was.
///
/// # Errors
/// [`Refusal::VariantsNotFound`], [`Refusal::CurrencyMismatch`].
pub fn common_currency(
    lines: &[LineWanted],
    offers: &HashMap<Uuid, Offer<'_>>,
    asked: Option<Currency>,
) -> Result<Currency, Refusal> {
    let unknown: Vec<_> = each(lines).filter(|(_, line)| !offers.contains_key(&line.variant_id)).collect();
    if !unknown.is_empty() {
        return Err(Refusal::VariantsNotFound(
            unknown.iter().map(|(i, line)| (*i, line.variant_id)).collect(),
        ));
    }
    let currencies: Vec<_> =
        each(lines).filter_map(|(i, line)| Some((i, offers.get(&line.variant_id)?.currency))).collect();
    let Some(common) = asked.or_else(|| currencies.first().map(|(_, currency)| *currency)) else {
        return Err(Refusal::VariantsNotFound(Vec::new()));
    };
    let others: Vec<_> = currencies.into_iter().filter(|(_, currency)| *currency != common).collect();
    if others.is_empty() { Ok(common) } else { Err(Refusal::CurrencyMismatch(others)) }
}

/// The lines' totals and their sum, exactly.
///
/// # Errors
/// [`Refusal::TotalTooLarge`], [`Refusal::TotalChanged`].
pub fn totals(
    lines: &[LineWanted],
    offers: &HashMap<Uuid, Offer<'_>>,
    currency: Currency,
    expected: Option<Decimal>,
) -> Result<(Vec<Decimal>, Decimal), Refusal> {
    let mut sum = Decimal::ZERO;
    let mut totals = Vec::with_capacity(lines.len());
    for line in lines {
        let price = offers.get(&line.variant_id).map_or(Decimal::ZERO, |offer| offer.price);
        let total = price.checked_mul(line.quantity.get().into()).ok_or(Refusal::TotalTooLarge)?;
        sum = sum.checked_add(total).filter(|sum| *sum < total_max()).ok_or(Refusal::TotalTooLarge)?;
        totals.push(total);
    }
    match expected {
        Some(expected) if expected != sum => Err(Refusal::TotalChanged(currency.written(sum))),
        _ => Ok((totals, sum)),
    }
}

/// Refuses if any line is short. Lines of one variant count together.
///
/// # Errors
/// [`Refusal::Short`] with every short line.
pub fn all_available(lines: &[LineWanted], offers: &HashMap<Uuid, Offer<'_>>) -> Result<(), Refusal> {
    let mut wanted: HashMap<Uuid, i64> = HashMap::new();
    for line in lines {
        *wanted.entry(line.variant_id).or_default() += line.quantity.get();
    }
    let shortage = |(index, line): (usize, &LineWanted)| {
        let requested = wanted.get(&line.variant_id).copied().unwrap_or(0);
        let available = offers.get(&line.variant_id).map_or(0, |offer| offer.level.available());
        let short = Shortage { line: index, variant_id: line.variant_id, requested, available };
        (requested > available).then_some(short)
    };
    let short: Vec<_> = each(lines).filter_map(shortage).collect();
    if short.is_empty() { Ok(()) } else { Err(Refusal::Short(short)) }
}

fn each(lines: &[LineWanted]) -> impl Iterator<Item = (usize, &LineWanted)> {
    lines.iter().enumerate()
}

/// What is to be cancelled of which line: `asked`, or all that is left.
///
/// # Errors
/// [`Refusal::NoSuchLine`], [`Refusal::CancelExceedsOrdered`].
pub fn to_cancel(lines: &[Line], asked: Option<&[(Uuid, i64)]>) -> Result<Vec<(usize, i64)>, Refusal> {
    let left = |line: &Line| line.quantity - line.cancelled_quantity;
    let Some(asked) = asked else {
        return Ok(lines.iter().map(left).enumerate().filter(|(_, left)| *left > 0).collect());
    };
    let places: HashMap<_, _> = lines.iter().zip(0..).map(|(line, place)| (line.line_id, place)).collect();
    let mut wanted: HashMap<usize, i64> = HashMap::new();
    let mut excess = Vec::new();
    for (index, (line_id, quantity)) in asked.iter().enumerate() {
        let found = *places.get(line_id).ok_or(Refusal::NoSuchLine(index))?;
        let together = wanted.entry(found).or_default();
        *together += quantity;
        if *together > left(&lines[found]) {
            excess.push(Excess { line: index, requested: *together, left: left(&lines[found]) });
        }
    }
    if !excess.is_empty() {
        return Err(Refusal::CancelExceedsOrdered(excess));
    }
    let mut wanted: Vec<_> = wanted.into_iter().collect();
    wanted.sort_unstable();
    Ok(wanted)
}

/// The status of an order of which so much was ordered and so much cancelled.
#[must_use]
pub fn status_of(lines: &[Line]) -> OrderStatus {
    let ordered: i64 = lines.iter().map(|line| line.quantity).sum();
    match lines.iter().map(|line| line.cancelled_quantity).sum::<i64>() {
        0 => OrderStatus::Placed,
        cancelled if cancelled == ordered => OrderStatus::Cancelled,
        _ => OrderStatus::PartlyCancelled,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inventory::model::Quantity;

    fn wanted(variant: u128, quantity: i64) -> LineWanted {
        LineWanted { variant_id: Uuid::from_u128(variant), quantity: Quantity::try_from(quantity).unwrap() }
    }

    fn eur() -> Currency {
        Currency::from_code("EUR").unwrap()
    }

    fn level(variant: u128, on_hand: i64) -> Level {
        Level { variant_id: Uuid::from_u128(variant), on_hand, held: 0, version: 1 }
    }

    fn offers<'a>(levels: &'a [Level], price: &str) -> HashMap<Uuid, Offer<'a>> {
        let (price, currency) = (price.parse().unwrap(), eur());
        levels.iter().map(|level| (level.variant_id, Offer { level, price, currency })).collect()
    }

    #[test]
    fn lines_of_one_variant_count_together_and_every_short_line_is_named() {
        let levels = [level(1, 3), level(2, 1), level(3, 9)];
        let offers = offers(&levels, "1");
        let lines = [wanted(1, 2), wanted(3, 9), wanted(1, 2), wanted(2, 2)];
        let Err(Refusal::Short(short)) = all_available(&lines, &offers) else { panic!("must be short") };
        assert_eq!(short.iter().map(|short| short.line).collect::<Vec<_>>(), [0, 2, 3]);
        assert_eq!((short[0].requested, short[0].available), (4, 3));
        assert!(all_available(&lines[..1], &offers).is_ok());
    }

    #[test]
    fn totals_are_exact_and_a_price_of_nothing_is_a_price() {
        let levels = [level(1, 9)];
        let (lines, sum) =
            totals(&[wanted(1, 3), wanted(1, 1)], &offers(&levels, "0.1050"), eur(), None).unwrap();
        assert_eq!((lines[0].to_string(), sum.to_string()), ("0.3150".into(), "0.4200".into()));
        let (_, free) = totals(&[wanted(1, 3)], &offers(&levels, "0"), eur(), Some(Decimal::ZERO)).unwrap();
        assert_eq!(free, Decimal::ZERO);
    }

    #[test]
    fn an_expected_total_is_compared_by_value() {
        let levels = [level(1, 9)];
        let offers = offers(&levels, "12.50");
        assert!(totals(&[wanted(1, 2)], &offers, eur(), Some("25".parse().unwrap())).is_ok());
        let changed = totals(&[wanted(1, 2)], &offers, eur(), Some("24.99".parse().unwrap()));
        assert_eq!(changed, Err(Refusal::TotalChanged("25.00".parse().unwrap())));
    }

    #[test]
    fn a_total_that_would_lose_digits_is_refused() {
        let levels = [level(1, 9)];
        let offers = offers(&levels, "9999999999999.9999");
        let lines = vec![wanted(1, 1_000_000_000); 2_000];
        assert_eq!(totals(&lines, &offers, eur(), None), Err(Refusal::TotalTooLarge));
        let (_, sum) = totals(&lines[..90], &offers, eur(), None).unwrap();
        assert_eq!(sum.to_string(), "899999999999999991000000.0000");
    }

    fn line(id: u128, quantity: i64, cancelled_quantity: i64) -> Line {
        let (unit_price, line_total) = (Decimal::ONE, quantity.into());
        let (line_id, sku) = (Uuid::from_u128(id), String::new());
        Line { line_id, variant_id: line_id, sku, quantity, unit_price, line_total, cancelled_quantity }
    }

    #[test]
    fn cancelling_takes_what_is_left_and_never_more() {
        let lines = [line(1, 3, 1), line(2, 2, 2)];
        let id = Uuid::from_u128;
        assert_eq!(to_cancel(&lines, None), Ok(vec![(0, 2)]));
        assert_eq!(to_cancel(&lines, Some(&[(id(1), 1), (id(1), 1)])), Ok(vec![(0, 2)]));
        let excess = Excess { line: 1, requested: 3, left: 2 };
        assert_eq!(
            to_cancel(&lines, Some(&[(id(1), 1), (id(1), 2)])),
            Err(Refusal::CancelExceedsOrdered(vec![excess]))
        );
        assert_eq!(to_cancel(&lines, Some(&[(id(9), 1)])), Err(Refusal::NoSuchLine(0)));
    }

    #[test]
    fn the_status_says_how_much_is_cancelled() {
        assert_eq!(status_of(&[line(1, 3, 0)]), OrderStatus::Placed);
        assert_eq!(status_of(&[line(1, 3, 3), line(2, 1, 0)]), OrderStatus::PartlyCancelled);
        assert_eq!(status_of(&[line(1, 3, 3), line(2, 1, 1)]), OrderStatus::Cancelled);
    }
}
