//! Racks as callers see them.

use std::time::Duration;

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::leases::{Fence, Granted, LeaseName, LeaseTtl};
use crate::text::{Floor, Name, RackId, SessionId};

/// What is known of a rack at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RackState {
    /// Nobody holds it.
    Available,
    /// A session counts it.
    Active,
    /// A session holds it and pauses.
    Paused,
    /// It is counted, and nobody holds it; it may be claimed to be counted again.
    Completed,
}

impl RackState {
    /// The state's name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Available => "available",
            Self::Active => "active",
            Self::Paused => "paused",
            Self::Completed => "completed",
        }
    }
}

/// A rack.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Rack {
    /// Its id.
    pub rack_id: String,
    /// Where it stands.
    pub floor: String,
    /// What people call it.
    pub name: Option<String>,
    /// By the database's clock.
    #[schemars(with = "RackState")]
    pub state: String,
    /// Who holds it.
    pub holder: Option<HeldBy>,
}

impl Rack {
    /// One that was just registered.
    #[must_use]
    pub fn fresh(rack_id: RackId, floor: Floor, name: Option<Name>) -> Self {
        let state = RackState::Available.as_str().to_owned();
        Self {
            rack_id: rack_id.into(),
            floor: floor.into(),
            name: name.map(String::from),
            state,
            holder: None,
        }
    }
}

/// Who holds a rack.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct HeldBy {
    /// The user.
    pub user_id: String,
    /// The user's session.
    pub session_id: String,
    /// The number of the claim.
    pub fence: Fence,
    /// Since when.
    pub claimed_at: DateTime<Utc>,
    /// Until when, unless it is renewed.
    pub expires_at: DateTime<Utc>,
}

/// How many racks of a floor are in which state.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct FloorTally {
    /// The floor.
    pub floor: String,
    /// All its racks.
    pub racks: i64,
    /// Those that nobody holds and nobody has counted.
    pub available: i64,
    /// Those that are counted now.
    pub active: i64,
    /// Those whose count is paused.
    pub paused: i64,
    /// Those that are counted.
    pub completed: i64,
}

/// What a change of a rack's claim came to.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct RackChange {
    /// Always true: a refusal is an error.
    pub success: bool,
    /// The rack.
    pub rack_id: String,
    /// The session that holds it, or held it.
    pub session_id: String,
    /// Where it stands.
    pub floor: String,
    /// What it is now.
    pub state: RackState,
    /// For how many seconds it is held unless it is renewed; 0 if it is held no longer.
    pub lock_ttl: u64,
    /// The number of the claim: what every record counted under it may name.
    pub fence: Fence,
    /// The same in words.
    pub message: String,
    /// What Redis is to show.
    #[serde(skip)]
    pub(super) shadow: Shadow,
}

/// What is done to a claim's shadow after the commit.
#[derive(Debug, Clone)]
pub(super) enum Shadow {
    /// It is cast: the claim was granted or renewed for so long.
    Cast(Granted, LeaseTtl),
    /// It is taken away.
    Faded,
    /// It stays.
    Left,
}

/// A rack whose newest claim is the caller's.
#[derive(Debug, Clone)]
pub(super) struct Held {
    pub(super) lease: LeaseName,
    pub(super) fence: Fence,
    pub(super) floor: String,
    pub(super) ttl_seconds: i32,
    pub(super) is_paused: bool,
    pub(super) is_ended: bool,
    /// For how long it is held yet; nothing if it has lapsed.
    pub(super) left: Duration,
    /// Whether the rack was completed under this claim: the next one begins anew.
    pub(super) is_completed: bool,
}

impl Held {
    /// The answer to a change of it.
    pub(super) fn changed(
        self,
        by: (&RackId, &SessionId),
        state: RackState,
        held_for: Duration,
        message: String,
        shadow: Shadow,
    ) -> RackChange {
        RackChange {
            success: true,
            rack_id: by.0.as_str().to_owned(),
            session_id: by.1.as_str().to_owned(),
            floor: self.floor,
            state,
            lock_ttl: held_for.as_secs(),
            fence: self.fence,
            message,
            shadow,
        }
    }
}

/// A claim's time in seconds, as leases want it.
pub(super) fn lease_ttl(seconds: i32) -> LeaseTtl {
    let seconds = u64::from(seconds.unsigned_abs()).max(1);
    LeaseTtl::try_from(Duration::from_secs(seconds)).unwrap_or(LeaseTtl::SHORTEST)
}
