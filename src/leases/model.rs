//! Names, fences and answers of leases: types that can't be wrong.

use std::fmt;
use std::time::Duration;

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sqlx::postgres::PgDatabaseError;

use crate::db::DbError;
use crate::locks::LockClass;
use crate::locks::keys::is_published;

/// The shortest time that a lease may be claimed for.
pub const TTL_MIN: Duration = Duration::from_secs(1);
/// The longest.
pub const TTL_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// What is leased, by its published name: a rack, a session, a file that is processed.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct LeaseName(String);

/// A name that no lease has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this is not the name of a lease")]
pub struct NotALease;

impl TryFrom<String> for LeaseName {
    type Error = NotALease;

    /// Any published name but those of locks, which are held by sections.
    fn try_from(name: String) -> Result<Self, NotALease> {
        let is_a_locks = name.starts_with("lock:") || name.starts_with("inventory_lock:");
        if is_published(&name) && !is_a_locks { Ok(Self(name)) } else { Err(NotALease) }
    }
}

impl LeaseName {
    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What it is counted as.
    #[must_use]
    pub fn class(&self) -> LockClass {
        LockClass::of_name(&self.0)
    }
}

/// For how long a lease is claimed or renewed: 1 second to 24 hours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeaseTtl(Duration);

/// A time that no lease may last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a lease lasts 1 second to 24 hours")]
pub struct NotATtl;

impl TryFrom<Duration> for LeaseTtl {
    type Error = NotATtl;

    fn try_from(ttl: Duration) -> Result<Self, NotATtl> {
        if (TTL_MIN..=TTL_MAX).contains(&ttl) { Ok(Self(ttl)) } else { Err(NotATtl) }
    }
}

impl LeaseTtl {
    /// The shortest there is.
    pub const SHORTEST: Self = Self(TTL_MIN);

    /// The time.
    #[must_use]
    pub fn duration(self) -> Duration {
        self.0
    }

    /// The time in milliseconds.
    #[must_use]
    pub fn millis(self) -> i64 {
        i64::try_from(self.0.as_millis()).unwrap_or(i64::MAX)
    }
}

/// The number of a claim: of two claims of a name the later one's is higher.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
#[schemars(inline)]
pub struct Fence(pub i64);

impl fmt::Display for Fence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// How a claim ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Ending {
    /// Its owner let go.
    Released,
    /// What was claimed for is done.
    Finished,
    /// It could not be done.
    Failed,
    /// An operator ended it.
    ByHand,
}

impl Ending {
    const ALL: [Self; 4] = [Self::Released, Self::Finished, Self::Failed, Self::ByHand];

    /// Its name in tables.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Released => "released",
            Self::Finished => "finished",
            Self::Failed => "failed",
            Self::ByHand => "by_hand",
        }
    }

    /// The ending of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|ending| ending.as_str() == name)
    }
}

/// A claim that was granted, or one that was renewed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Granted {
    /// What every write under it names.
    pub fence: Fence,
    /// When it lapses unless it is renewed, by the database's clock.
    pub expires_at: DateTime<Utc>,
    /// What Redis shows of it.
    pub(crate) token: String,
    /// Whether the claim before it had lapsed without an end.
    pub(super) took_over: bool,
}

/// Who holds a lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// Its owner.
    pub owner: String,
    /// Its fence.
    pub fence: Fence,
    /// What is left of it.
    pub expires_in: Duration,
}

/// Why a claim can't be renewed, ended or written under.
#[derive(Debug, thiserror::Error)]
pub enum LeaseError {
    /// Somebody else has claimed it since.
    #[error("a newer claim was granted")]
    Superseded {
        /// The fence of the newest claim.
        newest: Fence,
    },
    /// It has ended.
    #[error("the claim has ended")]
    Ended(Ending),
    /// It is another owner's.
    #[error("the claim is another owner's")]
    NotOwner,
    /// No claim of this name has this fence; it may have been purged long after its end.
    #[error("there is no such claim")]
    NotFound,
    /// The database failed.
    #[error("the database failed")]
    Db(#[source] DbError),
}

impl LeaseError {
    /// Whether the claim is lost, whatever became of it.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        !matches!(self, Self::Db(_) | Self::NotOwner)
    }
}

impl From<DbError> for LeaseError {
    /// Knows what the trigger `refuse_old_fence` says.
    fn from(error: DbError) -> Self {
        let said = match &error {
            DbError::Unexpected(sqlx::Error::Database(said)) => said.try_downcast_ref::<PgDatabaseError>(),
            _ => None,
        };
        let detail = said.and_then(PgDatabaseError::detail).unwrap_or_default();
        match said.and_then(PgDatabaseError::constraint) {
            Some("fence_is_the_newest") => {
                detail.parse().ok().map(|newest| Self::Superseded { newest: Fence(newest) })
            }
            Some("fence_has_not_ended") => Ending::named(detail).map(Self::Ended),
            Some("fence_was_issued") => Some(Self::NotFound),
            _ => None,
        }
        .unwrap_or(Self::Db(error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leases_have_published_names_and_never_those_of_locks() {
        for (name, class) in [
            ("rack:lock:R1", LockClass::Rack),
            ("session:lock:S", LockClass::Rack),
            ("user:heartbeat:u", LockClass::Rack),
            ("processing:acc:hash", LockClass::Invoice),
        ] {
            assert_eq!(LeaseName::try_from(name.to_owned()).unwrap().class(), class);
        }
        let long = format!("rack:lock:{}", "x".repeat(503));
        for name in ["", "R1", "lock:x", "lock:invoice_check:a:b", "inventory_lock:7", "rack:lock:\0", &long]
        {
            assert_eq!(LeaseName::try_from(name.to_owned()), Err(NotALease), "{name:?}");
        }
    }

    #[test]
    fn a_ttl_is_bounded_on_both_sides() {
        for (seconds, fits) in [(0, false), (1, true), (86_400, true), (86_401, false)] {
            assert_eq!(LeaseTtl::try_from(Duration::from_secs(seconds)).is_ok(), fits, "{seconds}");
        }
    }
}
