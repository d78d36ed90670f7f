//! The load generator of Holdfast.
//!
//! Three ways to load a running service, and one question after each: is every unit accounted for?
//!
//! - [`mod@scenario`] lets many buyers do one kind of thing, each scenario a file: check out, cancel, everything at once;
//! - [`replay`] sends a real shop's history through it: [`shop`] turns the file into work, [`replay`] sends
//!   the work, [`verdict`] holds what was answered against the service's books;
//! - [`mod@bench`] sends one kind of request as fast as it is answered, or at a rate, and sets the result
//!   beside what the bare database does;
//! - [`connection`] speaks HTTP for all, [`service`] knows the API's shapes, [`measure`] keeps the time.
//!
//! Everything runs on one thread: the machine's cores belong to the service.

mod bench;
mod chance;
mod cli;
mod connection;
mod measure;
mod progress;
mod replay;
mod scenario;
mod service;
mod shop;
mod terminal;
mod verdict;

use std::path::Path;
use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;
use serde::Serialize;
use tokio::runtime::Builder;
use tokio::task::LocalSet;

use cli::{Cli, Command};
use scenario::CancelStorm;

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
    let runtime = Builder::new_current_thread().enable_all().build().context("cannot start the runtime")?;
    let local = LocalSet::new();
    let report = match command {
        Command::Replay(args) => {
            let report = local.block_on(&runtime, replay::run(&args.settings()?))?;
            verdict::print_replay(&report);
            keep(&report, args.service.json.as_deref())?;
            return Ok(report.ok);
        }
        Command::Checkout(args) => {
            let (settings, checkout) = args.settings()?;
            (local.block_on(&runtime, scenario::run(settings, checkout))?, &args.all)
        }
        Command::CancelStorm(args) => {
            (local.block_on(&runtime, scenario::run(args.settings()?, CancelStorm))?, &args.all)
        }
        Command::Mixed(args) => {
            let (settings, mixed) = args.settings()?;
            (local.block_on(&runtime, scenario::run(settings, mixed))?, &args.all)
        }
        Command::Spread(_) | Command::Hot(_) | Command::Orders(_) => {
            let (settings, json) = command.bench()?.context("no such command")?;
            let report = local.block_on(&runtime, bench::run(&settings))?;
            report.print();
            keep(&report, json.as_deref())?;
            return Ok(report.ok);
        }
    };
    let (report, args) = report;
    report.print();
    keep(&report, args.service.json.as_deref())?;
    Ok(report.ok)
}

/// Writes a report to its file, if one is asked for.
fn keep(report: &impl Serialize, file: Option<&Path>) -> anyhow::Result<()> {
    let Some(file) = file else {
        return Ok(());
    };
    let mut text = serde_json::to_vec_pretty(report).context("cannot write the report as JSON")?;
    text.push(b'\n');
    std::fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))
}
