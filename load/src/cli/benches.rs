//! The arguments of benchmarks.

use std::time::Duration;

use anyhow::ensure;
use clap::{Args, ValueEnum};

use super::{ServiceArgs, connections, items, within};
use crate::bench::{Kind, LimitClients, Plan, Settings, Stream, TwinSettings};
use crate::connection::Target;
use crate::fill;
use crate::invoices::checks;
use crate::measure::Rate;

/// What every benchmark takes.
#[derive(Debug, Args)]
pub struct BenchArgs {
    /// How many keep-alive connections there are, each with one request at a time
    #[arg(long, default_value_t = 32, value_parser = connections)]
    connections: usize,
    /// Requests per second, sent when they are due; latency counts from then
    #[arg(long)]
    rate: Option<Rate>,
    /// How long to measure each phase
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    seconds: u64,
    /// How long to send before measuring
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u64).range(0..=3_600))]
    warmup: u64,
    /// How often to do it all, with medians over the rounds
    #[arg(long, default_value_t = 1, value_parser = rounds)]
    rounds: usize,
    /// What is chosen depends on this alone
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Tell how much memory this process keeps resident meanwhile
    #[arg(long, value_name = "PID")]
    watch_pid: Option<u32>,
    /// So many times a second, ask the replicas for what an open console and Prometheus ask for; those of --against are not
    /// asked
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000))]
    looks: Option<u32>,
    #[command(flatten)]
    pub service: ServiceArgs,
}

/// What a benchmark of one stream may stand beside.
#[derive(Debug, Args)]
pub struct TwinArgs {
    /// Measure the same transaction with pgbench on this server, before and after, in a schema of its own
    #[arg(long, value_name = "DATABASE_URL", conflicts_with_all = ["against", "rate"])]
    limit: Option<String>,
    /// How many clients pgbench has: a number, or `best` [default: as many as there are connections]
    #[arg(long, value_name = "N", requires = "limit")]
    limit_clients: Option<LimitClients>,
    /// Measure a round trip to this Redis, and the latency against pgbench's and two of these
    #[arg(long, value_name = "REDIS_URL", requires = "limit")]
    redis: Option<String>,
    /// Measure the same at another replica, before and after; several times for several replicas
    #[arg(long, value_name = "URL")]
    against: Vec<Target>,
}

#[derive(Debug, Args)]
pub struct HotArgs {
    #[command(flatten)]
    twin: TwinArgs,
    #[command(flatten)]
    pub bench: BenchArgs,
}

#[derive(Debug, Args)]
pub struct SpreadArgs {
    /// Over how many items
    #[arg(long, default_value_t = 10_000, value_parser = items)]
    items: usize,
    #[command(flatten)]
    twin: TwinArgs,
    #[command(flatten)]
    pub bench: BenchArgs,
}

#[derive(Debug, Args)]
pub struct ZipfArgs {
    /// Over how many items
    #[arg(long, default_value_t = 10_000, value_parser = items)]
    items: usize,
    /// How skewed: the item of rank k comes up in proportion to 1 / k^skew
    #[arg(long, default_value_t = 1.1, value_parser = skew)]
    skew: f64,
    #[command(flatten)]
    twin: TwinArgs,
    #[command(flatten)]
    pub bench: BenchArgs,
}

#[derive(Debug, Args)]
pub struct OrdersArgs {
    /// Over how many items
    #[arg(long, default_value_t = 10_000, value_parser = items)]
    items: usize,
    /// Make one line of every order the same item
    #[arg(long)]
    hot_line: bool,
    /// How many lines an order has
    #[arg(long, default_value_t = 3, value_parser = lines)]
    lines: usize,
    #[command(flatten)]
    twin: TwinArgs,
    #[command(flatten)]
    pub bench: BenchArgs,
}

#[derive(Debug, Args)]
pub struct StormArgs {
    /// Over how many items, the crowd's among them
    #[arg(long, default_value_t = 10_000, value_parser = items)]
    items: usize,
    /// How many connections the crowd has; the others have --connections
    #[arg(long, value_name = "N", default_value_t = 128, value_parser = connections)]
    crowd: usize,
    /// Requests per second of the crowd; --rate is that of the others
    #[arg(long, value_name = "RATE")]
    crowd_rate: Option<Rate>,
    #[command(flatten)]
    pub bench: BenchArgs,
}

#[derive(Debug, Args)]
pub struct BulkArgs {
    /// Over how many items
    #[arg(long, default_value_t = 10_000, value_parser = items)]
    items: usize,
    /// How many lines a large order has
    #[arg(long, default_value_t = 1_000, value_parser = lines)]
    lines: usize,
    /// How many large orders there are at once; small ones are sent over --connections
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = connections)]
    at_once: usize,
    #[command(flatten)]
    pub bench: BenchArgs,
}

/// One of the kinds of request.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Requests {
    Hot,
    /// Those of `hot`, each in a batch, which shares nothing with others
    Batches,
    Spread,
    Zipf,
    Orders,
}

#[derive(Debug, Args)]
pub struct OutageArgs {
    /// What is sent
    #[arg(long, value_enum, default_value_t = Requests::Spread)]
    requests: Requests,
    /// Over how many items
    #[arg(long, default_value_t = 10_000, value_parser = items)]
    items: usize,
    /// What takes Redis away, a third into the time: a command for the shell, such as 'kill -KILL 123'
    #[arg(long, value_name = "COMMAND")]
    away: String,
    /// What brings it back, after two thirds; it may be the server itself, which is left running
    #[arg(long, value_name = "COMMAND")]
    back: String,
    #[command(flatten)]
    pub bench: BenchArgs,
}

#[derive(Debug, Args)]
pub struct OverloadArgs {
    /// What is sent
    #[arg(long, value_enum, default_value_t = Requests::Spread)]
    requests: Requests,
    /// Over how many items
    #[arg(long, default_value_t = 10_000, value_parser = items)]
    items: usize,
    /// How many times the peak is offered; --rate offers that instead
    #[arg(long, value_name = "N", default_value_t = 4.0, value_parser = times)]
    times: f64,
    /// How many requests may be under way at once then; the peak is found with --connections
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = connections)]
    at_once: usize,
    #[command(flatten)]
    pub bench: BenchArgs,
}

#[derive(Debug, Args)]
pub struct ChecksArgs {
    /// The service's database, from which is drawn what is asked [env: DATABASE_URL]
    #[arg(long, value_name = "DATABASE_URL")]
    database: Option<String>,
    #[command(flatten)]
    pub bench: BenchArgs,
}

/// How many lines small orders have.
const SMALL: usize = 3;
const SKEW: f64 = 1.1;

impl BenchArgs {
    fn stream(&self, who: &'static str, kind: Kind) -> Stream {
        Stream { who, kind, connections: self.connections, rate: self.rate }
    }

    fn settings(&self, plan: Plan, items: usize, twin: Option<&TwinArgs>) -> anyhow::Result<Settings> {
        let twin = twin.map_or_else(TwinSettings::default, |twin| TwinSettings {
            limit: twin.limit.clone(),
            limit_clients: twin.limit_clients,
            redis: twin.redis.clone(),
            against: twin.against.clone(),
        });
        Ok(Settings {
            items: plan.items(items),
            plan,
            targets: self.service.targets.clone(),
            bearer: self.service.bearer()?,
            run: self.service.run()?,
            seed: self.seed,
            warmup: Duration::from_secs(self.warmup),
            length: Duration::from_secs(self.seconds),
            rounds: self.rounds,
            twin,
            looks: self.looks,
            watch_pid: self.watch_pid,
        })
    }

    fn steady(&self, kind: Kind, items: usize, twin: &TwinArgs) -> anyhow::Result<Settings> {
        self.settings(Plan::Steady(self.stream(kind.word(), kind)), items, Some(twin))
    }
}

impl HotArgs {
    /// The settings these arguments ask for.
    pub fn settings(&self) -> anyhow::Result<Settings> {
        self.bench.steady(Kind::Hot, 1, &self.twin)
    }
}

impl SpreadArgs {
    /// The settings these arguments ask for.
    pub fn settings(&self) -> anyhow::Result<Settings> {
        self.bench.steady(Kind::Spread, self.items, &self.twin)
    }
}

impl ZipfArgs {
    /// The settings these arguments ask for.
    pub fn settings(&self) -> anyhow::Result<Settings> {
        self.bench.steady(Kind::Zipf { skew: self.skew }, self.items, &self.twin)
    }
}

impl OrdersArgs {
    /// The settings these arguments ask for.
    pub fn settings(&self) -> anyhow::Result<Settings> {
        let kind = Kind::Orders { lines: self.lines, hot_line: self.hot_line };
        self.bench.steady(kind, self.items, &self.twin)
    }
}

impl StormArgs {
    /// The settings these arguments ask for.
    pub fn settings(&self) -> anyhow::Result<Settings> {
        let others = self.bench.stream("others", Kind::Others);
        let crowd = Stream { who: "crowd", kind: Kind::Hot, connections: self.crowd, rate: self.crowd_rate };
        self.bench.settings(Plan::Storm { others, crowd }, self.items, None)
    }
}

impl BulkArgs {
    /// The settings these arguments ask for.
    pub fn settings(&self) -> anyhow::Result<Settings> {
        let orders = |lines| Kind::Orders { lines, hot_line: false };
        let small = self.bench.stream("small", orders(SMALL));
        let large = Stream { who: "large", kind: orders(self.lines), connections: self.at_once, rate: None };
        self.bench.settings(Plan::Bulk { small, large }, self.items, None)
    }
}

impl OutageArgs {
    /// The settings these arguments ask for.
    pub fn settings(&self) -> anyhow::Result<Settings> {
        let stream = self.bench.stream(self.requests.word(), self.requests.kind());
        let (away, back) = (self.away.clone(), self.back.clone());
        self.bench.settings(Plan::Outage { stream, away, back }, self.items, None)
    }
}

impl OverloadArgs {
    /// The settings these arguments ask for.
    pub fn settings(&self) -> anyhow::Result<Settings> {
        let stream = self.bench.stream(self.requests.word(), self.requests.kind());
        let plan = Plan::Overload { stream, times: self.times, at_once: self.at_once };
        self.bench.settings(plan, self.items, None)
    }
}

impl ChecksArgs {
    /// The settings these arguments ask for.
    pub fn settings(&self) -> anyhow::Result<checks::Settings> {
        let bench = &self.bench;
        ensure!(bench.rate.is_none(), "--rate: each connection asks as fast as it is answered");
        Ok(checks::Settings {
            database: fill::database(self.database.as_deref())?,
            targets: bench.service.targets.clone(),
            bearer: bench.service.bearer()?,
            connections: bench.connections,
            warmup: Duration::from_secs(bench.warmup),
            length: Duration::from_secs(bench.seconds),
            rounds: bench.rounds,
            seed: bench.seed,
        })
    }
}

impl Requests {
    const fn kind(self) -> Kind {
        match self {
            Self::Hot => Kind::Hot,
            Self::Batches => Kind::Batches,
            Self::Spread => Kind::Spread,
            Self::Zipf => Kind::Zipf { skew: SKEW },
            Self::Orders => Kind::Orders { lines: SMALL, hot_line: false },
        }
    }

    const fn word(self) -> &'static str {
        self.kind().word()
    }
}

fn rounds(text: &str) -> anyhow::Result<usize> {
    within(text, 1, 1_000)
}

fn lines(text: &str) -> anyhow::Result<usize> {
    within(text, 1, 2_000)
}

fn skew(text: &str) -> anyhow::Result<f64> {
    let skew: f64 = text.parse()?;
    ensure!((0.0..=10.0).contains(&skew), "between 0 and 10");
    Ok(skew)
}

fn times(text: &str) -> anyhow::Result<f64> {
    let times: f64 = text.parse()?;
    ensure!((0.01..=1_000.0).contains(&times), "between 0.01 and 1000");
    Ok(times)
}
