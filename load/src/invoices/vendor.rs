//! A vendor and the invoices it issues over two years.

use super::Upload;
use crate::chance::Chance;

const GOODS: [&str; 24] = [
    "Bolts M8",
    "Nuts M8",
    "Copy paper A4",
    "Toner black",
    "Cardboard box 40",
    "Pallet wrap",
    "Safety gloves",
    "LED panel",
    "Cable 3x1.5",
    "Flour type 55",
    "Olive oil 5 l",
    "Pine board",
    "Cleaning agent",
    "Mug white",
    "Gift bag",
    "Candle",
    "Steel rod",
    "Label roll",
    "Hand soap",
    "Coffee beans",
    "Screwdriver",
    "Battery AA",
    "Tape 50 mm",
    "Ink cyan",
];
/// 2024-01-01, as days since 1970.
const FIRST_DAY: i32 = 19_723;
/// Two years, of which the first is a leap year.
const DAYS: i32 = 731;
const FIRST_YEAR_DAYS: i32 = 366;

/// What a vendor sells, and so what its invoices look like.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Trade {
    /// Goods, on any day.
    Goods,
    /// The same amount on the same day of each month.
    Monthly,
    /// The same for three contracts, on the same day of each month.
    Contracts,
    /// The same delivery each week.
    Weekly,
    /// Each order in parts of equal amounts.
    Parts,
    /// One fee a year.
    Yearly,
}

/// How a vendor writes its numbers.
#[derive(Debug, Clone, Copy)]
enum Numbering {
    Prefixed,
    Plain,
    YearSlash,
    YearDash,
}

/// All that a vendor issues, in its order.
pub fn issued(chance: &mut Chance, (partner, name): (usize, &str)) -> Vec<Upload> {
    let trade = match chance.below(20) {
        0..10 => Trade::Goods,
        10..13 => Trade::Monthly,
        13 => Trade::Contracts,
        14..17 => Trade::Weekly,
        17..19 => Trade::Parts,
        _ => Trade::Yearly,
    };
    let numbering =
        [Numbering::Prefixed, Numbering::Plain, Numbering::YearSlash, Numbering::YearDash][chance.below(4)];
    let scanned = chance.falls_within(0.7);
    let is_lettered = chance.falls_within(0.5);
    // Abroad, too: now in one currency, now in the other, by one list of prices.
    let is_abroad = trade == Trade::Goods && chance.falls_within(0.2);
    let standing = lines(chance, trade);
    let days = days(chance, trade);
    let (mut next, mut year) = (1 + chance.below(4_000), 0);
    let restarts = matches!(numbering, Numbering::YearSlash | Numbering::YearDash) || trade == Trade::Yearly;
    let mut all = Vec::new();
    for (index, day) in days.into_iter().enumerate() {
        let of_year = i32::from(day >= FIRST_DAY + FIRST_YEAR_DAYS);
        if restarts && (index == 0 || of_year != year) {
            next = 1;
        }
        year = of_year;
        let billed = match trade {
            Trade::Goods => lines(chance, trade),
            Trade::Parts if index % 3 == 0 => lines(chance, trade),
            _ => standing.clone(),
        };
        let part = (trade == Trade::Parts).then_some(index % 3 + 1);
        let billed: Vec<_> = match part {
            Some(part) => {
                standing.iter().map(|(w, q, p)| (format!("{w}, part {part} of 3"), *q, *p)).collect()
            }
            None => billed,
        };
        let counted = if part.is_some() { next + index / 3 } else { next };
        let number = numbered(numbering, 2024 + year, counted) + &part_of(part, is_lettered);
        let cents = billed.iter().map(|(_, quantity, price)| quantity * price).sum::<i64>();
        all.push(Upload {
            vendor: name.to_owned(),
            partner,
            number,
            day,
            cents: cents + cents / 5,
            currency: if is_abroad && chance.falls_within(0.5) { "USD" } else { "EUR" },
            file: chance.falls_within(0.6).then(|| chance.next()),
            lines: if scanned { billed } else { Vec::new() },
            comes_in: day + 1 + chance.below(6) as i32,
            again: None,
        });
        // Others get numbers in between, unless it has few customers.
        next += if part.is_some() { 0 } else { 1 + chance.below(if restarts { 3 } else { 30 }) };
    }
    all
}

fn numbered(numbering: Numbering, year: i32, number: usize) -> String {
    match numbering {
        Numbering::Prefixed => format!("INV-{number:05}"),
        Numbering::Plain => format!("{:07}", 1_000_000 + number),
        Numbering::YearSlash => format!("{year}/{number:04}"),
        Numbering::YearDash => format!("RE-{year}-{number:04}"),
    }
}

/// What is added to the number of a part of an order.
fn part_of(part: Option<usize>, is_lettered: bool) -> String {
    match part {
        None => String::new(),
        Some(part) if is_lettered => format!("-{}", ["A", "B", "C"][part - 1]),
        Some(part) => format!("/{part}"),
    }
}

fn lines(chance: &mut Chance, trade: Trade) -> Vec<(String, i64, i64)> {
    let line = |chance: &mut Chance| {
        let words = GOODS[chance.below(GOODS.len())].to_owned();
        (words, 1 + chance.below(40) as i64, 95 + 5 * chance.below(1_200) as i64)
    };
    match trade {
        Trade::Goods => (0..=chance.below(8)).map(|_| line(chance)).collect(),
        Trade::Weekly => (0..2 + chance.below(4)).map(|_| line(chance)).collect(),
        Trade::Parts => vec![("Project fee".to_owned(), 1, 100 * (50 + chance.below(200) as i64))],
        Trade::Monthly | Trade::Contracts | Trade::Yearly => {
            // Amounts that many vendors share.
            let fees = [1_900, 2_900, 4_900, 9_900, 25_000, 49_900, 80_000, 120_000];
            vec![("Service fee".to_owned(), 1, fees[chance.below(fees.len())])]
        }
    }
}

fn days(chance: &mut Chance, trade: Trade) -> Vec<i32> {
    let start = FIRST_DAY + chance.below(27) as i32;
    let every = |days: i32| (0..).map(move |n| start + n * days).take_while(|day| *day < FIRST_DAY + DAYS);
    match trade {
        Trade::Goods => {
            let mut days: Vec<_> =
                (0..8 + chance.below(20)).map(|_| FIRST_DAY + chance.below(DAYS as usize) as i32).collect();
            days.sort_unstable();
            // Two deliveries on one day.
            if chance.falls_within(0.3) {
                days.extend(days.first().copied());
                days.sort_unstable();
            }
            days
        }
        Trade::Monthly => (0..24).map(|n| start + n * 365 / 12).collect(),
        Trade::Contracts => (0..24).flat_map(|n| [start + n * 365 / 12; 3]).collect(),
        Trade::Weekly => every(7).collect(),
        Trade::Parts => (0..6).flat_map(|n| [start + n * 110; 3]).collect(),
        Trade::Yearly => vec![start, start + FIRST_YEAR_DAYS],
    }
}
