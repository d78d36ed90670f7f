//! Orders: what a user bought, and what of it was cancelled.
//!
//! Nouns: an **order** has **lines**, each of one variant; a **cancellation** takes back some of a line.
//! Verbs: [`place`], [`cancel`], [`cancel_early`]; reads: [`read`], [`history`], [`look_up_key`].
//!
//! What must stay true:
//! - One order a (user, idempotency key), for ever. Claim, order, lines, movements and stock commit in one
//!   transaction.
//! - All lines or none: a line that can't be had refuses the order.
//! - Each line is sold by exactly one movement, each cancellation returned by exactly one, and no more is
//!   cancelled than was ordered. An order whose cancellation came before it moves no stock at all.
//! - Whoever inserts an order holds the claim of its (user, key) from before it looked for an early cancellation.
//! - Its status goes only where [`states`] says.
//! - Totals are exact (see [`crate::money`]).

pub mod cancel;
pub mod cancel_early;
pub mod error;
pub mod history;
pub mod look_up_key;
pub mod model;
pub mod place;
pub mod read;
pub mod routes;
pub mod rules;
pub mod states;
pub(crate) mod store;

pub use self::error::OrderError;
