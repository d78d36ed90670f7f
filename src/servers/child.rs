//! A server process that we started.
//!
//! What must stay true: no wait is without a bound, and none that was started is left behind: dropping the value
//! stops it. It stands in a process group of its own, so that Ctrl-C in the terminal reaches only Holdfast, which
//! needs its servers until it has finished.

use std::{
    fs,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use nix::{
    sys::signal::{self, Signal},
    unistd::{Pid, User},
};

use super::{folder::Claim, processes};

/// How often a process is looked at while something is waited for.
pub(super) const POLL: Duration = Duration::from_millis(10);
/// How long a server may take to answer after it was started.
pub(super) const START_LIMIT: Duration = Duration::from_secs(30);
/// How long a server may take to stop when asked politely.
pub(super) const STOP_LIMIT: Duration = Duration::from_secs(20);
/// How long it may take when told to stop at once.
pub(super) const ABORT_LIMIT: Duration = Duration::from_secs(5);
/// How much of a server's log is shown when it fails.
const TAIL_LINES: usize = 12;

/// A running (or just ended) server.
#[derive(Debug)]
pub(super) struct Server {
    child: Child,
    log: PathBuf,
    /// Processes of its own to hold and to let go along with it.
    paused: Vec<Pid>,
    /// What it is told first when this value is dropped.
    farewell: Signal,
}

impl Server {
    /// Starts `command` with its output in `log`, which is begun anew.
    pub(super) fn start(mut command: Command, log: &Path, farewell: Signal) -> Result<Self> {
        let output = fs::File::create(log).with_context(|| format!("cannot write {}", log.display()))?;
        let name = command.get_program().to_owned();
        let child = command
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .process_group(0)
            .spawn()
            .with_context(|| format!("cannot start {}", Path::new(&name).display()))?;
        Ok(Self { child, log: log.to_owned(), paused: Vec::new(), farewell })
    }

    pub(super) fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id().cast_signed())
    }

    /// How it ended; `None` while it runs.
    pub(super) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    pub(super) fn signal(&mut self, signal: Signal) {
        // Once collected, the number may belong to another process.
        if self.ended().is_none() {
            processes::send(self.pid(), signal);
        }
    }

    /// Stops it and all its children from running until [`Self::resume`].
    pub(super) fn pause(&mut self) {
        self.signal(Signal::SIGSTOP);
        self.paused = processes::children_of(self.pid());
        for child in &self.paused {
            processes::send(*child, Signal::SIGSTOP);
        }
    }

    /// Undoes [`Self::pause`].
    pub(super) fn resume(&mut self) {
        for child in self.paused.drain(..) {
            processes::send(child, Signal::SIGCONT);
        }
        self.signal(Signal::SIGCONT);
    }

    /// Sends each signal in turn until it has ended, waiting as long as stands beside it.
    pub(super) async fn stop(&mut self, steps: &[(Signal, Duration)]) -> Result<()> {
        self.resume();
        for (signal, limit) in steps {
            self.signal(*signal);
            if self.ends_within(*limit).await {
                return Ok(());
            }
            tracing::warn!(process.pid = %self.pid(), signal = signal.as_str(), "a server did not stop in time");
        }
        bail!("process {} does not stop; its log is {}", self.pid(), self.log.display())
    }

    /// Kills it as a power cut would, and waits until its children have noticed and are gone too.
    pub(super) async fn kill(&mut self) -> Result<()> {
        let children = processes::children_of(self.pid());
        self.signal(Signal::SIGKILL);
        self.resume();
        if !self.ends_within(ABORT_LIMIT).await {
            bail!("process {} does not die", self.pid());
        }
        let started = Instant::now();
        while children.iter().any(|child| processes::alive(*child)) {
            if started.elapsed() > ABORT_LIMIT {
                // One that computes without looking up never learns that its parent is gone.
                for child in &children {
                    processes::send(*child, Signal::SIGKILL);
                }
            }
            if started.elapsed() > ABORT_LIMIT * 2 {
                bail!("children of process {} outlive it", self.pid());
            }
            tokio::time::sleep(POLL).await;
        }
        Ok(())
    }

    /// Fails with the end of its log if it has ended.
    pub(super) fn check(&mut self) -> Result<()> {
        match self.ended() {
            None => Ok(()),
            Some(status) => bail!("it ended ({status}):\n{}", tail(&self.log)),
        }
    }

    /// The end of its log.
    pub(super) fn log_tail(&self) -> String {
        tail(&self.log)
    }

    async fn ends_within(&mut self, limit: Duration) -> bool {
        let started = Instant::now();
        while self.ended().is_none() {
            if started.elapsed() > limit {
                return false;
            }
            tokio::time::sleep(POLL).await;
        }
        true
    }
}

impl Drop for Server {
    #[expect(
        clippy::disallowed_methods,
        reason = "a destructor cannot await; it waits only after a panic or an early return"
    )]
    fn drop(&mut self) {
        self.resume();
        for (signal, limit) in
            [(self.farewell, ABORT_LIMIT), (Signal::SIGQUIT, ABORT_LIMIT), (Signal::SIGKILL, ABORT_LIMIT)]
        {
            self.signal(signal);
            let started = Instant::now();
            while self.ended().is_none() && started.elapsed() < limit {
                std::thread::sleep(POLL);
            }
        }
    }
}

/// Whether a server that just failed did so because its port was taken meanwhile.
pub(super) fn port_was_taken(log: &Path) -> bool {
    tail(log).contains("Address already in use")
}

/// A command that runs `program` in the claimed folder, as the user it is meant to run as.
///
/// Settings of the terminal's own environment (`PGPORT`, `PGDATA`, `LC_ALL`) do not reach it.
pub(super) fn command(program: &Path, claim: &Claim) -> Command {
    let mut command = Command::new(program);
    command
        .current_dir(&claim.path)
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .env("LC_ALL", "C")
        .env("HOME", &claim.path);
    for loader in ["LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH"] {
        if let Some(value) = std::env::var_os(loader) {
            command.env(loader, value);
        }
    }
    if let Some(User { uid, gid, .. }) = &claim.run_as {
        command.uid(uid.as_raw()).gid(gid.as_raw());
    }
    command
}

/// Runs a program to its end, with its output in `log`. If the end is not awaited, it and all it started are killed.
pub(super) async fn run(mut command: Command, log: &Path) -> Result<()> {
    let output = fs::File::create(log).with_context(|| format!("cannot write {}", log.display()))?;
    let name = command.get_program().to_owned();
    command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output).process_group(0);
    let started = command.spawn().with_context(|| format!("cannot start {}", Path::new(&name).display()))?;
    let mut group = Group(started);
    loop {
        match group.0.try_wait()? {
            Some(status) if status.success() => return Ok(()),
            Some(status) => bail!("{} failed ({status}):\n{}", Path::new(&name).display(), tail(log)),
            None => tokio::time::sleep(POLL).await,
        }
    }
}

/// A program and what it started, all in the process group that it leads.
struct Group(Child);

impl Drop for Group {
    fn drop(&mut self) {
        if matches!(self.0.try_wait(), Ok(None)) {
            let leader = Pid::from_raw(self.0.id().cast_signed());
            if let Err(error) = signal::killpg(leader, Signal::SIGKILL) {
                tracing::warn!(process.pid = %leader, %error, "a program could not be stopped");
            } else if let Err(error) = self.0.wait() {
                tracing::warn!(process.pid = %leader, %error, "a program could not be waited for");
            }
        }
    }
}

/// Stops a server that an earlier run left behind.
#[expect(clippy::disallowed_methods, reason = "happens at most once, before anything else runs")]
pub(super) fn stop_orphan(pid: Pid, steps: &[(Signal, Duration)]) -> Result<()> {
    processes::send(pid, Signal::SIGCONT);
    for (signal, limit) in steps {
        processes::send(pid, *signal);
        let started = Instant::now();
        while started.elapsed() < *limit {
            if !processes::alive(pid) {
                return Ok(());
            }
            std::thread::sleep(POLL);
        }
    }
    bail!("process {pid}, left over from an earlier run, does not stop: end it and start again")
}

fn tail(log: &Path) -> String {
    let text = fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n")
}
