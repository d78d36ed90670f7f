//! Orders: what a user bought, and what of it was cancelled.
//!
//! Nouns: an **order** has **lines**, each of one variant; a **cancellation** takes back some of a line.
//! Verbs: [`place`], [`cancel`]; reads: [`read`], [`look_up_key`].
//!
//! What must stay true:
//! - One order a (user, idempotency key), for ever. Claim, order, lines, movements and stock commit in one
//!   transaction.
//! - All lines or none: a line that can't be had refuses the order.
//! - Each line is sold by exactly one movement, each cancellation returned by exactly one, and no more is
//!   cancelled than was ordered.
//! - Its status goes only where [`states`] says.
//! - Totals are exact (see [`crate::money`]).

pub mod cancel;
pub mod error;
pub mod look_up_key;
pub mod model;
pub mod place;
pub mod read;
pub mod routes;
pub mod rules;
pub mod states;
mod store;

pub use self::error::OrderError;
