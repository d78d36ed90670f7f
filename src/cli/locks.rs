//! `holdfast locks`: who holds what, who waits for whom, as a table.

use std::fmt::Write;
use std::io::IsTerminal;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use secrecy::ExposeSecret;
use tokio_util::task::TaskTracker;

use crate::config::Config;
use crate::db::Db;
use crate::locks::{LockMode, Locks};
use crate::operations::lock_status::{self, Status};

/// Between two looks with `--watch`.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// The most locks and waits that a table shows.
const ROWS_MAX: usize = 40;
/// Puts the cursor in the corner and clears the screen below it.
const CLEAR_SCREEN: &str = "\x1b[H\x1b[J";

/// What to show.
#[derive(Debug, Args)]
pub struct LocksArgs {
    /// Look again every second, until Ctrl-C
    #[arg(long)]
    watch: bool,
    /// Print the whole answer of GET /locks/status instead
    #[arg(long)]
    json: bool,
}

/// Runs the command.
///
/// # Errors
/// If the settings can't be read.
pub async fn run(args: &LocksArgs) -> anyhow::Result<ExitCode> {
    let config = Config::from_env()?;
    let db = Db::new(config.database_url.expose_secret(), 1)?;
    loop {
        // Anew each time: nobody here would close the breaker of a Redis that comes back.
        let locks = locks(&config)?;
        locks.look_once().await;
        let status = lock_status::look(&locks, &db).await;
        if args.watch && std::io::stdout().is_terminal() {
            super::show(CLEAR_SCREEN);
        }
        super::show(&if args.json { serde_json::to_string_pretty(&status)? } else { table(&status) });
        if !args.watch {
            db.close().await;
            return Ok(if status.database_available { ExitCode::SUCCESS } else { ExitCode::FAILURE });
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

fn locks(config: &Config) -> anyhow::Result<Locks> {
    let timing = config.timing.clone();
    match &config.redis_url {
        None => Ok(Locks::database_only(timing, TaskTracker::new())),
        Some(url) => Locks::two_layer(url.expose_secret(), timing, TaskTracker::new())
            .map_err(|error| anyhow::anyhow!("REDIS_URL: {error}")),
    }
}

fn table(status: &Status) -> String {
    let locks = &status.locks;
    let redis = match (locks.lock_service_available, locks.lock_mode) {
        (true, _) => "Redis is used",
        (false, LockMode::TwoLayer) => "Redis did not answer this look",
        (false, LockMode::DatabaseOnly) => "Redis can't be used: locks are database-only",
    };
    let mut text = format!(
        "{}  {redis}; locks held: {}, of variants: {}; requests that wait: {}\n",
        locks.timestamp.format("%Y-%m-%d %H:%M:%S UTC"),
        locks.total_active_locks,
        locks.inventory_locks,
        locks.waiters,
    );
    // Writing to a string does not fail.
    let _ =
        writeln!(text, "\n{:<64} {:<10} {:<16} {:>9} {:>8}", "LOCK", "REPLICA", "OWNER", "LEFT", "WAITING");
    for lock in locks.locks.iter().take(ROWS_MAX) {
        let left =
            lock.ttl_ms.map_or_else(|| "-".to_owned(), |left| format!("{:.1} s", left as f64 / 1_000.0));
        let owner = lock.owner.as_deref().unwrap_or("-");
        let _ = writeln!(
            text,
            "{:<64} {:<10} {owner:<16} {left:>9} {:>8}",
            lock.key.escape_debug().to_string(),
            lock.replica,
            lock.waiters
        );
    }
    if locks.total_active_locks > ROWS_MAX {
        let _ = writeln!(text, "… and {} more", locks.total_active_locks - ROWS_MAX);
    }
    if !status.database_available {
        text.push_str("\nPostgres can't be asked who waits in it.\n");
    } else if !status.database_waits.is_empty() {
        let _ = writeln!(
            text,
            "\n{:<8} {:<14} {:>8}  {:<20} STATEMENT",
            "SESSION", "WAITS FOR", "SINCE", "OF SESSIONS"
        );
        for wait in status.database_waits.iter().take(ROWS_MAX) {
            let blockers: Vec<_> = wait.blocked_by.iter().map(ToString::to_string).collect();
            let statement: String = wait.query.split_whitespace().collect::<Vec<_>>().join(" ");
            let _ = writeln!(
                text,
                "{:<8} {:<14} {:>6.1} s  {:<20} {}",
                wait.pid,
                wait.waiting_for,
                wait.seconds,
                blockers.join(" "),
                statement.chars().filter(|c| !c.is_control()).take(60).collect::<String>()
            );
        }
    }
    text.trim_end().to_owned()
}
