//! A private Postgres.
//!
//! What must stay true: it is reached through a socket in a folder closed to other users, or, for throwaway ones
//! that ask for it, on the loopback address; it never touches a cluster that it did not make. A database that is
//! kept is never run without fsync.

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use nix::sys::signal::Signal;
use sqlx::{Connection, PgConnection};

use super::{
    Address, Options,
    child::{self, ABORT_LIMIT, POLL, START_LIMIT, STOP_LIMIT, Server},
    find,
    folder::{self, Claim, TempFolder},
    processes,
};

/// The database, and the user that owns it and everything else in the cluster.
const NAME: &str = "holdfast";
/// Part of the socket's name; no port is opened for it.
const SOCKET_PORT: u16 = 5432;
/// Connections to a server whose data is kept, and to one for tests, where many programs share it.
const CONNECTIONS_KEPT: u16 = 200;
const CONNECTIONS_THROWAWAY: u16 = 300;
/// What tests gain their speed by, and what a crash of the machine would make them pay for. A commit still reaches the
/// system before it is acknowledged (`synchronous_commit` stays on), so that killing the server loses none: tests
/// kill it and count.
const WITHOUT_DURABILITY: &[(&str, &str)] = &[("fsync", "off"), ("full_page_writes", "off")];

/// Fast shutdown, which breaks connections off and writes everything down; then immediate; then none.
const STOP: &[(Signal, Duration)] =
    &[(Signal::SIGINT, STOP_LIMIT), (Signal::SIGQUIT, ABORT_LIMIT), (Signal::SIGKILL, ABORT_LIMIT)];
/// Immediate shutdown: it recovers from its log at the next start.
const STOP_IMMEDIATELY: &[(Signal, Duration)] =
    &[(Signal::SIGQUIT, ABORT_LIMIT), (Signal::SIGKILL, ABORT_LIMIT)];

/// A private Postgres, stopped when dropped.
#[derive(Debug)]
pub struct Postgres {
    server: Server,
    programs: PathBuf,
    address: Address,
    options: Options,
    _socket_folder: Option<TempFolder>,
    claim: Claim,
}

impl Postgres {
    /// Starts one in `options.folder`, making an empty database there the first time.
    ///
    /// # Errors
    /// When no Postgres is installed, the folder is in use, or the server does not come up. The message says what
    /// to do, and holds the end of the server's log.
    pub async fn start(options: &Options) -> Result<Self> {
        let made_by = made_by(&options.folder);
        let found = match made_by {
            Some(major) => find::postgres_of(major, &options.folder)?,
            None => find::postgres()?,
        };
        let claim = Claim::take(&options.folder, folder::POSTGRES_USERS)?;
        stop_orphan(&claim)?;
        if made_by.is_none() {
            initialise(&found.path, &claim, options.durable).await?;
        }
        let (socket_folder, temporary) = folder::socket_folder(&claim, &format!(".s.PGSQL.{SOCKET_PORT}"))?;
        let address = Address::new(options.tcp, socket_folder)?;
        let server = launch(&found.path, &claim, &address, options)?;
        let mut postgres = Self {
            server,
            programs: found.path,
            address,
            options: options.clone(),
            _socket_folder: temporary,
            claim,
        };
        postgres.wait_until_it_answers(true).await?;
        postgres.create_database().await?;
        Ok(postgres)
    }

    /// Where programs connect to: the value for `DATABASE_URL`.
    #[must_use]
    pub fn url(&self) -> String {
        self.url_of(NAME)
    }

    /// The same for another database of this server.
    #[must_use]
    pub fn url_of(&self, database: &str) -> String {
        match &self.address {
            Address::Socket(folder) => {
                let folder = super::in_url(folder);
                format!("postgres://{NAME}@localhost:{SOCKET_PORT}/{database}?host={folder}&sslmode=disable")
            }
            Address::Tcp(port) => format!("postgres://{NAME}@127.0.0.1:{port}/{database}?sslmode=disable"),
        }
    }

    /// The process number of the server.
    #[must_use]
    pub fn pid(&self) -> i32 {
        self.server.pid().as_raw()
    }

    /// Stops it in good order: transactions that run are broken off, everything committed is on disk.
    ///
    /// # Errors
    /// When it does not stop even when killed.
    pub async fn stop(&mut self) -> Result<()> {
        self.server.stop(STOP).await
    }

    /// Stops it at once, as after a crash: it recovers when started again.
    ///
    /// # Errors
    /// When it does not stop even when killed.
    pub async fn stop_immediately(&mut self) -> Result<()> {
        self.server.stop(STOP_IMMEDIATELY).await
    }

    /// Kills it without a word, and waits until no process of it is left.
    ///
    /// # Errors
    /// When processes of it stay.
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

    /// Starts it again at the same address, stopping it first if it runs.
    ///
    /// # Errors
    /// When it does not come up.
    pub async fn restart(&mut self) -> Result<()> {
        self.stop().await?;
        stop_orphan(&self.claim)?;
        self.server = launch(&self.programs, &self.claim, &self.address, &self.options)?;
        self.wait_until_it_answers(false).await
    }

    /// Waits for an answer to a query, not just for the socket, which opens before recovery has ended.
    async fn wait_until_it_answers(&mut self, may_move: bool) -> Result<()> {
        let started = Instant::now();
        loop {
            let reason = match self.ask().await {
                Ok(()) => return Ok(()),
                Err(error) => error,
            };
            if self.server.ended().is_some() && self.address.is_tcp() && child::port_was_taken(&self.log()) {
                if may_move {
                    self.address = Address::free_port()?;
                } else {
                    tokio::time::sleep(POLL * 20).await;
                }
                self.server = launch(&self.programs, &self.claim, &self.address, &self.options)?;
            }
            let place = self.claim.path.display();
            self.server.check().with_context(|| format!("Postgres in {place} did not start"))?;
            if started.elapsed() > START_LIMIT {
                bail!("Postgres in {place} does not answer: {reason}\n{}", self.server.log_tail());
            }
            tokio::time::sleep(POLL).await;
        }
    }

    async fn ask(&self) -> Result<(), sqlx::Error> {
        let asked = async {
            let mut connection = PgConnection::connect(&self.url_of("postgres")).await?;
            sqlx::query("SELECT 1").execute(&mut connection).await?;
            connection.close().await
        };
        tokio::time::timeout(ABORT_LIMIT, asked).await.map_err(|_| sqlx::Error::PoolTimedOut)?
    }

    async fn create_database(&self) -> Result<()> {
        let mut connection = PgConnection::connect(&self.url_of("postgres")).await?;
        let there = sqlx::query("SELECT FROM pg_database WHERE datname = $1")
            .bind(NAME)
            .fetch_optional(&mut connection)
            .await?;
        if there.is_none() {
            sqlx::query(&format!("CREATE DATABASE {NAME} OWNER {NAME}")).execute(&mut connection).await?;
        }
        Ok(connection.close().await?)
    }

    fn log(&self) -> PathBuf {
        log(&self.claim)
    }
}

fn data(folder: &Path) -> PathBuf {
    folder.join("data")
}

fn log(claim: &Claim) -> PathBuf {
    claim.path.join("postgres.log")
}

/// The major version of the database in `folder`; `None` while there is none.
fn made_by(folder: &Path) -> Option<u32> {
    fs::read_to_string(data(folder).join("PG_VERSION")).ok()?.trim().parse().ok()
}

/// Makes the empty database beside its place and moves it there when it is whole, so that an interruption leaves
/// no half of one.
async fn initialise(programs: &Path, claim: &Claim, durable: bool) -> Result<()> {
    let unfinished = claim.path.join("data.unfinished");
    if unfinished.exists() {
        fs::remove_dir_all(&unfinished)?;
    }
    if durable {
        super::say(&format!("making an empty database in {}", claim.path.display()));
    }
    let mut command = child::command(&programs.join("initdb"), claim);
    command.arg("-D").arg(&unfinished);
    command.args(["-U", NAME, "--auth=trust", "--encoding=UTF8", "--locale=C"]);
    if !durable {
        command.arg("--no-sync");
    }
    child::run(command, &claim.path.join("initdb.log")).await?;
    Ok(fs::rename(&unfinished, data(&claim.path))?)
}

fn launch(programs: &Path, claim: &Claim, address: &Address, options: &Options) -> Result<Server> {
    let mut command = child::command(&programs.join("postgres"), claim);
    command.arg("-D").arg(data(&claim.path));
    let mut set = |name: &str, value: &str| {
        command.arg("-c").arg(format!("{name}={value}"));
    };
    match address {
        Address::Socket(folder) => {
            set("listen_addresses", "");
            set("unix_socket_directories", &folder.to_string_lossy());
            set("port", &SOCKET_PORT.to_string());
        }
        Address::Tcp(port) => {
            set("listen_addresses", "127.0.0.1");
            set("unix_socket_directories", "");
            set("port", &port.to_string());
        }
    }
    set("timezone", "UTC");
    set("log_timezone", "UTC");
    let connections = if options.durable { CONNECTIONS_KEPT } else { CONNECTIONS_THROWAWAY };
    set("max_connections", &connections.to_string());
    if !options.durable {
        for (name, value) in WITHOUT_DURABILITY {
            set(name, value);
        }
    }
    for (name, value) in &options.settings {
        set(name, value);
    }
    let farewell = if options.durable { Signal::SIGINT } else { Signal::SIGQUIT };
    Server::start(command, &log(claim), farewell)
}

/// Stops a server that runs in this folder though its owner is gone, and clears away what a dead one left.
fn stop_orphan(claim: &Claim) -> Result<()> {
    let data = data(&claim.path);
    let pid_file = data.join("postmaster.pid");
    let Ok(text) = fs::read_to_string(&pid_file) else {
        return Ok(());
    };
    let pid = text.lines().next().and_then(|line| line.trim().parse().ok());
    if let Some(pid) = pid.and_then(|pid| processes::running(pid, "postgres", &data)) {
        super::say(&format!("stopping Postgres (process {pid}), left over from an earlier run"));
        child::stop_orphan(pid, STOP)?;
    }
    // Else a new server would believe the number in it, which by now may be another process of this user.
    match fs::remove_file(&pid_file) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
        _ => Ok(()),
    }
}

/// Stops whatever an owner that died left running in `folder`.
pub(super) fn sweep(folder: &Path) -> Result<()> {
    if folder.is_dir() { stop_orphan(&Claim::take(folder, folder::POSTGRES_USERS)?) } else { Ok(()) }
}
