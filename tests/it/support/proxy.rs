//! A proxy before a server, whose connections break as the test says, and are cut at the worst moment.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::link::{Link, Wire, draw};

/// How Postgres is told to commit.
pub const COMMIT: &[u8] = b"COMMIT\0";
/// Below the ports that the system hands out by itself: one on which nobody listens for a while stays free.
const PORTS: std::ops::Range<u16> = 20_000..32_000;
const PIECE: usize = 64 * 1024;

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

/// Where a server listens.
#[derive(Debug, Clone)]
enum Target {
    Port(u16),
    Socket(PathBuf),
}

struct Knobs {
    /// Delay each way, drawn for each connection from this range of microseconds.
    delay_us: (u64, u64),
    target: watch::Sender<Target>,
    link: watch::Sender<Link>,
    cut: AtomicUsize,
    cuts: AtomicU64,
    /// What a connection falls silent at.
    last_words: Mutex<Option<Vec<u8>>>,
}

/// What is read from and written to on either side.
trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

impl Proxy {
    /// In front of `port` of 127.0.0.1; each connection gets a delay from `delay`.
    pub async fn before(port: u16, delay: (Duration, Duration)) -> Self {
        Self::at(Target::Port(port), delay).await
    }

    /// In front of the Redis at `url`, on a port or a socket.
    pub async fn before_redis(url: &str) -> Self {
        Self::at(Target::of(url), (Duration::ZERO, Duration::ZERO)).await
    }

    async fn at(target: Target, delay: (Duration, Duration)) -> Self {
        let listener = listen_somewhere().await;
        let address = listener.local_addr().unwrap();
        let micros = |delay: Duration| delay.as_micros() as u64;
        let knobs = Arc::new(Knobs {
            delay_us: (micros(delay.0), micros(delay.1)),
            target: watch::Sender::new(target),
            link: watch::Sender::new(Link::Sound),
            cut: AtomicUsize::new(0),
            cuts: AtomicU64::new(0),
            last_words: Mutex::default(),
        });
        let stopped = CancellationToken::new();
        let listening = knobs.clone().listen(listener, stopped.clone());
        tokio::spawn(stopped.clone().run_until_cancelled_owned(listening));
        Self { address, knobs, stopped }
    }

    /// The same URL, but through here.
    pub fn instead_of(&self, url: &str) -> String {
        let port = port_of(url);
        url.replace(&format!(":{port}"), &format!(":{}", self.address.port()))
    }

    /// The Redis behind it, through here.
    pub fn redis_url(&self) -> String {
        format!("redis://{}", self.address)
    }

    /// From now on every connection is like this.
    pub fn link(&self, link: Link) {
        self.knobs.link.send_replace(link);
    }

    /// Breaks off all connections and leads to another Redis from now on.
    pub fn lead_to(&self, redis_url: &str) {
        self.knobs.target.send_replace(Target::of(redis_url));
    }

    /// Cuts the next connection that commits.
    pub fn cut_next(&self, cut: Cut) {
        self.knobs.cut.store(cut as usize, Ordering::SeqCst);
    }

    /// The next connection by which this is sent says nothing more, in both directions, from that on. It is not closed.
    pub fn fall_silent_at(&self, words: &[u8]) {
        *self.knobs.last_words.lock().unwrap() = Some(words.to_vec());
    }

    /// Whether one has.
    pub fn has_fallen_silent(&self) -> bool {
        self.knobs.last_words.lock().unwrap().is_none()
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

impl Target {
    fn of(redis_url: &str) -> Self {
        match redis_url.strip_prefix("redis+unix://") {
            Some(path) => Self::Socket(path.into()),
            None => Self::Port(port_of(redis_url)),
        }
    }

    async fn connect(&self) -> std::io::Result<Box<dyn Stream>> {
        Ok(match self {
            Self::Port(port) => {
                let stream = TcpStream::connect(("127.0.0.1", *port)).await?;
                stream.set_nodelay(true)?;
                Box::new(stream)
            }
            Self::Socket(path) => Box::new(UnixStream::connect(path).await?),
        })
    }
}

/// The port in a URL of a server on 127.0.0.1.
pub fn port_of(url: &str) -> u16 {
    let (_, rest) = url.split_once("127.0.0.1:").unwrap();
    rest.split(|c: char| !c.is_ascii_digit()).next().unwrap().parse().unwrap()
}

async fn listen_somewhere() -> TcpListener {
    loop {
        let port = PORTS.start + draw(u64::from(PORTS.end - PORTS.start)) as u16;
        if let Ok(listener) = TcpListener::bind(("127.0.0.1", port)).await {
            return listener;
        }
    }
}

impl Knobs {
    async fn listen(self: Arc<Self>, mut listener: TcpListener, stopped: CancellationToken) {
        let address = listener.local_addr().unwrap();
        let mut link = self.link.subscribe();
        loop {
            tokio::select! {
                accepted = listener.accept() => {
                    let Ok((client, _)) = accepted else { return };
                    tokio::spawn(stopped.clone().run_until_cancelled_owned(self.clone().carry(client)));
                }
                _ = async { link.wait_for(|link| *link == Link::Refused).await.is_ok() } => {
                    drop(listener);
                    let _listens = link.wait_for(|link| *link != Link::Refused).await.is_ok();
                    listener = TcpListener::bind(address).await.unwrap();
                }
            }
        }
    }

    async fn carry(self: Arc<Self>, mut client: TcpStream) {
        client.set_nodelay(true).unwrap();
        let mut target = self.target.subscribe();
        let wire = Wire::new(self.link.subscribe());
        let leads_to = target.borrow_and_update().clone();
        let (low, high) = self.delay_us;
        let delay = Duration::from_micros(low + draw(high - low + 1));
        let committed = CancellationToken::new();
        let (from_client, to_client) = client.split();
        let carrying = async {
            let Ok(server) = leads_to.connect().await else { return };
            let (from_server, to_server) = tokio::io::split(server);
            // Whichever direction ends first ends both.
            tokio::select! {
                () = self.up(from_client, to_server, delay, &wire, &committed) => {}
                () = self.down(from_server, to_client, delay, &wire, &committed) => {}
            }
        };
        let reset = tokio::select! {
            biased;
            reset = wire.until_broken() => reset,
            _ = target.changed() => false,
            () = carrying => false,
        };
        if reset {
            client.set_zero_linger().unwrap();
        }
    }

    async fn up(
        &self,
        mut from: impl AsyncRead + Unpin,
        mut to: impl AsyncWrite + Unpin,
        delay: Duration,
        wire: &Wire,
        committed: &CancellationToken,
    ) {
        let mut buffer = vec![0; PIECE];
        while let Some(bytes) = next(&mut from, &mut buffer, delay).await {
            wire.travel().await;
            if contains(bytes, COMMIT) {
                match self.cut.swap(0, Ordering::SeqCst) {
                    1 => {
                        self.cuts.fetch_add(1, Ordering::SeqCst);
                        return;
                    }
                    2 => committed.cancel(),
                    _ => {}
                }
            }
            if self.last_words.lock().unwrap().take_if(|words| contains(bytes, words)).is_some() {
                wire.fall_silent();
            }
            if wire.carries_request() && to.write_all(bytes).await.is_err() {
                return;
            }
        }
    }

    async fn down(
        &self,
        mut from: impl AsyncRead + Unpin,
        mut to: impl AsyncWrite + Unpin,
        delay: Duration,
        wire: &Wire,
        committed: &CancellationToken,
    ) {
        let mut buffer = vec![0; PIECE];
        while let Some(bytes) = next(&mut from, &mut buffer, delay).await {
            wire.travel().await;
            if committed.is_cancelled() {
                // The answer to the COMMIT: it is done, and nobody will hear of it.
                self.cuts.fetch_add(1, Ordering::SeqCst);
                return;
            }
            let (bytes, goes_on) = wire.carries_answer(bytes);
            if to.write_all(bytes).await.is_err() || !goes_on {
                return;
            }
        }
    }
}

fn contains(bytes: &[u8], words: &[u8]) -> bool {
    bytes.windows(words.len()).any(|window| window == words)
}

async fn next<'a>(
    from: &mut (impl AsyncRead + Unpin),
    buffer: &'a mut [u8],
    delay: Duration,
) -> Option<&'a mut [u8]> {
    let read = from.read(buffer).await.ok().filter(|read| *read > 0)?;
    if !delay.is_zero() {
        tokio::time::sleep(delay).await;
    }
    Some(&mut buffer[..read])
}
