//! Sending a shop's history through a running service: from a plan to outcomes.
//!
//! In reading order: [`Lanes`] says which invoice may go next; [`match_returns`] finds the orders a return
//! belongs to; a [`Worker`] sends one invoice after the other; [`Repeats`] says which requests are sent
//! twice; [`run()`] puts it together and asks the judge.
//!
//! What must stay true:
//! - of one customer's invoices only one is under way at a time, in the order of the file, so a return
//!   meets its orders answered;
//! - nothing is counted here: every outcome goes to the judge, and the judge alone adds up.

mod lanes;
mod repeats;
mod returns;
mod run;
mod worker;

pub use lanes::Lanes;
pub use repeats::{Late, Repeats};
pub use returns::{Cancel, PlacedOrder, match_returns};
pub use run::{Settings, run};
pub use worker::{Shared, Worker};
