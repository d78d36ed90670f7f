//! How alike two invoices are, field by field, in points of 100. Pure: no database, no clock, no network.
//!
//! A field's weight says how much it speaks for (or against) the two being one invoice. They add up to the score. What
//! the weights are worth is measured on a labelled set: `load/RESULTS.md`.

use std::collections::{HashMap, HashSet, VecDeque};

use chrono::{Datelike, Days, NaiveDate};
use rust_decimal::Decimal;
use schemars::JsonSchema;
use serde::Serialize;
use strsim::jaro_winkler;

use super::numbers::{LONG_NUMBER, Numbers, apart_in_series, is_small, numbers, one_slip};
use super::spelling::{forms_agree, vendor_key};

/// What an invoice is compared by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// The vendor.
    pub vendor: Vendor,
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
    /// Two numbers for each line: one of all it says, one without its words.
    pub lines: Lines,
}

/// A vendor as it is compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vendor {
    /// As it was written.
    pub written: String,
    /// Its key, or that of the name it is known under.
    pub key: String,
    /// The form of the company; empty if it tells none, or is known under another name.
    pub form: String,
}

impl Vendor {
    /// Whether both are one, however they are spelled.
    #[must_use]
    pub fn is(&self, other: &Self) -> bool {
        self.key == other.key && forms_agree(&self.form, &other.form)
    }

    /// Whether both bear one name, and not only names of which somebody said that they are one vendor's.
    #[must_use]
    pub fn bears_the_name_of(&self, other: &Self) -> bool {
        vendor_key(&self.written) == vendor_key(&other.written)
    }
}

/// Lines as they are compared: the numbers of either kind in order, so that two invoices are read along each other.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lines {
    whole: Vec<i64>,
    amounts: Vec<i64>,
    /// Both numbers of each line, by its place on the invoice. Empty where the places are not known.
    placed: Vec<(i64, i64)>,
}

impl Lines {
    /// Lines by two numbers for each, in their places: of what, how many, at which price; and without what.
    #[must_use]
    pub fn new(placed: Vec<(i64, i64)>) -> Self {
        let (whole, amounts) = placed.iter().copied().unzip();
        Self { placed, ..Self::unplaced(whole, amounts) }
    }

    /// The same where nobody knows which line stands where.
    #[must_use]
    pub fn unplaced(mut whole: Vec<i64>, mut amounts: Vec<i64>) -> Self {
        whole.sort_unstable();
        amounts.sort_unstable();
        Self { whole, amounts, placed: Vec::new() }
    }

    /// Both numbers of each line, by its place.
    #[must_use]
    pub fn placed(&self) -> &[(i64, i64)] {
        &self.placed
    }
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
    /// Of `lines`: which of them are on both, by their places; at most 200. Left out where those are not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shared_lines: Option<Vec<SharedLine>>,
}

/// A line that is on both invoices.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
pub struct SharedLine {
    /// Its place on the one that is judged, from 1.
    pub ours: usize,
    /// Its place on the other.
    pub theirs: usize,
    /// Whether its words are the same too, and not only quantity and price.
    pub same_words: bool,
}

/// How alike two names must be to be one, misspelled.
const NAMES_ALIKE: f64 = 0.92;
/// Dates no farther apart are as good as one.
const DAYS_CLOSE: u64 = 3;
/// So many equal lines are no accident.
const MANY_LINES: usize = 3;
/// The most shared lines that are told.
const SHARED_LINES_MAX: usize = 200;

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

    /// Whether two invoices are looked at at all: those of one file, and those that agree in two of number, total and date.
    /// Only of such, and of one vendor's with one number, does one ever exclude the other, and any two of them share a
    /// [blocking key](super::rules::blocking_keys).
    #[must_use]
    pub fn comparable(&self, ours: &Facts, theirs: &Facts) -> bool {
        let is_same_file = ours.file_hash.is_some() && ours.file_hash == theirs.file_hash;
        let (totals, dates) =
            (self.totals_fit(ours.total, theirs.total), self.dates_fit(ours.date, theirs.date));
        let is_same_number = ours.number.1 == theirs.number.1 && (totals || dates);
        is_same_file || is_same_number || (totals && dates && ours.currency == theirs.currency)
    }
}

/// What an invoice says in a field.
type Say = fn(&Facts) -> String;

/// What each field of two invoices weighs, in points: vendor, number, total, currency, date, lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Weights([i32; 6]);

/// Weighs two invoices, field by field.
#[must_use]
pub fn weigh(ours: &Facts, theirs: &Facts, limits: Limits) -> Weights {
    let vendor = vendor_weight(ours, theirs);
    Weights([
        vendor,
        number_weight(ours, theirs, vendor > 0),
        total_weight(ours, theirs, limits),
        if ours.currency == theirs.currency { 0 } else { -30 },
        date_weight(ours, theirs, limits),
        lines_weight(&ours.lines, &theirs.lines),
    ])
}

impl Weights {
    /// The score, 0 to 100.
    #[must_use]
    pub fn score(&self) -> i32 {
        self.0.iter().sum::<i32>().clamp(0, 100)
    }

    /// What it is made of: of many that are weighed only few are told.
    #[must_use]
    pub fn evidence(&self, ours: &Facts, theirs: &Facts) -> Vec<Evidence> {
        let said: [(_, Say); 6] = [
            ("vendor_name", |facts| facts.vendor.written.clone()),
            ("invoice_number", |facts| facts.number.0.clone()),
            ("total", |facts| facts.total.to_string()),
            ("currency", |facts| facts.currency.clone()),
            ("invoice_date", |facts| facts.date.to_string()),
            ("lines", |facts| facts.lines.told()),
        ];
        let mut all = Vec::with_capacity(said.len());
        for ((field, say), points) in said.into_iter().zip(self.0) {
            all.push(Evidence {
                field,
                ours: say(ours),
                theirs: say(theirs),
                weight: f64::from(points) / 100.0,
                shared_lines: if field == "lines" { ours.lines.shared_with(&theirs.lines) } else { None },
            });
        }
        all
    }
}

impl Lines {
    fn told(&self) -> String {
        match self.whole.len() {
            1 => "1 line".to_owned(),
            lines => format!("{lines} lines"),
        }
    }

    /// Which lines are on both, each once: those that are the same first, then those of one quantity and price.
    fn shared_with(&self, theirs: &Self) -> Option<Vec<SharedLine>> {
        let is_placed = |lines: &Self| lines.placed.len() == lines.whole.len();
        if !is_placed(self) || !is_placed(theirs) {
            return None;
        }
        let (mut told, mut taken) = (vec![false; self.placed.len()], vec![false; theirs.placed.len()]);
        let mut shared = Vec::new();
        for same_words in [true, false] {
            let number = |line: &(i64, i64)| if same_words { line.0 } else { line.1 };
            let mut places: HashMap<i64, VecDeque<usize>> = HashMap::new();
            for (place, line) in theirs.placed.iter().enumerate().filter(|(place, _)| !taken[*place]) {
                places.entry(number(line)).or_default().push_back(place);
            }
            for (place, line) in self.placed.iter().enumerate() {
                let same = places.get_mut(&number(line)).filter(|_| !told[place]);
                let Some(other) = same.and_then(VecDeque::pop_front) else { continue };
                (told[place], taken[other]) = (true, true);
                shared.push(SharedLine { ours: place + 1, theirs: other + 1, same_words });
            }
        }
        shared.sort_unstable_by_key(|line| line.ours);
        shared.truncate(SHARED_LINES_MAX);
        Some(shared)
    }
}

fn vendor_weight(ours: &Facts, theirs: &Facts) -> i32 {
    match () {
        () if ours.vendor.is(&theirs.vendor) => 25,
        () if vendors_alike(&ours.vendor.key, &theirs.vendor.key) => 17,
        () => -15,
    }
}

fn number_weight(ours: &Facts, theirs: &Facts, may_be_one_vendor: bool) -> i32 {
    let ((_, key, squashed), (_, other_key, other_squashed)) = (&ours.number, &theirs.number);
    match numbers((key, squashed), (other_key, other_squashed)) {
        // The third invoice of the year is everybody's.
        Numbers::Same if !may_be_one_vendor && is_small(key) => 30,
        Numbers::Same if key.len() >= LONG_NUMBER => 50,
        Numbers::Same => 40,
        // What is typed anew has the date it had; what comes each week has another, and a number of the same series.
        Numbers::Misread | Numbers::Turned
            if days_apart(ours, theirs) > DAYS_CLOSE && in_series(squashed, other_squashed) =>
        {
            -12
        }
        Numbers::Misread | Numbers::Reissued => 30,
        Numbers::Turned => 15,
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
        // That speaks for itself.
        () if ours.currency != theirs.currency => 0,
        () if ours.total == theirs.total => 20,
        () if limits.totals_fit(ours.total, theirs.total) => 12,
        // With another number nobody looks at it; with the same, it is the total that was read wrong.
        () if one_slip(&ours.total.normalize().to_string(), &theirs.total.normalize().to_string()) => 0,
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
        // The year may have been read wrong, which lines tell: it takes a vendor long to count so far anew.
        _ if ours.date.with_year(theirs.date.year()) == Some(theirs.date) && !is_small(&ours.number.1) => -25,
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

/// How many of the numbers of both are in both, in hundredths. Both are in order; what is there twice counts once.
fn shared(ours: &[i64], theirs: &[i64]) -> i32 {
    let distinct = |of: &[i64]| of.chunk_by(|one, next| one == next).count();
    let (mut both, mut place) = (0, 0);
    for number in ours.chunk_by(|one, next| one == next).map(|alike| alike[0]) {
        place += theirs[place..].partition_point(|other| *other < number);
        both += usize::from(theirs.get(place) == Some(&number));
    }
    let all = distinct(ours) + distinct(theirs) - both;
    i32::try_from(100 * both / all.max(1)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shared_is_counted_once_however_often_it_is_there() {
        for (ours, theirs, expected) in [
            (vec![], vec![], 0),
            (vec![1, 2, 3], vec![3, 2, 1], 100),
            (vec![1, 1, 2], vec![2, 1], 100),
            (vec![1, 2], vec![2, 3, 3], 33),
            (vec![5], vec![1, 2, 3], 0),
        ] {
            let (ours, theirs) = (Lines::unplaced(ours, vec![]), Lines::unplaced(theirs, vec![]));
            assert_eq!(shared(&ours.whole, &theirs.whole), expected);
            assert_eq!(shared(&theirs.whole, &ours.whole), expected);
        }
    }

    #[test]
    fn lines_on_both_are_told_by_their_places_each_once_and_those_that_are_wholly_the_same_first() {
        let ours = Lines::new(vec![(1, 7), (2, 8), (1, 7), (3, 9)]);
        let theirs = Lines::new(vec![(5, 7), (1, 7), (4, 6)]);
        let shared = |ours, theirs, same_words| SharedLine { ours, theirs, same_words };
        assert_eq!(ours.shared_with(&theirs), Some(vec![shared(1, 2, true), shared(3, 1, false)]));
        assert_eq!(theirs.shared_with(&ours), Some(vec![shared(1, 3, false), shared(2, 1, true)]));
        assert_eq!(ours.shared_with(&Lines::unplaced(vec![1], vec![7])), None);
        assert_eq!(ours.shared_with(&Lines::default()), Some(vec![]));
        let many = Lines::new(vec![(1, 1); 2 * SHARED_LINES_MAX]);
        assert_eq!(many.shared_with(&many).map(|lines| lines.len()), Some(SHARED_LINES_MAX));
    }

    #[test]
    fn a_name_is_known_with_a_letter_wrong_or_its_end_cut_and_not_for_another() {
        assert!(vendors_alike("northwind traders", "northwlnd traders"));
        assert!(vendors_alike("amazon", "amazon eu"));
        assert!(!vendors_alike("acme north", "brown and sons"));
        assert!(!vendors_alike("a b", "a b c"));
    }
}
