//! `holdfast-load` as a process of its own, which sends until it is told to stop.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tokio::process::{Child, Command};

use super::sender::WEBHOOKS;
use super::{ADMIN_KEY, unique};

/// Longer than any test: the test says when it is over.
const SECONDS: &str = "3600";

/// A scenario under way. Killed when dropped.
pub struct LoadProgram {
    child: Child,
    report: PathBuf,
}

impl LoadProgram {
    /// Sends a scenario to these replicas. What it says goes to the test's own output.
    pub fn start(scenario: &str, replicas: &[SocketAddr], options: &[&str]) -> Self {
        // Cargo names the programs of this package only.
        let program = Path::new(env!("CARGO_BIN_EXE_holdfast")).with_file_name("holdfast-load");
        assert!(program.exists(), "{} is not there: cargo build --workspace --bins", program.display());
        let report = std::env::temp_dir().join(unique("holdfast-load"));
        let mut command = Command::new(program);
        command
            .arg(scenario)
            .args(replicas.iter().map(|address| format!("--url=http://{address}")))
            .args(["--seconds", SECONDS, "--json"])
            .arg(&report)
            .args(options)
            .env_clear()
            .env("HOLDFAST_ADMIN_KEY", ADMIN_KEY)
            .envs([WEBHOOKS])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        Self { child: command.spawn().unwrap(), report }
    }

    /// Lets no more buyers come, and waits for the verdict: the report, if it is good.
    pub async fn verdict(self) -> Value {
        let pid =
            self.child.id().and_then(|pid| i32::try_from(pid).ok()).expect("the load has ended by itself");
        kill(Pid::from_raw(pid), Signal::SIGINT).unwrap();
        let output = self.child.wait_with_output().await.unwrap();
        let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        assert!(output.status.success(), "{}\n{}", said[0], said[1]);
        let report = serde_json::from_slice(&std::fs::read(&self.report).unwrap()).unwrap();
        std::fs::remove_file(&self.report).unwrap();
        report
    }
}
