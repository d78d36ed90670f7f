//! A warehouse that is counted while its shop goes on selling: many devices, some offline, some of whose clocks are wrong,
//! some of which lose their racks; and one question at the end: is in the ledger what is on the shelves, of every item?
//!
//! In reading order: [`plan`] says what lies where, [`shelves`] is what is really there while it is sold from and counted,
//! a [`device`] claims racks, counts by its [`clock`] and sends, [`sales`] are the shop's, [`run()`] puts it together and judges, [`report`]
//! says it.
//!
//! What must stay true:
//! - a unit is taken from its shelf while its sale is under way, and nobody counts the item meanwhile: what is counted is
//!   what the ledger knew at that moment;
//! - what a device says whose clock is wrong and only told about is in doubt for as long as telling it took: an item that was
//!   sold then is counted again;
//! - an item that lies in several racks is not sold between the first and the last of its counts. (The service then takes
//!   what went out from both, for nobody can tell from which shelf it went: less than the truth, and never more.)

mod clock;
mod device;
mod plan;
mod report;
mod run;
mod sales;
mod shelves;

pub use run::run;

use std::time::Duration;

use crate::connection::Target;

/// What is asked for.
#[derive(Debug, Clone)]
pub struct Settings {
    pub targets: Vec<Target>,
    pub bearer: String,
    pub run: String,
    pub devices: usize,
    pub racks: usize,
    /// Items, or parts of them, in each rack.
    pub positions: usize,
    /// Sales at once.
    pub sellers: usize,
    /// How long most devices take to count what is in a position.
    pub pace: Duration,
    /// The longest time for which a device is away from the network between two racks.
    pub gap: Duration,
    pub seed: u64,
}
