//! What a benchmark sends: requests that are cheap to make, because the client shares the machine.

use std::fmt::Write as _;

use anyhow::Context;
use hyper::body::Bytes;
use hyper::header::HeaderValue;
use hyper::{StatusCode, Uri};

use crate::chance::Chance;
use crate::connection::Call;
use crate::service::CURRENCY;
use crate::verdict::Opening;

/// The kinds of benchmark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Single units of many items.
    Spread,
    /// Single units of one item.
    Hot,
    /// Orders of three lines; with a hot line, one of them is always the same item.
    Orders { hot_line: bool },
}

/// How many lines an order has.
const LINES: usize = 3;
/// Orders come from so many users.
const USERS: usize = 10_000;

/// One request and what it takes if it is answered with success.
#[derive(Debug)]
pub struct Shot {
    pub call: Call,
    items: [usize; LINES],
    lines: usize,
}

impl Shot {
    /// The items of which one unit each is taken.
    pub fn items(&self) -> &[usize] {
        &self.items[..self.lines]
    }
}

/// A source of requests; each worker has its own.
#[derive(Clone, Debug)]
pub struct Workload {
    kind: Kind,
    run: String,
    worker: usize,
    made: u64,
    chance: Chance,
    variants: Vec<String>,
    decrements: Vec<Uri>,
    orders: Uri,
}

impl Kind {
    /// The word used on the command line and in reports.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Spread => "spread",
            Self::Hot => "hot",
            Self::Orders { hot_line: false } => "orders",
            Self::Orders { hot_line: true } => "hot orders",
        }
    }

    /// How many items it needs if `asked` are asked for.
    pub fn items(self, asked: usize) -> usize {
        match self {
            Self::Hot => 1,
            Self::Spread => asked.max(1),
            Self::Orders { .. } => asked.max(LINES),
        }
    }

    /// The status of success.
    pub const fn success(self) -> StatusCode {
        match self {
            Self::Spread | Self::Hot => StatusCode::OK,
            Self::Orders { .. } => StatusCode::CREATED,
        }
    }
}

impl Workload {
    /// Requests of a kind on the opened items.
    pub fn new(kind: Kind, run: &str, opening: &Opening) -> anyhow::Result<Self> {
        let variants: Vec<String> = opening.items().iter().map(|item| item.variant_id.to_string()).collect();
        let decrement = |variant: &String| format!("/api/v1/inventory/{variant}/decrement").parse::<Uri>();
        let decrements = variants.iter().map(decrement).collect::<Result<_, _>>().context("a path")?;
        let orders = Uri::from_static("/api/v1/orders");
        let (run, chance) = (run.to_owned(), Chance::seeded(0));
        Ok(Self { kind, run, worker: 0, made: 0, chance, variants, decrements, orders })
    }

    /// The same for one worker: other choices, other keys.
    pub fn of_worker(&self, worker: usize) -> Self {
        Self { worker, chance: Chance::seeded(worker as u64), ..self.clone() }
    }

    /// The next request.
    pub fn next(&mut self) -> anyhow::Result<Shot> {
        match self.kind {
            Kind::Spread => {
                let item = self.chance.below(self.variants.len());
                Ok(self.decrement(item))
            }
            Kind::Hot => Ok(self.decrement(0)),
            Kind::Orders { hot_line } => self.order(hot_line),
        }
    }

    fn decrement(&self, item: usize) -> Shot {
        let body = Bytes::from_static(br#"{"quantity":1}"#);
        let call = Call::prepared(self.decrements[item].clone(), None, body);
        Shot { call, items: [item; LINES], lines: 1 }
    }

    /// An order of three different items, one from each third of the catalogue.
    fn order(&mut self, hot_line: bool) -> anyhow::Result<Shot> {
        let mut items = thirds(self.variants.len(), &mut self.chance);
        if hot_line {
            items[0] = 0;
        }
        let (run, user) = (&self.run, self.chance.below(USERS));
        let mut body = String::with_capacity(320);
        write!(body, r#"{{"user_id":"{run}-{user}","currency":"{CURRENCY}","lines":["#)?;
        for (position, item) in items.iter().enumerate() {
            let comma = if position == 0 { "" } else { "," };
            write!(body, r#"{comma}{{"variant_id":"{}","quantity":1}}"#, self.variants[*item])?;
        }
        body.push_str("]}");
        let key =
            HeaderValue::from_maybe_shared(Bytes::from(format!("{run}-{}-{}", self.worker, self.made)))?;
        self.made += 1;
        let call = Call::prepared(self.orders.clone(), Some(key), body.into());
        Ok(Shot { call, items, lines: LINES })
    }
}

/// One position from each third of `total`, which is at least 3.
fn thirds(total: usize, chance: &mut Chance) -> [usize; LINES] {
    std::array::from_fn(|third| {
        let (first, end) = (third * total / LINES, (third + 1) * total / LINES);
        first + chance.below(end - first)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_orders_items_are_different_and_all_are_reached() {
        for total in [3, 4, 5, 10, 100] {
            let mut chance = Chance::seeded(total as u64);
            let mut seen = vec![false; total];
            for _ in 0..2_000 {
                let [a, b, c] = thirds(total, &mut chance);
                assert!(a < b && b < c, "{a}, {b}, {c} of {total}");
                [a, b, c].iter().for_each(|item| seen[*item] = true);
            }
            assert!(seen.iter().all(|seen| *seen), "some of {total} were never reached");
        }
    }

    #[test]
    fn each_kind_has_the_items_it_needs() {
        assert_eq!(Kind::Hot.items(10_000), 1);
        assert_eq!(Kind::Spread.items(10_000), 10_000);
        assert_eq!(Kind::Orders { hot_line: true }.items(1), 3);
    }
}
