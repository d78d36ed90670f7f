//! Holdfast: the inventory and order service that never oversells.
//!
//! The map, in reading order. Start with [`locks`], whose head holds the doctrine, then follow one verb:
//! [`inventory::decrement`] → [`section`] → [`inventory::change`] → [`inventory::ledger`] →
//! `inventory::store`.
//!
//! | module | holds |
//! | --- | --- |
//! | [`text`], [`money`] | what callers may say, bounded and exact |
//! | [`json`] | JSON into a plain tree |
//! | [`locks`] | the locking core: a fair queue in front of the row locks |
//! | [`leases`] | claims that outlive a transaction, their fences, processing markers |
//! | [`admission`] | queues that turn away whoever would wait in vain |
//! | [`db`] | Postgres: pool, transactions, what its errors mean |
//! | [`idempotency`] | one effect a key |
//! | [`section`] | the one way in which a guarded write runs |
//! | [`inventory`] | stock: variants, levels, movements |
//! | [`orders`] | placing, cancelling, reading |
//! | [`webhooks`] | cancellations that others send, each carried out once |
//! | [`holds`] | stock kept while the customer pays |
//! | [`invoices`] | invoices of tills, and of suppliers: each in once; processing markers |
//! | [`events`] | what happened, told in an order that everybody can follow |
//! | [`counts`] | counting the warehouse while the shop goes on selling |
//! | [`endpoints`] | other programs that are told of events by webhook |
//! | [`purge`] | forgetting what is kept for a time only |
//! | [`operations`] | what operators see and do: lock status, metrics, emergencies |
//! | [`test_endpoints`] | locks held and stock sold for load tests; off by default |
//! | [`console`] | the page on which operators see all of it |
//! | [`http`] | the shell: everything about HTTP, nothing about business |
//! | [`app`], [`config`], [`telemetry`], [`ids`], [`clock`] | what an operation may touch, settings, logs and traces, identifiers, the time to be shown |
//! | [`cli`] | the commands of the program |
//! | [`servers`] | private Postgres and Redis, for `holdfast dev` and the tests |

pub mod text;

pub mod clock;

pub mod money;

pub mod json;

pub mod locks;

pub mod leases;

pub mod admission;

pub mod db;

pub mod idempotency;

pub mod section;

pub mod inventory;

pub mod orders;

pub mod webhooks;

pub mod holds;

pub mod invoices;

pub mod events;

pub mod endpoints;

pub mod counts;

pub mod purge;

pub mod operations;

pub mod test_endpoints;

pub mod console;

pub mod http;

pub mod app;

pub mod config;

pub mod telemetry;

pub mod ids;

pub mod cli;

pub mod servers;
