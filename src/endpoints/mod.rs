//! Webhook endpoints: other programs' addresses that are told of events.
//!
//! Nouns: an **endpoint** is an address and the types of events it wants; a **delivery** is one event on its way to one
//! endpoint; each time it is sent is an **attempt**. Verbs: [`register`], [`rotate`], [`remove`], [`replay`]; in the
//! background [`fan_out`] writes deliveries, and [`deliver`] sends them. Reads: [`read`].
//!
//! What must stay true:
//! - At least once: an event's deliveries are written before the endpoint's position passes it, in one transaction, and a
//!   delivery is sent until it was taken, or given up for dead, which is seen in its list.
//! - One after the other: of deliveries about the same thing the next is not sent before the last was taken or given up.
//! - The same id and the same bytes with each attempt; the signature is made anew, with the time of the attempt.
//! - Nobody's slowness touches anything else: no row is locked and no connection held while something is sent, an endpoint
//!   has few places of its own, and one that fails again and again is left alone for a while.
//! - However much there is of it, what is sent again or removed holds nobody up: it is done in batches that commit.
//! - Nothing is skipped in silence: what was forgotten before an endpoint was given it is told to it, and shown.
//! - Nothing is sent to an address of a private network unless the operator says so: the address that was checked is the
//!   one that is connected to, and redirects are not followed.

pub mod deliver;
pub mod error;
pub mod fan_out;
mod log;
pub mod metrics;
pub mod model;
pub mod post;
pub mod read;
pub mod register;
pub mod remove;
pub mod replay;
pub mod rotate;
pub mod routes;
pub mod rules;
mod store;
mod turns;

use std::time::Duration;

pub use self::error::EndpointError;
pub(crate) use self::log::{give_up_in_tx, purge_in_tx, purge_removed_in_tx};

/// How long deliveries are kept that were taken, and dead ones from when they were given up; and how long one waits before it is.
pub const KEPT_FOR: Duration = Duration::from_secs(7 * 24 * 60 * 60);
