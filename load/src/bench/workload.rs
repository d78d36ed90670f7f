//! What a benchmark sends: requests that are cheap to make, because the client shares the machine.

use std::fmt::Write as _;
use std::rc::Rc;

use anyhow::Context;
use hyper::body::Bytes;
use hyper::header::HeaderValue;
use hyper::{StatusCode, Uri};

use super::Zipf;
use crate::chance::Chance;
use crate::connection::Call;
use crate::service::CURRENCY;
use crate::verdict::Opening;

/// The kinds of request.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// Single units of many items.
    Spread,
    /// Single units of many items, but never of the hot one.
    Others,
    /// Single units of one item, the hot one.
    Hot,
    /// The same in batches of one, each alone in its transaction.
    Batches,
    /// Single units of many items, the item of rank k in proportion to 1 / k^skew.
    Zipf { skew: f64 },
    /// Orders of so many lines; with a hot line, one of them is always the same item.
    Orders { lines: usize, hot_line: bool },
}

/// The hot item's place.
const HOT: usize = 0;
/// Orders come from so many users.
const USERS: usize = 10_000;

/// One request and what it takes if it is answered with success.
#[derive(Debug)]
pub struct Shot {
    pub call: Call,
    /// The items of which one unit each is taken.
    pub items: Vec<usize>,
}

/// What all requests of a run have in common: its items and their addresses.
#[derive(Debug)]
pub struct Catalogue {
    run: String,
    seed: u64,
    variants: Vec<String>,
    decrements: Vec<Uri>,
    orders: Uri,
}

/// A source of requests; each worker has its own.
#[derive(Clone, Debug)]
pub struct Workload {
    catalogue: Rc<Catalogue>,
    kind: Kind,
    zipf: Option<Zipf>,
    /// What makes this worker's keys its own.
    name: String,
    made: u64,
    chance: Chance,
}

impl Kind {
    /// The words used in reports.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Spread => "spread",
            Self::Others => "spread over the others",
            Self::Hot => "hot",
            Self::Batches => "batches",
            Self::Zipf { .. } => "zipf",
            Self::Orders { hot_line: false, .. } => "orders",
            Self::Orders { hot_line: true, .. } => "hot orders",
        }
    }

    /// How many items it needs if `asked` are asked for.
    pub fn items(self, asked: usize) -> usize {
        match self {
            Self::Hot | Self::Batches => 1,
            Self::Spread | Self::Zipf { .. } => asked.max(1),
            Self::Others => asked.max(2),
            Self::Orders { lines, .. } => asked.max(lines),
        }
    }

    /// The status of success.
    pub const fn success(self) -> StatusCode {
        match self {
            Self::Spread | Self::Others | Self::Hot | Self::Batches | Self::Zipf { .. } => StatusCode::OK,
            Self::Orders { .. } => StatusCode::CREATED,
        }
    }
}

impl Catalogue {
    /// The opened items of a run.
    pub fn new(run: &str, seed: u64, opening: &Opening) -> anyhow::Result<Self> {
        let variants: Vec<String> = opening.items().iter().map(|item| item.variant_id.to_string()).collect();
        let decrement = |variant: &String| format!("/api/v1/inventory/{variant}/decrement").parse::<Uri>();
        let decrements = variants.iter().map(decrement).collect::<Result<_, _>>().context("a path")?;
        let orders = Uri::from_static("/api/v1/orders");
        Ok(Self { run: run.to_owned(), seed, variants, decrements, orders })
    }
}

impl Workload {
    /// Requests of a kind on the items of a catalogue.
    pub fn new(kind: Kind, catalogue: &Rc<Catalogue>) -> Self {
        let zipf = match kind {
            Kind::Zipf { skew } => Some(Zipf::new(catalogue.variants.len(), skew)),
            _ => None,
        };
        let (catalogue, name) = (Rc::clone(catalogue), catalogue.run.clone());
        Self { catalogue, kind, zipf, name, made: 0, chance: Chance::seeded(0) }
    }

    /// The same for one worker of one drive: other choices, other keys than anybody else's.
    pub fn of_worker(&self, drive: u64, worker: usize) -> Self {
        let Catalogue { run, seed, .. } = &*self.catalogue;
        let name = format!("{run}-{drive}-{worker}");
        let chance = Chance::of(&format!("{seed}-{drive}-{worker}"));
        Self { name, chance, ..self.clone() }
    }

    /// The next request.
    pub fn next(&mut self) -> anyhow::Result<Shot> {
        let items = self.catalogue.variants.len();
        match (self.kind, &self.zipf) {
            (Kind::Orders { lines, hot_line }, _) => self.order(lines, hot_line),
            (Kind::Zipf { .. }, Some(zipf)) => {
                let item = zipf.draw(&mut self.chance);
                Ok(self.decrement(item))
            }
            (Kind::Spread | Kind::Zipf { .. }, _) => {
                let item = self.chance.below(items);
                Ok(self.decrement(item))
            }
            (Kind::Others, _) => {
                let item = HOT + 1 + self.chance.below(items - 1);
                Ok(self.decrement(item))
            }
            (Kind::Hot, _) => Ok(self.decrement(HOT)),
            (Kind::Batches, _) => Ok(self.batch(HOT)),
        }
    }

    fn decrement(&self, item: usize) -> Shot {
        let body = Bytes::from_static(br#"{"quantity":1}"#);
        let call = Call::prepared(self.catalogue.decrements[item].clone(), None, body);
        Shot { call, items: vec![item] }
    }

    fn batch(&self, item: usize) -> Shot {
        let variant = &self.catalogue.variants[item];
        let body = format!(
            r#"{{"mode":"atomic","operations":[{{"op":"decrement","variant_id":"{variant}","quantity":1}}]}}"#
        );
        let batches = Uri::from_static("/api/v1/inventory/batch");
        Shot { call: Call::prepared(batches, None, body.into()), items: vec![item] }
    }

    /// An order of different items, one from each part of the catalogue.
    fn order(&mut self, lines: usize, hot_line: bool) -> anyhow::Result<Shot> {
        let catalogue = &self.catalogue;
        let mut items = parts(catalogue.variants.len(), lines, &mut self.chance);
        if hot_line {
            items[0] = HOT;
        }
        let (run, user) = (&catalogue.run, self.chance.below(USERS));
        let mut body = String::with_capacity(80 + lines * 70);
        write!(body, r#"{{"user_id":"{run}-{user}","currency":"{CURRENCY}","lines":["#)?;
        for (position, item) in items.iter().enumerate() {
            let comma = if position == 0 { "" } else { "," };
            write!(body, r#"{comma}{{"variant_id":"{}","quantity":1}}"#, catalogue.variants[*item])?;
        }
        body.push_str("]}");
        let key = HeaderValue::from_maybe_shared(Bytes::from(format!("{}-{}", self.name, self.made)))?;
        self.made += 1;
        let call = Call::prepared(catalogue.orders.clone(), Some(key), body.into());
        Ok(Shot { call, items })
    }
}

/// One position from each of `lines` even parts of `total`, which is at least as many.
fn parts(total: usize, lines: usize, chance: &mut Chance) -> Vec<usize> {
    let one = |part| {
        let (first, end) = (part * total / lines, (part + 1) * total / lines);
        first + chance.below(end - first)
    };
    (0..lines).map(one).collect()
}

#[cfg(test)]
mod tests {
    use rust_decimal::Decimal;
    use uuid::Uuid;

    use super::*;
    use crate::verdict::ShelfItem;

    #[test]
    fn an_orders_items_are_different_and_all_are_reached() {
        for (total, lines) in [(3, 3), (4, 3), (5, 3), (10, 3), (100, 3), (100, 40), (7, 7), (5, 1)] {
            let mut chance = Chance::seeded(total as u64);
            let mut seen = vec![false; total];
            for _ in 0..2_000 {
                let items = parts(total, lines, &mut chance);
                assert!(
                    items.len() == lines && items.is_sorted_by(|one, next| one < next),
                    "{items:?} of {total}"
                );
                items.iter().for_each(|item| seen[*item] = true);
            }
            assert!(seen.iter().all(|seen| *seen), "some of {total} were never reached");
        }
    }

    #[test]
    fn each_kind_has_the_items_it_needs() {
        assert_eq!(Kind::Hot.items(10_000), 1);
        assert_eq!(Kind::Spread.items(10_000), 10_000);
        assert_eq!(Kind::Others.items(1), 2);
        assert_eq!(Kind::Orders { lines: 3, hot_line: true }.items(1), 3);
    }

    fn workload(kind: Kind, items: usize) -> anyhow::Result<Workload> {
        let shelf = |number: usize| ShelfItem {
            variant_id: Uuid::from_u128(number as u128),
            sku: format!("r-{number}"),
            price: Decimal::ONE,
            on_hand: 10,
        };
        let opening = Opening::new((0..items).map(shelf).collect());
        Ok(Workload::new(kind, &Rc::new(Catalogue::new("r", 1, &opening)?)))
    }

    #[test]
    fn a_crowd_takes_the_hot_item_and_the_others_never_do() -> anyhow::Result<()> {
        let (mut crowd, mut others) = (workload(Kind::Hot, 5)?, workload(Kind::Others, 5)?);
        let mut batches = workload(Kind::Batches, 5)?;
        for _ in 0..200 {
            assert_eq!(crowd.next()?.items, [HOT]);
            assert_eq!(batches.next()?.items, [HOT]);
            assert_ne!(others.next()?.items, [HOT]);
        }
        Ok(())
    }

    #[test]
    fn no_two_workers_of_any_two_drives_share_a_key() -> anyhow::Result<()> {
        let orders = workload(Kind::Orders { lines: 3, hot_line: true }, 9)?;
        let mut keys = std::collections::HashSet::new();
        for (drive, worker) in [(0, 0), (0, 1), (1, 0), (1, 1), (1, 11), (11, 1)] {
            let mut mine = orders.of_worker(drive, worker);
            for _ in 0..3 {
                let shot = mine.next()?;
                assert!(keys.insert(shot.call.key().to_owned()), "{} twice", shot.call.key());
                assert_eq!((shot.items[0], shot.items.len()), (HOT, 3));
            }
        }
        Ok(())
    }
}
