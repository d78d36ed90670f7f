//! Holdfast: the inventory and order service that never oversells.
//!
//! The map, in reading order. Start with [`locks`], whose head holds the doctrine, then follow one verb:
//! [`inventory::decrement`] → [`inventory::change`] → [`inventory::ledger`] → `inventory::store`.

/// What an operation may touch.
pub mod app;
/// The commands of the program.
pub mod cli;
/// Settings from the environment.
pub mod config;
/// Postgres: pool, transactions, errors.
pub mod db;
/// HTTP, and nothing of the business.
pub mod http;
/// One effect a key.
pub mod idempotency;
/// Identifiers and secrets.
pub mod ids;
/// Stock: variants, levels, movements.
pub mod inventory;
/// The locking core: a fair queue in front of the row locks.
pub mod locks;
/// Prices and currencies, exact.
pub mod money;
/// Orders: placing, cancelling, reading.
pub mod orders;
/// Private Postgres and Redis servers, for `holdfast dev` and the tests.
pub mod servers;
/// Logs.
pub mod telemetry;
/// The words callers may send, bounded.
pub mod text;
