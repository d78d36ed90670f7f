//! The whole: open the catalogue, let devices count while the shop sells, post it as one count, hold the ledger against the
//! shelves.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context, ensure};
use hyper::StatusCode;
use rust_decimal::Decimal;
use serde::Deserialize;
use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::device::Device;
use super::report::{Figures, Report, Told};
use super::shelves::{Item, Shelves};
use super::{Settings, plan, sales};
use crate::chance::Chance;
use crate::connection::{Call, Caller, Patience, spread_over};
use crate::progress::Progress;
use crate::service::{NewVariant, audit, create, level};

/// Connections for what is done before and after the count.
const CLERKS: usize = 16;
/// One in so many racks is gone to by two devices.
const CONTESTED: usize = 10;
/// The most other sessions of one count.
const SESSIONS_MAX: usize = 500;
/// What is wrong is told so often.
const FAULTS_TOLD: usize = 20;
/// A posting of many items takes long, and goes on where it broke off.
const POSTING: Patience = Patience { answer: Duration::from_secs(120), whole: Duration::from_secs(900) };

/// A rack to be counted.
#[derive(Debug, Clone, Copy)]
pub struct Errand {
    pub rack: usize,
    /// Whether somebody lost it.
    pub is_again: bool,
    /// Not before this.
    pub from: Instant,
}

/// What all share.
#[derive(Debug)]
pub struct Town {
    pub settings: Settings,
    pub shelves: Shelves,
    pub racks_left: Cell<usize>,
    pub is_over: Cell<bool>,
    pub figures: RefCell<Figures>,
    pub told: RefCell<Told>,
    pub progress: Progress,
    errands: RefCell<VecDeque<Errand>>,
    /// Which racks somebody counts for good, or has.
    taken: RefCell<Vec<bool>>,
    /// Which device has lost which rack: each is lost once at most.
    lost: RefCell<Vec<Option<usize>>>,
    /// The highest fence that was told of each rack.
    fences: RefCell<Vec<i64>>,
}

impl Town {
    pub fn rack_id(&self, rack: usize) -> String {
        format!("{}-r{rack}", self.settings.run)
    }

    pub fn session_id(&self, device: usize) -> String {
        format!("{}-d{device}", self.settings.run)
    }

    /// The next rack that nobody counts, whose time has come, and which this device has not lost: its claim would be given to
    /// it again.
    pub fn next_rack(&self, device: usize) -> Option<Errand> {
        let mut errands = self.errands.borrow_mut();
        errands.retain(|errand| !self.taken.borrow()[errand.rack]);
        let lost = self.lost.borrow();
        let is_ready = |errand: &Errand| errand.from <= Instant::now() && lost[errand.rack] != Some(device);
        let ready = errands.iter().position(is_ready)?;
        errands.remove(ready)
    }

    /// Somebody else may see to it.
    pub fn later(&self, errand: Errand) {
        let from = errand.from.max(Instant::now() + Duration::from_millis(100));
        self.errands.borrow_mut().push_back(Errand { from, ..errand });
    }

    /// Whether this is the one that counts the rack.
    pub fn take_for_good(&self, rack: usize) -> bool {
        !std::mem::replace(&mut self.taken.borrow_mut()[rack], true)
    }

    /// Whether this is the one that loses the rack.
    pub fn lose(&self, rack: usize, device: usize) -> bool {
        let lost_by = &mut self.lost.borrow_mut()[rack];
        lost_by.is_none() && lost_by.replace(device).is_none()
    }

    /// The highest fence that was told of a rack so far.
    pub fn fence(&self, rack: usize) -> i64 {
        self.fences.borrow()[rack]
    }

    /// A claim that was asked for when `before` was known was granted: its fence is above all that had been told by then.
    pub fn grow_fence(&self, rack: usize, before: i64, fence: i64) {
        let highest = &mut self.fences.borrow_mut()[rack];
        *highest = fence.max(*highest);
        self.expect(fence > before, || format!("{}: fence {fence} after {before}", self.rack_id(rack)));
    }

    /// Notes what is wrong.
    pub fn expect(&self, is_right: bool, wrong: impl FnOnce() -> String) {
        if !is_right {
            let mut told = self.told.borrow_mut();
            told.wrong += 1;
            if told.faults.len() < FAULTS_TOLD {
                told.faults.push(wrong().chars().take(400).collect());
            }
        }
    }
}

/// Counts a warehouse.
///
/// # Errors
/// No verdict was reached.
pub async fn run(settings: Settings) -> anyhow::Result<Report> {
    let town = Rc::new(open(settings).await?);
    let crew = |members| Caller::crew(&town.settings.targets, &town.settings.bearer, members);
    let mut sellers = JoinSet::new();
    for (number, caller) in crew(town.settings.sellers)?.into_iter().enumerate() {
        let town = Rc::clone(&town);
        sellers.spawn_local(async move { sales::sell(&town, number, caller).await });
    }
    let began = Instant::now();
    let counted = count(&town, crew(town.settings.devices)?).await;
    let counting = began.elapsed();
    let posted = match counted {
        Ok(()) => post(&town).await,
        Err(error) => Err(error),
    };
    town.is_over.set(true);
    while let Some(seller) = sellers.join_next().await {
        seller.context("a seller stopped in the middle")??;
    }
    posted?;
    judge(&town, crew(CLERKS)?).await?;
    Report::of(&town, counting)
}

async fn open(settings: Settings) -> anyhow::Result<Town> {
    let mut chance = Chance::seeded(settings.seed);
    let (racks, items) = plan::fill(settings.racks, settings.positions, &mut chance);
    let mut there = vec![0; items];
    racks.iter().flatten().for_each(|position| there[position.item] += position.units - position.damaged);
    let variant = |(item, there): (usize, &i64)| NewVariant {
        sku: format!("{}-{item}", settings.run),
        name: format!("Item {item} of {}", settings.run),
        price: Decimal::new(100, 2),
        on_hand: plan::booked(*there, &mut chance),
    };
    let variants: Rc<Vec<_>> = Rc::new(there.iter().enumerate().map(variant).collect());
    let crew = Caller::crew(&settings.targets, &settings.bearer, CLERKS)?;
    let ids = create(crew, Rc::clone(&variants), &settings.run).await?;
    let items = ids.into_iter().zip(variants.iter());
    let items = items.map(|(id, variant)| Item::new(id, variant.sku.clone(), variant.on_hand)).collect();
    let mut order: Vec<_> = (0..settings.racks).collect();
    chance.shuffle(&mut order);
    let mut errands = VecDeque::new();
    for rack in order {
        let times = 1 + usize::from(chance.below(CONTESTED) == 0);
        let from = Instant::now();
        errands.extend(std::iter::repeat_n(Errand { rack, is_again: false, from }, times));
    }
    Ok(Town {
        shelves: Shelves::new(racks, items),
        racks_left: Cell::new(settings.racks),
        is_over: Cell::new(false),
        figures: RefCell::new(Figures::new()?),
        told: RefCell::default(),
        progress: Progress::start("counting racks", settings.racks),
        errands: RefCell::new(errands),
        taken: RefCell::new(vec![false; settings.racks]),
        lost: RefCell::new(vec![None; settings.racks]),
        fences: RefCell::new(vec![0; settings.racks]),
        settings,
    })
}

async fn count(town: &Rc<Town>, callers: Vec<Caller>) -> anyhow::Result<()> {
    // What was counted in lost racks comes when all of them were counted by others.
    let all_counted = Rc::new(tokio::sync::Barrier::new(callers.len()));
    let mut devices = JoinSet::new();
    for (number, caller) in callers.into_iter().enumerate() {
        let (town, all_counted) = (Rc::clone(town), Rc::clone(&all_counted));
        devices.spawn_local(async move {
            let mut device = Device::new(&town, number, caller);
            device.work().await?;
            all_counted.wait().await;
            device.come_back().await
        });
    }
    while let Some(device) = devices.join_next().await {
        device.context("a device stopped in the middle")??;
    }
    town.progress.finish();
    Ok(())
}

#[derive(Debug, Deserialize)]
struct Posted {
    lines: Vec<Line>,
    /// Where the lines go on that an answer has no room for.
    next_cursor: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Line {
    item_code: String,
    outcome: Option<String>,
    recount_because: Option<String>,
    shortfall: i64,
}

/// Posts all sessions as one count, while the shop goes on selling.
async fn post(town: &Town) -> anyhow::Result<()> {
    let others: Vec<_> = (1..town.settings.devices).map(|device| town.session_id(device)).collect();
    ensure!(others.len() <= SESSIONS_MAX, "one count is of {SESSIONS_MAX} other sessions at most");
    let path = format!("/api/v1/sessions/{}/post", town.session_id(0));
    let key = format!("{}-post", town.settings.run);
    let call = Call::post(&path, &key, &json!({"reason": "counted", "session_ids": others}))?;
    let mut caller = Caller::new(&town.settings.targets, &town.settings.bearer)?.with_patience(POSTING);
    let began = Instant::now();
    let answer = caller.insist(&call, 0).await.into_answer(&call)?;
    town.told.borrow_mut().posting_secs = began.elapsed().as_secs_f64();
    ensure!(answer.status == StatusCode::OK, "{}: {}", call.title(), answer.excerpt());
    let mut posted: Posted = answer.json()?;
    while let Some(cursor) = posted.next_cursor.take() {
        let path = format!("/api/v1/sessions/{}/variances?cursor={cursor}", town.session_id(0));
        let more: Posted = caller.read(&path, 0).await?.json()?;
        posted.lines.extend(more.lines);
        posted.next_cursor = more.next_cursor;
    }
    let (lines, items) = (posted.lines.len(), town.shelves.items.len());
    town.expect(lines == items, || format!("{lines} items were posted of {items}"));
    for line in posted.lines {
        let is_posted = line.outcome.as_deref() == Some("posted") && line.shortfall == 0;
        town.expect(is_posted, || {
            format!("{}: {:?} {:?}", line.item_code, line.outcome, line.recount_because)
        });
    }
    Ok(())
}

/// Holds the ledger against the shelves.
async fn judge(town: &Rc<Town>, clerks: Vec<Caller>) -> anyhow::Result<()> {
    let progress = Progress::start("reading the ledger", town.shelves.items.len());
    let seen = Rc::clone(town);
    spread_over(clerks, town.shelves.items.len(), async move |caller, item| {
        let there = seen.shelves.there(item);
        let one = &seen.shelves.items[item];
        let booked = level(caller, one.variant_id, item).await?.on_hand;
        seen.expect(booked == there, || {
            format!("{}: {there} on the shelves, {booked} in the ledger", one.sku)
        });
        progress.step();
        Ok(())
    })
    .await?;
    let mut auditor =
        Caller::new(&town.settings.targets, &town.settings.bearer)?.with_patience(Patience::AUDIT);
    let found = audit(&mut auditor).await?;
    town.expect(found.ok, || "the service's own audit found mistakes".to_owned());
    Ok(())
}
