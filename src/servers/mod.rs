//! Private Postgres and Redis servers: for `holdfast dev`, for `holdfast servers`, and for the tests.
//!
//! [`Postgres::start`] and [`Redis::start`] find the programs of this machine ([`find`]), start them as children in
//! a folder of their own, and return when they answer. Nothing that this machine already runs is touched.
//!
//! What must stay true:
//! - whatever was started here is stopped here: by `stop`, by the destructor after a panic, and by the next run
//!   after this program was killed, which finds the orphans by their folder;
//! - a folder has one owner at a time, and only the owner stops servers in it (`folder`);
//! - no server is ended by its name, and none by a number alone (`processes`);
//! - a database that is meant to be kept never runs with the settings of a throwaway one.

use std::{
    io::Write,
    net::{Ipv4Addr, TcpListener},
    path::{Path, PathBuf},
};

use anyhow::{Result, bail};

use crate::ids;

mod child;
pub mod find;
mod folder;
mod pair;
mod postgres;
mod processes;
mod redis;
#[cfg(test)]
mod tests;

pub use self::{
    folder::{TempFolder, home},
    pair::Pair,
    postgres::Postgres,
    redis::Redis,
};

/// Ports that a private server may take: below those that the system hands out to outgoing connections, one of
/// which could otherwise sit on a server's port when it comes back.
const PORTS: std::ops::Range<u16> = 20_000..32_000;
/// How many ports are tried before giving up.
const PORT_TRIES: u32 = 100;

/// How a private server is run.
#[derive(Debug, Clone)]
pub struct Options {
    /// A folder for this server alone; made if missing, closed to other users.
    pub folder: PathBuf,
    /// Listen on a free port of 127.0.0.1 instead of a Unix socket, so that a proxy can stand before it. Whoever can
    /// log in to this machine can then connect: for throwaway servers.
    pub tcp: bool,
    /// Lose nothing that was committed when the machine crashes. Only throwaway databases do without.
    pub durable: bool,
    /// Further settings of the server, which win over those made here.
    pub settings: Vec<(String, String)>,
}

impl Options {
    /// A server whose data is kept, on a Unix socket.
    #[must_use]
    pub fn kept(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into(), tcp: false, durable: true, settings: Vec::new() }
    }

    /// A server to be thrown away, on a Unix socket.
    #[must_use]
    pub fn throwaway(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into(), tcp: false, durable: false, settings: Vec::new() }
    }

    /// The same on a port of 127.0.0.1.
    #[must_use]
    pub fn on_tcp(self) -> Self {
        Self { tcp: true, ..self }
    }

    /// The same with one more setting.
    #[must_use]
    pub fn set(mut self, name: &str, value: &str) -> Self {
        self.settings.push((name.to_owned(), value.to_owned()));
        self
    }
}

/// Where a private server listens.
#[derive(Debug, Clone)]
enum Address {
    /// In this folder.
    Socket(PathBuf),
    /// On this port of 127.0.0.1.
    Tcp(u16),
}

impl Address {
    fn new(tcp: bool, socket_folder: PathBuf) -> Result<Self> {
        if tcp { Self::free_port() } else { Ok(Self::Socket(socket_folder)) }
    }

    /// A port that was free a moment ago. Another program may still take it first: the caller looks and tries again.
    fn free_port() -> Result<Self> {
        for _ in 0..PORT_TRIES {
            let draw = u16::from_be_bytes([ids::random_byte(), ids::random_byte()]);
            let port = PORTS.start + draw % (PORTS.end - PORTS.start);
            if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
                return Ok(Self::Tcp(port));
            }
        }
        bail!("no free port on 127.0.0.1 between {} and {}", PORTS.start, PORTS.end)
    }

    fn is_tcp(&self) -> bool {
        matches!(self, Self::Tcp(_))
    }
}

/// Stops the servers and removes the folders of throwaway runs that were killed before they could.
pub fn sweep() {
    for folder in folder::abandoned() {
        let stopped =
            postgres::sweep(&folder.path().join("postgres")).and(redis::sweep(&folder.path().join("redis")));
        if let Err(error) = stopped {
            say(&format!("{error:#}"));
            folder.keep();
        }
    }
}

/// Tells the person at the terminal something about servers. Goes to standard error: standard output belongs to
/// the command that the servers are for.
pub fn say(line: &str) {
    // A closed terminal is no reason to fail, least of all while stopping.
    let _closed = writeln!(std::io::stderr(), "holdfast: {line}");
}

/// A path as it stands in a URL.
fn in_url(path: &Path) -> String {
    let mut url = String::new();
    for byte in path.as_os_str().as_encoded_bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => {
                url.push(char::from(*byte));
            }
            _ => url.extend(['%', hex(byte >> 4), hex(byte & 0xf)]),
        }
    }
    url
}

fn hex(digit: u8) -> char {
    char::from(b"0123456789ABCDEF"[usize::from(digit & 0xf)])
}
