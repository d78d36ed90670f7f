//! The integration tests, in one binary: `support`, then a folder for each folder of `src`, and `scenarios`, which lets
//! the load generator loose on all of it.
//!
//! They need Postgres and Redis, which `make test` starts for them and hands over as `DATABASE_URL` and
//! `REDIS_URL`. Each test has a database of its own and ends by checking that its books agree; tests of
//! faults start servers of their own, which nobody else is hurt by. With `HOLDFAST_CAMPAIGN=long` those that
//! break things again and again do a lot more of it; `--nocapture` shows what they measured.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that can not go on ends")]

mod support;

mod console;
mod counts;
mod endpoints;
mod events;
mod faults;
mod holds;
mod http;
mod inventory;
mod invoices;
mod leases;
mod locks;
mod model;
mod operations;
mod orders;
mod races;
mod scenarios;
mod section;
mod test_endpoints;
mod webhooks;
