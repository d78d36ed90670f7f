//! Scenarios: many buyers who each do the same kind of thing, and the question whether every unit is accounted for.
//!
//! A scenario is a file that says what one buyer does: [`Checkout`], [`CancelStorm`], [`Mixed`]. All else stands here
//! once. In reading order: [`Scenario`] is what such a file writes; a [`Buyer`] is what it writes it with, its
//! requests are in `requests`; [`Baskets`] says what is bought; [`Arrivals`] when buyers come; [`Clients`] how many at
//! once; the [`Stage`] is what all of them share; [`run()`] puts it together and asks the judge; the report says it.
//!
//! What must stay true:
//! - a request whose outcome is unknown is said again with its key until it is known, whatever the scenario;
//! - a scenario counts nothing: every outcome goes to the judge;
//! - what a buyer does depends on the seed and the buyer's number alone.

mod arrivals;
mod baskets;
mod buyer;
mod cancel_storm;
mod checkout;
mod clients;
mod mixed;
mod report;
mod requests;
mod run;
mod stage;

pub use arrivals::{Arrival, Arrivals};
pub use baskets::Baskets;
pub use buyer::Buyer;
pub use cancel_storm::CancelStorm;
pub use checkout::{Checkout, Pauses};
pub use clients::{Client, Clients};
pub use mixed::{Mixed, Weights};
pub use report::ScenarioReport;
pub use requests::Cancellation;
pub use run::{Settings, run};
pub use stage::Stage;

/// What one buyer does.
pub trait Scenario: 'static {
    /// Its word on the command line and in reports.
    const NAME: &'static str;

    /// One buyer's whole visit; a word for how it ended.
    fn visit(&self, buyer: &mut Buyer) -> impl Future<Output = anyhow::Result<&'static str>>;
}
