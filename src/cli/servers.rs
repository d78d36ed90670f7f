//! `holdfast servers -- COMMAND`: runs a command with throwaway Postgres and Redis servers.
//!
//! What must stay true: whatever of `DATABASE_URL` and `REDIS_URL` is set is used as it is; the command's status
//! becomes ours; servers that were started are stopped however the command ends.

use std::{
    ffi::OsString,
    io::IsTerminal,
    os::unix::process::ExitStatusExt,
    path::PathBuf,
    process::{ExitCode, ExitStatus},
};

use anyhow::{Context, Result};
use nix::{sys::signal::Signal, unistd::Pid};
use tokio::{
    process::{Child, Command},
    signal::unix::{self, SignalKind},
};

use crate::servers::{self, Pair, TempFolder};

/// What a shell adds to the number of the signal that ended a command.
const ENDED_BY_SIGNAL: i32 = 128;

/// Run a command with private servers, for whatever of `DATABASE_URL` and `REDIS_URL` is not set.
#[derive(Debug, clap::Args)]
pub struct ServersArgs {
    /// Keep the servers' data in this folder instead of throwing it away (implies --durable).
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
    /// Write to disk as a real database does (fsync on): for measurements.
    #[arg(long)]
    durable: bool,
    /// The command and its arguments.
    #[arg(last = true, required = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

/// Runs the command.
///
/// # Errors
/// When a server does not start or stop, or the command cannot be run.
pub async fn run(args: ServersArgs) -> Result<ExitCode> {
    let mut signals = Signals::listen()?;
    servers::sweep();
    // Declared before the servers, so that it is removed after they are stopped.
    let temporary = if args.keep.is_none() { Some(TempFolder::new()?) } else { None };
    let folder = match (&args.keep, &temporary) {
        (Some(kept), _) => servers::home(kept),
        (None, Some(temporary)) => temporary.path().to_owned(),
        (None, None) => std::env::temp_dir(),
    };
    let durable = args.durable || args.keep.is_some();
    let mut pair = tokio::select! {
        pair = Pair::start(&folder, durable) => pair?,
        signal = signals.next() => return Ok(exit_code(ENDED_BY_SIGNAL + signal as i32)),
    };
    let ended = run_command(&args.command, &pair, &mut signals).await;
    let stopped = pair.stop().await;
    let status = ended?;
    stopped?;
    Ok(exit_code(status.code().unwrap_or_else(|| ENDED_BY_SIGNAL + status.signal().unwrap_or_default())))
}

async fn run_command(command: &[OsString], pair: &Pair, signals: &mut Signals) -> Result<ExitStatus> {
    let (program, arguments) = command.split_first().context("no command given")?;
    let mut command = Command::new(program);
    command.args(arguments).env("DATABASE_URL", pair.database_url());
    if let Some(url) = pair.redis_url() {
        command.env("REDIS_URL", url);
    }
    let mut child = command.spawn().with_context(|| format!("cannot run {}", program.to_string_lossy()))?;
    loop {
        tokio::select! {
            status = child.wait() => return Ok(status?),
            signal = signals.next() => pass_on(signal, &child),
        }
    }
}

/// Ctrl-C in a terminal has reached the command already, which must not take it for a second one.
fn pass_on(signal: Signal, child: &Child) {
    if signal == Signal::SIGINT && std::io::stdin().is_terminal() {
        return;
    }
    let pid = child.id().and_then(|pid| i32::try_from(pid).ok());
    if let Some(pid) = pid
        && let Err(error) = nix::sys::signal::kill(Pid::from_raw(pid), signal)
    {
        tracing::debug!(%error, "signal not passed on");
    }
}

fn exit_code(code: i32) -> ExitCode {
    u8::try_from(code).map_or(ExitCode::FAILURE, ExitCode::from)
}

/// The signals that ask a program to end. While this lives, none of them ends this one by itself.
pub(super) struct Signals {
    interrupt: unix::Signal,
    terminate: unix::Signal,
    hangup: unix::Signal,
}

impl Signals {
    pub(super) fn listen() -> Result<Self> {
        Ok(Self {
            interrupt: unix::signal(SignalKind::interrupt())?,
            terminate: unix::signal(SignalKind::terminate())?,
            hangup: unix::signal(SignalKind::hangup())?,
        })
    }

    pub(super) async fn next(&mut self) -> Signal {
        tokio::select! {
            _ = self.interrupt.recv() => Signal::SIGINT,
            _ = self.terminate.recv() => Signal::SIGTERM,
            _ = self.hangup.recv() => Signal::SIGHUP,
        }
    }
}
