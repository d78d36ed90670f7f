//! Judging a run: what was answered against what was sent, and against the service's books.
//!
//! In reading order: the [`Opening`] is the catalogue as it was opened; the [`Judge`] hears every outcome,
//! checks the answer and keeps, item by item, what the answers add up to; [`books`] then asks the service
//! what it has, walks every history ([`Chain`]) and compares; the [`Report`] says it all. Of a scenario, whose holds and
//! orders begin and end in many ways, the [`stories`] are told and judged besides.
//!
//! What must stay true:
//! - a unit is counted where the service answered for it, never where it was merely sent;
//! - a refusal for want of stock is an honest outcome; silence never is: an outcome that stayed unknown
//!   fails the run;
//! - sums are whole numbers and exact decimals; floats hold times only.

mod answers;
mod books;
mod chain;
mod conservation;
mod event;
mod faults;
mod heard;
mod judge;
mod opening;
mod print;
mod repeat;
mod report;
mod stories;

pub use answers::{SentCancel, SentHold, SentMovement, SentOrder};
pub use books::{BooksReport, check_books, check_on_hand};
pub use chain::Chain;
pub use conservation::Tally;
pub use faults::{FaultKind, FaultReport, Faults};
pub use heard::{CallKind, CallReport, Span, Told};
pub use judge::Judge;
pub use opening::{Opening, ShelfItem};
pub use print::{
    listed, print_books, print_calls, print_faults, print_latencies, print_repeats, print_replay, verdict,
};
pub use repeat::{RepeatFigures, RepeatWhen};
pub use report::{PlanFigures, Report};
pub use stories::{By, SentBlow, Stories, read_record};
