//! Fills a migrated database with variants, their stock and their movements, or with invoices, in one piece each batch.
//!
//! What must stay true: the histories are exact. Each begins with its opening stock, its versions run without a gap, each
//! movement begins where the one before ended, and the last leaves what the stock row has: `holdfast audit` stays ok.

use std::io::Write as _;
use std::process::{Command, Stdio};

use anyhow::{Context, ensure};

use crate::bench::find;
use crate::progress::Progress;
use crate::terminal::{grouped, say};

/// What a fill is told.
#[derive(Debug)]
pub struct Settings {
    pub database: String,
    pub variants: usize,
    pub movements_each: usize,
    /// Invoices instead.
    pub invoices: Option<usize>,
    pub run: String,
}

const BATCH: &str = include_str!("../fill/batch.sql");
const INVOICES: &str = include_str!("../fill/invoices.sql");
const AFTERWARDS: &str = include_str!("../fill/afterwards.sql");
/// Invoices in one transaction.
const INVOICES_A_BATCH: usize = 100_000;
/// Movements in one transaction: enough to be quick, and little to do again.
const MOVEMENTS_A_BATCH: usize = 500_000;

/// The database that is named, or else the one in the environment.
pub fn database(named: Option<&str>) -> anyhow::Result<String> {
    let from_environment = || std::env::var("DATABASE_URL").ok().filter(|url| !url.is_empty());
    named
        .map(ToOwned::to_owned)
        .or_else(from_environment)
        .context("a database is needed: --database, DATABASE_URL")
}

/// Fills; true, for what is not wholly done is an error.
pub fn run(settings: &Settings) -> anyhow::Result<bool> {
    let (script, batches) = match settings.invoices {
        Some(invoices) => (INVOICES, in_batches(invoices, INVOICES_A_BATCH)),
        None => (BATCH, batches(settings.variants, settings.movements_each)),
    };
    let progress = Progress::start("filling, by batches", batches.len());
    for (first, last) in &batches {
        let variables = [
            ("run", settings.run.clone()),
            ("first", first.to_string()),
            ("last", last.to_string()),
            ("each", settings.movements_each.to_string()),
        ];
        psql(settings, script, &variables)?;
        progress.step();
    }
    progress.finish();
    psql(settings, AFTERWARDS, &[])?;
    if let Some(invoices) = settings.invoices {
        say(&format!("filled      {} invoices", grouped(invoices as u64)));
        return Ok(true);
    }
    let (variants, movements) =
        (settings.variants as u64, (settings.variants * settings.movements_each) as u64);
    say(&format!("filled      {} variants, {} movements", grouped(variants), grouped(movements)));
    Ok(true)
}

/// The first and the last variant of each batch.
fn batches(variants: usize, movements_each: usize) -> Vec<(usize, usize)> {
    in_batches(variants, (MOVEMENTS_A_BATCH / movements_each).max(1))
}

fn in_batches(all: usize, size: usize) -> Vec<(usize, usize)> {
    (1..=all).step_by(size).map(|first| (first, (first + size - 1).min(all))).collect()
}

fn psql(settings: &Settings, script: &str, variables: &[(&str, String)]) -> anyhow::Result<()> {
    let mut command = Command::new(find("psql")?);
    command.args(["--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", "--file=-"]);
    for (name, value) in variables {
        command.arg(format!("--set={name}={value}"));
    }
    let mut child = command
        .arg(&settings.database)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .context("cannot start psql")?;
    child.stdin.take().context("psql's input")?.write_all(script.as_bytes())?;
    let output = child.wait_with_output()?;
    ensure!(output.status.success(), "psql failed: {}", String::from_utf8_lossy(&output.stderr).trim());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_hold_each_variant_once() {
        for (variants, each) in [(1_000_000, 10), (7, 1_000), (1, 1), (50_001, 10), (3, 10_000_000)] {
            let batches = batches(variants, each);
            let mut next = 1;
            for (first, last) in batches {
                assert!(first == next && last >= first, "{first} to {last}");
                next = last + 1;
            }
            assert_eq!(next, variants + 1);
        }
    }
}
