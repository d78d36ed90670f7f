//! The service as a process of its own, which can be killed, paused and ended.

use std::process::Stdio;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use super::{ADMIN_KEY, Client, QUEUES};

/// One replica. Killed when dropped.
pub struct Replica {
    pub client: Client,
    child: Child,
}

impl Replica {
    /// Starts `holdfast serve` and waits until it listens.
    pub async fn start(database_url: &str, redis_url: Option<&str>, settings: &[(&str, &str)]) -> Self {
        Self::logging_to(Stdio::inherit(), database_url, redis_url, settings).await
    }

    /// The same, and its log goes elsewhere.
    pub async fn logging_to(
        log: Stdio,
        database_url: &str,
        redis_url: Option<&str>,
        settings: &[(&str, &str)],
    ) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_holdfast"));
        command
            .arg("serve")
            .env_clear()
            .env("DATABASE_URL", database_url)
            .env("HOLDFAST_ADMIN_KEY", ADMIN_KEY)
            .env("HOLDFAST_LISTEN", "127.0.0.1:0")
            .env("HOLDFAST_LOG", "warn")
            .envs([QUEUES])
            .envs(redis_url.map(|url| ("REDIS_URL", url)))
            .envs(settings.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .kill_on_drop(true);
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let line = lines.next_line().await.unwrap().expect("the replica ended before it listened");
        let address =
            line.strip_prefix("listening on http://").expect("the first line says where it listens");
        Self { client: Client::admin(address.parse().unwrap()), child }
    }

    pub fn signal(&self, signal: Signal) {
        let pid = self.child.id().and_then(|pid| i32::try_from(pid).ok()).expect("the replica has ended");
        kill(Pid::from_raw(pid), signal).unwrap();
    }

    /// SIGKILL: nothing is finished, nothing is released.
    pub async fn kill(mut self) {
        self.signal(Signal::SIGKILL);
        self.child.wait().await.unwrap();
    }

    /// SIGTERM: everything is finished. True if it ended with status 0.
    pub async fn terminate(mut self) -> bool {
        self.signal(Signal::SIGTERM);
        self.child.wait().await.unwrap().success()
    }
}
