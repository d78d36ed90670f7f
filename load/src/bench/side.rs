//! One side of a run: some replicas and the items that were opened through them, with all that was answered for them.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use rust_decimal::Decimal;

use super::{Catalogue, Record};
use crate::connection::{Caller, Target};
use crate::service::{NewVariant, create};
use crate::verdict::{BooksReport, Opening, Tally, check_on_hand};

/// Replicas, their items, and what was answered.
#[derive(Debug)]
pub struct Side {
    pub targets: Vec<Target>,
    pub bearer: String,
    pub catalogue: Rc<Catalogue>,
    pub tallies: Rc<RefCell<Vec<Tally>>>,
    pub record: Rc<RefCell<Record>>,
    /// What its curves and lines are called beside the other side's.
    pub prefix: &'static str,
    opening: Rc<Opening>,
    drives: Cell<u64>,
}

/// Deep enough that no benchmark sells out.
const OPENING_STOCK: i64 = 1_000_000_000;
/// More callers than this only queue up while the catalogue is opened and read.
const MOST_CALLERS: usize = 32;

impl Side {
    /// Opens so many items.
    pub async fn open(
        targets: &[Target],
        bearer: &str,
        run: &str,
        (items, seed): (usize, u64),
        (prefix, record): (&'static str, &Rc<RefCell<Record>>),
    ) -> anyhow::Result<Self> {
        let variant = |position: usize| NewVariant {
            sku: format!("{run}-{position}"),
            name: format!("Item {position} of {run}"),
            price: Decimal::new(250, 2),
            on_hand: OPENING_STOCK,
        };
        let variants: Rc<Vec<_>> = Rc::new((0..items).map(variant).collect());
        let crew = Caller::crew(targets, bearer, MOST_CALLERS)?;
        let opening = Opening::of(create(crew, Rc::clone(&variants), run).await?, &variants);
        let tallies = opening.items().iter().map(|item| Tally::opened_with(item.on_hand)).collect();
        Ok(Self {
            targets: targets.to_vec(),
            bearer: bearer.to_owned(),
            catalogue: Rc::new(Catalogue::new(run, seed, &opening)?),
            tallies: Rc::new(RefCell::new(tallies)),
            record: Rc::clone(record),
            prefix,
            opening: opening.into(),
            drives: Cell::default(),
        })
    }

    /// The number of the next drive, so that no two of them use the same keys.
    pub fn next_drive(&self) -> u64 {
        self.drives.replace(self.drives.get() + 1)
    }

    /// Holds what was answered against the service's books.
    pub async fn books(&self) -> anyhow::Result<BooksReport> {
        let crew = Caller::crew(&self.targets, &self.bearer, MOST_CALLERS)?;
        let auditor = Caller::new(&self.targets, &self.bearer)?;
        let tallies = self.tallies.borrow().clone();
        check_on_hand(crew, auditor, Rc::clone(&self.opening), tallies).await
    }

    /// The units that answered requests took, and those of requests that broke or failed.
    pub fn units(&self) -> (i64, i64) {
        let tallies = self.tallies.borrow();
        (
            -tallies.iter().map(|tally| tally.answered).sum::<i64>(),
            tallies.iter().map(|tally| tally.doubted_out).sum(),
        )
    }
}
