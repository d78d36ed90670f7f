//! The words of counting as types: none of them can hold what the domain does not know.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::leases::LeaseName;
use crate::text::{Floor, RackId, SessionId};

impl RackId {
    /// The lease by which it is held.
    #[must_use]
    pub fn lease(&self) -> Option<LeaseName> {
        LeaseName::try_from(format!("rack:lock:{}", self.as_str())).ok()
    }
}

/// For how long a rack is claimed, and renewed each time: 1 to 3,600 seconds, 60 unless said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "i64")]
#[schemars(inline, extend("minimum" = 1, "maximum" = 3_600, "default" = 60))]
pub struct ClaimTtl(i32);

impl ClaimTtl {
    /// The seconds.
    #[must_use]
    pub fn seconds(self) -> i32 {
        self.0
    }
}

impl Default for ClaimTtl {
    fn default() -> Self {
        Self(60)
    }
}

impl TryFrom<i64> for ClaimTtl {
    type Error = &'static str;

    fn try_from(seconds: i64) -> Result<Self, Self::Error> {
        let fits = i32::try_from(seconds).ok().filter(|seconds| (1..=3_600).contains(seconds));
        fits.map(Self).ok_or("must be a whole number from 1 to 3600")
    }
}

/// Who asks for something of a rack: the session that holds it.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BySession {
    /// The session.
    pub session_id: Option<SessionId>,
}

/// A floor to look at, or all of them.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OnFloor {
    /// The floor.
    pub floor: Option<Floor>,
}
