//! Sessions as callers see them.

use chrono::{DateTime, Utc};
use serde::Serialize;

/// A session.
#[derive(Debug, Clone, Serialize)]
pub struct Session {
    /// Its id.
    pub session_id: String,
    /// Whose it is.
    pub user_id: String,
    /// `open`, `lapsed`, `posting` or `posted`, by the database's clock.
    pub state: String,
    /// Whether its counter is not to see what is expected.
    pub blind: bool,
    /// The rack it claimed last.
    pub rack_id: Option<String>,
    /// Since when.
    pub opened_at: DateTime<Utc>,
    /// When it was last heard of.
    pub last_heartbeat_at: DateTime<Utc>,
    /// When it was posted.
    pub posted_at: Option<DateTime<Utc>>,
}

/// Somebody who is active.
#[derive(Debug, Clone, Serialize)]
pub struct Present {
    /// The user.
    pub user_id: String,
    /// One of the user's sessions.
    pub session_id: String,
    /// The rack it claimed last.
    pub rack_id: Option<String>,
    /// When it was last heard of.
    pub last_heartbeat_at: DateTime<Utc>,
}
