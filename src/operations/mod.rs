//! What operators see and do at three in the morning.
//!
//! | file | holds |
//! | --- | --- |
//! | [`lock_status`] | who holds what, who waits, in Redis and in Postgres |
//! | [`release_lock`] | takes a lock away from its holder, with a reason, on the record |
//! | [`metrics`] | `GET /metrics` |
//! | [`process_status`] | `GET /status`: what this process does |
//! | [`pulse`] | what it answered in the last minute |
//! | [`backlog`] | what waits for somebody, in the database |
//!
//! What must stay true: looking changes nothing and never waits for what it looks at: it has a database connection
//! of its own, and whose key was good within the hour is let in when it can't be looked up; and whatever is done by hand is written down in the transaction that does it.

pub mod backlog;
pub mod error;
pub mod lock_status;
pub mod metrics;
pub mod process_status;
pub mod pulse;
pub mod release_lock;
pub mod routes;
pub(crate) mod store;

pub use self::error::OperationsError;
