//! A whole scenario: open the catalogue, let buyers come, wait until everything is over, ask for the books, report.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use rust_decimal::Decimal;
use tokio::select;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;
use tokio::time::sleep_until;

use super::{Arrival, Arrivals, Baskets, Buyer, Client, Clients, Scenario, ScenarioReport, Stage};
use crate::connection::{Caller, Target, Turn};
use crate::measure::Rate;
use crate::progress::Progress;
use crate::service::{NewVariant, Signer, create};
use crate::terminal::remark;
use crate::verdict::{BooksReport, Judge, Opening, check_books, read_record};

/// What every scenario is told.
#[derive(Debug)]
pub struct Settings {
    pub targets: Vec<Target>,
    pub bearer: String,
    pub run: String,
    pub clients: usize,
    pub length: Duration,
    /// The most buyers, whatever the time.
    pub buyers: Option<u64>,
    /// Buyers per second; none in a closed loop.
    pub rate: Option<Rate>,
    pub seed: u64,
    pub baskets: Baskets,
    /// Of each item, at the beginning.
    pub stock: i64,
    /// For webhooks, where the scenario sends any.
    pub signer: Option<Signer>,
}

/// How visits ended, and who was there too late.
#[derive(Debug)]
struct Attendance {
    ends: RefCell<BTreeMap<&'static str, u64>>,
    progress: Progress,
}

/// In a visit's word, for whom no client became free before the end.
const NOT_SERVED: &str = "not served in time";

/// Runs a scenario and reports. Ctrl-C ends the coming of buyers and nothing else; twice ends all, without a verdict.
pub async fn run<S: Scenario>(settings: Settings, scenario: S) -> anyhow::Result<ScenarioReport> {
    let mut stop = signal(SignalKind::interrupt()).context("cannot listen to Ctrl-C")?;
    let told_twice = async move {
        stop.recv().await;
        remark("no more buyers come; the verdict follows. Ctrl-C again goes without it");
        stop.recv().await;
    };
    select! {
        report = run_to_its_end(settings, scenario) => report,
        () = told_twice => bail!("stopped before the verdict"),
    }
}

async fn run_to_its_end<S: Scenario>(settings: Settings, scenario: S) -> anyhow::Result<ScenarioReport> {
    let opening = Rc::new(open(&settings).await?);
    let stage = Rc::new(Stage {
        run: settings.run.clone(),
        seed: settings.seed,
        judge: Judge::new(Rc::clone(&opening))?.into(),
        opening,
        baskets: settings.baskets,
        signer: settings.signer,
        clients: Clients::new(&settings.targets, &settings.bearer, settings.clients)?,
        turn: Turn::default(),
    });
    let began = Instant::now();
    let arrivals = Arrivals::new(began, settings.length, settings.buyers, settings.rate)?;
    let attendance = serve(&stage, scenario, &arrivals).await?;
    let seconds = began.elapsed().min(settings.length).as_secs_f64();
    wait_for_lapses(&stage).await;

    let crew = || Caller::crew(&settings.targets, &settings.bearer, settings.clients);
    let books = settle(&stage, crew()?, crew()?, Caller::new(&settings.targets, &settings.bearer)?).await?;
    let judge = stage.judge.borrow();
    let (calls, faults, stories) = (judge.calls(), judge.faults().report(), judge.stories());
    Ok(ScenarioReport {
        ok: faults.is_empty() && books.agree(),
        scenario: S::NAME,
        run: settings.run,
        targets: settings.targets.iter().map(|target| target.authority.clone()).collect(),
        clients: settings.clients,
        rate: settings.rate.map(|rate| rate.to_string()),
        seed: settings.seed,
        items: settings.baskets.items,
        stock: settings.stock,
        hot_share: settings.baskets.hot_share,
        seconds,
        buyers: arrivals.came(),
        buyers_per_second: arrivals.came() as f64 / seconds,
        visits: attendance.ends.into_inner(),
        holds: stories.holds.len(),
        orders: stories.orders.values().filter(|story| story.placed.is_some()).count(),
        cancellations: stories.orders.values().map(|story| story.blows.len()).sum(),
        requests: calls.values().map(|call| call.sent).sum(),
        unknown_resent: calls.values().map(|call| call.unknown).sum(),
        refused_resent: calls.values().map(|call| call.said_again.values().sum::<u64>() - call.unknown).sum(),
        calls,
        repeats: judge.repeats().clone(),
        faults,
        books,
        scene: judge.scene(),
    })
}

/// Makes the items.
async fn open(settings: &Settings) -> anyhow::Result<Opening> {
    let variant = |position: usize| NewVariant {
        sku: format!("{}-{position}", settings.run),
        name: format!("Item {position} of {}", settings.run),
        price: Decimal::new(100 + position as i64, 2),
        on_hand: settings.stock,
    };
    let variants: Rc<Vec<_>> = Rc::new((0..settings.baskets.items).map(variant).collect());
    let crew = Caller::crew(&settings.targets, &settings.bearer, settings.clients)?;
    let ids = create(crew, Rc::clone(&variants), &settings.run).await?;
    Ok(Opening::of(ids, &variants))
}

/// Lets buyers come until the end, and waits until the last has gone.
async fn serve<S: Scenario>(
    stage: &Rc<Stage>,
    scenario: S,
    arrivals: &Arrivals,
) -> anyhow::Result<Attendance> {
    let progress = Progress::without_end("serving buyers");
    let attendance = Rc::new(Attendance { ends: RefCell::default(), progress });
    let scenario = Rc::new(scenario);
    let mut stop = signal(SignalKind::interrupt()).context("cannot listen to Ctrl-C")?;
    let mut visits = JoinSet::new();
    loop {
        // In a closed loop nobody comes before a client is free.
        let free = match arrivals.is_closed_loop() {
            true => {
                let free = select! {
                    free = stage.clients.take_before(arrivals.end()) => free?,
                    told = stop.recv() => told.and(None),
                };
                let Some(client) = free else {
                    break;
                };
                Some(client)
            }
            false => None,
        };
        let next = select! {
            next = arrivals.next() => next,
            told = stop.recv() => told.and(None),
        };
        let Some(arrival) = next else {
            free.into_iter().for_each(|client| stage.clients.give_back(client));
            break;
        };
        let (stage, end) = (Rc::clone(stage), arrivals.end());
        let (scenario, attendance) = (Rc::clone(&scenario), Rc::clone(&attendance));
        visits.spawn_local(async move {
            let word = visit(&stage, &*scenario, arrival, free, end).await?;
            *attendance.ends.borrow_mut().entry(word).or_default() += 1;
            attendance.progress.step();
            anyhow::Ok(())
        });
        while let Some(done) = visits.try_join_next() {
            done.context("a buyer stopped in the middle")??;
        }
    }
    while let Some(done) = visits.join_next().await {
        done.context("a buyer stopped in the middle")??;
    }
    attendance.progress.finish();
    Rc::into_inner(attendance).context("a buyer is still there")
}

async fn visit<S: Scenario>(
    stage: &Rc<Stage>,
    scenario: &S,
    arrival: Arrival,
    free: Option<Client>,
    end: Instant,
) -> anyhow::Result<&'static str> {
    let client = match free {
        Some(client) => client,
        None => match stage.clients.take_before(end).await? {
            Some(client) => client,
            None => return Ok(NOT_SERVED),
        },
    };
    let mut buyer = Buyer::new(stage, arrival, client);
    let word = scenario.visit(&mut buyer).await;
    buyer.leave();
    word
}

/// Waits until the time of every hold is over that nobody resolved.
async fn wait_for_lapses(stage: &Stage) {
    let last = stage.judge.borrow().stories().last_lapse();
    let Some(last) = last.filter(|last| *last > Instant::now()) else {
        return;
    };
    remark(&format!("the last hold is over in {:.1} s", (last - Instant::now()).as_secs_f64()));
    sleep_until(last.into()).await;
}

/// Judges what was told, reads what the service has written down, and compares.
async fn settle(
    stage: &Stage,
    readers: Vec<Caller>,
    walkers: Vec<Caller>,
    auditor: Caller,
) -> anyhow::Result<BooksReport> {
    stage.judge.borrow_mut().settle();
    let users = stage.judge.borrow().stories().users.iter().cloned().collect();
    let record = Rc::new(RefCell::new(read_record(readers, users).await?));
    let tallies = stage.judge.borrow().tallies().to_vec();
    let noted = Rc::clone(&record);
    let watch = move |item, movements: &[_]| noted.borrow_mut().note(item, movements);
    let books = check_books(walkers, auditor, Rc::clone(&stage.opening), tallies, watch).await?;
    stage.judge.borrow_mut().compare(&record.borrow());
    Ok(books)
}
