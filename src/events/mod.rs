//! Events: what happened, told once to whoever listens, in an order that everybody can follow.
//!
//! Nouns: an **event** is a committed fact of a [kind](EventKind), [about](About) something; its **position** is its
//! place among all of them, and the cursor of whoever reads. Movements and placed orders are events themselves: their
//! rows have positions, and nothing is written twice. All else is written beside what it tells of, by
//! [`append_in_tx`] in the same transaction:
//!
//! ```text
//! events::append_in_tx(conn, EventKind::RackClaimed, About::Rack(rack_id), &claim).await?;
//! ```
//!
//! What must stay true:
//! - An event is there if, and only if, what it tells of was committed: both are one transaction.
//! - A position is drawn under the locks that the fact was decided under, so of two facts of which one waited for the
//!   other the later one has the higher position. A variant's movements stand in the order of their versions.
//! - Nothing is read beyond a position below which somebody may still write: a transaction that lasts makes the stream
//!   wait, and is never skipped.

pub mod model;
mod store;

pub use self::model::{About, EventKind, NewEvent};
pub use self::store::{append_all_in_tx, append_in_tx};
