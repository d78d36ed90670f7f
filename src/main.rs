//! Reads the command line, starts the logs, and runs the command.

use std::process::ExitCode;

use clap::Parser;
use holdfast::cli::{self, Cli};
use holdfast::telemetry;

#[tokio::main]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    let outcome = match telemetry::start() {
        Ok(()) => cli::run(cli).await,
        Err(error) => Err(error.into()),
    };
    outcome.unwrap_or_else(|error| {
        report(&format!("holdfast: {error:#}"));
        ExitCode::FAILURE
    })
}

/// One line on standard error, whatever the log filter says.
#[expect(clippy::print_stderr, reason = "the last word of a program that ends")]
fn report(line: &str) {
    eprintln!("{line}");
}
