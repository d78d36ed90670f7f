//! Conflicts: records that could not be kept as they were sent, and wait for a person.
//!
//! Verbs: [`resolve`], one by hand or all by a policy; reads: [`list`].
//!
//! What must stay true: a conflict is resolved once, and says by whom, why, and by which policy if by one. What is accepted
//! of a device is written with its session locked, before the session is posted, and keeps serial numbers unique.

pub mod list;
pub mod model;
pub mod resolve;
mod store;
