//! A whole run: the catalogue, the rounds with what stands beside them, the books.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use tokio::select;

use super::compare::{Besides, comparisons};
use super::limit::{LimitClients, Measured};
use super::{
    BenchReport, Beside, Limit, Memory, Plan, Record, Round, Side, Stop, beside_onlookers, drive,
    redis_trip_ms,
};
use crate::connection::Target;
use crate::terminal::remark;
use crate::verdict::BooksReport;

/// What a run is told.
#[derive(Debug)]
pub struct Settings {
    pub plan: Plan,
    pub targets: Vec<Target>,
    pub bearer: String,
    pub run: String,
    pub seed: u64,
    pub items: usize,
    pub warmup: Duration,
    pub length: Duration,
    pub rounds: usize,
    pub twin: TwinSettings,
    /// How often a second onlookers look at the targets, and at nobody else.
    pub looks: Option<u32>,
    /// The process whose memory is looked at.
    pub watch_pid: Option<u32>,
}

/// What the rounds stand beside.
#[derive(Debug, Default)]
pub struct TwinSettings {
    /// The database on whose server the limit is measured.
    pub limit: Option<String>,
    /// How many clients the limit has, if not as many as there are connections.
    pub limit_clients: Option<LimitClients>,
    /// The Redis to which a round trip is measured.
    pub redis: Option<String>,
    /// Other replicas.
    pub against: Vec<Target>,
}

/// What is measured before the first round, between any two, and after the last.
#[derive(Debug)]
enum Twin {
    None,
    Limit(Limit),
    Other(Box<Side>),
}

/// Runs a plan. Ctrl-C ends the sending and nothing else; twice ends all, without a verdict.
pub async fn run(settings: &Settings) -> anyhow::Result<BenchReport> {
    let stop = Stop::default();
    let record = Rc::new(RefCell::new(Record::new(Instant::now())));
    let twin = prepare(settings, &record).await?;
    let outcome = select! {
        outcome = measure(settings, &twin, &stop, &record) => outcome,
        told = stop.clone().told_twice() => told.and_then(|()| bail!("stopped before the verdict")),
    };
    // Whatever became of the run, the server is left as it was.
    let removed = if let Twin::Limit(limit) = &twin { limit.remove() } else { Ok(()) };
    let report = outcome?;
    removed?;
    Ok(report)
}

async fn prepare(settings: &Settings, record: &Rc<RefCell<Record>>) -> anyhow::Result<Twin> {
    let Settings { plan, twin, .. } = settings;
    if !twin.against.is_empty() {
        let (run, items) = (format!("{}o", settings.run), (settings.items, settings.seed));
        let side = Side::open(&twin.against, &settings.bearer, &run, items, ("beside: ", record)).await?;
        return Ok(Twin::Other(side.into()));
    }
    let (Some(database), Plan::Steady(stream)) = (&twin.limit, plan) else {
        return Ok(Twin::None);
    };
    if stream.kind.items(Limit::ITEMS) > 1 && settings.items != Limit::ITEMS {
        remark(&format!("the limit has {} items, this run {}", Limit::ITEMS, settings.items));
    }
    let clients = twin.limit_clients.unwrap_or(LimitClients::Number(stream.connections));
    Limit::prepare(database, stream.kind, clients, settings.length.as_secs()).map(Twin::Limit)
}

async fn measure(
    settings: &Settings,
    twin: &Twin,
    stop: &Stop,
    record: &Rc<RefCell<Record>>,
) -> anyhow::Result<BenchReport> {
    let items = (settings.items, settings.seed);
    let side = Side::open(&settings.targets, &settings.bearer, &settings.run, items, ("", record)).await?;
    let trip = settings.twin.redis.as_deref().map(redis_trip_ms).transpose()?;
    let memory = settings.watch_pid.map(Memory::watch).transpose()?;
    record.replace(Record::new(Instant::now()));
    let (rounds, mut trouble) = send(settings, &side, twin, stop).await?;
    let resident = memory.map(Memory::most).transpose().unwrap_or_else(|error| {
        trouble.push(format!("the memory: {error:#}"));
        None
    });
    let books = side.books().await?;
    let other_books = if let Twin::Other(other) = twin { Some(other.books().await?) } else { None };
    let is_limit = matches!(twin, Twin::Limit(_));
    let besides = Besides { is_limit, redis_trip_ms: trip, resident_mib: resident };
    let (units_taken, units_in_doubt) = side.units();
    let named = |targets: &[Target]| targets.iter().map(|target| target.authority.clone()).collect();
    let agree = books.agree() && other_books.as_ref().is_none_or(BooksReport::agree);
    let beside = match twin {
        Twin::None => None,
        Twin::Limit(limit) => {
            let (clients, is_durable) = limit.terms();
            Some(Beside::Pgbench { clients, is_durable })
        }
        Twin::Other(other) => Some(Beside::Replicas(named(&other.targets))),
    };
    Ok(BenchReport {
        ok: agree && trouble.is_empty(),
        kind: settings.plan.word(),
        run: settings.run.clone(),
        targets: named(&side.targets),
        items: settings.items,
        seed: settings.seed,
        comparisons: comparisons(&settings.plan, &rounds, besides),
        rounds,
        beside,
        redis_trip_ms: trip,
        units_taken,
        units_in_doubt,
        books,
        other_books,
        trouble,
        scene: record.borrow().scene(),
    })
}

/// Sends all rounds, and measures what stands beside them. Whatever goes wrong there is told, and costs no figures.
async fn send(
    settings: &Settings,
    side: &Side,
    twin: &Twin,
    stop: &Stop,
) -> anyhow::Result<(Vec<Round>, Vec<String>)> {
    let (mut rounds, mut trouble) = (Vec::new(), Vec::new());
    let mut before = beside(settings, twin, stop, &mut trouble).await;
    for number in 1..=settings.rounds {
        let mut phases = Vec::new();
        while let Some(phase) = settings.plan.phase(&phases, settings.length) {
            let name = if phase.name.is_empty() { String::new() } else { format!(", {}", phase.name) };
            remark(&format!("round {number} of {}{name}: {:?}", settings.rounds, phase.length));
            let driving = drive(side, &phase, settings.warmup, stop);
            let (report, looked) = beside_onlookers(side, settings.looks, driving).await?;
            trouble.extend(looked);
            trouble.extend(report.trouble.iter().cloned());
            phases.push(report);
            if stop.at().is_some() {
                break;
            }
        }
        let after = beside(settings, twin, stop, &mut trouble).await;
        rounds.push(Round { phases, beside: before.zip(after) });
        before = after;
        if stop.at().is_some() {
            break;
        }
    }
    Ok((rounds, trouble))
}

async fn beside(
    settings: &Settings,
    twin: &Twin,
    stop: &Stop,
    trouble: &mut Vec<String>,
) -> Option<Measured> {
    if stop.at().is_some() {
        return None;
    }
    let measured = match twin {
        Twin::None => return None,
        Twin::Limit(limit) => limit.measure().context("the limit"),
        Twin::Other(other) => drive_other(settings, other, stop).await.context("the other side"),
    };
    measured.inspect_err(|error| trouble.push(format!("{error:#}"))).ok()
}

async fn drive_other(settings: &Settings, other: &Side, stop: &Stop) -> anyhow::Result<Measured> {
    let phase = settings.plan.phase(&[], settings.length).context("a plan without phases")?;
    let report = drive(other, &phase, settings.warmup, stop).await?;
    let window = &report.streams.first().context("a phase without streams")?.window;
    Ok(Measured { per_second: window.per_second, mean_ms: window.latency.mean_ms })
}
