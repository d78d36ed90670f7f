//! Time: when a request was due, and how long it took.

mod latency;
mod median;
mod pacer;
mod schedule;
mod timeline;

pub use latency::{Latency, LatencySummary};
pub use median::Median;
pub use pacer::Pacer;
pub use schedule::{Rate, Schedule};
pub use timeline::{Ending, Moment, Timeline};
