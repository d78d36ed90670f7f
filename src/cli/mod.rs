//! The commands of the program, one file each.

pub mod audit;
pub mod dev;
pub mod doctor;
pub mod import;
pub mod keys;
pub mod locks;
pub mod serve;
pub mod servers;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use secrecy::ExposeSecret;

use crate::config::Config;
use crate::db;

/// The inventory and order service that never oversells.
///
/// Settings come from the environment: DATABASE_URL, REDIS_URL and the HOLDFAST_… variables listed in
/// docs/OPERATIONS.md.
#[derive(Debug, Parser)]
#[command(version)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve, with nothing to set up: starts what it needs, and stops it on Ctrl-C
    Dev,
    /// Serve
    Serve,
    /// Bring the database's schema up to date
    Migrate,
    /// Make API keys
    Keys(keys::KeysArgs),
    /// Add variants from a CSV file with the columns sku,name,price,currency,on_hand
    Import(import::ImportArgs),
    /// Show who holds which lock and who waits for whom, over all replicas
    Locks(locks::LocksArgs),
    /// Recompute every balance from its movements; exit 1 if anything does not agree
    Audit,
    /// Check that the service can work here as set up; exit 1 if not
    Doctor,
    /// Run a command with private Postgres and Redis servers
    Servers(servers::ServersArgs),
}

/// Runs the command.
///
/// # Errors
/// What kept it from being carried out, to be shown to the user.
pub async fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    match cli.command {
        Command::Dev => dev::run().await.map(|()| ExitCode::SUCCESS),
        Command::Serve => {
            serve::run(Config::from_env()?, |_| {}).await?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Migrate => {
            db::migrate(Config::from_env()?.database_url.expose_secret()).await?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Keys(args) => keys::run(args).await.map(|()| ExitCode::SUCCESS),
        Command::Import(args) => import::run(&args).await,
        Command::Locks(args) => locks::run(&args).await,
        Command::Audit => audit::run().await,
        Command::Doctor => doctor::run().await,
        Command::Servers(args) => servers::run(args).await,
    }
}

/// Shows a line that the user asked for, on standard output. Fails quietly if nobody reads.
pub(crate) fn show(line: &str) {
    use std::io::Write;
    // A closed pipe (`holdfast audit | head`) is not an error worth a word.
    let _closed = writeln!(std::io::stdout(), "{line}");
}
