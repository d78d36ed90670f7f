//! A whole benchmark: the limit before, the catalogue, the load, the limit after, the books.

use std::rc::Rc;
use std::time::Duration;

use rust_decimal::Decimal;
use serde::Serialize;

use super::{Kind, Limit, LimitReport, WindowReport, Workload, drive};
use crate::connection::{Caller, Target};
use crate::measure::Rate;
use crate::service::{NewVariant, create};
use crate::terminal::{grouped, remark, say};
use crate::verdict::{BooksReport, Opening, check_on_hand, listed, print_books, print_latencies};

/// What a benchmark is told.
#[derive(Debug)]
pub struct Settings {
    pub kind: Kind,
    pub targets: Vec<Target>,
    pub bearer: String,
    pub run: String,
    pub connections: usize,
    pub items: usize,
    pub rate: Option<Rate>,
    pub warmup: Duration,
    pub length: Duration,
    /// The database on whose server the limit is measured.
    pub limit: Option<String>,
    /// How many clients the limit has, if not as many as there are connections.
    pub limit_clients: Option<usize>,
}

/// What a benchmark found.
#[derive(Debug, Serialize)]
pub struct BenchReport {
    /// Whether every unit is accounted for.
    pub ok: bool,
    pub kind: &'static str,
    pub run: String,
    pub connections: usize,
    pub items: usize,
    pub rate: Option<String>,
    pub window: WindowReport,
    pub limit: Option<LimitReport>,
    /// Units taken by answered requests, warm-up included.
    pub units_taken: i64,
    /// Units of requests that broke or failed: they may or may not have been taken.
    pub units_in_doubt: i64,
    pub books: BooksReport,
}

/// Deep enough that no benchmark sells out.
const OPENING_STOCK: i64 = 1_000_000_000;
/// More callers than this only queue up while the catalogue is opened and read.
const MOST_CALLERS: usize = 32;

/// Runs a benchmark.
pub async fn run(settings: &Settings) -> anyhow::Result<BenchReport> {
    let limit = prepare_limit(settings)?;
    let outcome = measure(settings, limit.as_ref()).await;
    // Whatever became of the benchmark, the server is left as it was.
    let removed = limit.as_ref().map_or(Ok(()), Limit::remove);
    let report = outcome?;
    removed?;
    Ok(report)
}

fn prepare_limit(settings: &Settings) -> anyhow::Result<Option<Limit>> {
    let Some(database) = &settings.limit else {
        return Ok(None);
    };
    if settings.kind != Kind::Hot && settings.items != Limit::ITEMS {
        remark(&format!("the limit has {} items, this benchmark {}", Limit::ITEMS, settings.items));
    }
    let clients = settings.limit_clients.unwrap_or(settings.connections);
    Limit::prepare(database, settings.kind, clients, settings.length.as_secs()).map(Some)
}

async fn measure(settings: &Settings, limit: Option<&Limit>) -> anyhow::Result<BenchReport> {
    let opening = Rc::new(open(settings).await?);
    let workload = Workload::new(settings.kind, &settings.run, &opening)?;
    let before = limit_now(limit, "before")?;
    remark(&format!("sending for {:?} after {:?} of warm-up", settings.length, settings.warmup));
    let figures = drive(settings, &workload, &opening).await?;
    let after = limit_now(limit, "after")?;
    let window = figures.report(settings.rate.is_some());
    let limit = limit.map(|limit| limit.report(before, window.per_second, after));

    let auditor = Caller::new(&settings.targets, &settings.bearer)?;
    let tallies = figures.tallies().to_vec();
    let units_taken = -tallies.iter().map(|tally| tally.answered).sum::<i64>();
    let units_in_doubt = tallies.iter().map(|tally| tally.doubted_out).sum();
    let books = check_on_hand(crew(settings)?, auditor, opening, tallies).await?;
    Ok(BenchReport {
        ok: books.agree(),
        kind: settings.kind.word(),
        run: settings.run.clone(),
        connections: settings.connections,
        items: settings.items,
        rate: settings.rate.map(|rate| rate.to_string()),
        window,
        limit,
        units_taken,
        units_in_doubt,
        books,
    })
}

fn limit_now(limit: Option<&Limit>, when: &str) -> anyhow::Result<f64> {
    let Some(limit) = limit else {
        return Ok(0.0);
    };
    remark(&format!("measuring the limit {when}"));
    limit.measure()
}

fn crew(settings: &Settings) -> anyhow::Result<Vec<Caller>> {
    Caller::crew(&settings.targets, &settings.bearer, settings.connections.min(MOST_CALLERS))
}

async fn open(settings: &Settings) -> anyhow::Result<Opening> {
    let variant = |position: usize| NewVariant {
        sku: format!("{}-{position}", settings.run),
        name: format!("Item {position} of {}", settings.run),
        price: Decimal::new(250, 2),
        on_hand: OPENING_STOCK,
    };
    let variants: Rc<Vec<_>> = Rc::new((0..settings.items).map(variant).collect());
    let ids = create(crew(settings)?, Rc::clone(&variants), &settings.run).await?;
    Ok(Opening::of(ids, &variants))
}

impl BenchReport {
    /// Prints the report, the verdict last.
    pub fn print(&self) {
        let window = &self.window;
        let pace = self.rate.as_ref().map_or_else(
            || format!("{} connections, closed loop", self.connections),
            |rate| format!("{rate} a second, open loop, at most {} at once", self.connections),
        );
        say(&format!("{:<12}{pace}, {} items", self.kind, grouped(self.items as u64)));
        say(&format!("rate        {:.0}/s over {:.0} s", window.per_second, window.seconds));
        print_latencies("            ", &window.latency);
        if let Some(late) = &window.sent_late {
            say(&format!(
                "sent late   p50 {:.2} ms  p99 {:.2}  max {:.2}; never sent: {}",
                late.p50_ms,
                late.p99_ms,
                late.max_ms,
                grouped(window.never_sent)
            ));
        }
        say(&format!("answers     {}", listed(&window.answers)));
        if !window.broken.is_empty() {
            say(&format!("broken      {}", listed(&window.broken)));
        }
        say(&format!("lock mode   {}", listed(&window.lock_modes)));
        if let Some(limit) = &self.limit {
            let lax = if limit.is_durable { "" } else { " (on a server that does not wait for its disk)" };
            say(&format!(
                "limit       {:.0}/s before, {:.0}/s after, {} clients; ratio {:.2}{lax}",
                limit.before_per_second, limit.after_per_second, limit.clients, limit.ratio
            ));
        }
        say(&format!("units       {} taken, {} in doubt", self.units_taken, self.units_in_doubt));
        print_books(&self.books);
        say(&match (self.ok, self.units_in_doubt) {
            (true, 0) => "VERDICT     ok: every unit is accounted for".into(),
            (true, doubts) => format!("VERDICT     ok, as far as {doubts} units in doubt let anybody say"),
            (false, _) => "VERDICT     FAILED".into(),
        });
    }
}
