//! A shop's history as a file: from CSV rows to what is to be done, in the order of the file.
//!
//! In reading order: a [`Row`] is one line of the file; [`classify()`] says what it is; [`Dirt`] counts what
//! was odd about it; a [`Plan`] is the catalogue the rows need and the work they ask for.
//!
//! What must stay true: nothing here talks to a service, and every row either becomes part of the plan or
//! is counted as skipped, so the report's figures add up to the file.

mod catalogue;
mod classify;
mod dirt;
mod file;
mod naming;
mod plan;

pub use catalogue::Item;
pub use classify::{Entry, Skip, classify};
pub use dirt::Dirt;
pub use file::{Row, read};
pub use naming::Naming;
pub use plan::{Correction, Invoice, Plan, ReturnRow, SaleLine, Work};
