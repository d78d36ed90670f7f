//! Asks a service that has many invoices what others would be judged as, each connection as fast as it is answered, and
//! pgbench on the same database what reading one invoice costs.
//!
//! What is sent is drawn from what is there: a third as it is, a third with a slip in its number, and a third that is new.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::Write as _;
use std::process::{Command, Stdio};
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use hyper::Uri;
use hyper::body::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::slip::{misread, mistyped};
use crate::bench::find;
use crate::chance::Chance;
use crate::connection::{Call, Caller, Target};
use crate::measure::{Latency, LatencySummary, Median};
use crate::terminal::{grouped, remark, say};

/// What a run is told.
#[derive(Debug)]
pub struct Settings {
    pub database: String,
    pub targets: Vec<Target>,
    pub bearer: String,
    pub connections: usize,
    pub warmup: Duration,
    pub length: Duration,
    pub rounds: usize,
    pub seed: u64,
}

/// What came of a run.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Whether all was answered, and what is in was told to be.
    pub ok: bool,
    invoices: u64,
    connections: usize,
    rounds: Vec<Round>,
    comparisons: BTreeMap<&'static str, Comparison>,
    /// How often which verdict.
    verdicts: BTreeMap<String, u64>,
    trouble: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Round {
    latency: LatencySummary,
    read_ms: f64,
}

#[derive(Debug, Serialize)]
struct Comparison {
    values: Vec<f64>,
    found: Option<Median>,
}

/// How an invoice is asked about.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Way {
    AsItIs,
    Slipped,
    New,
}

type Questions = Rc<Vec<(Way, Call)>>;

/// What the workers found, round by round.
#[derive(Debug, Default)]
struct Told {
    verdicts: BTreeMap<String, u64>,
    trouble: Vec<String>,
}

const SAMPLE: &str = include_str!("../../fill/sample.sql");
const READ: &str = include_str!("../../pgbench/read.sql");

/// Runs; the read is measured after each round.
///
/// # Errors
/// What keeps a run from its figures.
pub async fn run(settings: &Settings) -> anyhow::Result<Report> {
    let invoices: u64 = psql(settings, "SELECT count(*) FROM invoices")?.trim().parse()?;
    let questions = questions(settings)?;
    let told = Rc::new(RefCell::new(Told::default()));
    let mut rounds = Vec::new();
    for number in 1..=settings.rounds {
        remark(&format!("round {number} of {}: {:?}", settings.rounds, settings.length));
        let latency = send(settings, &questions, number, &told).await?;
        rounds.push(Round { latency: latency.summary(), read_ms: read_ms(settings, invoices)? });
    }
    let Told { verdicts, trouble } = told.take();
    let each = |figure: fn(&Round) -> f64| {
        let values: Vec<_> = rounds.iter().map(figure).collect();
        Comparison { found: Median::of(&values), values }
    };
    let comparisons = BTreeMap::from([
        ("median ms", each(|round| round.latency.p50_ms)),
        ("p99 ms", each(|round| round.latency.p99_ms)),
        ("median to a read's", each(|round| round.latency.p50_ms / round.read_ms)),
    ]);
    let ok = trouble.is_empty();
    let connections = settings.connections;
    Ok(Report { ok, invoices, connections, rounds, comparisons, verdicts, trouble })
}

impl Report {
    /// Says it.
    pub fn print(&self) {
        let (invoices, connections) = (grouped(self.invoices), self.connections);
        say(&format!("checks      {connections} connections, closed loop, {invoices} invoices"));
        for Round { latency, read_ms } in &self.rounds {
            let LatencySummary { count, p50_ms, p90_ms, p99_ms, max_ms, .. } = latency;
            say(&format!(
                "round       {} checks; ms: p50 {p50_ms:.2}  p90 {p90_ms:.2}  p99 {p99_ms:.2}  max {max_ms:.2}; pgbench's \
                 read of one {read_ms:.2}",
                grouped(*count)
            ));
        }
        for (verdict, often) in &self.verdicts {
            say(&format!("verdict     {verdict}: {}", grouped(*often)));
        }
        for trouble in self.trouble.iter().take(10) {
            say(&format!("TROUBLE     {trouble}"));
        }
        say(&format!("VERDICT     {}", if self.ok { "ok" } else { "not good" }));
    }
}

#[derive(Debug, Deserialize)]
struct Known {
    account_id: String,
    vendor_name: String,
    invoice_number: String,
    invoice_date: String,
    total: f64,
    currency: String,
    lines: Value,
}

fn questions(settings: &Settings) -> anyhow::Result<Questions> {
    let sample = psql(settings, &SAMPLE.replace(":seed", &settings.seed.to_string()))?;
    let mut chance = Chance::of(&format!("checks {}", settings.seed));
    let ask = |line: &str| {
        let mut known: Known = serde_json::from_str(line).context("the sample")?;
        let way = [Way::AsItIs, Way::Slipped, Way::New][chance.below(3)];
        match way {
            Way::AsItIs => {}
            Way::Slipped => known.invoice_number = misread(&mut chance, &known.invoice_number),
            Way::New => {
                known.invoice_number = format!("9{}", mistyped(&mut chance, &known.invoice_number));
                known.total += 7.13;
            }
        }
        let body = json!({
            "account_id": known.account_id, "vendor_name": known.vendor_name,
            "invoice_number": known.invoice_number, "invoice_date": known.invoice_date,
            "total": format!("{:.2}", known.total), "currency": known.currency, "lines": known.lines,
        });
        let body = Bytes::from(serde_json::to_vec(&body)?);
        Ok((way, Call::prepared(Uri::from_static("/api/v1/invoices/check"), None, body)))
    };
    let all: Vec<_> = sample.lines().map(ask).collect::<anyhow::Result<_>>()?;
    ensure!(!all.is_empty(), "there is no invoice to ask about: holdfast-load fill --invoices");
    Ok(Rc::new(all))
}

async fn send(
    settings: &Settings,
    questions: &Questions,
    round: usize,
    told: &Rc<RefCell<Told>>,
) -> anyhow::Result<Latency> {
    let from = Instant::now() + settings.warmup;
    let to = from + settings.length;
    let latency = Rc::new(RefCell::new(Latency::new()?));
    let mut workers = JoinSet::new();
    for (number, mut caller) in
        Caller::crew(&settings.targets, &settings.bearer, settings.connections)?.into_iter().enumerate()
    {
        let mut chance = Chance::of(&format!("{} {round} {number}", settings.seed));
        let (questions, latency, told) = (Rc::clone(questions), Rc::clone(&latency), Rc::clone(told));
        workers.spawn_local(async move {
            while Instant::now() < to {
                let (way, call) = &questions[chance.below(questions.len())];
                let sent = Instant::now();
                let answer = caller.insist(call, number).await.into_answer(call)?;
                if sent >= from {
                    latency.borrow_mut().record(sent.elapsed());
                }
                told.borrow_mut().note(*way, &answer.json()?);
            }
            anyhow::Ok(())
        });
    }
    while let Some(ended) = workers.join_next().await {
        ended.context("a worker")??;
    }
    Rc::into_inner(latency).map(RefCell::into_inner).context("a worker still measures")
}

impl Told {
    fn note(&mut self, way: Way, answer: &Value) {
        let kind = answer["verdict"]["type"].as_str().unwrap_or("none").to_owned();
        if kind == "none" || (way == Way::AsItIs && kind != "exact") {
            self.trouble.push(format!("what is in was told to be {kind}: {answer}"));
        }
        *self.verdicts.entry(kind).or_default() += 1;
    }
}

/// The mean of a read of one invoice, with as many clients.
fn read_ms(settings: &Settings, invoices: u64) -> anyhow::Result<f64> {
    let (clients, seconds) = (settings.connections.to_string(), settings.length.as_secs().max(1).to_string());
    let invoices = format!("invoices={invoices}");
    let options =
        ["-n", "-M", "prepared", "-j", "1", "-c", &clients, "-T", &seconds, "-D", &invoices, "-f", "-"];
    let mut pgbench = Command::new(find("pgbench")?);
    let told = fed(pgbench.args(options).arg(&settings.database), READ)?;
    let mean = told
        .lines()
        .find_map(|line| line.strip_prefix("latency average = ")?.strip_suffix(" ms")?.parse().ok());
    mean.with_context(|| format!("pgbench told no latency: {told}"))
}

fn psql(settings: &Settings, script: &str) -> anyhow::Result<String> {
    let mut psql = Command::new(find("psql")?);
    let options =
        ["--no-psqlrc", "--quiet", "--tuples-only", "--no-align", "--set=ON_ERROR_STOP=1", "--file=-"];
    fed(psql.args(options).arg(&settings.database), script)
}

/// What a program says to a script.
fn fed(command: &mut Command, script: &str) -> anyhow::Result<String> {
    let piped = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = piped.spawn().context("cannot start a program of Postgres")?;
    child.stdin.take().context("its input")?.write_all(script.as_bytes())?;
    let output = child.wait_with_output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr).trim());
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
