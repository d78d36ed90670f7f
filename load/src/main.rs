//! The load generator of Holdfast.
//!
//! Three ways to load a running service, and one question after each: is every unit accounted for?
//!
//! - [`mod@scenario`] lets many buyers do one kind of thing, each scenario a file: check out, cancel, everything at once;
//! - [`replay`] sends a real shop's history through it: [`shop`] turns the file into work, [`replay`] sends
//!   the work, [`verdict`] holds what was answered against the service's books;
//! - [`mod@bench`] sends one kind of request as fast as it is answered, or at a rate, and sets the result
//!   beside what the bare database does;
//! - [`invoices`] measures how well the service's rules tell what comes in twice, on a labelled set;
//! - [`mod@warehouse`] counts racks with many devices while the shop sells;
//! - [`mod@fill`] makes a database large beforehand, [`mod@table`] holds what several runs found against what is aimed at;
//! - [`connection`] speaks HTTP for all, [`service`] knows the API's shapes, [`measure`] keeps the time,
//!   [`picture`] draws it.
//!
//! Everything runs on one thread: the machine's cores belong to the service.

mod bench;
mod chance;
mod cli;
mod connection;
mod fill;
mod invoices;
mod measure;
mod picture;
mod progress;
mod replay;
mod scenario;
mod service;
mod shop;
mod table;
mod terminal;
mod verdict;
mod warehouse;

use std::path::Path;
use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;
use serde::Serialize;
use tokio::runtime::Builder;
use tokio::task::LocalSet;

use cli::{Cli, Command, ServiceArgs};
use picture::Picture;
use scenario::{CancelStorm, ScenarioReport};

/// A verdict was reached, and something was wrong.
const FAILED: u8 = 1;
/// No verdict was reached.
const NO_VERDICT: u8 = 2;

fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(&cli.command) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(FAILED),
        Err(error) => {
            terminal::remark(&format!("holdfast-load: {error:#}"));
            ExitCode::from(NO_VERDICT)
        }
    }
}

/// Runs a command; true if everything was right.
fn run(command: &Command) -> anyhow::Result<bool> {
    match command {
        Command::Replay(args) => {
            let report = on_one_thread(replay::run(&args.settings()?))?;
            verdict::print_replay(&report);
            keep(&report, &report.picture(), &args.service)?;
            Ok(report.ok)
        }
        Command::Checkout(args) => {
            let (settings, checkout) = args.settings()?;
            buyers(scenario::run(settings, checkout), &args.all.service)
        }
        Command::CancelStorm(args) => buyers(scenario::run(args.settings()?, CancelStorm), &args.all.service),
        Command::Mixed(args) => {
            let (settings, mixed) = args.settings()?;
            buyers(scenario::run(settings, mixed), &args.all.service)
        }
        Command::Warehouse(args) => {
            let report = on_one_thread(warehouse::run(args.settings()?))?;
            report.print();
            keep_json(&report, &args.service)?;
            Ok(report.ok)
        }
        Command::Spread(args) => benchmark(&args.settings()?, &args.bench.service),
        Command::Hot(args) => benchmark(&args.settings()?, &args.bench.service),
        Command::Zipf(args) => benchmark(&args.settings()?, &args.bench.service),
        Command::Orders(args) => benchmark(&args.settings()?, &args.bench.service),
        Command::Storm(args) => benchmark(&args.settings()?, &args.bench.service),
        Command::Bulk(args) => benchmark(&args.settings()?, &args.bench.service),
        Command::Outage(args) => benchmark(&args.settings()?, &args.bench.service),
        Command::Overload(args) => benchmark(&args.settings()?, &args.bench.service),
        Command::Checks(args) => {
            let report = on_one_thread(invoices::checks::run(&args.settings()?))?;
            report.print();
            args.bench.service.json.as_deref().map_or(Ok(()), |file| write_json(&report, file))?;
            Ok(report.ok)
        }
        Command::Fill(args) => fill::run(&args.settings()?),
        Command::Table(args) => table::run(&args.settings()),
        Command::Invoices(args) => {
            let report = invoices::run(args.settings())?;
            report.print();
            if let Some(file) = &args.report {
                std::fs::write(file, invoices::plot::svg(&report))
                    .with_context(|| format!("cannot write {}", file.display()))?;
            }
            Ok(report.ok)
        }
    }
}

fn on_one_thread<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let runtime = Builder::new_current_thread().enable_all().build().context("cannot start the runtime")?;
    LocalSet::new().block_on(&runtime, work)
}

fn buyers(
    run: impl Future<Output = anyhow::Result<ScenarioReport>>,
    service: &ServiceArgs,
) -> anyhow::Result<bool> {
    let report = on_one_thread(run)?;
    report.print();
    keep(&report, &report.picture(), service)?;
    Ok(report.ok)
}

fn benchmark(settings: &bench::Settings, service: &ServiceArgs) -> anyhow::Result<bool> {
    let report = on_one_thread(bench::run(settings))?;
    report.print();
    keep(&report, &report.picture(), service)?;
    Ok(report.ok)
}

/// Writes a report and its picture to their files, if they are asked for.
fn keep(report: &impl Serialize, picture: &Picture<'_>, service: &ServiceArgs) -> anyhow::Result<()> {
    keep_json(report, service)?;
    service.report.as_ref().map_or(Ok(()), |file| picture::write(picture, file))
}

fn keep_json(report: &impl Serialize, service: &ServiceArgs) -> anyhow::Result<()> {
    if let Some(file) = &service.json {
        write_json(report, file)?;
    }
    Ok(())
}

fn write_json(report: &impl Serialize, file: &Path) -> anyhow::Result<()> {
    let mut text = serde_json::to_vec_pretty(report).context("cannot write the report as JSON")?;
    text.push(b'\n');
    std::fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))
}
