//! The report of a scenario, as it is printed and as it is written to a file.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::picture::{Picture, Scene};
use crate::terminal::{grouped, say};
use crate::verdict::{
    BooksReport, CallKind, CallReport, FaultKind, FaultReport, RepeatFigures, listed, print_books,
    print_calls, print_faults, print_repeats, verdict,
};

/// Everything a scenario found.
#[derive(Debug, Serialize)]
pub struct ScenarioReport {
    /// Whether nothing at all was wrong.
    pub ok: bool,
    pub scenario: &'static str,
    pub run: String,
    pub targets: Vec<String>,
    pub clients: usize,
    /// Buyers per second asked for; none in a closed loop.
    pub rate: Option<String>,
    pub seed: u64,
    pub items: usize,
    pub stock: i64,
    pub hot_share: f64,
    /// For how long buyers came.
    pub seconds: f64,
    pub buyers: u64,
    pub buyers_per_second: f64,
    /// How their visits ended.
    pub visits: BTreeMap<&'static str, u64>,
    pub holds: usize,
    pub orders: usize,
    pub cancellations: usize,
    /// Requests, each counted once however often it was said.
    pub requests: u64,
    /// How often one was said again because it may have been carried out, or not.
    pub unknown_resent: u64,
    /// How often one was said again because the service said to come back, or was not there at all.
    pub refused_resent: u64,
    pub calls: BTreeMap<CallKind, CallReport>,
    pub repeats: RepeatFigures,
    pub faults: BTreeMap<FaultKind, FaultReport>,
    pub books: BooksReport,
    pub scene: Scene,
}

impl ScenarioReport {
    /// The picture of the run.
    pub fn picture(&self) -> Picture<'_> {
        Picture {
            title: format!("{} · {}", self.scenario, self.run),
            facts: vec![("buyers a second".to_owned(), format!("{:.1}", self.buyers_per_second))],
            verdict: verdict(self.ok).to_owned(),
            is_good: self.ok,
            scene: &self.scene,
        }
    }

    /// Prints the report, the verdict last.
    pub fn print(&self) {
        let pace = self.rate.as_ref().map_or_else(
            || format!("{} clients, closed loop", self.clients),
            |rate| format!("{rate} buyers a second, open loop, at most {} at once", self.clients),
        );
        say(&format!("run         {} against {}, seed {}", self.run, self.targets.join(", "), self.seed));
        say(&format!(
            "scenario    {}, {pace}; {} items with {} units each, {:.0}% of choices the same one",
            self.scenario,
            grouped(self.items as u64),
            self.stock,
            self.hot_share * 100.0
        ));
        say(&format!(
            "buyers      {} in {:.1} s, {:.0}/s; {}",
            grouped(self.buyers),
            self.seconds,
            self.buyers_per_second,
            listed(&self.visits)
        ));
        print_calls(&self.calls);
        print_repeats(&self.repeats);
        say(&format!(
            "requests    {}; said again {} times with the outcome unknown, {} times with nothing done",
            grouped(self.requests),
            grouped(self.unknown_resent),
            grouped(self.refused_resent)
        ));
        say(&format!(
            "stories     {} holds, {} orders, {} cancellations",
            grouped(self.holds as u64),
            grouped(self.orders as u64),
            grouped(self.cancellations as u64)
        ));
        print_books(&self.books);
        print_faults(&self.faults);
        say(&format!("VERDICT     {}", verdict(self.ok)));
    }
}
