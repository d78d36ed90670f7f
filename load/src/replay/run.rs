//! A whole replay: read the file, open the catalogue, send, ask for the books, report.

use std::path::PathBuf;
use std::rc::Rc;
use std::time::Instant;

use anyhow::Context;
use rust_decimal::Decimal;
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;

use super::{Lanes, Repeats, Shared, Worker};
use crate::connection::{Caller, Target, Turn, spread_over};
use crate::measure::{Pacer, Rate, Schedule};
use crate::progress::Progress;
use crate::service::{NewVariant, create};
use crate::shop::{Dirt, Naming, Plan, Work, read};
use crate::verdict::{Judge, Opening, PlanFigures, RepeatWhen, Report, check_books};

/// What a replay is told.
#[derive(Debug)]
pub struct Settings {
    pub file: PathBuf,
    pub targets: Vec<Target>,
    pub bearer: String,
    pub run: String,
    pub cover: Decimal,
    pub concurrency: usize,
    pub rate: Option<Rate>,
    pub retry_share: f64,
    pub limit_invoices: Option<usize>,
}

/// Replays a file and reports.
pub async fn run(settings: &Settings) -> anyhow::Result<Report> {
    let naming = Naming::new(&settings.run);
    let mut dirt = Dirt::default();
    let rows = read(&settings.file, &mut dirt)?;
    let plan = Plan::new(rows, &naming, settings.cover, settings.limit_invoices, &mut dirt);
    let opening = Rc::new(open(settings, &plan).await?);
    let began = Instant::now();
    let shared = send(settings, plan, naming, Rc::clone(&opening)).await?;
    let seconds = began.elapsed().as_secs_f64();
    repeat_late(settings, &shared).await?;

    let auditor = Caller::new(&settings.targets, &settings.bearer)?;
    let tallies = shared.judge.borrow().tallies().to_vec();
    let books = check_books(crew(settings)?, auditor, opening, tallies, |_, _| ()).await?;
    let judge = shared.judge.borrow();
    let (figures, faults) = (shared.figures.borrow().clone(), judge.faults().report());
    Ok(Report {
        ok: faults.is_empty() && books.agree(),
        run: settings.run.clone(),
        targets: settings.targets.iter().map(|target| target.authority.clone()).collect(),
        concurrency: settings.concurrency,
        rate: settings.rate.map(|rate| rate.to_string()),
        seconds,
        orders_per_second: figures.sales as f64 / seconds,
        plan: figures,
        dirt,
        calls: judge.calls(),
        repeats: judge.repeats().clone(),
        faults,
        books,
        scene: judge.scene(),
    })
}

fn crew(settings: &Settings) -> anyhow::Result<Vec<Caller>> {
    Caller::crew(&settings.targets, &settings.bearer, settings.concurrency)
}

/// Makes the plan's items in the service.
async fn open(settings: &Settings, plan: &Plan) -> anyhow::Result<Opening> {
    let variants: Vec<NewVariant> = plan
        .items
        .iter()
        .map(|item| NewVariant {
            sku: item.sku.clone(),
            name: item.name.clone(),
            price: item.price,
            on_hand: item.opening,
        })
        .collect();
    let variants = Rc::new(variants);
    let ids = create(crew(settings)?, Rc::clone(&variants), &settings.run).await?;
    Ok(Opening::of(ids, &variants))
}

/// Sends every invoice.
async fn send(
    settings: &Settings,
    plan: Plan,
    naming: Naming,
    opening: Rc<Opening>,
) -> anyhow::Result<Rc<Shared>> {
    let slots = slots(&plan);
    let (pacer, timetable) = match settings.rate {
        None => (None, None),
        Some(rate) => {
            let (came, come) = watch::channel(0);
            let schedule = Schedule::new(Instant::now(), rate);
            // What follows the last sale waits for one slot more.
            let total = plan.sales() as u64 + 1;
            let pacer = Pacer::start(schedule, total, move |due| came.send_modify(|come| *come += due))?;
            (Some(pacer), Some((schedule, come)))
        }
    };
    let shared = Rc::new(Shared {
        lanes: Lanes::new(plan.invoices.iter().map(|invoice| invoice.user_id.as_str())).into(),
        progress: Progress::start("sending invoices", plan.invoices.len()),
        figures: PlanFigures::of(&plan).into(),
        judge: Judge::new(Rc::clone(&opening))?.into(),
        repeats: Repeats::new(settings.retry_share),
        turn: Turn::default(),
        answered: Notify::new(),
        histories: Default::default(),
        plan,
        naming,
        opening,
        slots,
        timetable,
    });
    let mut workers = JoinSet::new();
    for (caller, second) in crew(settings)?.into_iter().zip(crew(settings)?) {
        workers.spawn_local(Worker::new(Rc::clone(&shared), caller, second).work());
    }
    while let Some(worker) = workers.join_next().await {
        worker.context("a worker stopped in the middle")??;
    }
    drop(pacer);
    shared.progress.finish();
    Ok(shared)
}

/// The slot of each invoice: one for each sale; what is no sale goes with the next sale.
fn slots(plan: &Plan) -> Vec<u64> {
    let mut next = 0;
    let slot = |invoice: &crate::shop::Invoice| {
        let slot = next;
        next += u64::from(matches!(invoice.work, Work::Sale(_)));
        slot
    };
    plan.invoices.iter().map(slot).collect()
}

/// Repeats what was kept for the end.
async fn repeat_late(settings: &Settings, shared: &Rc<Shared>) -> anyhow::Result<()> {
    let kept = shared.repeats.kept();
    if kept.is_empty() {
        return Ok(());
    }
    let progress = Progress::start("repeating earlier requests", kept.len());
    let (total, shared) = (kept.len(), Rc::clone(shared));
    spread_over(crew(settings)?, total, async move |caller, position| {
        let late = &kept[position];
        let second = caller.insist(&late.call, late.position + 1).await;
        shared.judge.borrow_mut().repeat(late.call.key(), RepeatWhen::AtTheEnd, &late.first, &second);
        progress.step();
        Ok(())
    })
    .await
}
