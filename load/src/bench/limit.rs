//! The same transaction on the bare database, by pgbench: what the machine can do at all.
//!
//! What must stay true: it works in a schema of its own and leaves nothing behind; it runs with prepared
//! statements and the same number of clients as the benchmark, right before and right after it.

use std::io::Write as _;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::str::FromStr;

use anyhow::{Context, bail, ensure};
use serde::Serialize;

use super::Kind;
use crate::terminal::remark;

const SCHEMA: &str = include_str!("../../pgbench/schema.sql");
const RESET: &str = include_str!("../../pgbench/reset.sql");
const CHECKPOINT: &str = include_str!("../../pgbench/checkpoint.sql");
const DURABLE: &str = include_str!("../../pgbench/durable.sql");
const REMOVE: &str = include_str!("../../pgbench/remove.sql");
const SPREAD: &str = include_str!("../../pgbench/spread.sql");
const HOT: &str = include_str!("../../pgbench/hot.sql");
const ZIPF: &str = include_str!("../../pgbench/zipf.sql");
const ORDER_SPREAD: &str = include_str!("../../pgbench/order_spread.sql");
const ORDER_HOT: &str = include_str!("../../pgbench/order_hot.sql");

/// pgbench, ready to run the twin of one benchmark.
#[derive(Debug)]
pub struct Limit {
    program: PathBuf,
    database: String,
    script: &'static str,
    /// The skew of a skewed choice.
    skew: f64,
    clients: usize,
    seconds: u64,
    is_durable: bool,
}

/// How many clients the limit has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LimitClients {
    /// So many.
    Number(usize),
    /// The number with which the database does most, found by trying.
    Best,
}

/// One measurement.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Measured {
    pub per_second: f64,
    pub mean_ms: f64,
}

/// What is tried, for how many seconds each, to find the best number of clients.
const TRIED: [usize; 7] = [1, 2, 4, 8, 16, 32, 64];
const TRIAL_SECONDS: u64 = 1;
/// pgbench chooses by a skew within these bounds.
const SKEWS: RangeInclusive<f64> = 1.001..=1_000.0;

impl FromStr for LimitClients {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        if text == "best" {
            return Ok(Self::Best);
        }
        let number = text.parse().ok().filter(|number| (1..=10_000).contains(number));
        number.map(Self::Number).context("`best`, or a number from 1 to 10000")
    }
}

impl Limit {
    /// How many items the scripts spread their work over.
    pub const ITEMS: usize = 10_000;

    /// Finds pgbench and makes the schema.
    pub fn prepare(database: &str, kind: Kind, clients: LimitClients, seconds: u64) -> anyhow::Result<Self> {
        let script = match kind {
            Kind::Spread | Kind::Others => SPREAD,
            Kind::Hot | Kind::Batches => HOT,
            Kind::Zipf { .. } => ZIPF,
            Kind::Orders { lines: 3, hot_line: false } => ORDER_SPREAD,
            Kind::Orders { lines: 3, hot_line: true } => ORDER_HOT,
            Kind::Orders { lines, .. } => bail!("the limit's orders have 3 lines, not {lines}"),
        };
        let skew = if let Kind::Zipf { skew } = kind { skew } else { *SKEWS.start() };
        ensure!(SKEWS.contains(&skew), "pgbench chooses by a skew from 1.001 to 1000 only, not {skew}");
        let database = database.to_owned();
        let number = if let LimitClients::Number(number) = clients { number } else { 1 };
        let mut limit = Self {
            program: find("pgbench")?,
            database,
            script,
            skew,
            clients: number,
            seconds,
            is_durable: true,
        };
        limit.once(SCHEMA).context("making the schema for the limit")?;
        if let Err(error) = limit.once(DURABLE) {
            remark(&format!("the limit's server does not wait for its disk: {error:#}"));
            limit.is_durable = false;
        }
        if clients == LimitClients::Best {
            limit.find_best()?;
        }
        Ok(limit)
    }

    /// How many clients it has, and whether its server waits for its disk.
    pub fn terms(&self) -> (usize, bool) {
        (self.clients, self.is_durable)
    }

    /// Tries several numbers of clients and keeps the best.
    fn find_best(&mut self) -> anyhow::Result<()> {
        let mut trials = Vec::with_capacity(TRIED.len());
        for clients in TRIED {
            self.clients = clients;
            trials.push((clients, self.run(TRIAL_SECONDS)?.per_second));
        }
        self.clients = best_of(&trials);
        let told: Vec<_> = trials.iter().map(|(clients, rate)| format!("{clients}: {rate:.0}/s")).collect();
        remark(&format!("the limit by clients: {}", told.join(", ")));
        Ok(())
    }

    /// Runs the transaction and returns how many a second there were, and how long one took.
    pub fn measure(&self) -> anyhow::Result<Measured> {
        self.run(self.seconds.max(1))
    }

    fn run(&self, seconds: u64) -> anyhow::Result<Measured> {
        self.once(RESET).context("resetting the tables for the limit")?;
        if let Err(error) = self.once(CHECKPOINT) {
            remark(&format!("the limit runs without a checkpoint before it: {error:#}"));
        }
        let (clients, seconds) = (self.clients.to_string(), seconds.to_string());
        let skew = format!("skew={}", self.skew);
        let options = ["-M", "prepared", "-c", &clients, "-j", "1", "-T", &seconds, "-D", &skew];
        let told = self.pgbench(self.script, &options)?;
        Ok(Measured { per_second: figure(&told, "tps = ")?, mean_ms: figure(&told, "latency average = ")? })
    }

    /// Removes the schema.
    pub fn remove(&self) -> anyhow::Result<()> {
        self.once(REMOVE).context("removing the schema for the limit").map(drop)
    }

    fn once(&self, script: &str) -> anyhow::Result<String> {
        self.pgbench(script, &["-M", "simple", "-c", "1", "-t", "1"])
    }

    fn pgbench(&self, script: &str, options: &[&str]) -> anyhow::Result<String> {
        let mut child = Command::new(&self.program)
            .arg("-n")
            .args(options)
            .args(["-f", "-", &self.database])
            .env("PGOPTIONS", "-c search_path=holdfast_limit -c client_min_messages=warning")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {}", self.program.display()))?;
        child.stdin.take().context("pgbench's input")?.write_all(script.as_bytes())?;
        let output = child.wait_with_output()?;
        let (told, errors) =
            (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        ensure!(output.status.success(), "pgbench failed: {}", errors.trim());
        Ok(told.into_owned())
    }
}

/// A program of Postgres on the path, or else the newest where Debian keeps it.
pub fn find(name: &str) -> anyhow::Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let on_path = std::env::split_paths(&path).map(|folder| folder.join(name));
    if let Some(program) = on_path.into_iter().find(|program| program.is_file()) {
        return Ok(program);
    }
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut programs: Vec<PathBuf> = versions
        .map(|version| version.path().join("bin").join(name))
        .filter(|program| program.is_file())
        .collect();
    programs.sort_by_key(|program| version_of(program));
    programs.pop().with_context(|| format!("there is no {name} on the PATH or in /usr/lib/postgresql/*/bin"))
}

/// The number of clients with the highest rate; of several, the fewest.
fn best_of(trials: &[(usize, f64)]) -> usize {
    let better = |one: (usize, f64), next: &(usize, f64)| if next.1 > one.1 { *next } else { one };
    trials.iter().fold((1, f64::MIN), better).0
}

fn version_of(program: &Path) -> Option<u32> {
    program.parent()?.parent()?.file_name()?.to_str()?.parse().ok()
}

/// A figure in pgbench's words, which stands behind its name.
fn figure(told: &str, name: &str) -> anyhow::Result<f64> {
    let rest = told.lines().find_map(|line| line.strip_prefix(name));
    let number = rest.and_then(|rest| rest.split(' ').next()?.parse().ok());
    number.with_context(|| format!("pgbench told no {name:?}: {told}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_found_in_pgbenchs_words() -> anyhow::Result<()> {
        let told = "transaction type: -\nlatency average = 3.5 ms\n\
            initial connection time = 20.1 ms\ntps = 9176.241706 (without initial connection time)\n";
        assert!((figure(told, "tps = ")? - 9_176.241_706).abs() < 1e-9);
        assert!((figure(told, "latency average = ")? - 3.5).abs() < 1e-9);
        assert!(figure("nothing", "tps = ").is_err());
        Ok(())
    }

    #[test]
    fn the_best_number_of_clients_is_the_one_that_did_most() {
        assert_eq!(best_of(&[(1, 90.0), (2, 150.0), (4, 149.0), (8, 150.0)]), 2);
        assert_eq!(best_of(&[]), 1);
        assert!(["0", "many", "-1"].iter().all(|wrong| wrong.parse::<LimitClients>().is_err()));
    }

    #[test]
    fn newer_versions_are_preferred() {
        let version = |text: &str| version_of(Path::new(text));
        assert_eq!(version("/usr/lib/postgresql/15/bin/pgbench"), Some(15));
        assert!(version("/usr/lib/postgresql/9/bin/pgbench") < version("/usr/lib/postgresql/15/bin/pgbench"));
    }
}
