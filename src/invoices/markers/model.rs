//! The words of processing markers as types.

use std::time::Duration;

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::leases::marker::{Marker, Percent};
use crate::leases::{Fence, LeaseTtl};
use crate::text::{AccountId, FileHash};

/// What the name of a marker begins with.
const PREFIX: &str = "processing:";

/// For how long a worker may be silent: 1 second to 24 hours, 300 seconds unless said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(try_from = "i64")]
#[schemars(inline, extend("minimum" = 1, "maximum" = 86_400, "default" = TTL_SECONDS))]
pub struct MarkerTtl(#[schemars(with = "i64")] LeaseTtl);

impl MarkerTtl {
    /// As leases have it.
    #[must_use]
    pub fn get(self) -> LeaseTtl {
        self.0
    }
}

impl TryFrom<i64> for MarkerTtl {
    type Error = &'static str;

    fn try_from(seconds: i64) -> Result<Self, Self::Error> {
        let ttl = u64::try_from(seconds)
            .ok()
            .and_then(|seconds| LeaseTtl::try_from(Duration::from_secs(seconds)).ok());
        ttl.map(Self).ok_or("must be a whole number from 1 to 86400")
    }
}

/// The seconds of a marker whose worker says nothing else.
pub const TTL_SECONDS: i64 = 300;

/// How far the work is: 0 to 100.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(try_from = "i64")]
#[schemars(inline, extend("minimum" = 0, "maximum" = 100))]
pub struct Progress(#[schemars(with = "i64")] Percent);

impl Progress {
    /// As markers have it.
    #[must_use]
    pub fn get(self) -> Percent {
        self.0
    }
}

impl TryFrom<i64> for Progress {
    type Error = &'static str;

    fn try_from(percent: i64) -> Result<Self, Self::Error> {
        let percent = u8::try_from(percent).ok().and_then(|percent| Percent::try_from(percent).ok());
        percent.map(Self).ok_or("must be a whole number from 0 to 100")
    }
}

/// A marker by its name, as [`Started`] tells it.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(try_from = "String")]
#[schemars(inline, extend("minLength" = 14, "pattern" = "^processing:[!-~]+:[!-9;-~]+$"))]
pub struct MarkerName(#[schemars(with = "String")] Marker);

impl MarkerName {
    /// The marker.
    #[must_use]
    pub fn get(&self) -> &Marker {
        &self.0
    }
}

impl TryFrom<String> for MarkerName {
    type Error = &'static str;

    fn try_from(name: String) -> Result<Self, Self::Error> {
        let parts = name.strip_prefix(PREFIX).and_then(|rest| rest.rsplit_once(':'));
        let marker = parts.and_then(|(account, hash)| Marker::of(account, hash).ok());
        marker.map(Self).ok_or("must be the marker that the start of the work told")
    }
}

/// Which file.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OfFile {
    /// Whose.
    pub account_id: AccountId,
    /// Its hash.
    pub file_hash: FileHash,
}

impl OfFile {
    /// Its marker. None that could not be: both parts are read as a marker's are.
    #[must_use]
    pub fn marker(&self) -> Option<Marker> {
        Marker::of(self.account_id.as_str(), self.file_hash.as_str()).ok()
    }
}

/// Work that began.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[schemars(rename = "MarkerStarted")]
pub struct Started {
    /// The marker's name, and its key in Redis.
    pub marker: String,
    /// What its worker names in all it does.
    pub fence: Fence,
    /// Until when it counts without a beat.
    pub expires_at: DateTime<Utc>,
}

/// Work that is under way.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[schemars(rename = "MarkerRunning")]
pub struct Running {
    /// The marker's name.
    pub marker: String,
    /// Who is at it.
    pub owner: String,
    /// Under which fence.
    pub fence: Fence,
    /// Since when.
    pub since: DateTime<Utc>,
    /// For how many seconds it counts without a beat.
    pub expires_in: f64,
    /// How far it is, in percent, if it said so.
    pub progress: Option<u8>,
}

/// What became of a marker.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[schemars(rename = "MarkerEnded")]
pub struct Ended {
    /// The marker's name.
    pub marker: String,
    /// Its fence.
    pub fence: Fence,
    /// `finished`, `failed` or `released`.
    pub ending: &'static str,
}
