//! The one look at this host's own clock.
//!
//! What must stay true: no decision rests on it. Two instances never agree on the time, so expiry, order and age come
//! from the database's clock, from Redis's, or from a monotonic one. This is for people who read what happened when.

use chrono::{DateTime, Utc};

/// Now, to be shown.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "shown to people; nothing is decided by it")]
pub fn shown_now() -> DateTime<Utc> {
    std::time::SystemTime::now().into()
}
