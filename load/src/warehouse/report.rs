//! What was found, as it is printed and as it is written to a file.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use super::run::Town;
use crate::measure::{Latency, LatencySummary};
use crate::terminal::{grouped, say};
use crate::verdict::verdict;

/// How long calls took, while the shop was selling.
#[derive(Debug)]
pub struct Figures {
    pub claim: Latency,
    pub batch: Latency,
    pub long_batch: Latency,
    pub heartbeat: Latency,
}

impl Figures {
    pub fn new() -> anyhow::Result<Self> {
        let new = Latency::new;
        Ok(Self { claim: new()?, batch: new()?, long_batch: new()?, heartbeat: new()? })
    }
}

/// What happened.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Told {
    pub sales: u64,
    pub records: usize,
    pub batches: usize,
    /// Batches and records that were sent again.
    pub repeated: usize,
    /// Racks that a device lost to another.
    pub lost: usize,
    pub refused_claims: usize,
    pub conflicts: usize,
    /// Positions that were counted again, as their item may have been sold while a wrong clock was told about.
    pub looked_again: usize,
    pub posting_secs: f64,
    pub wrong: usize,
    /// The first of what was wrong.
    pub faults: Vec<String>,
}

/// Everything that a run found.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Whether nothing at all was wrong.
    pub ok: bool,
    pub run: String,
    pub devices: usize,
    pub racks: usize,
    pub items: usize,
    pub seconds: f64,
    #[serde(flatten)]
    pub told: Told,
    pub calls: BTreeMap<&'static str, LatencySummary>,
    pub comparisons: BTreeMap<String, Comparison>,
}

/// A figure that is held against an aim.
#[derive(Debug, Serialize)]
pub struct Comparison {
    found: Found,
}

#[derive(Debug, Serialize)]
struct Found {
    median: f64,
    least: f64,
    most: f64,
    runs: usize,
}

impl Report {
    pub fn of(town: &Town, counting: Duration) -> anyhow::Result<Self> {
        let (told, figures) = (town.told.borrow().clone(), town.figures.borrow());
        let all = [
            ("claim", &figures.claim),
            ("batch of 100", &figures.batch),
            ("batch of 1,000", &figures.long_batch),
            ("heartbeat", &figures.heartbeat),
        ];
        let measured = all.into_iter().filter(|(_, latency)| !latency.is_empty());
        let calls: BTreeMap<_, _> = measured.map(|(name, latency)| (name, latency.summary())).collect();
        let comparison = |(name, summary): (&&str, &LatencySummary)| {
            let p99 = summary.p99_ms;
            let found = Found { median: p99, least: summary.p50_ms, most: summary.max_ms, runs: 1 };
            (format!("{name}, p99 ms"), Comparison { found })
        };
        Ok(Self {
            ok: told.wrong == 0,
            run: town.settings.run.clone(),
            devices: town.settings.devices,
            racks: town.settings.racks,
            items: town.shelves.items.len(),
            seconds: counting.as_secs_f64(),
            told,
            comparisons: calls.iter().map(comparison).collect(),
            calls,
        })
    }

    /// Prints the report, the verdict last.
    pub fn print(&self) {
        let number = |number: usize| grouped(number as u64);
        let told = &self.told;
        say(&format!(
            "warehouse   {} devices, {} racks, {} items, run {}",
            number(self.devices),
            number(self.racks),
            number(self.items),
            self.run
        ));
        say(&format!(
            "counted     {} records in {} batches, in {:.1} s; {} repeated; {} racks lost to others, {} records of them to review; {} claims refused; {} positions looked at again",
            number(told.records),
            number(told.batches),
            self.seconds,
            number(told.repeated),
            number(told.lost),
            number(told.conflicts),
            number(told.refused_claims),
            number(told.looked_again)
        ));
        say(&format!(
            "meanwhile   {} units sold; posting took {:.1} s",
            grouped(told.sales),
            told.posting_secs
        ));
        for (name, call) in &self.calls {
            say(&format!(
                "{name:<15} {:>8} times  p50 {:>8.2} ms  p99 {:>8.2} ms  longest {:>8.2} ms",
                grouped(call.count),
                call.p50_ms,
                call.p99_ms,
                call.max_ms
            ));
        }
        told.faults.iter().for_each(|fault| say(&format!("WRONG       {fault}")));
        say(&format!("VERDICT     {}", verdict(self.ok)));
    }
}
