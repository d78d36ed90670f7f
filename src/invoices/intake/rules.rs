//! Whether an invoice is in already. Pure: no database, no clock, no network.
//!
//! What must stay true: of two invoices of one account that could exclude each other, both have a blocking key in
//! common. So their uploads, which lock their keys, go one after the other, and the second sees the first.

use chrono::{Datelike, Days, NaiveDate};
use rust_decimal::Decimal;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::compare::{Evidence, Facts, Limits, Weights, turned, vendors_alike, weigh};

/// The farthest that a policy may let the dates of near duplicates be apart.
pub const WINDOW_DAYS_MAX: u16 = 31;
/// The most that a policy may let their totals differ by.
pub const TOLERANCE_MAX: Decimal = Decimal::ONE;
/// Points of 100 from which on another invoice is a near duplicate, unless the account's policy says otherwise.
pub const THRESHOLD: u16 = 75;
/// Dates are locked in buckets of so many days: more than twice the widest window.
const BUCKET_DAYS: i32 = 64;
/// Totals, moved away from nought by this, are locked in buckets of about a tenth.
const TOTAL_SHIFT: i64 = 100;
/// Where in a decade the buckets begin.
const SERIES: [i64; 24] =
    [10, 11, 12, 13, 15, 16, 18, 20, 22, 24, 27, 30, 33, 36, 39, 43, 47, 51, 56, 62, 68, 75, 82, 91];
/// The most earlier invoices that a flagged one is kept beside.
pub const MATCHES_MAX: i64 = 20;
/// The longest number that stands in a key as it is.
const READABLE_MAX: usize = 64;

/// By whose rules near duplicates are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "PolicyRules")]
pub enum Rules {
    /// By the score.
    Holdfast,
    /// The same vendor, a day apart at most, a cent apart at most.
    Source,
    /// The same number in the same year, or the same total on the same day, of one vendor in one currency.
    Odoo,
    /// The same number of one vendor in a year, and nothing else.
    Erpnext,
    /// The same total on the same day, of vendors whose names are alike.
    #[serde(rename = "expensein")]
    ExpenseIn,
}

impl Rules {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Holdfast, Self::Source, Self::Odoo, Self::Erpnext, Self::ExpenseIn];

    /// Their name in answers and tables.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Holdfast => "holdfast",
            Self::Source => "source",
            Self::Odoo => "odoo",
            Self::Erpnext => "erpnext",
            Self::ExpenseIn => "expensein",
        }
    }
}

/// What becomes of a near duplicate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnDuplicate {
    /// It is refused.
    Reject,
    /// It is kept apart until somebody has looked at it.
    Flag,
}

impl OnDuplicate {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Reject, Self::Flag];

    /// Its name in answers and tables.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Reject => "reject",
            Self::Flag => "flag",
        }
    }
}

/// How strict an account is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// By whose rules.
    pub rules: Rules,
    /// What becomes of a near duplicate whose upload says nothing else.
    pub on_duplicate: OnDuplicate,
    /// Points of 100 from which on another invoice is a near duplicate, by the score.
    pub threshold: i32,
    /// Within what two invoices can be one, by the score.
    pub limits: Limits,
}

impl Policy {
    /// Within what its rules look. Those of others are what these say, whatever the account says of the score.
    #[must_use]
    pub fn reach(&self) -> Limits {
        match self.rules {
            Rules::Holdfast => self.limits,
            Rules::Source => Limits { days: 1, tolerance: Decimal::new(1, 2) },
            Rules::Odoo | Rules::Erpnext | Rules::ExpenseIn => Limits { days: 0, tolerance: Decimal::ZERO },
        }
    }
}

impl Default for Policy {
    fn default() -> Self {
        let limits = Limits { days: 14, tolerance: Decimal::new(1, 2) };
        Self {
            rules: Rules::Holdfast,
            on_duplicate: OnDuplicate::Reject,
            threshold: THRESHOLD.into(),
            limits,
        }
    }
}

/// Why an invoice is in already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "VerdictType")]
pub enum Kind {
    /// It is not.
    New,
    /// Very much like another.
    Near,
    /// The number of that vendor is in.
    Exact,
    /// The very file is in.
    FileHash,
    /// Another upload that it would be compared with did not end in time.
    Concurrent,
}

/// What one invoice is to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Judged {
    /// Whether and why the two are one.
    pub kind: Kind,
    /// Points of 100.
    pub score: i32,
    weights: Weights,
}

impl Judged {
    /// Why, field by field.
    #[must_use]
    pub fn evidence(&self, ours: &Facts, theirs: &Facts) -> Vec<Evidence> {
        let mut evidence = self.weights.evidence(ours, theirs);
        if let (Kind::FileHash, Some(hash), Some(other)) = (self.kind, &ours.file_hash, &theirs.file_hash) {
            let (ours, theirs) = (hash.clone(), other.clone());
            let field = "file_hash";
            evidence.insert(0, Evidence { field, ours, theirs, weight: 1.0, shared_lines: None });
        }
        evidence
    }
}

/// Judges an invoice beside another of the same account that is in.
#[must_use]
pub fn judge(ours: &Facts, theirs: &Facts, policy: &Policy) -> Judged {
    let reach = policy.reach();
    let weights = weigh(ours, theirs, reach);
    if ours.file_hash.is_some() && ours.file_hash == theirs.file_hash {
        return Judged { kind: Kind::FileHash, score: 100, weights };
    }
    if is_exact(ours, theirs) {
        return Judged { kind: Kind::Exact, score: 100, weights };
    }
    let score = weights.score();
    let is_near = reach.comparable(ours, theirs) && is_near(ours, theirs, policy, score);
    Judged { kind: if is_near { Kind::Near } else { Kind::New }, score, weights }
}

/// A vendor's number, which begins anew with each year.
fn is_exact(ours: &Facts, theirs: &Facts) -> bool {
    ours.number.1 == theirs.number.1
        && ours.vendor.is(&theirs.vendor)
        && ours.date.year() == theirs.date.year()
}

/// Whether somebody may look at an exact one, and let it pass: it may be another company of that name, or a till that
/// begins its numbers anew each day; and that two names are one vendor's may have been learned wrongly.
#[must_use]
pub fn may_be_another(ours: &Facts, theirs: &Facts) -> bool {
    let says_the_same =
        (ours.total, ours.date, &ours.currency) == (theirs.total, theirs.date, &theirs.currency);
    !says_the_same || !ours.vendor.bears_the_name_of(&theirs.vendor)
}

/// Whether overriding a verdict teaches that both names are of one vendor: if somebody says so, or says nothing and the
/// names are alike.
#[must_use]
pub fn teaches(said: Option<bool>, ours: &str, theirs: &str) -> bool {
    said.unwrap_or_else(|| vendors_alike(ours, theirs))
}

fn is_near(ours: &Facts, theirs: &Facts, policy: &Policy, score: i32) -> bool {
    let one_vendor = ours.vendor.is(&theirs.vendor);
    // Also with another number, and not with day and month in each other's place.
    let within = || {
        let (limits, days) = (policy.reach(), (ours.date - theirs.date).num_days().unsigned_abs());
        let is_close = days <= limits.days.into() && limits.totals_fit(ours.total, theirs.total);
        is_close && ours.currency == theirs.currency
    };
    match policy.rules {
        Rules::Holdfast => score >= policy.threshold,
        Rules::Source | Rules::Odoo => one_vendor && within(),
        Rules::Erpnext => false,
        Rules::ExpenseIn => within() && (one_vendor || vendors_alike(&ours.vendor.key, &theirs.vendor.key)),
    }
}

/// The key under which the names of an account's vendors are learned and forgotten: one after the other, so that none leads
/// in a circle.
pub const ALIASES_KEY: &str = "aliases";

/// Names under which uploads exclude each other that could be one invoice: by file, by number, and by currency, total
/// and date in buckets, with those neighbours that a limit reaches into. The vendor is in none of them, for it may be
/// misspelled.
#[must_use]
pub fn blocking_keys(facts: &Facts) -> Vec<String> {
    let mut keys = vec![format!("number:{}", short(&facts.number.1))];
    keys.extend(facts.file_hash.as_ref().map(|hash| format!("file:{hash}")));
    let window = Days::new(WINDOW_DAYS_MAX.into());
    let around =
        [facts.date.checked_sub_days(window), facts.date.checked_add_days(window), turned(facts.date)];
    let mut dates: Vec<_> = around.into_iter().flatten().map(date_bucket).collect();
    let mut totals: Vec<_> =
        [facts.total - TOLERANCE_MAX, facts.total + TOLERANCE_MAX].map(total_bucket).to_vec();
    for buckets in [&mut dates, &mut totals] {
        buckets.sort_unstable();
        buckets.dedup();
    }
    for total in &totals {
        keys.extend(dates.iter().map(|date| format!("total:{}:{total}:{date}", facts.currency)));
    }
    keys
}

fn short(number: &str) -> String {
    if number.len() <= READABLE_MAX && number.is_ascii() {
        return number.to_owned();
    }
    hex::encode(Sha256::digest(number.as_bytes()))
}

fn date_bucket(date: NaiveDate) -> i32 {
    date.num_days_from_ce().div_euclid(BUCKET_DAYS)
}

fn total_bucket(total: Decimal) -> i32 {
    let (ten, mut left) = (Decimal::TEN, total.max(Decimal::ZERO) + Decimal::from(TOTAL_SHIFT));
    let mut decade = 0;
    while left >= Decimal::ONE_HUNDRED {
        left /= ten;
        decade += 1;
    }
    let within = SERIES.iter().filter(|begin| left >= Decimal::from(**begin)).count();
    decade * 24 + i32::try_from(within).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::compare::Vendor;
    use super::super::spelling::{number_key, squashed, vendor_form, vendor_key};
    use super::*;

    fn facts(vendor: &str, number: &str, date: NaiveDate, cents: i64) -> Facts {
        Facts {
            vendor: Vendor {
                written: vendor.to_owned(),
                key: vendor_key(vendor),
                form: vendor_form(vendor).to_owned(),
            },
            number: (number.to_owned(), number_key(number), squashed(number)),
            date,
            total: Decimal::new(cents, 2),
            currency: "EUR".to_owned(),
            file_hash: None,
            lines: Default::default(),
        }
    }

    fn day(day: i32) -> NaiveDate {
        NaiveDate::from_num_days_from_ce_opt(day).unwrap()
    }

    proptest! {
        #[test]
        fn two_that_can_be_one_share_a_blocking_key(
            start in 719_163_i32..740_000, apart in -31_i32..=31, is_turned in any::<bool>(),
            cents in 0_i64..1_000_000_000, difference in -100_i64..=100, other_number in any::<bool>(),
        ) {
            let policy = Policy {
                limits: Limits { days: WINDOW_DAYS_MAX, tolerance: TOLERANCE_MAX }, threshold: 1, ..Policy::default()
            };
            let one = facts("Acme", "INV-10482", day(start), cents);
            let date = turned(one.date).filter(|_| is_turned).unwrap_or(day(start + apart));
            let number = if other_number { "INV-77" } else { "inv 010482" };
            let other = facts("Brown", number, date, (cents + difference).max(0));
            let (keys, others) = (blocking_keys(&one), blocking_keys(&other));
            prop_assert!(keys.len() <= 8, "{keys:?}");
            if policy.limits.comparable(&one, &other) {
                prop_assert!(keys.iter().any(|key| others.contains(key)), "{keys:?} {others:?}");
            }
            prop_assert_eq!(policy.limits.comparable(&one, &other), policy.limits.comparable(&other, &one));
        }
    }

    #[test]
    fn a_number_is_exact_within_a_year_and_anew_in_the_next() {
        let (one, policy) = (facts("Acme Ltd", "2024/001", day(739_000), 12_000), Policy::default());
        let again = facts("ACME", "2024-1", day(739_030), 99_000);
        assert_eq!(judge(&again, &one, &policy).kind, Kind::Exact);
        let namesake = facts("Acme GmbH", "2024-1", day(739_030), 99_000);
        assert_eq!(judge(&namesake, &one, &policy).kind, Kind::New);
        let next_year = facts("ACME", "2024-1", day(739_365), 12_000);
        assert_eq!(judge(&next_year, &one, &policy).kind, Kind::New);
    }

    #[test]
    fn one_whose_year_alone_was_read_wrong_is_told_by_its_lines_unless_its_number_is_one_of_every_year() {
        use super::super::compare::Lines;
        let date = |year| NaiveDate::from_ymd_opt(year, 3, 2).unwrap();
        let of = |number: &str, year, lines: &[i64]| Facts {
            lines: Lines::new(lines.iter().map(|line| (*line, *line)).collect()),
            ..facts("Northwind Traders", number, date(year), 12_000)
        };
        for (number, ours, theirs, expected) in [
            ("INV-10482", vec![1, 2, 3], vec![1, 2, 3], Kind::Near),
            ("INV-10482", vec![1], vec![1], Kind::Near),
            ("INV-10482", vec![], vec![], Kind::New),
            ("INV-10482", vec![1, 2, 3], vec![4, 5, 6], Kind::New),
            ("INV-00017", vec![1, 2, 3], vec![1, 2, 3], Kind::New),
        ] {
            let judged = judge(&of(number, 2027, &ours), &of(number, 2026, &theirs), &Policy::default());
            assert_eq!(judged.kind, expected, "{number} {ours:?} {theirs:?} {judged:?}");
        }
        let a_day_later = Facts { date: date(2027).succ_opt().unwrap(), ..of("INV-10482", 2027, &[1, 2, 3]) };
        let judged = judge(&a_day_later, &of("INV-10482", 2026, &[1, 2, 3]), &Policy::default());
        assert_eq!(judged.kind, Kind::New, "{judged:?}");
    }

    #[test]
    fn an_exact_one_may_be_another_unless_it_says_the_same_under_the_same_name() {
        let one = facts("Parkhaus Nord 1", "17", day(739_000), 450);
        let learned = |mut facts: Facts| {
            facts.vendor.key = one.vendor.key.clone();
            facts
        };
        for (other, may_be) in [
            (one.clone(), false),
            (facts("PARKHAUS  nord-1", "017", day(739_000), 450), false),
            (facts("Parkhaus Nord 1", "17", day(739_001), 450), true),
            (facts("Parkhaus Nord 1", "17", day(739_000), 451), true),
            (Facts { currency: "CHF".to_owned(), ..one.clone() }, true),
            (learned(facts("Parkhaus Nord 2", "17", day(739_000), 450)), true),
        ] {
            assert_eq!(judge(&other, &one, &Policy::default()).kind, Kind::Exact, "{other:?}");
            assert_eq!((may_be_another(&other, &one), may_be_another(&one, &other)), (may_be, may_be));
        }
        // Two that are known under a third's name are as they are under their own.
        let known = |name: &str| learned(facts(name, "17", day(739_000), 450));
        assert!(!may_be_another(&known("Nord P2"), &known("NORD P2")));
        assert!(may_be_another(&known("Nord P2"), &known("Nord P3")));
    }

    #[test]
    fn what_is_near_is_told_by_the_score_and_by_older_rules_where_an_account_wants_them() {
        let one = facts("Northwind Traders", "INV-10482", day(739_000), 12_000);
        let misread = facts("Northwlnd Traders", "INV-1O48Z", day(739_001), 12_000);
        let misread_that_day = facts("Northwlnd Traders", "77", day(739_000), 12_000);
        let next = facts("Northwind Traders", "INV-10483", day(739_000), 12_000);
        // The same two digits the other way round: a week later the vendor's next one, on the same day a slip.
        let weekly = facts("Northwind Traders", "INV-10842", day(739_007), 12_000);
        let typed_wrong = facts("Northwind Traders", "INV-10842", day(739_000), 12_000);
        let other = facts("Brown", "77", day(739_000), 12_000);
        let total_misread = facts("Northwlnd Traders", "INV-10482", day(739_000), 12_100);
        let by = |rules| Policy { rules, ..Policy::default() };
        for (invoice, rules, expected) in [
            (&misread, Rules::Holdfast, Kind::Near),
            (&next, Rules::Holdfast, Kind::New),
            (&weekly, Rules::Holdfast, Kind::New),
            (&typed_wrong, Rules::Holdfast, Kind::Near),
            (&other, Rules::Holdfast, Kind::New),
            (&total_misread, Rules::Holdfast, Kind::Near),
            (&misread, Rules::Source, Kind::New),
            (&next, Rules::Source, Kind::Near),
            (&next, Rules::Odoo, Kind::Near),
            (&next, Rules::Erpnext, Kind::New),
            (&misread_that_day, Rules::ExpenseIn, Kind::Near),
            (&misread, Rules::ExpenseIn, Kind::New),
            (&other, Rules::ExpenseIn, Kind::New),
        ] {
            let judged = judge(invoice, &one, &by(rules));
            assert_eq!(judged.kind, expected, "{rules:?} {invoice:?} {judged:?}");
        }
        let judged = judge(&misread, &one, &Policy::default());
        let sum: f64 = judged.evidence(&misread, &one).iter().map(|evidence| evidence.weight).sum();
        assert!((sum * 100.0 - f64::from(judged.score)).abs() < 0.001, "{judged:?}");
    }

    #[test]
    fn the_rules_of_others_are_what_these_say_however_narrow_or_wide_an_account_has_the_score() {
        let one = facts("Northwind Traders", "INV-10482", day(739_000), 12_000);
        let a_day_and_a_cent_off = facts("Northwind Traders", "INV-11000", day(739_001), 12_001);
        let two_days_off = facts("Northwind Traders", "INV-11000", day(739_002), 12_000);
        let two_cents_off = facts("Northwind Traders", "INV-11000", day(739_000), 12_002);
        for limits in [
            Limits { days: 0, tolerance: Decimal::ZERO },
            Limits { days: WINDOW_DAYS_MAX, tolerance: TOLERANCE_MAX },
        ] {
            let by = |rules| Policy { rules, limits, ..Policy::default() };
            for (invoice, source) in
                [(&a_day_and_a_cent_off, Kind::Near), (&two_days_off, Kind::New), (&two_cents_off, Kind::New)]
            {
                assert_eq!(judge(invoice, &one, &by(Rules::Source)).kind, source, "{limits:?} {invoice:?}");
                assert_eq!(judge(invoice, &one, &by(Rules::Odoo)).kind, Kind::New);
            }
            let same = Facts { number: a_day_and_a_cent_off.number.clone(), ..one.clone() };
            assert_eq!(judge(&same, &one, &by(Rules::Odoo)).kind, Kind::Near);
            let dollars = Facts { currency: "USD".to_owned(), ..same };
            assert_eq!(judge(&dollars, &one, &by(Rules::Source)).kind, Kind::New);
        }
    }
}
