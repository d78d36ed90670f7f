//! What a run found, as it is printed and as it is written to a file.

use std::collections::BTreeMap;

use serde::Serialize;

use super::WindowReport;
use super::compare::Comparison;
use super::limit::Measured;
use crate::picture::{Picture, Scene};
use crate::terminal::{grouped, say};
use crate::verdict::{BooksReport, listed, print_books, print_latencies};

/// Everything a run found.
#[derive(Debug, Serialize)]
pub struct BenchReport {
    /// Whether every unit is accounted for, and everything was done that was asked for.
    pub ok: bool,
    pub kind: &'static str,
    pub run: String,
    pub targets: Vec<String>,
    pub items: usize,
    pub seed: u64,
    pub rounds: Vec<Round>,
    /// What the rounds stand beside.
    pub beside: Option<Beside>,
    pub redis_trip_ms: Option<f64>,
    pub comparisons: BTreeMap<&'static str, Comparison>,
    /// Units taken by answered requests, warm-up included.
    pub units_taken: i64,
    /// Units of requests that broke or failed: they may or may not have been taken.
    pub units_in_doubt: i64,
    pub books: BooksReport,
    /// Those of the other side, where there is one.
    pub other_books: Option<BooksReport>,
    /// What was asked for and could not be done.
    pub trouble: Vec<String>,
    pub scene: Scene,
}

/// What rounds stand beside.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Beside {
    Pgbench {
        clients: usize,
        /// Whether the server waits for its disk: if not, its rates say nothing about one that does.
        is_durable: bool,
    },
    Replicas(Vec<String>),
}

/// One round: the phases, and what was measured beside it, right before and right after.
#[derive(Clone, Debug, Serialize)]
pub struct Round {
    pub phases: Vec<PhaseReport>,
    pub beside: Option<(Measured, Measured)>,
}

/// One phase.
#[derive(Clone, Debug, Serialize)]
pub struct PhaseReport {
    pub name: &'static str,
    pub streams: Vec<StreamReport>,
    /// What was asked for and could not be done.
    pub trouble: Vec<String>,
}

/// One stream.
#[derive(Clone, Debug, Serialize)]
pub struct StreamReport {
    pub who: &'static str,
    pub kind: &'static str,
    pub connections: usize,
    pub rate: Option<String>,
    pub window: WindowReport,
    /// The parts of the window, where something happened in its middle.
    pub parts: Vec<PartReport>,
}

/// One part of a window.
#[derive(Clone, Debug, Serialize)]
pub struct PartReport {
    pub name: &'static str,
    pub window: WindowReport,
}

impl BenchReport {
    /// Prints the report, the verdict last.
    pub fn print(&self) {
        let rounds = match self.rounds.len() {
            1 => String::new(),
            number => format!(", {number} rounds"),
        };
        say(&format!(
            "run         {} of {} against {}{rounds}",
            self.kind,
            self.run,
            self.targets.join(", ")
        ));
        for (number, round) in self.rounds.iter().enumerate() {
            for phase in &round.phases {
                phase.streams.iter().for_each(|stream| self.print_stream(number, phase.name, stream));
            }
            self.print_beside(round);
        }
        if let Some(trip) = self.redis_trip_ms {
            say(&format!("redis       {trip:.3} ms a round trip"));
        }
        for (name, compared) in &self.comparisons {
            say(&format!("compared    {:<38} {}", name, compared.words()));
        }
        self.trouble.iter().for_each(|words| say(&format!("TROUBLE     {words}")));
        say(&format!("units       {} taken, {} in doubt", self.units_taken, self.units_in_doubt));
        print_books(&self.books);
        self.other_books.iter().for_each(print_books);
        say(&format!("VERDICT     {}", self.verdict()));
    }

    fn verdict(&self) -> String {
        let agree = self.books.agree() && self.other_books.as_ref().is_none_or(BooksReport::agree);
        match (agree, self.ok, self.units_in_doubt) {
            (false, ..) => "FAILED".into(),
            (true, false, _) => "FAILED, though every unit is accounted for".into(),
            (true, true, 0) => "ok: every unit is accounted for".into(),
            (true, true, doubts) => format!("ok, as far as {doubts} units in doubt let anybody say"),
        }
    }

    fn print_stream(&self, round: usize, phase: &str, stream: &StreamReport) {
        let phase = if phase.is_empty() { String::new() } else { format!(", {phase}") };
        let title = format!("{}{phase}", stream.who);
        if self.rounds.len() > 1 {
            let window = &stream.window;
            say(&format!(
                "round {:<6}{title}: {:.0}/s, p50 {:.2} ms, p99 {:.2}{}",
                round + 1,
                window.per_second,
                window.latency.p50_ms,
                window.latency.p99_ms,
                window.oddities()
            ));
            return;
        }
        let pace = stream.rate.as_ref().map_or_else(
            || format!("{} connections, closed loop", stream.connections),
            |rate| format!("{rate} a second, open loop, at most {} at once", stream.connections),
        );
        say(&format!("{title:<12} {}, {pace}, {} items", stream.kind, grouped(self.items as u64)));
        stream.window.print();
        for part in &stream.parts {
            say(&format!("  {:<10}{:.0}/s{}", part.name, part.window.per_second, part.window.oddities()));
            print_latencies("            ", &part.window.latency);
            say(&format!("            lock mode {}", listed(&part.window.lock_modes)));
        }
    }

    fn print_beside(&self, round: &Round) {
        let (Some(beside), Some((before, after))) = (&self.beside, &round.beside) else {
            return;
        };
        let rates = format!("{:.0}/s before, {:.0}/s after", before.per_second, after.per_second);
        say(&match beside {
            Beside::Pgbench { clients, is_durable } => {
                let lax = if *is_durable { "" } else { " (on a server that does not wait for its disk)" };
                format!("limit       {rates}, {clients} clients{lax}")
            }
            Beside::Replicas(targets) => format!("beside      {rates} at {}", targets.join(", ")),
        });
    }

    /// The picture of the run.
    pub fn picture(&self) -> Picture<'_> {
        let facts =
            self.comparisons.iter().map(|(name, compared)| ((*name).to_owned(), compared.words())).collect();
        Picture {
            title: format!("{} · {}", self.kind, self.run),
            facts,
            verdict: self.verdict(),
            is_good: self.ok,
            scene: &self.scene,
        }
    }
}

impl Comparison {
    /// `2.41 (2.30 to 2.52, 5 rounds)`.
    pub fn words(&self) -> String {
        match self.found {
            None => "not measured".into(),
            Some(found) if found.runs == 1 => rounded(found.median),
            Some(found) => {
                let (least, most) = (rounded(found.least), rounded(found.most));
                format!("{} ({least} to {most}, {} rounds)", rounded(found.median), found.runs)
            }
        }
    }
}

/// A figure with as many digits as it is worth.
pub fn rounded(figure: f64) -> String {
    match figure.abs() {
        100.0.. => grouped(figure.abs().round() as u64),
        10.0.. => format!("{figure:.1}"),
        1.0.. => format!("{figure:.2}"),
        _ => format!("{figure:.3}"),
    }
}

impl WindowReport {
    fn print(&self) {
        say(&format!("rate        {:.0}/s over {:.0} s", self.per_second, self.seconds));
        print_latencies("            ", &self.latency);
        if let Some(late) = &self.sent_late {
            say(&format!(
                "sent late   p50 {:.2} ms  p99 {:.2}  max {:.2}; never sent: {}",
                late.p50_ms,
                late.p99_ms,
                late.max_ms,
                grouped(self.never_sent)
            ));
            say(&format!(
                "answered in p50 {:.2} ms  p99 {:.2}  max {:.2} from when they were sent",
                self.answering.p50_ms, self.answering.p99_ms, self.answering.max_ms
            ));
        }
        say(&format!("answers     {}", listed(&self.answers)));
        for (phrase, latency) in &self.refusals {
            say(&format!(
                "              {phrase} in p50 {:.2} ms  p99 {:.2}  max {:.2}",
                latency.p50_ms, latency.p99_ms, latency.max_ms
            ));
        }
        if !self.broken.is_empty() {
            say(&format!("broken      {}", listed(&self.broken)));
        }
        say(&format!("lock mode   {}", listed(&self.lock_modes)));
    }

    /// What was not answered as it should be, if anything.
    fn oddities(&self) -> String {
        let refused = self.refusals.iter().map(|(phrase, latency)| {
            format!("; {phrase}: {} in p99 {:.2} ms", grouped(latency.count), latency.p99_ms)
        });
        let broken: u64 = self.broken.values().sum();
        let others = [(broken, "broken"), (self.never_sent, "never sent")];
        let others = others.into_iter().filter(|(count, _)| *count > 0);
        refused.chain(others.map(|(count, words)| format!("; {} {words}", grouped(count)))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_have_as_many_digits_as_they_are_worth() {
        for (figure, text) in [(12_345.6, "12,346"), (99.94, "99.9"), (2.345, "2.35"), (0.1234, "0.123")] {
            assert_eq!(rounded(figure), text);
        }
    }
}
