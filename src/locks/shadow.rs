//! The shadows of leases: what Redis shows of a claim whose truth is a row in Postgres (see [`crate::leases`]).
//!
//! What must stay true: a shadow is cast only where there is none, or that of an older claim, and deleted only if it is
//! the claim's own or older; a value of another form is a stranger's and left alone. A fault is counted by the breaker
//! and otherwise ignored.

use std::time::Duration;

use redis::{RedisError, Value};

use super::Locks;
use super::claim::Claim;
use super::connection::Connection;
use super::redis::{Fault, INDEX, Redis, millis};

/// What the value of a shadow begins with.
const LEASE: &str = "lease:";

/// In the place of a fence where nothing is claimed. Not 0, which is a place holder's.
const PRESENCE: i64 = 1;

/// What came of casting a shadow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cast {
    /// It is there.
    Done,
    /// The key holds the shadow of a newer claim, or the place holder of another, which stays.
    Kept,
    /// The key holds something else: another program's.
    Stranger,
}

/// The value that shows the claim of `fence`.
#[must_use]
pub fn token_of(fence: i64, random: &str) -> String {
    format!("{LEASE}{fence}:{random}")
}

/// Whether `token` shows the claim of a lease.
#[must_use]
pub fn is_a_leases(token: &str) -> bool {
    let fence = token.strip_prefix(LEASE).and_then(|rest| rest.split_once(':')).map(|(fence, _)| fence);
    fence.is_some_and(|fence| !fence.is_empty() && fence.bytes().all(|byte| byte.is_ascii_digit()))
}

impl Locks {
    /// Shows that `name` is claimed under `fence`; 0 is a place holder's, which overwrites none. `None` if Redis was
    /// not asked or gave no answer.
    pub(crate) async fn cast_shadow(
        &self,
        name: &str,
        fence: i64,
        random: &str,
        ttl: Duration,
    ) -> Option<Cast> {
        let token = token_of(fence, random);
        self.shadow(name, fence, Some((&token, millis(ttl)))).await
    }

    /// Shows no longer that `name` is claimed under `fence`.
    pub(crate) async fn fade_shadow(&self, name: &str, fence: i64) {
        self.shadow(name, fence, None).await;
    }

    /// Shows that somebody is there, or something lives, which is no claim: it has no fence, and whoever shows it again
    /// makes it last.
    pub(crate) async fn show_presence(&self, name: &str, ttl: Duration) {
        self.cast_shadow(name, PRESENCE, &crate::ids::token(), ttl).await;
    }

    async fn shadow(&self, name: &str, fence: i64, cast: Option<(&str, u64)>) -> Option<Cast> {
        let layer = self.0.usable_layer()?;
        match layer.redis.shadow(name, fence, cast).await {
            Ok(cast) => {
                layer.breaker.succeeded();
                Some(cast)
            }
            Err(fault) => {
                layer.count(&fault);
                None
            }
        }
    }
}

impl Redis {
    /// Sets the shadow, or deletes it.
    async fn shadow(&self, name: &str, fence: i64, cast: Option<(&str, u64)>) -> Result<Cast, Fault> {
        self.call(self.budget, async |conn| {
            let (token, ttl) = cast.unwrap_or_default();
            let mut call = self.scripts.shadow.call();
            call.key(name).arg(fence).arg(token).arg(ttl);
            if !self.is_cluster() {
                call.key(INDEX);
            }
            let cast_now = match call.run(conn).await? {
                0_i64 => Cast::Done,
                1 => Cast::Kept,
                _ => Cast::Stranger,
            };
            if self.is_cluster() && cast_now == Cast::Done {
                self.note_shadow(conn, name, cast).await?;
            }
            Ok(cast_now)
        })
        .await
    }

    /// In a cluster the index lives elsewhere than the key.
    async fn note_shadow(
        &self,
        conn: &mut Connection,
        name: &str,
        cast: Option<(&str, u64)>,
    ) -> Result<(), RedisError> {
        let Some((token, ttl)) = cast else {
            return redis::cmd("ZREM").arg(INDEX).arg(name).query_async::<Value>(conn).await.map(drop);
        };
        let shadow = Claim::of_names(vec![name.to_owned()], token.into());
        self.note_in_index(conn, &Claim { ttls_ms: vec![ttl], ..shadow }).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::locks::claim::replica_of;

    #[test]
    fn a_shadow_is_told_from_a_strangers_value_and_from_a_replicas_token() {
        let token = token_of(7, &crate::ids::token());
        assert!(is_a_leases(&token) && replica_of(&token).is_none());
        for stranger in ["", "lease", "lease:", "lease::x", "lease:7", "lease:x:y", "lease:-1:x", "Lease:7:x"]
        {
            assert!(!is_a_leases(stranger), "{stranger}");
        }
    }
}
