//! Locks taken away from their holders: by operators, and by the test endpoints from themselves.
//!
//! What must stay true: a key is deleted only if it still holds the very token that was seen, or still is what no lock
//! is. What its holder still writes is protected by its row lock.

use std::time::Duration;

use super::claim::Claim;
use super::fleet::{NOT_A_LOCK, TestLock};
use super::redis::Fault;
use super::{Lease, Locks};

impl Locks {
    /// The token that `key` holds in Redis, or [`NOT_A_LOCK`].
    ///
    /// # Errors
    /// A [`Fault`] if Redis can't be asked.
    pub async fn holder_of(&self, key: &str) -> Result<Option<String>, Fault> {
        let layer = self.0.usable_layer().ok_or(Fault::Unreachable(Duration::ZERO))?;
        let seen = layer.redis.look(&[key.to_owned()]).await?;
        Ok(seen.into_iter().next().map(|seen| seen.holder).filter(|holder| !holder.is_empty()))
    }

    /// Deletes `key` if it still holds `token`, whoever's that is, and calls the next in line. A key that is no lock at
    /// all, but keeps everybody waiting like one, is deleted if it still is none.
    ///
    /// # Errors
    /// A [`Fault`] if Redis can't be asked; the key may have been deleted all the same.
    pub async fn break_lock(&self, key: &str, token: &str) -> Result<bool, Fault> {
        let redis = &self.0.usable_layer().ok_or(Fault::Unreachable(Duration::ZERO))?.redis;
        // A stranger's token may be that very text.
        let was_held = redis.break_lock(key, token).await?;
        Ok(was_held || (token == NOT_A_LOCK && redis.remove_other_type(key).await?))
    }

    /// Remembers, for all replicas, that `lease` is a test endpoint's. False where Redis can't be told: then only the
    /// replica that holds it can clear it.
    pub async fn note_test_lock(&self, lease: &Lease) -> bool {
        let Some(layer) = self.0.usable_layer() else { return false };
        let locks = test_locks_of(lease);
        for lock in &locks {
            if let Err(fault) = layer.redis.note_test_lock(lock).await {
                tracing::warn!(why = fault.describe(), "other replicas can't be told of a test lock");
                return false;
            }
        }
        !locks.is_empty()
    }

    /// Whether another replica cleared it. False where Redis can't tell.
    pub async fn was_cleared(&self, lease: &Lease) -> bool {
        let (Some(layer), Some(claim)) = (self.0.usable_layer(), lease.claim()) else { return false };
        layer.redis.is_cleared(&claim.token).await.unwrap_or(false)
    }

    /// Forgets that it is a test endpoint's.
    pub async fn forget_test_lock(&self, lease: &Lease) {
        let Some(layer) = self.0.usable_layer() else { return };
        for lock in test_locks_of(lease) {
            if let Err(fault) = layer.redis.forget_test_lock(&lock).await {
                tracing::warn!(
                    why = fault.describe(),
                    "a test lock is remembered although it ended; harmless"
                );
            }
        }
    }

    /// Takes the locks of all replicas' test endpoints away. Answers how many were still held, or `None` if Redis
    /// can't be asked.
    pub async fn break_test_locks(&self) -> Option<usize> {
        let layer = self.0.usable_layer()?;
        let mut broken = 0;
        for lock in layer.redis.test_locks().await.ok()? {
            // Said before: whatever comes of the rest, its holder ends.
            layer.redis.say_cleared(&lock.token).await.ok()?;
            broken += usize::from(layer.redis.break_lock(&lock.name, &lock.token).await.ok()?);
            layer.redis.forget_test_lock(&lock).await.ok()?;
        }
        Some(broken)
    }
}

fn test_locks_of(lease: &Lease) -> Vec<TestLock> {
    let locks = |claim: &Claim| {
        let names = claim.names.iter().cloned();
        names.map(|name| TestLock { token: claim.token.to_string(), name }).collect()
    };
    lease.claim().map(locks).unwrap_or_default()
}
