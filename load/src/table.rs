//! What several runs found, held against what is aimed at. A figure that misses its aim is told as missed, and one that
//! was not measured as such.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use serde::Deserialize;

use crate::bench::rounded;
use crate::terminal::{remark, say};

/// What a table is told.
#[derive(Debug)]
pub struct Settings {
    pub aims: PathBuf,
    /// Where the runs wrote their reports.
    pub folder: PathBuf,
}

/// One line of the aims.
#[derive(Clone, Debug, Deserialize)]
struct Aim {
    what: String,
    /// The report's name, without its ending.
    file: String,
    /// Which of its comparisons.
    figure: String,
    /// `>=8`, `<=5`, or nothing where a figure is only shown.
    aim: String,
}

/// The part of a report that is read.
#[derive(Debug, Deserialize)]
struct Read {
    ok: bool,
    comparisons: BTreeMap<String, ReadComparison>,
}

#[derive(Clone, Debug, Deserialize)]
struct ReadComparison {
    found: Option<ReadMedian>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
struct ReadMedian {
    median: f64,
    least: f64,
    most: f64,
    runs: usize,
}

/// Prints the table; true if all that was measured was measured well. A missed aim is a result, and no error.
pub fn run(settings: &Settings) -> anyhow::Result<bool> {
    let aims = read_aims(&settings.aims)?;
    let mut reports = BTreeMap::new();
    for aim in &aims {
        if !reports.contains_key(&aim.file) {
            reports.insert(aim.file.clone(), read_report(&settings.folder, &aim.file)?);
        }
    }
    say("| what | figure | aim | median | least to most | runs | |");
    say("| --- | --- | --- | --- | --- | --- | --- |");
    for aim in &aims {
        say(&row(aim, reports.get(&aim.file).and_then(Option::as_ref))?);
    }
    let broken: Vec<_> =
        reports.iter().filter(|(_, report)| report.as_ref().is_some_and(|report| !report.ok)).collect();
    broken.iter().for_each(|(name, _)| remark(&format!("{name}: its verdict is not good")));
    Ok(broken.is_empty())
}

fn read_aims(file: &Path) -> anyhow::Result<Vec<Aim>> {
    let mut reader =
        csv::Reader::from_path(file).with_context(|| format!("cannot read {}", file.display()))?;
    reader.deserialize().collect::<Result<_, _>>().with_context(|| format!("{}", file.display()))
}

/// A run's report; none if it was not run.
fn read_report(folder: &Path, name: &str) -> anyhow::Result<Option<Read>> {
    let file = folder.join(format!("{name}.json"));
    let text = match std::fs::read(&file) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", file.display())),
    };
    serde_json::from_slice(&text).map(Some).with_context(|| format!("{} is no report", file.display()))
}

fn row(aim: &Aim, report: Option<&Read>) -> anyhow::Result<String> {
    let found = report.and_then(|report| report.comparisons.get(&aim.figure)?.found);
    let Aim { what, figure, aim: aimed, .. } = aim;
    let Some(found) = found else {
        return Ok(format!("| {what} | {figure} | {aimed} | | | | not measured |"));
    };
    let verdict = match (report.is_some_and(|report| report.ok), met(aimed, found.median)?) {
        (false, _) => "verdict not good",
        (true, None) => "",
        (true, Some(true)) => "met",
        (true, Some(false)) => "**missed**",
    };
    let (least, most) = (rounded(found.least), rounded(found.most));
    Ok(format!(
        "| {what} | {figure} | {aimed} | {} | {least} to {most} | {} | {verdict} |",
        rounded(found.median),
        found.runs
    ))
}

/// Whether a figure reaches an aim, as it is and not as it is rounded; none where there is no aim.
fn met(aim: &str, figure: f64) -> anyhow::Result<Option<bool>> {
    if aim.is_empty() {
        return Ok(None);
    }
    let (is_floor, bound) = match (aim.strip_prefix(">="), aim.strip_prefix("<=")) {
        (Some(bound), _) => (true, bound),
        (_, Some(bound)) => (false, bound),
        _ => bail!("an aim begins with >= or <=, not {aim:?}"),
    };
    let bound: f64 = bound.trim().parse().with_context(|| format!("the bound of {aim:?}"))?;
    ensure!(bound.is_finite(), "the bound of {aim:?} is no number");
    Ok(Some(if is_floor { figure >= bound } else { figure <= bound }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(aim: &str, ok: bool, median: f64) -> anyhow::Result<String> {
        let aim = Aim { what: "hot".into(), file: "hot".into(), figure: "rate".into(), aim: aim.into() };
        let found = Some(ReadMedian { median, least: median, most: median, runs: 5 });
        let comparisons = BTreeMap::from([("rate".to_owned(), ReadComparison { found })]);
        row(&aim, Some(&Read { ok, comparisons }))
    }

    #[test]
    fn an_aim_is_met_or_missed_by_the_figure_as_it_is() -> anyhow::Result<()> {
        assert!(told(">=8", true, 8.0)?.ends_with("| met |"));
        // Shown as 8.00, and missed all the same.
        assert_eq!(told(">=8", true, 7.999)?, "| hot | rate | >=8 | 8.00 | 8.00 to 8.00 | 5 | **missed** |");
        assert!(told("<=5", true, 5.1)?.ends_with("| **missed** |"));
        assert!(told("<=5", true, 4.9)?.ends_with("| met |"));
        assert!(told("", true, 4.9)?.ends_with("|  |"));
        assert!(told("8", true, 4.9).is_err());
        Ok(())
    }

    #[test]
    fn a_run_whose_units_are_astray_meets_nothing() -> anyhow::Result<()> {
        assert!(told(">=8", false, 9.0)?.ends_with("| verdict not good |"));
        Ok(())
    }

    #[test]
    fn what_was_not_measured_is_told() -> anyhow::Result<()> {
        let aim = Aim { what: "hot".into(), file: "hot".into(), figure: "rate".into(), aim: ">=8".into() };
        assert!(row(&aim, None)?.ends_with("| not measured |"));
        let nothing = Read { ok: true, comparisons: BTreeMap::new() };
        assert!(row(&aim, Some(&nothing))?.ends_with("| not measured |"));
        Ok(())
    }
}
