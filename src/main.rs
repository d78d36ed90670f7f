//! Reads the command line, starts the logs, and runs the command.

use std::process::ExitCode;

use clap::Parser;
use holdfast::cli::{self, Cli};
use holdfast::{config, telemetry};
use mimalloc::MiMalloc;
use tokio::runtime::Runtime;

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let outcome =
        telemetry::start().map_err(anyhow::Error::from).and_then(|()| runtime()?.block_on(cli::run(cli)));
    outcome.unwrap_or_else(|error| {
        report(&format!("holdfast: {error:#}"));
        ExitCode::FAILURE
    })
}

fn runtime() -> anyhow::Result<Runtime> {
    let threads = config::threads()?;
    Ok(tokio::runtime::Builder::new_multi_thread().worker_threads(threads).enable_all().build()?)
}

/// One line on standard error, whatever the log filter says.
#[expect(clippy::print_stderr, reason = "the last word of a program that ends")]
fn report(line: &str) {
    eprintln!("{line}");
}
