//! The lock module against waiting by polling, on the Redis that `REDIS_URL` names: `make bench`, or
//! `target/debug/holdfast servers -- cargo bench --bench locks`.
//!
//! Polling is what the usual client libraries do: `SET key token NX PX ttl`, a pause of 100 ms if that failed, and a
//! compare-and-delete at the end. Both sides do the same: clients that take one key, hold it for 1 ms, let go and ask
//! again. Two questions: how evenly is it shared out in `SECONDS_EACH` (24 clients at 3 replicas), and how soon is a
//! crowd through (64 waiters, 20 turns each). Each pair runs `ROUNDS` times in turn, and the medians are told.

#![expect(clippy::print_stdout, reason = "a benchmark's figures are its output")]

use std::sync::Arc;
use std::time::Duration;

use holdfast::ids;
use holdfast::locks::{LockKeys, Locks, Timing};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

/// How long a section lasts.
const HOLD: Duration = Duration::from_millis(1);
/// How long polling pauses.
const POLL: Duration = Duration::from_millis(100);
/// How long either side waits before it gives up.
const WAIT: Duration = Duration::from_secs(5);
/// Deletes a key if it holds the caller's token.
const COMPARE_AND_DELETE: &str =
    "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0";

/// How many turns each of a crowd wants.
const TURNS: usize = 20;

/// When a client has had enough.
#[derive(Debug, Clone, Copy)]
enum Until {
    Over(Duration),
    Turns(usize),
}

impl std::fmt::Display for Until {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Over(span) => write!(f, "for {span:?}"),
            Self::Turns(turns) => write!(f, "{turns} turns each"),
        }
    }
}

impl Until {
    fn goes_on(self, client: &Client, started: Instant) -> bool {
        match self {
            Self::Over(span) => started.elapsed() < span,
            Self::Turns(turns) => client.waits.len() < turns,
        }
    }
}

/// What one client of one replica saw.
struct Client {
    replica: usize,
    waits: Vec<Duration>,
    gave_up: usize,
}

/// What came of one run.
struct Run {
    rate: f64,
    p50: Duration,
    p99: Duration,
    longest: Duration,
    gave_up: usize,
    between_clients: f64,
    between_replicas: f64,
}

fn main() -> anyhow::Result<()> {
    let url =
        std::env::var("REDIS_URL").map_err(|_| anyhow::anyhow!("set REDIS_URL, or call `make bench`"))?;
    let number =
        |name, default| std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default);
    let (span, rounds) = (Duration::from_secs(number("SECONDS_EACH", 10)), number("ROUNDS", 5));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        for (what, replicas, clients, until) in [
            ("fair share", 3, 24, Until::Over(span)),
            ("crowd", 1, 64, Until::Turns(TURNS)),
            ("crowd over replicas", 3, 64, Until::Turns(TURNS)),
        ] {
            println!("{what}: {clients} clients at {replicas} replicas, one key held for 1 ms, {until}, {rounds} rounds");
            println!(
                "{:<9} {:>8} {:>10} {:>10} {:>10} {:>8} {:>8} {:>9}",
                "", "takes/s", "p50 ms", "p99 ms", "longest", "gave up", "clients", "replicas"
            );
            let (mut ours, mut theirs) = (Vec::new(), Vec::new());
            for _ in 0..rounds.max(1) {
                ours.push(with_line(&url, replicas, clients, until).await?);
                theirs.push(with_polling(&url, replicas, clients, until).await?);
            }
            let (ours, theirs) = (median(&ours), median(&theirs));
            ours.print("line");
            theirs.print("polling");
            println!(
                "line to polling: {:.1} times the takes, {:.3} of the p99; longest wait {:.1} times the median\n",
                ours.rate / theirs.rate,
                ours.p99.as_secs_f64() / theirs.p99.as_secs_f64(),
                ours.longest.as_secs_f64() / ours.p50.as_secs_f64(),
            );
        }
        Ok(())
    })
}

/// Clients of the lock module, each replica with locks of its own.
async fn with_line(url: &str, replicas: usize, clients: usize, until: Until) -> anyhow::Result<Run> {
    let (stopped, key) = (CancellationToken::new(), ids::fresh());
    let mut processes = Vec::new();
    let mut keepers = JoinSet::new();
    for _ in 0..replicas {
        let timing = Timing { wait: WAIT, ..Timing::default() };
        let locks = Locks::two_layer(url, timing, TaskTracker::new())?;
        keepers.spawn(locks.clone().keep(stopped.clone()));
        processes.push(locks);
    }
    // Until every replica hears its wake-ups.
    sleep(Duration::from_millis(500)).await;
    let started = Instant::now();
    let mut running = JoinSet::new();
    for n in 0..clients {
        let locks = processes[n % replicas].clone();
        running.spawn(take_in_line(locks, key, n % replicas, until));
    }
    let seen = running.join_all().await;
    stopped.cancel();
    keepers.join_all().await;
    Ok(Run::of(&seen, started.elapsed(), replicas))
}

async fn take_in_line(locks: Locks, key: Uuid, replica: usize, until: Until) -> Client {
    let (gone, started, mut client) = (CancellationToken::new(), Instant::now(), Client::at(replica));
    while until.goes_on(&client, started) {
        let asked = Instant::now();
        match locks.acquire(LockKeys::variant(key), &gone).await {
            Ok(lease) => {
                client.waits.push(asked.elapsed());
                lease.release_after(sleep(HOLD)).await;
            }
            Err(_) => client.gave_up += 1,
        }
    }
    client
}

/// Clients that poll, each with a connection of its own.
async fn with_polling(url: &str, replicas: usize, clients: usize, until: Until) -> anyhow::Result<Run> {
    let (server, key) = (redis::Client::open(url)?, format!("bench:{}", ids::token()));
    let mut connections = Vec::new();
    for _ in 0..clients {
        connections.push(server.get_multiplexed_async_connection().await?);
    }
    let (script, started) = (Arc::new(redis::Script::new(COMPARE_AND_DELETE)), Instant::now());
    let mut running = JoinSet::new();
    for (n, connection) in connections.into_iter().enumerate() {
        running.spawn(take_by_polling(connection, script.clone(), key.clone(), n % replicas, until));
    }
    let mut seen = Vec::new();
    for client in running.join_all().await {
        seen.push(client?);
    }
    Ok(Run::of(&seen, started.elapsed(), replicas))
}

async fn take_by_polling(
    mut redis: redis::aio::MultiplexedConnection,
    release: Arc<redis::Script>,
    key: String,
    replica: usize,
    until: Until,
) -> anyhow::Result<Client> {
    let (started, mut client) = (Instant::now(), Client::at(replica));
    while until.goes_on(&client, started) {
        let (asked, token) = (Instant::now(), ids::token());
        let taking = async {
            loop {
                let mut set = redis::cmd("SET");
                set.arg(&key).arg(&token).arg("NX").arg("PX").arg(30_000);
                let taken: Option<String> = set.query_async(&mut redis).await?;
                if taken.is_some() {
                    return anyhow::Ok(());
                }
                sleep(POLL).await;
            }
        };
        match timeout_at(asked + WAIT, taking).await {
            Ok(taken) => {
                taken?;
                client.waits.push(asked.elapsed());
                sleep(HOLD).await;
                let _deleted: i64 = release.key(&key).arg(&token).invoke_async(&mut redis).await?;
            }
            Err(_) => client.gave_up += 1,
        }
    }
    Ok(client)
}

impl Client {
    fn at(replica: usize) -> Self {
        Self { replica, waits: Vec::new(), gave_up: 0 }
    }
}

impl Run {
    fn of(clients: &[Client], took: Duration, replicas: usize) -> Self {
        let mut waits: Vec<Duration> =
            clients.iter().flat_map(|client| client.waits.iter().copied()).collect();
        waits.sort_unstable();
        let at = |share: f64| {
            let index = ((waits.len() as f64 * share) as usize).min(waits.len().saturating_sub(1));
            waits.get(index).copied().unwrap_or(WAIT)
        };
        let takes =
            |replica| clients.iter().filter(|c| c.replica == replica).map(|c| c.waits.len() as f64).sum();
        let by_replica: Vec<f64> = (0..replicas).map(takes).collect();
        let by_client: Vec<f64> = clients.iter().map(|client| client.waits.len() as f64).collect();
        Self {
            rate: waits.len() as f64 / took.as_secs_f64(),
            p50: at(0.5),
            p99: at(0.99),
            longest: at(1.0),
            gave_up: clients.iter().map(|client| client.gave_up).sum(),
            between_clients: jain(&by_client),
            between_replicas: jain(&by_replica),
        }
    }

    fn print(&self, name: &str) {
        let ms = |wait: Duration| format!("{:.2}", wait.as_secs_f64() * 1_000.0);
        println!(
            "{name:<9} {:>8.0} {:>10} {:>10} {:>10} {:>8} {:>8.4} {:>9.4}",
            self.rate,
            ms(self.p50),
            ms(self.p99),
            ms(self.longest),
            self.gave_up,
            self.between_clients,
            self.between_replicas
        );
    }
}

/// Each figure's median over the runs.
fn median(runs: &[Run]) -> Run {
    fn middle<T: PartialOrd + Copy>(runs: &[Run], figure: impl Fn(&Run) -> T) -> T {
        let mut figures: Vec<T> = runs.iter().map(figure).collect();
        figures.sort_by(|a, b| a.partial_cmp(b).unwrap_or(std::cmp::Ordering::Equal));
        figures[figures.len() / 2]
    }
    Run {
        rate: middle(runs, |run| run.rate),
        p50: middle(runs, |run| run.p50),
        p99: middle(runs, |run| run.p99),
        longest: middle(runs, |run| run.longest),
        gave_up: middle(runs, |run| run.gave_up),
        between_clients: middle(runs, |run| run.between_clients),
        between_replicas: middle(runs, |run| run.between_replicas),
    }
}

/// Jain's index of fairness: 1 if all have the same, 1/n if one has all.
fn jain(shares: &[f64]) -> f64 {
    let (sum, squares) =
        shares.iter().fold((0.0, 0.0), |(sum, squares), share| (sum + share, squares + share * share));
    sum * sum / (shares.len() as f64 * squares)
}
