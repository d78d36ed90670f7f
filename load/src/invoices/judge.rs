//! Asks rules about each upload beside all that came before it and were not the same, and counts how often they are
//! right.

use std::collections::BTreeMap;

use holdfast::invoices::intake::compare::Facts;
use holdfast::invoices::intake::model::GivenInvoice;
use holdfast::invoices::intake::rules::{Kind, Policy, Rules, THRESHOLD, judge};
use serde::Serialize;
use serde_json::json;

use super::rivals::RIVALS;
use super::{Settings, Upload, set};
use crate::terminal::say;

/// The thresholds that are tried, and at what distance they are said.
const THRESHOLDS: std::ops::RangeInclusive<u16> = 50..=100;
const SAID_EACH: u16 = 5;
/// What must be reached at the usual threshold.
const PRECISION_MIN: f64 = 0.99;
const RECALL_MIN: f64 = 0.95;

/// How often a rule was right.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct Count {
    /// Told to be there, and was.
    right: u64,
    /// Told to be there, and was not.
    wrong: u64,
    /// Not told to be there, and was.
    missed: u64,
}

impl Count {
    fn add(&mut self, told: bool, is_again: bool) {
        match (told, is_again) {
            (true, true) => self.right += 1,
            (true, false) => self.wrong += 1,
            (false, true) => self.missed += 1,
            (false, false) => {}
        }
    }

    /// How many of those told are.
    pub fn precision(self) -> f64 {
        ratio(self.right, self.right + self.wrong)
    }

    /// How many of those that are were told.
    pub fn recall(self) -> f64 {
        ratio(self.right, self.right + self.missed)
    }

    fn told(self, name: &str) -> String {
        format!(
            "{name:<16} precision {:.4}  recall {:.4}  ({} right, {} wrong, {} missed)",
            self.precision(),
            self.recall(),
            self.right,
            self.wrong,
            self.missed
        )
    }
}

fn ratio(part: u64, whole: u64) -> f64 {
    if whole == 0 { 1.0 } else { part as f64 / whole as f64 }
}

/// What came of it.
#[derive(Debug, Serialize)]
pub struct Report {
    uploads: u64,
    again: u64,
    /// By threshold.
    pub thresholds: BTreeMap<u16, Count>,
    /// By whose rules.
    pub rivals: BTreeMap<&'static str, Count>,
    /// Of each way to come again: how many, and how many of them were told at the usual threshold.
    ways: BTreeMap<&'static str, (u64, u64)>,
    /// Whether what must be reached is, and at each other rule's precision, or a higher one, more is found.
    pub ok: bool,
}

/// Judges the whole set.
///
/// # Errors
/// If an upload could not be one of the service's.
pub fn run(settings: Settings) -> anyhow::Result<Report> {
    let mut report = Report {
        uploads: 0,
        again: 0,
        thresholds: THRESHOLDS.map(|threshold| (threshold, Count::default())).collect(),
        rivals: BTreeMap::new(),
        ways: BTreeMap::new(),
        ok: false,
    };
    for account in set::accounts(settings) {
        let mut before: Vec<(&Upload, Facts)> = Vec::new();
        for upload in &account {
            let facts = facts(upload)?;
            report.judge(upload, &facts, &before);
            if upload.again.is_none() {
                before.push((upload, facts));
            }
        }
    }
    report.ok = report.is_as_good_as_it_must();
    Ok(report)
}

fn facts(upload: &Upload) -> anyhow::Result<Facts> {
    let money = |cents: i64| format!("{}.{:02}", cents / 100, cents % 100);
    let date = chrono::DateTime::from_timestamp(i64::from(upload.day) * 86_400, 0).unwrap_or_default();
    let line = |(words, quantity, price): &(String, i64, i64)| json!({"description": words, "quantity": quantity, "unit_price": money(*price)});
    let given: GivenInvoice = serde_json::from_value(json!({
        "account_id": "acc", "vendor_name": upload.vendor, "invoice_number": upload.number,
        "invoice_date": date.format("%Y-%m-%d").to_string(), "total": money(upload.cents), "currency": upload.currency,
        "file_hash": upload.file.map(|file| format!("{file:016x}")),
        "lines": upload.lines.iter().map(line).collect::<Vec<_>>(),
    }))?;
    Ok(given.facts(None))
}

impl Report {
    fn judge(&mut self, upload: &Upload, facts: &Facts, before: &[(&Upload, Facts)]) {
        let is_again = upload.again.is_some();
        self.uploads += 1;
        self.again += u64::from(is_again);
        let by = |rules, threshold: u16| Policy { rules, threshold: threshold.into(), ..Policy::default() };
        // The highest score of those that are looked at; what is exact is told at any threshold.
        let highest = before
            .iter()
            .map(|(_, other)| other)
            .filter(|other| Policy::default().limits.comparable(facts, other))
            .map(|other| judge(facts, other, &by(Rules::Holdfast, THRESHOLD)))
            .map(|judged| if judged.kind >= Kind::Exact { 101 } else { judged.score })
            .max()
            .unwrap_or(-1);
        for (threshold, count) in &mut self.thresholds {
            count.add(highest >= i32::from(*threshold), is_again);
        }
        if let Some(why) = upload.again {
            let way = self.ways.entry(why).or_default();
            *way = (way.0 + 1, way.1 + u64::from(highest >= i32::from(THRESHOLD)));
        }
        for (name, rule) in RIVALS {
            let told = before.iter().any(|(other, _)| rule(upload, other));
            self.rivals.entry(name).or_default().add(told, is_again);
        }
    }

    fn is_as_good_as_it_must(&self) -> bool {
        let usual = self.thresholds.get(&THRESHOLD).copied().unwrap_or_default();
        let is_better = |other: &Count| {
            self.thresholds
                .values()
                .any(|count| count.precision() >= other.precision() && count.recall() > other.recall())
        };
        usual.precision() >= PRECISION_MIN
            && usual.recall() >= RECALL_MIN
            && self.rivals.values().all(is_better)
    }

    /// Says it.
    pub fn print(&self) {
        say(&format!("uploads     {}, of which {} come in once more", self.uploads, self.again));
        for (threshold, count) in self.thresholds.iter().filter(|(threshold, _)| *threshold % SAID_EACH == 0)
        {
            let usual = if *threshold == THRESHOLD { " (usual)" } else { "" };
            say(&count.told(&format!("at {threshold}{usual}")));
        }
        for (name, count) in &self.rivals {
            say(&count.told(name));
        }
        for (why, (all, told)) in &self.ways {
            say(&format!("{why:<26} {told} of {all} told"));
        }
        say(&format!("VERDICT     {}", if self.ok { "ok" } else { "not as good as it must be" }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rules_are_as_good_as_they_must_be_and_better_than_each_rival_at_its_own_precision()
    -> anyhow::Result<()> {
        let report = run(Settings { seed: 5, accounts: 2, vendors: 60 })?;
        report.print();
        assert!(report.ok, "{report:?}");
        Ok(())
    }
}
