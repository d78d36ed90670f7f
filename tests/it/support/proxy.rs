//! A TCP proxy that is slow, and cuts at the worst moment.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

/// How Postgres is told to commit.
const COMMIT: &[u8] = b"COMMIT\0";

/// Stands before a server until dropped.
pub struct Proxy {
    pub address: SocketAddr,
    knobs: Arc<Knobs>,
    stopped: CancellationToken,
}

/// When a connection is cut that is told to commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// Before the server hears of it.
    BeforeCommit = 1,
    /// When the server has done it and its answer is on the way.
    AfterCommit = 2,
}

struct Knobs {
    /// Delay each way, drawn for each connection from this range of microseconds.
    delay_us: (u64, u64),
    cut: AtomicUsize,
    cuts: AtomicU64,
}

impl Proxy {
    /// In front of `port` of 127.0.0.1; each connection gets a delay from `delay`.
    pub async fn before(port: u16, delay: (Duration, Duration)) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let micros = |delay: Duration| delay.as_micros() as u64;
        let knobs = Arc::new(Knobs {
            delay_us: (micros(delay.0), micros(delay.1)),
            cut: AtomicUsize::new(0),
            cuts: AtomicU64::new(0),
        });
        let stopped = CancellationToken::new();
        let (shared, until) = (knobs.clone(), stopped.clone());
        tokio::spawn(until.run_until_cancelled_owned(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(shared.clone().carry(client, port));
            }
        }));
        Self { address, knobs, stopped }
    }

    /// The same URL, but through here.
    pub fn instead_of(&self, url: &str) -> String {
        let port = port_of(url);
        url.replace(&format!(":{port}"), &format!(":{}", self.address.port()))
    }

    /// Cuts the next connection that commits.
    pub fn cut_next(&self, cut: Cut) {
        self.knobs.cut.store(cut as usize, Ordering::SeqCst);
    }

    /// How many connections were cut.
    pub fn cuts(&self) -> u64 {
        self.knobs.cuts.load(Ordering::SeqCst)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.stopped.cancel();
    }
}

/// The port in a URL of a server on 127.0.0.1.
pub fn port_of(url: &str) -> u16 {
    let (_, rest) = url.split_once("127.0.0.1:").unwrap();
    rest.split(|c: char| !c.is_ascii_digit()).next().unwrap().parse().unwrap()
}

impl Knobs {
    async fn carry(self: Arc<Self>, client: TcpStream, port: u16) {
        let Ok(server) = TcpStream::connect(("127.0.0.1", port)).await else { return };
        let (low, high) = self.delay_us;
        let draw =
            u64::from(u16::from_be_bytes([holdfast::ids::random_byte(), holdfast::ids::random_byte()]));
        let delay = Duration::from_micros(low + (high - low) * draw / u64::from(u16::MAX));
        for stream in [&client, &server] {
            stream.set_nodelay(true).unwrap();
        }
        let (from_client, to_client) = client.into_split();
        let (from_server, to_server) = server.into_split();
        let committed = CancellationToken::new();
        // Whichever direction ends first ends both.
        tokio::select! {
            () = self.up(from_client, to_server, delay, &committed) => {}
            () = self.down(from_server, to_client, delay, &committed) => {}
        }
    }

    async fn up(
        &self,
        mut from: OwnedReadHalf,
        mut to: OwnedWriteHalf,
        delay: Duration,
        committed: &CancellationToken,
    ) {
        let mut buffer = vec![0; 64 * 1024];
        while let Some(bytes) = Self::next(&mut from, &mut buffer, delay).await {
            if bytes.windows(COMMIT.len()).any(|window| window == COMMIT) {
                match self.cut.swap(0, Ordering::SeqCst) {
                    1 => {
                        self.cuts.fetch_add(1, Ordering::SeqCst);
                        return;
                    }
                    2 => committed.cancel(),
                    _ => {}
                }
            }
            if to.write_all(bytes).await.is_err() {
                return;
            }
        }
    }

    async fn down(
        &self,
        mut from: OwnedReadHalf,
        mut to: OwnedWriteHalf,
        delay: Duration,
        committed: &CancellationToken,
    ) {
        let mut buffer = vec![0; 64 * 1024];
        while let Some(bytes) = Self::next(&mut from, &mut buffer, delay).await {
            if committed.is_cancelled() {
                // The answer to the COMMIT: it is done, and nobody will hear of it.
                self.cuts.fetch_add(1, Ordering::SeqCst);
                return;
            }
            if to.write_all(bytes).await.is_err() {
                return;
            }
        }
    }

    async fn next<'a>(from: &mut OwnedReadHalf, buffer: &'a mut [u8], delay: Duration) -> Option<&'a [u8]> {
        let read = from.read(buffer).await.ok().filter(|read| *read > 0)?;
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        Some(&buffer[..read])
    }
}
