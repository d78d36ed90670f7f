//! What the service has written down of the orders and holds of a run, and how their movements add up.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

use uuid::Uuid;

use crate::connection::{Caller, spread_over};
use crate::progress::Progress;
use crate::service::{HoldAnswer, Movement, MovementKind, OrderAnswer, of_user};

/// All of it.
#[derive(Debug, Default)]
pub struct Record {
    pub orders: HashMap<Uuid, OrderAnswer>,
    pub holds: HashMap<Uuid, HoldAnswer>,
    /// By what the movements refer to: the id of an order, or the key of a change.
    pub moves: HashMap<String, Moves>,
}

/// What the movements of one order or change add up to, by item.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Moves {
    pub sold: BTreeMap<usize, i64>,
    pub returned: BTreeMap<usize, i64>,
}

impl Moves {
    /// Those of a single change.
    pub fn of_change(item: usize, delta: i64) -> Self {
        let units = BTreeMap::from([(item, delta.abs())]);
        if delta < 0 {
            Self { sold: units, ..Self::default() }
        } else {
            Self { returned: units, ..Self::default() }
        }
    }
}

impl Record {
    /// Takes in some of an item's movements, but for its opening stock.
    pub fn note(&mut self, item: usize, movements: &[Movement]) {
        for movement in movements {
            let place = |moves: &mut Moves| match movement.kind {
                MovementKind::Sale => *moves.sold.entry(item).or_default() -= movement.delta,
                _ => *moves.returned.entry(item).or_default() += movement.delta,
            };
            if movement.version > 1 {
                place(self.moves.entry(movement.reference.clone().unwrap_or_default()).or_default());
            }
        }
    }
}

/// Reads all orders and holds of these users.
pub async fn read_record(callers: Vec<Caller>, users: Vec<String>) -> anyhow::Result<Record> {
    let (record, total) = (Rc::new(RefCell::new(Record::default())), users.len());
    let progress = Progress::start("reading every buyer's orders and holds", total);
    let found = Rc::clone(&record);
    spread_over(callers, total, async move |caller, position| {
        let user = &users[position];
        let orders: Vec<OrderAnswer> = of_user(caller, "/api/v1/orders", user, position).await?;
        let holds: Vec<HoldAnswer> = of_user(caller, "/api/v1/holds", user, position).await?;
        let mut found = found.borrow_mut();
        found.orders.extend(orders.into_iter().map(|order| (order.order_id, order)));
        found.holds.extend(holds.into_iter().map(|hold| (hold.hold_id, hold)));
        progress.step();
        Ok(())
    })
    .await?;
    Ok(record.take())
}
