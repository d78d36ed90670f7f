//! Time: when a request was due, and how long it took.

mod latency;
mod pacer;
mod schedule;

pub use latency::{Latency, LatencySummary};
pub use pacer::Pacer;
pub use schedule::{Rate, Schedule};
