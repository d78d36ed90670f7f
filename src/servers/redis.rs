//! A private Redis (or Valkey).
//!
//! What must stay true: it keeps nothing on disk, for nothing in it may be needed after a crash; it never throws a
//! key out to make room, for a key is a lock; it is reached through a socket in a folder closed to other users, or,
//! for throwaway ones that ask for it, on the loopback address.

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use nix::sys::signal::Signal;

use super::{
    Address, Options,
    child::{self, ABORT_LIMIT, POLL, START_LIMIT, STOP_LIMIT, Server},
    find,
    folder::{self, Claim, TempFolder},
    processes,
};

const SOCKET: &str = "redis.sock";
/// Written by us: the server rewrites its own only when it runs in the background.
const PID_FILE: &str = "redis.pid";
/// Numbered databases of a throwaway server, so that every test can have one to itself.
const DATABASES_THROWAWAY: &str = "1024";

const STOP: &[(Signal, Duration)] = &[(Signal::SIGTERM, STOP_LIMIT), (Signal::SIGKILL, ABORT_LIMIT)];

/// A private Redis, stopped when dropped.
#[derive(Debug)]
pub struct Redis {
    server: Server,
    program: PathBuf,
    address: Address,
    options: Options,
    _socket_folder: Option<TempFolder>,
    claim: Claim,
}

impl Redis {
    /// Starts one in `options.folder`.
    ///
    /// # Errors
    /// When none is installed, the folder is in use, or the server does not come up. The message says what to do,
    /// and holds the end of the server's log.
    pub async fn start(options: &Options) -> Result<Self> {
        let found = find::redis()?;
        let claim = Claim::take(&options.folder, folder::REDIS_USERS)?;
        stop_orphan(&claim)?;
        let (socket_folder, temporary) = folder::socket_folder(&claim, SOCKET)?;
        let address = Address::new(options.tcp, socket_folder)?;
        let server = launch(&found.path, &claim, &address, options)?;
        let mut redis = Self {
            server,
            program: found.path,
            address,
            options: options.clone(),
            _socket_folder: temporary,
            claim,
        };
        redis.wait_until_it_answers(true).await?;
        Ok(redis)
    }

    /// Where programs connect to: the value for `REDIS_URL`.
    #[must_use]
    pub fn url(&self) -> String {
        match &self.address {
            Address::Socket(folder) => format!("redis+unix://{}", super::in_url(&folder.join(SOCKET))),
            Address::Tcp(port) => format!("redis://127.0.0.1:{port}"),
        }
    }

    /// The process number of the server.
    #[must_use]
    pub fn pid(&self) -> i32 {
        self.server.pid().as_raw()
    }

    /// Stops it; its keys are gone.
    ///
    /// # Errors
    /// When it does not stop even when killed.
    pub async fn stop(&mut self) -> Result<()> {
        self.server.stop(STOP).await
    }

    /// Kills it without a word.
    ///
    /// # Errors
    /// When it stays.
    pub async fn kill(&mut self) -> Result<()> {
        self.server.kill().await
    }

    /// Lets it hang: nothing answers, no connection breaks.
    pub fn pause(&mut self) {
        self.server.pause();
    }

    /// Ends [`Self::pause`].
    pub fn resume(&mut self) {
        self.server.resume();
    }

    /// Starts it again, empty, at the same address, stopping it first if it runs.
    ///
    /// # Errors
    /// When it does not come up.
    pub async fn restart(&mut self) -> Result<()> {
        self.stop().await?;
        self.server = launch(&self.program, &self.claim, &self.address, &self.options)?;
        self.wait_until_it_answers(false).await
    }

    async fn wait_until_it_answers(&mut self, may_move: bool) -> Result<()> {
        let started = Instant::now();
        loop {
            let reason = match self.ask().await {
                Ok(()) => return Ok(()),
                Err(error) => error,
            };
            if self.server.ended().is_some()
                && self.address.is_tcp()
                && child::port_was_taken(&log(&self.claim))
            {
                if may_move {
                    self.address = Address::free_port()?;
                } else {
                    tokio::time::sleep(POLL * 20).await;
                }
                self.server = launch(&self.program, &self.claim, &self.address, &self.options)?;
            }
            let place = self.claim.path.display();
            self.server.check().with_context(|| format!("Redis in {place} did not start"))?;
            if started.elapsed() > START_LIMIT {
                bail!("Redis in {place} does not answer: {reason:#}\n{}", self.server.log_tail());
            }
            tokio::time::sleep(POLL).await;
        }
    }

    async fn ask(&self) -> Result<()> {
        let asked = async {
            let client = redis::Client::open(self.url())?;
            let mut connection = client.get_multiplexed_async_connection().await?;
            redis::cmd("PING").exec_async(&mut connection).await
        };
        Ok(tokio::time::timeout(ABORT_LIMIT, asked).await??)
    }
}

fn log(claim: &Claim) -> PathBuf {
    claim.path.join("redis.log")
}

fn launch(program: &Path, claim: &Claim, address: &Address, options: &Options) -> Result<Server> {
    let mut command = child::command(program, claim);
    let mut set = |name: &str, value: &str| {
        command.arg(format!("--{name}")).arg(value);
    };
    // The command line must keep naming the folder: an orphan is recognised by it.
    set("set-proc-title", "no");
    set("dir", &claim.path.to_string_lossy());
    match address {
        Address::Socket(folder) => {
            set("port", "0");
            set("unixsocket", &folder.join(SOCKET).to_string_lossy());
            set("unixsocketperm", "700");
        }
        Address::Tcp(port) => {
            set("bind", "127.0.0.1");
            set("port", &port.to_string());
        }
    }
    set("save", "");
    set("appendonly", "no");
    set("maxmemory-policy", "noeviction");
    if !options.durable {
        set("databases", DATABASES_THROWAWAY);
    }
    for (name, value) in &options.settings {
        set(name, value);
    }
    let server = Server::start(command, &log(claim), Signal::SIGTERM)?;
    fs::write(claim.path.join(PID_FILE), format!("{}\n", server.pid()))?;
    Ok(server)
}

/// Stops a server that runs in this folder though its owner is gone.
fn stop_orphan(claim: &Claim) -> Result<()> {
    let Ok(text) = fs::read_to_string(claim.path.join(PID_FILE)) else {
        return Ok(());
    };
    let pid = text.trim().parse().ok();
    let running =
        |pid| ["redis", "valkey"].iter().find_map(|name| processes::running(pid, name, &claim.path));
    if let Some(pid) = pid.and_then(running) {
        super::say(&format!("stopping Redis (process {pid}), left over from an earlier run"));
        child::stop_orphan(pid, STOP)?;
    }
    Ok(fs::remove_file(claim.path.join(PID_FILE))?)
}

/// Stops whatever an owner that died left running in `folder`.
pub(super) fn sweep(folder: &Path) -> Result<()> {
    if folder.is_dir() { stop_orphan(&Claim::take(folder, folder::REDIS_USERS)?) } else { Ok(()) }
}
