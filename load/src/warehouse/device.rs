//! What one device does: claims a rack, counts it, goes on, sends what it counted when it is near the network again.

use std::time::Duration;

use anyhow::{Context, ensure};
use chrono::{DateTime, TimeDelta, Utc};
use hyper::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::MutexGuard;
use tokio::time::{Instant, sleep};

use super::clock::Clock;
use super::run::{Errand, Town};
use crate::chance::Chance;
use crate::connection::{Answer, Call, Caller};

/// The records of a batch, of most devices and of those that are away for long.
pub const BATCH: usize = 100;
pub const LONG_BATCH: usize = 1_000;
/// One in so many devices reads racks so much faster than the others, and sends what it read in few large batches.
const LONG: usize = 16;
const FASTER: u32 = 15;
/// One in so many racks is lost to another device, and one in so many batches is sent twice.
const LOST: usize = 20;
const TWICE: usize = 5;
/// For how long a rack is claimed that is not to be lost, and one that is.
const HELD_SECS: u64 = 3_600;
const LOST_SECS: u64 = 1;
/// How often a device looks at the service's clock before it trusts what it found.
const LOOKS: usize = 4;

/// A record that was not sent yet.
struct Unsent<'t> {
    record: Value,
    seen: Seen,
    /// Of an item in two racks of which a clock tells that is only told about: nothing of it is sold until it was sent.
    _alone: Option<MutexGuard<'t, ()>>,
}

/// What a device looked at, and when.
#[derive(Clone, Copy)]
struct Seen {
    rack: usize,
    place: usize,
    item: usize,
    fence: i64,
    at: Instant,
}

/// One device.
pub struct Device<'t> {
    town: &'t Town,
    number: usize,
    caller: Caller,
    chance: Chance,
    session_id: String,
    clock: Clock,
    /// What its clock is believed to be ahead by, and how far that may be wrong.
    believed: (TimeDelta, Duration),
    unsent: Vec<Unsent<'t>>,
    /// What it counted in racks that it lost.
    late: Vec<Value>,
    held: Vec<usize>,
    sent: usize,
    batches: usize,
}

#[derive(Debug, Deserialize)]
struct Claimed {
    fence: i64,
}

#[derive(Debug, Deserialize)]
struct Beat {
    timestamp: f64,
}

#[derive(Debug, Deserialize)]
struct Synced {
    ok: Vec<String>,
    conflicts: Vec<Conflict>,
    errors: Vec<Value>,
}

#[derive(Debug, Deserialize)]
struct Conflict {
    conflict_type: String,
}

impl<'t> Device<'t> {
    pub fn new(town: &'t Town, number: usize, caller: Caller) -> Self {
        let session_id = town.session_id(number);
        let chance = Chance::of(&format!("{session_id} {}", town.settings.seed));
        let clock = Clock::of(number);
        let believed = (TimeDelta::zero(), Duration::ZERO);
        let (unsent, late, held) = (Vec::new(), Vec::new(), Vec::new());
        Self {
            town,
            number,
            caller,
            chance,
            session_id,
            clock,
            believed,
            unsent,
            late,
            held,
            sent: 0,
            batches: 0,
        }
    }

    /// Counts until every rack is counted. What was counted in lost racks is sent afterwards.
    pub async fn work(&mut self) -> anyhow::Result<()> {
        self.not_all_at_once().await;
        let opened = self.ask("/api/v1/sessions", &json!({"session_id": self.session_id})).await?;
        ensure!(
            opened.status == StatusCode::CREATED || opened.code().as_deref() == Some("session_exists"),
            "{}: {}",
            self.session_id,
            opened.excerpt()
        );
        self.compare_clock().await?;
        while self.town.racks_left.get() > 0 {
            match self.town.next_rack(self.number) {
                None => {
                    self.send_all().await?;
                    sleep(Duration::from_millis(20)).await;
                }
                Some(errand) => self.visit(errand).await?,
            }
        }
        self.send_all().await
    }

    /// People take up their devices one after the other, and come back so: all within the time in which one of them counts a
    /// batch.
    async fn not_all_at_once(&mut self) {
        let within = self.town.settings.pace * BATCH as u32;
        sleep(within.mul_f64(self.chance.fraction())).await;
    }

    /// Counting takes half of the pace, or half as much again, or something between.
    async fn take_its_time(&mut self) {
        let pace = self.town.settings.pace / if self.is_long() { FASTER } else { 1 };
        sleep(pace.mul_f64(0.5 + self.chance.fraction())).await;
    }

    /// Sends what it counted in racks that others counted since, and says which racks are done.
    pub async fn come_back(&mut self) -> anyhow::Result<()> {
        self.not_all_at_once().await;
        let late = std::mem::take(&mut self.late);
        for records in late.chunks(BATCH) {
            let told = self.send(records).await?;
            let is_told = told.conflicts.len() == records.len()
                && told.conflicts.iter().all(|conflict| conflict.conflict_type == "lease_lost");
            self.town.expect(is_told, || format!("{}: lost racks gave {told:?}", self.session_id));
            self.town.told.borrow_mut().conflicts += told.conflicts.len();
        }
        for rack in std::mem::take(&mut self.held) {
            let path = format!("/api/v1/racks/{}/complete", self.town.rack_id(rack));
            let done = self.ask(&path, &json!({"session_id": self.session_id})).await?;
            self.town.expect(done.status == StatusCode::OK, || format!("{path}: {}", done.excerpt()));
        }
        loop {
            let body = json!({"strategy": "server_wins", "session_id": self.session_id, "reason": "counted by others"});
            let resolved = self.ask("/api/v1/sync/conflicts/auto-resolve", &body).await?;
            ensure!(resolved.status == StatusCode::OK, "{}", resolved.excerpt());
            if resolved.json::<Value>()?["resolved"].as_array().is_none_or(Vec::is_empty) {
                return Ok(());
            }
        }
    }

    async fn visit(&mut self, errand: Errand) -> anyhow::Result<()> {
        let rack = errand.rack;
        let may_lose = !errand.is_again && self.town.settings.devices > 1;
        let is_lost = may_lose && rack.is_multiple_of(LOST) && self.town.lose(rack, self.number);
        let ttl = if is_lost { LOST_SECS } else { HELD_SECS };
        let path = format!("/api/v1/racks/{}/claim", self.town.rack_id(rack));
        let floor = format!("{}", rack % 4);
        let body = json!({"session_id": self.session_id, "floor": floor, "ttl_seconds": ttl});
        let (before, began) = (self.town.fence(rack), Instant::now());
        let answer = self.ask(&path, &body).await?;
        self.town.figures.borrow_mut().claim.record(began.elapsed());
        if answer.code().as_deref() == Some("rack_locked") {
            self.town.told.borrow_mut().refused_claims += 1;
            if errand.is_again {
                self.town.later(errand);
            }
            return Ok(());
        }
        ensure!(answer.status == StatusCode::OK, "{path}: {}", answer.excerpt());
        let Claimed { fence } = answer.json()?;
        self.town.grow_fence(rack, before, fence);
        let is_for_good = !is_lost;
        if is_for_good && !self.town.take_for_good(rack) {
            self.town.expect(false, || format!("{path}: granted, while another has it for an hour"));
            return Ok(());
        }
        self.count(rack, fence, is_for_good).await?;
        self.beat(Some(rack)).await?;
        if is_lost {
            self.town.told.borrow_mut().lost += 1;
            self.town.later(Errand {
                rack,
                is_again: true,
                from: Instant::now() + Duration::from_millis(1_050),
            });
        } else {
            self.held.push(rack);
            self.town.racks_left.set(self.town.racks_left.get() - 1);
            self.town.progress.step();
        }
        if self.is_told_about() {
            self.send_all().await?;
        }
        if !self.is_long() && self.chance.below(5) == 0 {
            let gap = self.town.settings.gap.as_millis() as usize + 1;
            sleep(Duration::from_millis(self.chance.below(gap) as u64)).await;
        }
        let size = self.batch_size();
        while self.unsent.len() >= size {
            self.send_some(size).await?;
        }
        Ok(())
    }

    /// Counts what is in a rack.
    async fn count(&mut self, rack: usize, fence: i64, is_for_good: bool) -> anyhow::Result<()> {
        let town = self.town;
        for (place, item) in town.shelves.in_rack(rack).into_iter().enumerate() {
            self.take_its_time().await;
            let alone = town.shelves.items[item].alone().await;
            let (ahead, doubt) = self.believed;
            sleep(doubt).await;
            let (units, damaged) = town.shelves.look(rack, place, is_for_good);
            let at = self.shown()? - ahead;
            let seen = Seen { rack, place, item, fence, at: Instant::now() };
            sleep(doubt).await;
            self.sent += 1;
            let id = format!("{}-{}", town.rack_id(rack), self.sent);
            let record = self.record(&id, seen, (units, damaged), at);
            if is_for_good {
                let keeps = self.is_told_about() && town.shelves.items[item].is_in_two_racks();
                self.unsent.push(Unsent { record, seen, _alone: keeps.then_some(alone) });
            } else {
                self.late.push(record);
            }
        }
        Ok(())
    }

    fn record(&self, id: &str, seen: Seen, (units, damaged): (i64, i64), at: DateTime<Utc>) -> Value {
        let (town, at) = (self.town, at.to_rfc3339());
        json!({
            "client_record_id": id, "session_id": self.session_id, "rack_id": town.rack_id(seen.rack),
            "floor": format!("{}", seen.rack % 4), "item_code": town.shelves.items[seen.item].sku, "verified_qty": units,
            "damage_qty": damaged, "fence": seen.fence, "counted_at": at, "created_at": at, "updated_at": at,
        })
    }

    async fn send_all(&mut self) -> anyhow::Result<()> {
        while !self.unsent.is_empty() {
            self.send_some(self.unsent.len().min(self.batch_size())).await?;
        }
        Ok(())
    }

    /// Sends so many records, some of them twice, in one batch or two. A clock that is only told about is as inexact as the
    /// network is slow: what may have been sold in that time is looked at again.
    async fn send_some(&mut self, size: usize) -> anyhow::Result<()> {
        let is_repeated = (self.batches + self.number).is_multiple_of(TWICE);
        self.batches += 1;
        let twice = usize::from(size > 1 && is_repeated);
        let some: Vec<_> = self.unsent.drain(..size - twice).collect();
        let mut records: Vec<_> = some.iter().map(|unsent| unsent.record.clone()).collect();
        records.extend(records.first().cloned().filter(|_| twice == 1));
        let began = Instant::now();
        let told = self.send(&records).await?;
        let doubt = began.elapsed();
        self.expect_whole(&told, records.len());
        if is_repeated {
            let told = self.send(&records).await?;
            self.expect_whole(&told, records.len());
        }
        if self.is_told_about() {
            self.look_again(&some, doubt).await?;
        }
        let mut told = self.town.told.borrow_mut();
        told.records += some.len();
        told.repeated += usize::from(is_repeated) + twice;
        Ok(())
    }

    fn expect_whole(&self, told: &Synced, all: usize) {
        let wrong = || format!("{}: {:?} {:?}", self.session_id, told.conflicts, told.errors);
        self.town.expect(told.ok.len() == all, wrong);
    }

    /// Counts again, and sends, what may have been sold between its look and when the service put that.
    async fn look_again(&mut self, sent: &[Unsent<'t>], mut doubt: Duration) -> anyhow::Result<()> {
        let town = self.town;
        let mut left: Vec<_> =
            sent.iter().map(|one| (one.record["client_record_id"].clone(), one.seen)).collect();
        loop {
            left.retain(|(_, seen)| town.shelves.items[seen.item].is_sold_between(seen.at, seen.at + doubt));
            if left.is_empty() {
                return Ok(());
            }
            town.told.borrow_mut().looked_again += left.len();
            let mut records = Vec::with_capacity(left.len());
            for (id, seen) in &mut left {
                let _alone = town.shelves.items[seen.item].alone().await;
                let found = town.shelves.look(seen.rack, seen.place, false);
                seen.at = Instant::now();
                let id = id.as_str().unwrap_or_default();
                records.push(self.record(id, *seen, found, self.shown()?));
            }
            let began = Instant::now();
            let told = self.send(&records).await?;
            doubt = began.elapsed();
            self.expect_whole(&told, records.len());
        }
    }

    async fn send(&mut self, records: &[Value]) -> anyhow::Result<Synced> {
        let mut body = json!({"records": records});
        if self.is_told_about() {
            body["sent_at"] = self.shown()?.to_rfc3339().into();
        }
        let began = Instant::now();
        let answer = self.ask("/api/v1/sync/batch", &body).await?;
        let took = began.elapsed();
        match records.len() {
            BATCH => self.town.figures.borrow_mut().batch.record(took),
            LONG_BATCH => self.town.figures.borrow_mut().long_batch.record(took),
            _ => {}
        }
        self.town.told.borrow_mut().batches += 1;
        ensure!(answer.status == StatusCode::OK, "a batch: {}", answer.excerpt());
        answer.json()
    }

    /// Finds how far its clock is from the service's, as well as the network lets it.
    async fn compare_clock(&mut self) -> anyhow::Result<()> {
        if !matches!(self.clock, Clock::Compared(_)) {
            return Ok(());
        }
        let mut best: Option<(TimeDelta, Duration)> = None;
        for _ in 0..LOOKS {
            let before = self.shown()?;
            let Beat { timestamp } = self.beat(None).await?;
            let round = (self.shown()? - before).to_std().unwrap_or_default();
            let theirs =
                DateTime::<Utc>::from_timestamp_micros((timestamp * 1e6) as i64).context("a timestamp")?;
            let ahead = before + TimeDelta::from_std(round / 2)? - theirs;
            if best.is_none_or(|(_, least)| round < least) {
                best = Some((ahead, round));
            }
        }
        self.believed = best.unwrap_or_default();
        Ok(())
    }

    async fn beat(&mut self, rack: Option<usize>) -> anyhow::Result<Beat> {
        let rack = rack.map(|rack| format!("&rack_id={}", self.town.rack_id(rack))).unwrap_or_default();
        let path = format!("/api/v1/sync/heartbeat?session_id={}{rack}", self.session_id);
        let began = Instant::now();
        let answer = self.ask(&path, &json!({})).await?;
        self.town.figures.borrow_mut().heartbeat.record(began.elapsed());
        ensure!(answer.status == StatusCode::OK, "{path}: {}", answer.excerpt());
        answer.json()
    }

    /// Without a key: devices repeat blindly.
    async fn ask(&mut self, path: &str, body: &Value) -> anyhow::Result<Answer> {
        let call = Call::prepared(path.parse().context("a path")?, None, body.to_string().into());
        self.caller.insist(&call, self.number).await.into_answer(&call)
    }

    fn batch_size(&self) -> usize {
        if self.is_long() { LONG_BATCH } else { BATCH }
    }

    /// Whether it is away for long, and sends much at once.
    fn is_long(&self) -> bool {
        self.number % LONG == 5
    }

    /// Whether its clock is wrong, and it only says what it shows.
    fn is_told_about(&self) -> bool {
        matches!(self.clock, Clock::SaysSo(_))
    }

    fn shown(&self) -> anyhow::Result<DateTime<Utc>> {
        self.clock.shown()
    }
}
