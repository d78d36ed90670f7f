//! The benchmarks: one kind of request as fast as it is answered, or at a given rate.
//!
//! In reading order: a [`Workload`] makes requests; [`drive()`] sends them for a while; [`Limit`] runs the
//! same transaction on the bare database; [`run()`] puts it together and checks that the units add up.
//!
//! What must stay true:
//! - every request that was answered with success is counted against the stock, warm-up included;
//! - a figure covers the measured window and nothing else; in an open loop a request's latency begins when
//!   it was due, and a request that was due and never sent is counted too.

mod drive;
mod figures;
mod limit;
mod run;
mod workload;

pub use drive::drive;
pub use figures::{Figures, WindowReport};
pub use limit::{Limit, LimitReport};
pub use run::{Settings, run};
pub use workload::{Kind, Shot, Workload};
