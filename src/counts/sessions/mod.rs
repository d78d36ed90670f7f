//! Sessions: one device's work, from its first claim or batch until what it counted is posted.
//!
//! Verbs: [`open`], [`heartbeat`]; reads: [`read`], [`presence`].
//!
//! What must stay true:
//! - A session belongs to the user that opened it. Its time is over an hour after it was last heard of; nothing has to
//!   happen for that, and nothing is lost by it: it goes on when its device comes back.

pub mod heartbeat;
pub mod model;
pub mod open;
pub mod presence;
pub mod read;
pub(super) mod store;

use std::time::Duration;

use crate::ids;
use crate::text::SessionId;

/// Within what time after a heartbeat a user counts as active.
pub const PRESENT_FOR: Duration = Duration::from_secs(90);
/// After what time in which nothing was heard of it a session's time is over.
pub const LASTS_FOR: Duration = Duration::from_secs(60 * 60);

/// The id of a session that Holdfast opens.
#[must_use]
pub(super) fn fresh_id() -> SessionId {
    // Hexadecimal digits and hyphens fit.
    SessionId::try_from(ids::fresh().to_string()).unwrap_or_else(|_| unreachable!("a UUID is visible ASCII"))
}
