//! The same transaction on the bare database, by pgbench: what the machine can do at all.
//!
//! What must stay true: it works in a schema of its own and leaves nothing behind; it runs with prepared
//! statements and the same number of clients as the benchmark, right before and right after it.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

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
const ORDER_SPREAD: &str = include_str!("../../pgbench/order_spread.sql");
const ORDER_HOT: &str = include_str!("../../pgbench/order_hot.sql");

/// pgbench, ready to run the twin of one benchmark.
#[derive(Debug)]
pub struct Limit {
    program: PathBuf,
    database: String,
    script: &'static str,
    clients: usize,
    seconds: u64,
    is_durable: bool,
}

/// The two figures and what they make of the benchmark's own.
#[derive(Clone, Debug, Serialize)]
pub struct LimitReport {
    pub clients: usize,
    /// Whether the server waits for its disk: if not, neither rate says anything about one that does.
    pub is_durable: bool,
    pub before_per_second: f64,
    pub after_per_second: f64,
    /// The benchmark's rate by the mean of the two.
    pub ratio: f64,
}

impl Limit {
    /// How many items the scripts spread their work over.
    pub const ITEMS: usize = 10_000;

    /// Finds pgbench and makes the schema.
    pub fn prepare(database: &str, kind: Kind, clients: usize, seconds: u64) -> anyhow::Result<Self> {
        let script = match kind {
            Kind::Spread => SPREAD,
            Kind::Hot => HOT,
            Kind::Orders { hot_line: false } => ORDER_SPREAD,
            Kind::Orders { hot_line: true } => ORDER_HOT,
        };
        let database = database.to_owned();
        let seconds = seconds.max(1);
        let mut limit = Self { program: find()?, database, script, clients, seconds, is_durable: true };
        limit.once(SCHEMA).context("making the schema for the limit")?;
        if let Err(error) = limit.once(DURABLE) {
            remark(&format!("the limit's server does not wait for its disk: {error:#}"));
            limit.is_durable = false;
        }
        Ok(limit)
    }

    /// Runs the transaction and returns how many a second there were.
    pub fn measure(&self) -> anyhow::Result<f64> {
        self.once(RESET).context("resetting the tables for the limit")?;
        if let Err(error) = self.once(CHECKPOINT) {
            remark(&format!("the limit runs without a checkpoint before it: {error:#}"));
        }
        let (clients, seconds) = (self.clients.to_string(), self.seconds.to_string());
        let told =
            self.pgbench(self.script, &["-M", "prepared", "-c", &clients, "-j", "1", "-T", &seconds])?;
        per_second(&told)
    }

    /// Removes the schema.
    pub fn remove(&self) -> anyhow::Result<()> {
        self.once(REMOVE).context("removing the schema for the limit").map(drop)
    }

    /// What a benchmark's rate comes to between two measurements.
    pub fn report(&self, before: f64, own: f64, after: f64) -> LimitReport {
        LimitReport {
            clients: self.clients,
            is_durable: self.is_durable,
            before_per_second: before,
            after_per_second: after,
            ratio: own / f64::midpoint(before, after),
        }
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

/// pgbench on the path, or else the newest where Debian keeps it.
fn find() -> anyhow::Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let on_path = std::env::split_paths(&path).map(|folder| folder.join("pgbench"));
    if let Some(program) = on_path.into_iter().find(|program| program.is_file()) {
        return Ok(program);
    }
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut programs: Vec<PathBuf> = versions
        .map(|version| version.path().join("bin/pgbench"))
        .filter(|program| program.is_file())
        .collect();
    programs.sort_by_key(|program| version_of(program));
    programs.pop().context("there is no pgbench on the PATH or in /usr/lib/postgresql/*/bin")
}

fn version_of(program: &Path) -> Option<u32> {
    program.parent()?.parent()?.file_name()?.to_str()?.parse().ok()
}

/// The rate in pgbench's words.
fn per_second(told: &str) -> anyhow::Result<f64> {
    for line in told.lines() {
        if let Some(rest) = line.strip_prefix("tps = ") {
            let number = rest.split(' ').next().unwrap_or_default();
            return number.parse().with_context(|| format!("pgbench's rate in {line:?}"));
        }
    }
    bail!("pgbench told no rate: {told}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_found_in_pgbenchs_words() -> anyhow::Result<()> {
        let told = "transaction type: -\nlatency average = 3.5 ms\n\
            initial connection time = 20.1 ms\ntps = 9176.241706 (without initial connection time)\n";
        assert!((per_second(told)? - 9_176.241_706).abs() < 1e-9);
        assert!(per_second("nothing").is_err());
        Ok(())
    }

    #[test]
    fn newer_versions_are_preferred() {
        let version = |text: &str| version_of(Path::new(text));
        assert_eq!(version("/usr/lib/postgresql/15/bin/pgbench"), Some(15));
        assert!(version("/usr/lib/postgresql/9/bin/pgbench") < version("/usr/lib/postgresql/15/bin/pgbench"));
    }
}
