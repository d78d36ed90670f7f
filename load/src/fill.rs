//! Fills a migrated database with variants, their stock and their movements, in one piece each batch.
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
    pub run: String,
}

const BATCH: &str = include_str!("../fill/batch.sql");
const AFTERWARDS: &str = include_str!("../fill/afterwards.sql");
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
    let batches = batches(settings.variants, settings.movements_each);
    let progress = Progress::start("filling, by batches", batches.len());
    for (first, last) in &batches {
        let variables = [
            ("run", settings.run.clone()),
            ("first", first.to_string()),
            ("last", last.to_string()),
            ("each", settings.movements_each.to_string()),
        ];
        psql(settings, BATCH, &variables)?;
        progress.step();
    }
    progress.finish();
    psql(settings, AFTERWARDS, &[])?;
    let (variants, movements) =
        (settings.variants as u64, (settings.variants * settings.movements_each) as u64);
    say(&format!("filled      {} variants, {} movements", grouped(variants), grouped(movements)));
    Ok(true)
}

/// The first and the last variant of each batch.
fn batches(variants: usize, movements_each: usize) -> Vec<(usize, usize)> {
    let size = (MOVEMENTS_A_BATCH / movements_each).max(1);
    (1..=variants).step_by(size).map(|first| (first, (first + size - 1).min(variants))).collect()
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
