//! Records: what devices counted, sent in batches.
//!
//! Verbs: [`sync`], [`import`]; read: [`list`]. The rules by which a record is judged are in [`rules`], those
//! of when it was counted in [`times`], and how many batches go at a time in [`turns`].
//!
//! What must stay true: a batch takes a fixed number of statements, whatever is in it. Records are judged in their order,
//! each on what the one before it left. A record is known by its session and the id its device gave it: sent again it
//! changes nothing, sent later by the device's own time it replaces what is there.

pub mod import;
pub mod list;
pub mod model;
pub mod rules;
pub(super) mod store;
pub mod sync;
mod take;
pub mod times;
pub mod turns;
