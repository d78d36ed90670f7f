//! The operator console: its files, and what people see of it in a real browser.
//!
//! What the pages looked like is kept in `target/console/`.

mod counts;
mod files;
mod invoices;
mod outage;
mod silence;
mod tour;
