//! How alike two invoices are, field by field, in points of 100. Pure: no database, no clock, no network.
//!
//! A field's weight says how much it speaks for (or against) the two being one invoice. They add up to the score. What
//! the weights are worth is measured on a labelled set: `load/RESULTS.md`.

use std::collections::HashSet;

use chrono::{Datelike, Days, NaiveDate};
use rust_decimal::Decimal;
use schemars::JsonSchema;
use serde::Serialize;
use strsim::{damerau_levenshtein, jaro_winkler, osa_distance};

use super::spelling::as_scanned;

/// What an invoice is compared by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// The vendor as it was written, and by its key.
    pub vendor: (String, String),
    /// The number as it was written, its key, and its letters and digits.
    pub number: (String, String, String),
    /// The invoice's date.
    pub date: NaiveDate,
    /// Its total.
    pub total: Decimal,
    /// The currency's code.
    pub currency: String,
    /// The hash of its file, in small letters.
    pub file_hash: Option<String>,
    /// A number for each line, and one for each line without its words.
    pub lines: Lines,
}

/// Lines as they are compared.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lines {
    /// Of what, how many, at which price.
    pub whole: Vec<i64>,
    /// How many, at which price.
    pub amounts: Vec<i64>,
}

/// One field of two invoices.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[schemars(rename = "VerdictEvidence")]
pub struct Evidence {
    /// Which.
    pub field: &'static str,
    /// What the one that is judged says.
    pub ours: String,
    /// What the other says.
    pub theirs: String,
    /// What it speaks for the two being one, of 1; below 0 it speaks against.
    pub weight: f64,
}

/// How two numbers go together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Numbers {
    /// The same, as spelled in one way.
    Same,
    /// One is the other, read or typed wrong.
    Misread,
    /// One is the other, issued again.
    Reissued,
    /// The one follows the other in a series.
    Next,
    /// Both are of one series.
    Series,
    /// They have nothing in common.
    Other,
}

/// What is added to a number that is issued again.
const AGAIN: [&str; 10] = ["A", "B", "R", "C0PY", "DUP", "REV", "REV1", "C0RR", "V2", "BIS"];
/// Numbers this long are no accident.
const LONG_NUMBER: usize = 5;
/// Numbers no farther apart follow each other.
const NEXT_MAX: u64 = 2;
/// How alike two names must be to be one, misspelled.
const NAMES_ALIKE: f64 = 0.92;
/// Dates no farther apart are as good as one.
const DAYS_CLOSE: u64 = 3;
/// So many equal lines are no accident.
const MANY_LINES: usize = 3;

/// How two numbers go together, by their keys and their letters and digits.
#[must_use]
pub fn numbers(ours: (&str, &str), theirs: (&str, &str)) -> Numbers {
    let (one, other) = (ours.1, theirs.1);
    if ours.0 == theirs.0 || one == other {
        return Numbers::Same;
    }
    let (short, long) = if one.len() <= other.len() { (one, other) } else { (other, one) };
    if long.strip_prefix(short).is_some_and(|rest| AGAIN.contains(&rest)) {
        return Numbers::Reissued;
    }
    let digits = |text: &str| text.chars().filter(char::is_ascii_digit).collect::<String>();
    let same_digits = digits(one) == digits(other) && digits(one).len() >= LONG_NUMBER - 1;
    if same_digits || as_scanned(one) == as_scanned(other) {
        return Numbers::Misread;
    }
    if let Some(apart) = apart_in_series(one, other) {
        let is_typed_wrong = damerau_levenshtein(one, other) == 1 && apart >= 100;
        let is_turned = osa_distance(one, other) == 1 && sorted(one) == sorted(other) && apart >= 9;
        return match apart {
            _ if is_typed_wrong || is_turned => Numbers::Misread,
            ..=NEXT_MAX => Numbers::Next,
            _ => Numbers::Series,
        };
    }
    let is_close = osa_distance(one, other) == 1 && short.len() >= LONG_NUMBER;
    if is_close { Numbers::Misread } else { Numbers::Other }
}

fn sorted(text: &str) -> Vec<char> {
    let mut chars: Vec<_> = text.chars().collect();
    chars.sort_unstable();
    chars
}

/// How far two numbers are apart that differ in their last digits alone.
fn apart_in_series(one: &str, other: &str) -> Option<u64> {
    let split = |text: &str| {
        let at = text.trim_end_matches(|c: char| c.is_ascii_digit()).len();
        Some((text[..at].to_owned(), text[at..].parse::<u64>().ok()?))
    };
    let ((head, ours), (other_head, theirs)) = (split(one)?, split(other)?);
    (head == other_head && one.len().abs_diff(other.len()) <= 1).then(|| ours.abs_diff(theirs))
}

/// Whether two vendors' keys are one name, misspelled or cut.
#[must_use]
pub fn vendors_alike(one: &str, other: &str) -> bool {
    if jaro_winkler(one, other) >= NAMES_ALIKE || one.replace(' ', "") == other.replace(' ', "") {
        return true;
    }
    let words = |key: &str| key.split(' ').map(str::to_owned).collect::<HashSet<_>>();
    let (one, other) = (words(one), words(other));
    let few = if one.len() <= other.len() { (&one, &other) } else { (&other, &one) };
    few.0.is_subset(few.1) && few.0.iter().any(|word| word.chars().count() >= 4)
}

/// The date with day and month in each other's place, if that is another date.
#[must_use]
pub fn turned(date: NaiveDate) -> Option<NaiveDate> {
    NaiveDate::from_ymd_opt(date.year(), date.day(), date.month()).filter(|turned| *turned != date)
}

/// Within what two invoices can be one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// So many days apart.
    pub days: u16,
    /// So far apart in their totals.
    pub tolerance: Decimal,
}

impl Limits {
    /// The first and the last day that is close to a date.
    #[must_use]
    pub fn around(&self, date: NaiveDate) -> (NaiveDate, NaiveDate) {
        let days = Days::new(self.days.into());
        (date.checked_sub_days(days).unwrap_or(date), date.checked_add_days(days).unwrap_or(date))
    }

    /// Whether the dates are close, or one was read with day and month in each other's place.
    #[must_use]
    pub fn dates_fit(&self, ours: NaiveDate, theirs: NaiveDate) -> bool {
        let (from, to) = self.around(ours);
        (from..=to).contains(&theirs) || turned(ours) == Some(theirs)
    }

    /// Whether the totals are the same, within the tolerance.
    #[must_use]
    pub fn totals_fit(&self, ours: Decimal, theirs: Decimal) -> bool {
        (ours - theirs).abs() <= self.tolerance
    }

    /// Whether two invoices are looked at at all: only of such does one ever exclude the other, and any two of them share
    /// a [blocking key](super::rules::blocking_keys).
    #[must_use]
    pub fn comparable(&self, ours: &Facts, theirs: &Facts) -> bool {
        let is_same_file = ours.file_hash.is_some() && ours.file_hash == theirs.file_hash;
        let is_close = ours.currency == theirs.currency
            && self.totals_fit(ours.total, theirs.total)
            && self.dates_fit(ours.date, theirs.date);
        is_same_file || ours.number.1 == theirs.number.1 || is_close
    }
}

/// The score of two invoices, 0 to 100, and what it is made of.
#[must_use]
pub fn compare(ours: &Facts, theirs: &Facts, limits: Limits) -> (i32, Vec<Evidence>) {
    let weights = [
        ("vendor_name", ours.vendor.0.clone(), theirs.vendor.0.clone(), vendor_weight(ours, theirs)),
        ("invoice_number", ours.number.0.clone(), theirs.number.0.clone(), number_weight(ours, theirs)),
        ("total", ours.total.to_string(), theirs.total.to_string(), total_weight(ours, theirs, limits)),
        ("invoice_date", ours.date.to_string(), theirs.date.to_string(), date_weight(ours, theirs, limits)),
        ("lines", ours.lines.told(), theirs.lines.told(), lines_weight(&ours.lines, &theirs.lines)),
    ];
    let score = weights.iter().map(|(.., points)| points).sum::<i32>().clamp(0, 100);
    let evidence = weights.into_iter().map(|(field, ours, theirs, points)| Evidence {
        field,
        ours,
        theirs,
        weight: f64::from(points) / 100.0,
    });
    (score, evidence.collect())
}

impl Lines {
    fn told(&self) -> String {
        match self.whole.len() {
            1 => "1 line".to_owned(),
            lines => format!("{lines} lines"),
        }
    }
}

fn vendor_weight(ours: &Facts, theirs: &Facts) -> i32 {
    match (&ours.vendor.1, &theirs.vendor.1) {
        (one, other) if one == other => 25,
        (one, other) if vendors_alike(one, other) => 17,
        _ => -15,
    }
}

fn number_weight(ours: &Facts, theirs: &Facts) -> i32 {
    let ((_, key, squashed), (_, other_key, other_squashed)) = (&ours.number, &theirs.number);
    match numbers((key, squashed), (other_key, other_squashed)) {
        Numbers::Same if key.len() >= LONG_NUMBER => 50,
        Numbers::Same => 40,
        // What is typed anew has the date it had; what comes each week has another, and a number of the same series.
        Numbers::Misread if days_apart(ours, theirs) > DAYS_CLOSE && in_series(squashed, other_squashed) => {
            -12
        }
        Numbers::Misread | Numbers::Reissued => 30,
        Numbers::Next => -25,
        Numbers::Series => -12,
        Numbers::Other => 0,
    }
}

fn days_apart(ours: &Facts, theirs: &Facts) -> u64 {
    (ours.date - theirs.date).num_days().unsigned_abs()
}

fn in_series(one: &str, other: &str) -> bool {
    apart_in_series(one, other).is_some()
}

fn total_weight(ours: &Facts, theirs: &Facts, limits: Limits) -> i32 {
    match () {
        () if ours.currency != theirs.currency => -30,
        () if ours.total == theirs.total => 20,
        () if limits.totals_fit(ours.total, theirs.total) => 12,
        () => -30,
    }
}

fn date_weight(ours: &Facts, theirs: &Facts, limits: Limits) -> i32 {
    let apart = days_apart(ours, theirs);
    match apart {
        0 => 15,
        1..=DAYS_CLOSE => 8,
        // It speaks for nothing by itself: what comes each month on the fourth is there on every fourth.
        _ if turned(ours.date) == Some(theirs.date) => 0,
        _ if apart <= u64::from(limits.days) => 3,
        _ if ours.date.year() == theirs.date.year() => -10,
        _ => -60,
    }
}

/// Lines that only one of the two has say nothing: many scanners read none.
fn lines_weight(ours: &Lines, theirs: &Lines) -> i32 {
    if ours.whole.is_empty() || theirs.whole.is_empty() {
        return 0;
    }
    // In hundredths: half for what is the same with its words, half for what is without.
    let alike = (shared(&ours.whole, &theirs.whole) + shared(&ours.amounts, &theirs.amounts)) / 2;
    let many = ours.whole.len().min(theirs.whole.len()) >= MANY_LINES;
    match alike {
        ..=20 => -25,
        _ if many => 32 * alike / 100,
        _ => 15 * alike / 100,
    }
}

/// How many of the numbers of both are in both, in hundredths.
fn shared(ours: &[i64], theirs: &[i64]) -> i32 {
    let (ours, theirs): (HashSet<_>, HashSet<_>) = (ours.iter().collect(), theirs.iter().collect());
    let (both, all) = (ours.intersection(&theirs).count(), ours.union(&theirs).count());
    i32::try_from(100 * both / all.max(1)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::super::spelling::{number_key, squashed};
    use super::*;

    fn relation(one: &str, other: &str) -> Numbers {
        let (one, other) = ((number_key(one), squashed(one)), (number_key(other), squashed(other)));
        let there = numbers((&one.0, &one.1), (&other.0, &other.1));
        let back = numbers((&other.0, &other.1), (&one.0, &one.1));
        assert_eq!(there, back);
        there
    }

    #[test]
    fn numbers_are_told_apart_by_how_they_came_to_be_different() {
        for (one, other, expected) in [
            ("INV-0042", "inv42", Numbers::Same),
            ("2024-001", "2024001", Numbers::Same),
            ("INV-10482", "1NV-l0482", Numbers::Misread),
            ("INV-10482", "INV-1048Z", Numbers::Misread),
            ("INV-10482", "INV-10842", Numbers::Misread),
            ("INV-10482", "INV-19482", Numbers::Misread),
            ("INV-10482", "10482", Numbers::Misread),
            ("INV-10482", "INV-1482", Numbers::Misread),
            ("INV-10482", "INV-10482-R", Numbers::Reissued),
            ("INV-10482", "INV-10482 copy", Numbers::Reissued),
            ("INV-10482", "INV-10483", Numbers::Next),
            ("INV-100/1", "INV-100/2", Numbers::Next),
            ("INV-10482", "INV-10519", Numbers::Series),
            ("INV-10482", "RE/77", Numbers::Other),
        ] {
            assert_eq!(relation(one, other), expected, "{one} {other}");
        }
    }

    #[test]
    fn a_name_is_known_with_a_letter_wrong_or_its_end_cut_and_not_for_another() {
        assert!(vendors_alike("northwind traders", "northwlnd traders"));
        assert!(vendors_alike("amazon", "amazon eu"));
        assert!(!vendors_alike("acme north", "brown and sons"));
        assert!(!vendors_alike("a b", "a b c"));
    }
}
