//! A model of the shelf: whatever is sold, brought back, lost and broken while several devices count, some of them late,
//! and whichever of their sessions are posted together and when, the books are never more than is there.

use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestRunner};
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use uuid::Uuid;

use super::{batch, counter, ids, post, record, sku_of};
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
        rack: usize,
        late: bool,
    },
    Post {
        session: usize,
        with: Vec<usize>,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let place = || (0..ITEMS, 0..RACKS);
    prop_oneof![
        4 => (place(), 1..3_i64).prop_map(|((item, rack), units)| Step::Sell { item, rack, units }),
        1 => (place(), 1..3_i64).prop_map(|((item, rack), units)| Step::Return { item, rack, units }),
        2 => place().prop_map(|(item, rack)| Step::Lose { item, rack }),
        1 => place().prop_map(|(item, rack)| Step::Break { item, rack }),
        1 => Just(Step::Look),
        6 => (0..SESSIONS, place(), any::<bool>())
            .prop_map(|(session, (item, rack), late)| Step::Count { session, item, rack, late }),
        3 => (0..SESSIONS, proptest::collection::vec(0..SESSIONS, 0..3))
            .prop_map(|(session, with)| Step::Post { session, with }),
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
}

/// What a session says of a place.
#[derive(Debug, Clone)]
struct Record {
    session: String,
    item: usize,
    rack: usize,
    look: Look,
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
    /// The newest look of a posted count, of each item.
    posted: [Option<usize>; ITEMS],
    changes: u32,
}

impl Walk<'_> {
    async fn look(&mut self) -> Look {
        let at: String = sqlx::query_scalar("SELECT to_json(clock_timestamp()) #>> '{}'")
            .fetch_one(&self.app.database.pool)
            .await
            .unwrap();
        self.looks.push(Look { at, place: self.looks.len(), shelf: self.shelf });
        self.looks[self.looks.len() - 1].clone()
    }

    async fn count(&mut self, session: usize, item: usize, rack: usize, late: bool) {
        let look = match self.looks.last() {
            Some(look) if late => look.clone(),
            _ => self.look().await,
        };
        let (session, seen) = (self.sessions[session].clone(), look.shelf[item][rack]);
        self.changes += 1;
        let mut sent =
            record(&format!("{item} {rack}"), &session, &self.items[item].1, seen.sound + seen.broken);
        sent["damage_qty"] = json!(seen.broken);
        sent["rack_id"] = json!(format!("R{rack}"));
        sent["counted_at"] = json!(look.at);
        sent["updated_at"] = json!(format!("2026-01-01T11:{:02}:00Z", self.changes));
        assert_eq!(ids(&batch(self.ann, &[sent]).await, "ok").len(), 1);
        self.records.retain(|known| (&known.session, known.item, known.rack) != (&session, item, rack));
        self.records.push(Record { session, item, rack, look });
    }

    async fn post(&mut self, session: usize, with: &[usize]) -> Result<(), String> {
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
        let body = json!({"session_ids": named});
        let told = post(self.ann, &format!("/sessions/{first}/post"), &body).await.expect(200).json();
        named.push(first);
        for line in told["lines"].as_array().unwrap() {
            let item =
                self.items.iter().position(|(variant, _)| line["variant_id"] == json!(variant)).unwrap();
            self.check(item, &named, line, books[item])
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
        line: &Value,
        before: i64,
    ) -> Result<(), String> {
        let books = self.app.client.on_hand(self.items[item].0).await;
        let (mine, others): (Vec<_>, Vec<_>) = self
            .records
            .iter()
            .filter(|record| record.item == item)
            .partition(|record| named.contains(&record.session));
        let of_rack = |rack| mine.iter().filter(|record| record.rack == rack).count();
        let left_out = others.iter().any(|other| {
            let seen = other.look.shelf[item][other.rack];
            seen.sound + seen.broken > 0 && of_rack(other.rack) == 0
        });
        let is_doubtful = left_out || (0..RACKS).any(|rack| of_rack(rack) > 1);
        let oldest = mine.iter().map(|record| record.look.place).min().unwrap();
        let newest = mine.iter().map(|record| record.look.place).max().unwrap();
        match (line["outcome"].as_str().unwrap(), is_doubtful) {
            ("recount", _) if books == before => return Ok(()),
            ("posted", false) => {}
            (outcome, _) => return Err(format!("{outcome}, {books} on the books, doubtful: {is_doubtful}")),
        }
        if self.posted[item].is_some_and(|posted| posted > newest) {
            return if books == before { Ok(()) } else { Err(format!("{before} became {books}")) };
        }
        self.posted[item] = Some(newest);
        let there = |shelf: &Shelf| shelf[item].iter().map(|place| place.sound + place.untold).sum::<i64>();
        let untold: i64 = self.looks[oldest].shelf[item].iter().map(|place| place.untold).sum();
        let most = there(&self.shelf) - untold;
        let is_whole = oldest == newest && (0..RACKS).all(|rack| of_rack(rack) == 1);
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
            Step::Count { session, item, rack, late } => self.count(session, item, rack, late).await,
            Step::Post { session, ref with } => self.post(session, with).await?,
        }
        Ok(())
    }
}

async fn walk(app: &TestApp, ann: &Client, steps: &[Step]) -> Result<(), String> {
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
        changes: 0,
    };
    for step in steps {
        walk.step(step).await?;
    }
    Ok(())
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
    TestRunner::new(config)
        .run(&proptest::collection::vec(step(), 1..20), |steps| {
            runtime.block_on(walk(&app, &ann, &steps)).map_err(TestCaseError::fail)
        })
        .unwrap();
    report(&format!("{cases} random interleavings of sale, loss, count and post: the books are the shelf"));
    runtime.block_on(app.finish());
}
