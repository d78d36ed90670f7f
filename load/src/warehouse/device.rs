//! What one device does: claims a rack, counts it, goes on, sends what it counted when it is near the network again.

use std::time::Duration;

use anyhow::{Context, ensure};
use chrono::{DateTime, TimeDelta, Utc};
use hyper::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::MutexGuard;
use tokio::time::{Instant, sleep};

use super::run::{Errand, Town};
use crate::chance::Chance;
use crate::connection::{Answer, Call, Caller};

/// The records of a batch, of most devices and of those that are away for long.
pub const BATCH: usize = 100;
pub const LONG_BATCH: usize = 1_000;
/// One in so many devices is away for long.
const LONG: usize = 16;
/// One in so many racks is lost to another device, and one in so many batches is sent twice.
const LOST: usize = 20;
const TWICE: usize = 5;
/// For how long a rack is claimed that is not to be lost, and one that is.
const HELD_SECS: u64 = 3_600;
const LOST_SECS: u64 = 1;
/// How often a device looks at the service's clock before it trusts what it found.
const LOOKS: usize = 4;

/// How a device's clock is wrong, and who knows.
#[derive(Debug, Clone, Copy)]
enum Clock {
    Right,
    /// So much ahead of the true time; it compares itself with what heartbeats say.
    Compared(TimeDelta),
    /// So much ahead; it only says what it shows when it sends.
    SaysSo(TimeDelta),
}

impl Clock {
    fn of(number: usize) -> Self {
        match number % 10 {
            0 => Self::Compared(TimeDelta::minutes(120)),
            1 => Self::Compared(TimeDelta::minutes(-40)),
            2 => Self::SaysSo(TimeDelta::minutes(90)),
            _ => Self::Right,
        }
    }
}

/// A record that was not sent yet. A clock that is only told about is as inexact as the network is slow: nothing of the item
/// is sold until then.
struct Unsent<'t> {
    record: Value,
    _alone: Option<MutexGuard<'t, ()>>,
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
    lost: Vec<usize>,
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
        let (unsent, late, lost, held) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
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
            lost,
            held,
            sent: 0,
            batches: 0,
        }
    }

    /// Counts until every rack is counted. What was counted in lost racks is sent afterwards.
    pub async fn work(&mut self) -> anyhow::Result<()> {
        let opened = self.ask("/api/v1/sessions", &json!({"session_id": self.session_id})).await?;
        ensure!(
            opened.status == StatusCode::CREATED || opened.code().as_deref() == Some("session_exists"),
            "{}: {}",
            self.session_id,
            opened.excerpt()
        );
        self.compare_clock().await?;
        while self.town.racks_left.get() > 0 {
            match self.town.next_rack() {
                None => {
                    self.send_all().await?;
                    sleep(Duration::from_millis(20)).await;
                }
                Some(errand) => self.visit(errand).await?,
            }
        }
        self.send_all().await
    }

    /// Sends what it counted in racks that others counted since, and says which racks are done.
    pub async fn come_back(&mut self) -> anyhow::Result<()> {
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
        if errand.is_again && self.lost.contains(&rack) {
            // Its claim would be given to it again.
            self.town.later(errand);
            return Ok(());
        }
        let may_lose = !errand.is_again && self.town.settings.devices > 1;
        let is_lost = may_lose && rack.is_multiple_of(LOST) && self.town.lose(rack);
        let ttl = if is_lost { LOST_SECS } else { HELD_SECS };
        let path = format!("/api/v1/racks/{}/claim", self.town.rack_id(rack));
        let floor = format!("{}", rack % 4);
        let body = json!({"session_id": self.session_id, "floor": floor, "ttl_seconds": ttl});
        let began = Instant::now();
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
        let is_for_good = !is_lost && self.town.take_for_good(rack);
        if !is_lost && !is_for_good {
            return Ok(());
        }
        self.count(rack, fence, is_for_good).await?;
        self.beat(Some(rack)).await?;
        if is_lost {
            self.lost.push(rack);
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
        if matches!(self.clock, Clock::SaysSo(_)) {
            self.send_all().await?;
        }
        if self.chance.below(5) == 0 {
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
            let alone = town.shelves.items[item].alone().await;
            let (ahead, doubt) = self.believed;
            sleep(doubt).await;
            let (units, damaged) = town.shelves.look(rack, place, is_for_good);
            let at = (self.shown()? - ahead).to_rfc3339();
            sleep(doubt).await;
            self.sent += 1;
            let record = json!({
                "client_record_id": format!("{}-{}", town.rack_id(rack), self.sent), "session_id": self.session_id,
                "rack_id": town.rack_id(rack), "floor": format!("{}", rack % 4), "item_code": town.shelves.items[item].sku,
                "verified_qty": units, "damage_qty": damaged, "fence": fence,
                "counted_at": at, "created_at": at, "updated_at": at,
            });
            if is_for_good {
                let keeps = matches!(self.clock, Clock::SaysSo(_));
                self.unsent.push(Unsent { record, _alone: keeps.then_some(alone) });
            } else {
                self.late.push(record);
            }
        }
        Ok(())
    }

    async fn send_all(&mut self) -> anyhow::Result<()> {
        while !self.unsent.is_empty() {
            self.send_some(self.unsent.len().min(self.batch_size())).await?;
        }
        Ok(())
    }

    /// Sends so many records, some of them twice, in one batch or two.
    async fn send_some(&mut self, size: usize) -> anyhow::Result<()> {
        let is_repeated = self.batches.is_multiple_of(TWICE);
        self.batches += 1;
        let twice = usize::from(size > 1 && is_repeated);
        let some: Vec<_> = self.unsent.drain(..size - twice).collect();
        let mut records: Vec<_> = some.iter().map(|unsent| unsent.record.clone()).collect();
        records.extend(records.first().cloned().filter(|_| twice == 1));
        let times = 1 + usize::from(is_repeated);
        for _ in 0..times {
            let told = self.send(&records).await?;
            let is_whole = told.ok.len() == records.len();
            self.town
                .expect(is_whole, || format!("{}: {:?} {:?}", self.session_id, told.conflicts, told.errors));
        }
        let mut told = self.town.told.borrow_mut();
        told.records += some.len();
        told.repeated += times - 1 + twice;
        Ok(())
    }

    async fn send(&mut self, records: &[Value]) -> anyhow::Result<Synced> {
        let mut body = json!({"records": records});
        if let Clock::SaysSo(_) = self.clock {
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
        if self.number % LONG == 5 { LONG_BATCH } else { BATCH }
    }

    /// What its clock shows.
    fn shown(&self) -> anyhow::Result<DateTime<Utc>> {
        let ahead = match self.clock {
            Clock::Right => TimeDelta::zero(),
            Clock::Compared(ahead) | Clock::SaysSo(ahead) => ahead,
        };
        now().checked_add_signed(ahead).context("a time")
    }
}

#[expect(clippy::disallowed_methods, reason = "a device counts by its own clock")]
fn now() -> DateTime<Utc> {
    DateTime::<Utc>::from(std::time::SystemTime::now())
}
