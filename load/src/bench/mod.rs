//! The benchmarks: requests of known kinds as fast as they are answered, or at a given rate.
//!
//! In reading order: a [`Workload`] makes requests; a [`Plan`] says which streams of them run beside and after each other;
//! [`drive()`] sends one phase of it to a [`Side`]; [`Limit`] runs the same transaction on the bare database;
//! [`mod@compare`] turns rounds into ratios; [`run()`] puts it together and checks that the units add up.
//!
//! What must stay true:
//! - every request that was answered with success is counted against the stock, warm-up included;
//! - a figure covers the measured window and nothing else; in an open loop a request's latency begins when
//!   it was due, and a request that was due and never sent is counted too;
//! - whatever breaks in the middle shows in the figures and loses none.

mod compare;
mod drive;
mod events;
mod figures;
mod limit;
mod memory;
mod onlookers;
mod plan;
mod record;
mod redis_trip;
mod report;
mod run;
mod side;
mod stop;
mod workload;
mod zipf;

pub use drive::drive;
pub use events::Events;
pub use figures::WindowReport;
pub use limit::{Limit, LimitClients, find};
pub use memory::Memory;
pub use onlookers::beside_onlookers;
pub use plan::{Event, Phase, Plan, Stream};
pub use record::Record;
pub use redis_trip::redis_trip_ms;
pub use report::{BenchReport, Beside, PartReport, PhaseReport, Round, StreamReport, rounded};
pub use run::{Settings, TwinSettings, run};
pub use side::Side;
pub use stop::Stop;
pub use workload::{Catalogue, Kind, Shot, Workload};
pub use zipf::Zipf;
