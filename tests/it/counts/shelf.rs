//! A model of the shelf: whatever is sold, brought back, lost and broken while several devices count, some of them late, by
//! clocks that are ahead, as drafts, or without saying in which rack, and whichever of their sessions are posted together and
//! when: what nothing speaks against is posted, what something does is not, and the books are never more than is there.
//!
//! A clock that is behind is not among it: that comes out lower on purpose, as `anchors` has it.

use std::cell::Cell;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestRunner};
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use uuid::Uuid;

use super::{counter, ids, post, record, sku_of};
use crate::support::campaign::{amount, report};
use crate::support::{Client, TestApp, TestDatabase, shared_redis, unique};

const ITEMS: usize = 2;
const RACKS: usize = 2;
const SESSIONS: usize = 3;
const OPENING: i64 = 6;

#[derive(Debug, Clone)]
enum Step {
    Sell {
        item: usize,
        rack: usize,
        units: i64,
    },
    Return {
        item: usize,
        rack: usize,
        units: i64,
    },
    /// Units that nobody has booked.
    Lose {
        item: usize,
        rack: usize,
    },
    Break {
        item: usize,
        rack: usize,
    },
    /// What is there is seen, to be told later.
    Look,
    Count {
        session: usize,
        item: usize,
        /// All of them, if it does not say which.
        rack: Option<usize>,
        late: bool,
        draft: bool,
        /// Whether its clock is ahead, and it says so.
        ahead: bool,
    },
    Post {
        session: usize,
        with: Vec<usize>,
        verdict: Verdict,
    },
}

/// What whoever posts says of the lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Nothing,
    /// What is off by anything is to be counted again.
    Exact,
    Approve,
    Reject,
}

fn step() -> impl Strategy<Value = Step> {
    let place = || (0..ITEMS, 0..RACKS);
    prop_oneof![
        4 => (place(), 1..3_i64).prop_map(|((item, rack), units)| Step::Sell { item, rack, units }),
        1 => (place(), 1..3_i64).prop_map(|((item, rack), units)| Step::Return { item, rack, units }),
        2 => place().prop_map(|(item, rack)| Step::Lose { item, rack }),
        1 => place().prop_map(|(item, rack)| Step::Break { item, rack }),
        1 => Just(Step::Look),
        7 => (0..SESSIONS, 0..ITEMS, proptest::option::weighted(0.8, 0..RACKS), any::<bool>(), 0..5, 0..4)
            .prop_map(|(session, item, rack, late, kind, clock)| {
                Step::Count { session, item, rack, late, draft: kind == 0, ahead: clock == 0 }
            }),
        3 => (0..SESSIONS, proptest::collection::vec(0..SESSIONS, 0..3), verdict())
            .prop_map(|(session, with, verdict)| Step::Post { session, with, verdict }),
    ]
}

fn verdict() -> impl Strategy<Value = Verdict> {
    prop_oneof![
        7 => Just(Verdict::Nothing), 1 => Just(Verdict::Exact), 1 => Just(Verdict::Approve), 1 => Just(Verdict::Reject),
    ]
}

/// What is in a rack of an item.
#[derive(Debug, Clone, Copy)]
struct Place {
    sound: i64,
    broken: i64,
    /// Units that were lost or broke so far: what no movement tells.
    untold: i64,
}

type Shelf = [[Place; RACKS]; ITEMS];

/// The shelf at a moment, by the database's clock.
#[derive(Debug, Clone)]
struct Look {
    at: String,
    /// How many were before it.
    place: usize,
    shelf: Shelf,
    /// The newest movements of the items.
    versions: Vec<i64>,
}

/// What a session says of a place.
#[derive(Debug, Clone)]
struct Record {
    session: String,
    item: usize,
    rack: Option<usize>,
    look: Look,
    is_draft: bool,
    /// Whether something moved between what it saw and what its clock makes of that, which is off by the way of a request.
    is_blurred: bool,
}

impl Record {
    /// What it saw, and how much of it was broken.
    fn units(&self) -> (i64, i64) {
        let seen = self.look.shelf[self.item].iter().enumerate();
        let seen =
            seen.filter(|(rack, _)| self.rack.is_none_or(|this| this == *rack)).map(|(_, place)| place);
        seen.fold((0, 0), |(units, broken), place| {
            (units + place.sound + place.broken, broken + place.broken)
        })
    }
}

struct Walk<'a> {
    app: &'a TestApp,
    ann: &'a Client,
    items: Vec<(Uuid, String)>,
    shelf: Shelf,
    looks: Vec<Look>,
    /// The names of sessions: one that was posted is followed by another.
    sessions: Vec<String>,
    records: Vec<Record>,
    /// The newest movement that a posted count saw, of each item.
    posted: [Option<i64>; ITEMS],
    /// Items of which it is not known at which movement they were counted.
    blurred: [bool; ITEMS],
    changes: u32,
    /// Lines that were posted, and those that were not.
    lines: (u32, u32),
}

impl Walk<'_> {
    async fn look(&mut self) -> Look {
        let items: Vec<_> = self.items.iter().map(|(variant, _)| *variant).collect();
        let (at, versions) = sqlx::query_as(
            "SELECT to_json(clock_timestamp()) #>> '{}',
                    ARRAY(SELECT version FROM unnest($1) WITH ORDINALITY AS asked (variant_id, place)
                          JOIN stock USING (variant_id) ORDER BY place)",
        )
        .bind(items)
        .fetch_one(&self.app.database.pool)
        .await
        .unwrap();
        self.looks.push(Look { at, place: self.looks.len(), shelf: self.shelf, versions });
        self.looks[self.looks.len() - 1].clone()
    }

    async fn count(&mut self, step: &Step) {
        let Step::Count { session, item, rack, late, draft, ahead } = *step else { return };
        let look = match self.looks.last() {
            Some(look) if late => look.clone(),
            _ => self.look().await,
        };
        let session = self.sessions[session].clone();
        let mut counted = Record { session, item, rack, look, is_draft: draft, is_blurred: false };
        let ((units, broken), place) =
            (counted.units(), rack.map_or("all".to_owned(), |rack| rack.to_string()));
        self.changes += 1;
        let mut sent = record(&format!("{item} {place}"), &counted.session, &self.items[item].1, units);
        sent["damage_qty"] = json!(broken);
        sent["rack_id"] = json!(rack.map(|rack| format!("R{rack}")));
        sent["status"] = json!(if draft { "draft" } else { "finalized" });
        sent["counted_at"] = json!(counted.look.at);
        sent["updated_at"] = json!(format!("2026-01-01T11:{:02}:00Z", self.changes));
        let mut body = json!({});
        let before = self.by_a_clock_ahead(&counted.look.at).await;
        if ahead {
            (sent["counted_at"], body["sent_at"]) = (json!(before.0), json!(before.1));
        }
        body["records"] = json!([sent]);
        let told = post(self.ann, "/sync/batch", &body).await.expect(200).json();
        assert_eq!(ids(&told, "ok").len(), 1, "{told}");
        counted.is_blurred = ahead && self.has_moved(item, &counted.look.at, &before.1).await;
        let key = |record: &Record| (record.session.clone(), record.item, record.rack);
        self.records.retain(|known| key(known) != key(&counted));
        self.records.push(counted);
    }

    /// A time, and now, by a clock that is 90 minutes ahead.
    async fn by_a_clock_ahead(&self, at: &str) -> (String, String) {
        sqlx::query_as(
            "SELECT to_json($1::timestamptz + interval '90 minutes') #>> '{}',
                    to_json(clock_timestamp() + interval '90 minutes') #>> '{}'",
        )
        .bind(at)
        .fetch_one(&self.app.database.pool)
        .await
        .unwrap()
    }

    /// Whether an item moved after a time, within as long as it is since a request was sent by the clock that is ahead.
    async fn has_moved(&self, item: usize, at: &str, sent_at: &str) -> bool {
        sqlx::query_scalar(
            "SELECT EXISTS (SELECT FROM stock_movements WHERE variant_id = $1 AND created_at > $2::timestamptz
                 AND created_at <= $2::timestamptz + (clock_timestamp() - ($3::timestamptz - interval '90 minutes')))",
        )
        .bind(self.items[item].0)
        .bind(at)
        .bind(sent_at)
        .fetch_one(&self.app.database.pool)
        .await
        .unwrap()
    }

    /// What is asked for when these sessions are posted.
    fn asked(&self, named: &[String], verdict: Verdict) -> Value {
        let decision = match verdict {
            Verdict::Nothing => return json!({}),
            Verdict::Exact => return json!({"recount_over": 0}),
            Verdict::Approve => "approve",
            Verdict::Reject => "reject",
        };
        let is_counted = |item: usize| {
            let mut of_item =
                self.records.iter().filter(|record| record.item == item && named.contains(&record.session));
            of_item.any(|record| !record.is_draft)
        };
        let lines = (0..ITEMS).filter(|item| is_counted(*item));
        let lines = lines.map(|item| json!({"item_code": self.items[item].1, "decision": decision}));
        json!({"lines": lines.collect::<Vec<_>>()})
    }

    async fn post(&mut self, session: usize, with: &[usize], verdict: Verdict) -> Result<(), String> {
        let first = self.sessions[session].clone();
        let mut named: Vec<_> = with.iter().map(|other| self.sessions[*other].clone()).collect();
        let mut books = Vec::new();
        for (variant, _) in &self.items {
            books.push(self.app.client.on_hand(*variant).await);
        }
        // One of which there is nothing is no session yet.
        named.retain(|name| self.records.iter().any(|record| record.session == *name));
        if !self.records.iter().any(|record| record.session == first) {
            return Ok(());
        }
        let (session_ids, path) = (json!(named), format!("/sessions/{first}/post"));
        named.push(first);
        let mut body = self.asked(&named, verdict);
        body["session_ids"] = session_ids;
        if !self.records.iter().any(|record| named.contains(&record.session) && !record.is_draft) {
            let refused = post(self.ann, &path, &body).await;
            assert_eq!((refused.status.as_u16(), refused.code().as_str()), (409, "nothing_to_post"));
            return Ok(());
        }
        let told = post(self.ann, &path, &body).await.expect(200).json();
        for line in told["lines"].as_array().unwrap() {
            let item =
                self.items.iter().position(|(variant, _)| line["variant_id"] == json!(variant)).unwrap();
            self.check(item, &named, verdict, (line, books[item]))
                .await
                .map_err(|why| format!("item {item}: {why}: {line}"))?;
        }
        for name in &mut self.sessions {
            if named.contains(name) {
                *name = unique("s");
            }
        }
        Ok(())
    }

    async fn check(
        &mut self,
        item: usize,
        named: &[String],
        verdict: Verdict,
        (line, before): (&Value, i64),
    ) -> Result<(), String> {
        let books = self.app.client.on_hand(self.items[item].0).await;
        let of_item = self.records.iter().filter(|record| record.item == item && !record.is_draft);
        let (mine, others): (Vec<_>, Vec<_>) = of_item.partition(|record| named.contains(&record.session));
        self.blurred[item] |= mine.iter().any(|record| record.is_blurred);
        if self.blurred[item] {
            return Ok(());
        }
        let of_rack = |rack| mine.iter().filter(|record| record.rack == rack).count();
        let says_rack = mine.iter().any(|record| record.rack.is_some());
        let left_out = others.iter().any(|other| other.units().0 > 0 && of_rack(other.rack) == 0);
        let is_twice = mine.iter().any(|record| of_rack(record.rack) > 1) || of_rack(None) > 0 && says_rack;
        let is_doubtful = left_out || is_twice;
        let oldest = mine.iter().map(|record| record.look.place).min().unwrap();
        let newest = mine.iter().map(|record| record.look.place).max().unwrap();
        let version = mine.iter().map(|record| record.look.versions[item]).max().unwrap();
        let is_older = self.posted[item].is_some_and(|posted| posted >= version);
        // Nothing is left to be counted again that nothing speaks against.
        let is_off = verdict == Verdict::Exact && line["variance"] != 0;
        match line["outcome"].as_str().unwrap() {
            "rejected" if verdict == Verdict::Reject && books == before => {
                // It is as if nobody had counted it there.
                self.records.retain(|record| record.item != item || !named.contains(&record.session));
                return Ok(());
            }
            "posted" if verdict == Verdict::Approve && (is_doubtful || is_older) => {
                // Whoever approves of it takes the books to be what they may not be.
                (self.blurred[item], self.lines.0) = (true, self.lines.0 + 1);
                return Ok(());
            }
            "recount"
                if verdict != Verdict::Approve && (is_doubtful || is_older || is_off) && books == before =>
            {
                self.lines.1 += 1;
                return Ok(());
            }
            "posted"
                if verdict != Verdict::Reject
                    && !is_off
                    && !is_doubtful
                    && (!is_older || books == before) =>
            {
                self.lines.0 += 1;
            }
            outcome => {
                let why = format!("doubtful: {is_doubtful}, older: {is_older}, {verdict:?}");
                return Err(format!("{outcome}, {before} became {books}, {why}"));
            }
        }
        if is_older {
            return Ok(());
        }
        self.posted[item] = Some(version);
        let there = |shelf: &Shelf| shelf[item].iter().map(|place| place.sound + place.untold).sum::<i64>();
        let untold: i64 = self.looks[oldest].shelf[item].iter().map(|place| place.untold).sum();
        let most = there(&self.shelf) - untold;
        let is_whole = oldest == newest && (!says_rack || (0..RACKS).all(|rack| of_rack(Some(rack)) == 1));
        if books > most || is_whole && books != most {
            return Err(format!("{books} on the books, {most} at the most, whole: {is_whole}"));
        }
        Ok(())
    }

    async fn step(&mut self, step: &Step) -> Result<(), String> {
        match *step {
            Step::Sell { item, rack, units } => {
                let (variant, place) = (self.items[item].0, &mut self.shelf[item][rack]);
                // What is not on the shelf can't be handed over, whatever the books say.
                if units <= place.sound && self.app.client.decrement(variant, units).await.status == 200 {
                    place.sound -= units;
                }
            }
            Step::Return { item, rack, units } => {
                let path = format!("/inventory/{}/increment", self.items[item].0);
                self.app.client.post(&path, &json!({"quantity": units})).await.expect(200);
                self.shelf[item][rack].sound += units;
            }
            Step::Lose { item, rack } | Step::Break { item, rack } => {
                let place = &mut self.shelf[item][rack];
                if place.sound > 0 {
                    place.sound -= 1;
                    place.untold += 1;
                    place.broken += i64::from(matches!(step, Step::Break { .. }));
                }
            }
            Step::Look => {
                self.look().await;
            }
            Step::Count { .. } => self.count(step).await,
            Step::Post { session, ref with, verdict } => self.post(session, with, verdict).await?,
        }
        Ok(())
    }
}

/// Gives how many lines were posted, and how many were not.
async fn walk(app: &TestApp, ann: &Client, steps: &[Step]) -> Result<(u32, u32), String> {
    let mut items = Vec::new();
    for _ in 0..ITEMS {
        let variant = app.client.variant(OPENING * RACKS as i64).await;
        items.push((variant, sku_of(&app.client, variant).await));
    }
    let mut walk = Walk {
        app,
        ann,
        items,
        shelf: [[Place { sound: OPENING, broken: 0, untold: 0 }; RACKS]; ITEMS],
        looks: Vec::new(),
        sessions: (0..SESSIONS).map(|_| unique("s")).collect(),
        records: Vec::new(),
        posted: [None; ITEMS],
        blurred: [false; ITEMS],
        changes: 0,
        lines: (0, 0),
    };
    for step in steps {
        walk.step(step).await?;
    }
    Ok(walk.lines)
}

#[test]
fn the_books_are_never_more_than_the_shelf_and_are_the_shelf_where_all_of_it_was_seen_at_once() {
    let many = &[("HOLDFAST_SYNC_BATCHES_PER_MINUTE", "1000000")];
    let runtime = Runtime::new().unwrap();
    let app = runtime
        .block_on(async { TestApp::with(TestDatabase::fresh().await, Some(&shared_redis()), many).await });
    let ann = runtime.block_on(counter(&app, "ann"));
    let cases = u32::try_from(amount(24, 10_000)).unwrap();
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    let lines = Cell::new((0, 0));
    TestRunner::new(config)
        .run(&proptest::collection::vec(step(), 1..20), |steps| {
            let (posted, left) = runtime.block_on(walk(&app, &ann, &steps)).map_err(TestCaseError::fail)?;
            lines.set((lines.get().0 + posted, lines.get().1 + left));
            Ok(())
        })
        .unwrap();
    let (posted, left) = lines.get();
    report(&format!(
        "{cases} random interleavings of sale, loss, count and post: the books are the shelf, {posted} lines posted, {left} to \
         be counted again"
    ));
    runtime.block_on(app.finish());
}
