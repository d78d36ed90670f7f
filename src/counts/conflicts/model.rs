//! Conflicts as callers see them.

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

/// A conflict.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[schemars(rename = "CountConflict")]
pub struct Kept {
    /// Its id.
    pub conflict_id: Uuid,
    /// The session that counted it.
    pub session_id: String,
    /// The device's own id of the record.
    pub client_record_id: String,
    /// Whose session that is.
    pub user_id: String,
    /// Why.
    #[schemars(with = "crate::counts::records::model::ConflictType")]
    pub conflict_type: String,
    /// Why, in words.
    pub message: String,
    /// What it is up against.
    pub details: Value,
    /// The record as it was sent.
    pub local: Value,
    /// The version that was there.
    pub server: Option<Value>,
    /// When its device changed it last.
    pub updated_at: DateTime<Utc>,
    /// When it counts as counted, if it can be.
    pub counted_at: Option<DateTime<Utc>>,
    /// When it came.
    pub detected_at: DateTime<Utc>,
    /// How it was resolved.
    #[schemars(with = "Option<Resolution>")]
    pub resolution: Option<String>,
    /// What was written instead.
    pub merged: Option<Value>,
    /// By whom.
    pub resolved_by: Option<String>,
    /// By which policy.
    #[schemars(with = "Option<Policy>")]
    pub policy: Option<String>,
    /// Why.
    pub reason: Option<String>,
    /// When.
    pub resolved_at: Option<DateTime<Utc>>,
}

/// How a conflict is resolved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Resolution {
    /// What is there stays.
    AcceptServer,
    /// The record is kept as it was sent.
    AcceptLocal,
    /// Something of both is kept.
    Merge,
    /// It does not matter.
    Ignore,
}

impl Resolution {
    /// Its name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AcceptServer => "accept_server",
            Self::AcceptLocal => "accept_local",
            Self::Merge => "merge",
            Self::Ignore => "ignore",
        }
    }
}

/// A rule that resolves many.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "ResolutionPolicy")]
pub enum Policy {
    /// What is there stays.
    ServerWins,
    /// What was sent is kept.
    LocalWins,
    /// The later by the devices' own time; where nothing is there, what was sent.
    NewestWins,
}

impl Policy {
    /// Its name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ServerWins => "server_wins",
            Self::LocalWins => "local_wins",
            Self::NewestWins => "newest_wins",
        }
    }

    /// What it does with a conflict over a version of `there`.
    #[must_use]
    pub fn resolution(self, sent: DateTime<Utc>, there: Option<DateTime<Utc>>) -> Resolution {
        match self {
            Self::ServerWins => Resolution::AcceptServer,
            Self::LocalWins => Resolution::AcceptLocal,
            Self::NewestWins if there.is_none_or(|there| sent > there) => Resolution::AcceptLocal,
            Self::NewestWins => Resolution::AcceptServer,
        }
    }
}
