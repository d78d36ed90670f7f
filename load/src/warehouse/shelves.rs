//! What is really there, while it is sold from and counted.

use std::cell::{Cell, RefCell};

use tokio::sync::{Mutex, MutexGuard};
use tokio::time::Instant;
use uuid::Uuid;

use super::plan::Position;
use crate::chance::Chance;

/// Below so many units an item is not sold: none is to run out.
const LEFT_ALONE: i64 = 8;

/// An item.
#[derive(Debug)]
pub struct Item {
    pub variant_id: Uuid,
    pub sku: String,
    /// Its racks, and the position in each.
    places: Vec<(usize, usize)>,
    /// Held while a unit is sold, and while it is counted.
    busy: Mutex<()>,
    /// What the ledger says.
    booked: Cell<i64>,
    /// Whether somebody has begun to count it.
    begun: Cell<bool>,
    /// In how many of its racks it is counted for good.
    counted: Cell<usize>,
    /// When its sales began.
    sold: RefCell<Vec<Instant>>,
}

impl Item {
    pub fn new(variant_id: Uuid, sku: String, booked: i64) -> Self {
        Self {
            variant_id,
            sku,
            places: Vec::new(),
            busy: Mutex::new(()),
            booked: Cell::new(booked),
            begun: Cell::new(false),
            counted: Cell::new(0),
            sold: RefCell::default(),
        }
    }

    /// Whether units of it lie in two racks, which are counted one after the other.
    pub fn is_in_two_racks(&self) -> bool {
        self.places.len() > 1
    }

    /// Whether a sale of it began in that time.
    pub fn is_sold_between(&self, from: Instant, to: Instant) -> bool {
        self.sold.borrow().iter().any(|at| (from..=to).contains(at))
    }

    /// Waits until nobody sells it or counts it.
    pub async fn alone(&self) -> MutexGuard<'_, ()> {
        self.busy.lock().await
    }
}

/// All racks and all items.
#[derive(Debug)]
pub struct Shelves {
    racks: RefCell<Vec<Vec<Position>>>,
    pub items: Vec<Item>,
}

impl Shelves {
    pub fn new(racks: Vec<Vec<Position>>, mut items: Vec<Item>) -> Self {
        for (rack, there) in racks.iter().enumerate() {
            for (place, position) in there.iter().enumerate() {
                items[position.item].places.push((rack, place));
            }
        }
        Self { racks: RefCell::new(racks), items }
    }

    /// The items of a rack, by their positions.
    pub fn in_rack(&self, rack: usize) -> Vec<usize> {
        self.racks.borrow()[rack].iter().map(|position| position.item).collect()
    }

    /// What a counter sees: units, and damaged ones among them. The item is alone.
    pub fn look(&self, rack: usize, place: usize, is_for_good: bool) -> (i64, i64) {
        let racks = self.racks.borrow();
        let position = &racks[rack][place];
        let item = &self.items[position.item];
        item.begun.set(true);
        item.counted.set(item.counted.get() + usize::from(is_for_good));
        (position.units, position.damaged)
    }

    /// Units of an item that can be sold.
    pub fn there(&self, item: usize) -> i64 {
        let racks = self.racks.borrow();
        self.items[item].places.iter().map(|(rack, place)| sound(&racks[*rack][*place])).sum()
    }

    /// An item to sell a unit of, if it is not being counted and is not to be left alone.
    pub fn for_sale(&self, chance: &mut Chance) -> Option<(usize, MutexGuard<'_, ()>)> {
        let number = chance.below(self.items.len());
        let item = &self.items[number];
        let guard = item.busy.try_lock().ok()?;
        let is_whole =
            !item.is_in_two_racks() || !item.begun.get() || item.counted.get() == item.places.len();
        let is_enough = self.there(number).min(item.booked.get()) > LEFT_ALONE;
        if !(is_whole && is_enough) {
            return None;
        }
        item.sold.borrow_mut().push(Instant::now());
        Some((number, guard))
    }

    /// Takes a unit that was sold from one of the item's shelves.
    pub fn take(&self, item: usize, chance: &mut Chance) {
        let one = &self.items[item];
        one.booked.set(one.booked.get() - 1);
        let mut racks = self.racks.borrow_mut();
        let full = |(rack, place): &&(usize, usize)| sound(&racks[*rack][*place]) > 0;
        let full: Vec<_> = one.places.iter().filter(full).copied().collect();
        if !full.is_empty() {
            let (rack, place) = full[chance.below(full.len())];
            racks[rack][place].units -= 1;
        }
    }
}

fn sound(position: &Position) -> i64 {
    position.units - position.damaged
}
