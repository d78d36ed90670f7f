//! Reads the command line, starts the logs, and runs the command.

use std::process::ExitCode;

use clap::Parser;
use holdfast::cli::{self, Cli};
use holdfast::{config, telemetry};
use tokio::runtime::Runtime;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let outcome =
        telemetry::start().map_err(anyhow::Error::from).and_then(|()| runtime()?.block_on(cli::run(cli)));
    outcome.unwrap_or_else(|error| {
        report(&format!("holdfast: {error:#}"));
        ExitCode::FAILURE
    })
}

/// Half as many threads as cores, unless `TOKIO_WORKER_THREADS` says otherwise: the work is waiting for
/// Postgres and Redis, and more threads wake each other for nothing (measured: a third more on two cores).
fn runtime() -> std::io::Result<Runtime> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    if std::env::var_os("TOKIO_WORKER_THREADS").is_none() {
        builder.worker_threads((config::cores() / 2).max(1));
    }
    builder.enable_all().build()
}

/// One line on standard error, whatever the log filter says.
#[expect(clippy::print_stderr, reason = "the last word of a program that ends")]
fn report(line: &str) {
    eprintln!("{line}");
}
