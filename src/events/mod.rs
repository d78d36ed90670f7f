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

mod beginning;
pub mod choice;
pub mod error;
pub mod fences;
pub mod frames;
pub mod metrics;
pub mod model;
pub mod modes;
pub mod places;
pub mod publish;
pub mod relay;
pub mod routes;
mod store;
pub mod stream;

use std::time::Duration;

use tokio::sync::Semaphore;

pub(crate) use self::beginning::where_to_begin;
pub use self::error::EventError;
pub use self::model::{About, Event, EventKind, NewEvent};
pub use self::store::{append_all_in_tx, append_in_tx};
pub(crate) use self::store::{find_horizon, purge_in_tx, read_between};

use crate::locks::timing::STATEMENT_TIMEOUT;

/// How long events are kept, for whoever comes back to go on from where it was.
pub const KEPT_FOR: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// What bounds the relay and the streams.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// How long the database may take to answer what goes on in the background: longer than its own limits would let it. So a
    /// network that has fallen silent, of which the server's limits know nothing, is noticed.
    pub look_max: Duration,
    /// The same for several statements in a row: to read a page of events, or to take or write down deliveries.
    pub page_max: Duration,
    /// Between two signs of life.
    pub heartbeat: Duration,
    /// How long a reader may take nothing.
    pub stalled_max: Duration,
    /// How many bytes may wait for readers: see [`frames`].
    pub held_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            look_max: STATEMENT_TIMEOUT + Duration::from_secs(5),
            page_max: 4 * STATEMENT_TIMEOUT + Duration::from_secs(5),
            heartbeat: Duration::from_secs(15),
            stalled_max: Duration::from_secs(10),
            held_max: 64 * 1024 * 1024,
        }
    }
}

/// Turns for those that read the database because they come from far behind.
#[must_use]
pub fn turns() -> Semaphore {
    Semaphore::new(stream::CATCHING_UP_MAX)
}
