//! Random commands. They name things by any number, so that a list of them still means something when some are left out:
//! that is how a failing list shrinks.

use proptest::prelude::*;
use proptest::sample::Index;

use super::shop::{Ask, By, Change, Line, Shop, Verb};

/// How many users buy.
pub const USERS: usize = 2;
const UNITS_MAX: i64 = 5;

/// What to ask, once it is known what there is.
#[derive(Debug, Clone)]
pub struct Command {
    what: What,
    which: Index,
    user: usize,
    lines: Vec<(Index, i64)>,
    is_partial: bool,
}

#[derive(Debug, Clone, Copy)]
enum What {
    Create,
    Change(Verb),
    Batch { atomic: bool },
    Place,
    Cancel(By),
    CancelEarly,
    Hold,
    Capture,
    Release,
    Extend,
    Lapse,
    Sweep,
    Repeat,
    Misuse,
}

fn what() -> impl Strategy<Value = What> {
    use What::*;
    prop_oneof![
        1 => Just(Create),
        2 => Just(Change(Verb::Increment)),
        2 => Just(Change(Verb::Decrement)),
        2 => Just(Change(Verb::Adjust)),
        2 => any::<bool>().prop_map(|atomic| Batch { atomic }),
        6 => Just(Place),
        3 => Just(Cancel(By::Call)),
        3 => prop_oneof![Just(By::WebhookById), Just(By::WebhookByKey)].prop_map(Cancel),
        1 => Just(CancelEarly),
        5 => Just(Hold),
        5 => Just(Capture),
        2 => Just(Release),
        1 => Just(Extend),
        2 => Just(Lapse),
        1 => Just(Sweep),
        4 => Just(Repeat),
        1 => Just(Misuse),
    ]
}

pub fn command() -> impl Strategy<Value = Command> {
    let lines = proptest::collection::vec((any::<Index>(), 1..=UNITS_MAX), 1..=3);
    (what(), any::<Index>(), 0..USERS, lines, any::<bool>())
        .prop_map(|(what, which, user, lines, is_partial)| Command { what, which, user, lines, is_partial })
}

impl Command {
    /// What it means in this shop; nothing if there is nothing for it.
    pub fn ask(&self, shop: &Shop) -> Option<Ask> {
        let one_of = |n: usize| (n > 0).then(|| self.which.index(n));
        let user = self.user;
        Some(match self.what {
            What::Create => Ask::Create { on_hand: self.lines[0].1 },
            What::Change(verb) => Ask::Change(self.changes(verb, shop)[0]),
            What::Batch { atomic } => {
                let verbs = [Verb::Decrement, Verb::Adjust, Verb::Increment];
                let change = |place: usize| self.changes(verbs[(place + self.user) % 3], shop)[place];
                Ask::Batch { atomic, changes: (0..self.lines.len()).map(change).collect() }
            }
            What::Place => Ask::Place { user, lines: self.of(shop.variants.len()) },
            What::Cancel(by) => {
                let order = one_of(shop.orders.len())?;
                Ask::Cancel { order, lines: self.some_of(shop.orders[order].lines.len()), by }
            }
            What::CancelEarly => Ask::CancelEarly { user },
            What::Hold => Ask::Hold { user, lines: self.of(shop.variants.len()) },
            What::Capture => {
                let hold = one_of(shop.holds.len())?;
                Ask::Capture { hold, lines: self.some_of(shop.holds[hold].lines.len()) }
            }
            What::Release => Ask::Release { hold: one_of(shop.holds.len())? },
            What::Extend => Ask::Extend { hold: one_of(shop.holds.len())? },
            What::Lapse => {
                let hold = one_of(shop.holds.len())?;
                (shop.holds[hold].state == "held").then_some(Ask::Lapse { hold })?
            }
            What::Sweep => Ask::Sweep,
            What::Repeat => Ask::Repeat { sent: one_of(shop.sent.len())? },
            What::Misuse => Ask::Misuse { sent: one_of(shop.sent.len())? },
        })
    }

    fn of(&self, n: usize) -> Vec<Line> {
        self.lines.iter().map(|(which, units)| (which.index(n), *units)).collect()
    }

    fn some_of(&self, n: usize) -> Option<Vec<Line>> {
        self.is_partial.then(|| self.of(n))
    }

    fn changes(&self, verb: Verb, shop: &Shop) -> Vec<Change> {
        let change = |(variant, units): Line| {
            let on_hand = shop.variants[variant].on_hand;
            match verb {
                // Downwards as often as upwards, and now and then by somebody who is mistaken.
                Verb::Adjust => {
                    let units = if units % 2 == 0 { units } else { -units };
                    let believed = self.is_partial.then_some(on_hand + i64::from(units == -UNITS_MAX));
                    Change { verb, variant, units, believed }
                }
                verb => Change { verb, variant, units, believed: None },
            }
        };
        self.of(shop.variants.len()).into_iter().map(change).collect()
    }
}
