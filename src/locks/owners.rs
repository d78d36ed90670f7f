//! Whether the owner of a token that keeps others waiting is still there.
//!
//! What must stay true: a key is taken over only from a replica that was found silent, by deleting the very token that
//! was seen. What that replica still writes, if it was only slow, its row lock protects.
//!
//! A key may hold a token that its own replica knows nothing of: set by a take that arrived long after it was given up,
//! or copied by a failover that missed the release. So whoever waits for long asks the token's replica, which deletes
//! what it does not hold.

use std::collections::HashMap;
use std::sync::{MutexGuard, PoisonError};

use tokio::time::Instant;

use super::claim::{self, Claim};
use super::layer::Layer;
use super::metrics::Class;
use super::redis::{Fault, wake_channel};
use super::timing::{BEAT, BEAT_MISSED_FOR, LIFE_BELIEVED_FOR, LIFE_DOUBTED_FOR, LIVENESS};

/// What a question to a token's replica begins with. A wake-up is a token alone.
pub(super) const ASK: &str = "ask";
/// How many replicas' lives are remembered; beyond it each is asked for again.
const MAX_LIVES: usize = 1_000;

/// What was seen of another replica.
#[derive(Debug, Clone)]
pub(super) struct Life {
    /// Its last beat; none where Redis knows of none.
    beat: Option<String>,
    /// When that was first seen.
    seen_at: Instant,
    looked_at: Instant,
}

impl Life {
    /// Without a beat it may still be alive: a Redis that lost everything hears of it with its next one.
    fn is_on(&self) -> bool {
        let allowed = if self.beat.is_some() { LIVENESS } else { BEAT_MISSED_FOR };
        self.looked_at - self.seen_at < allowed
    }

    /// Whether it is too early to look again.
    fn is_fresh(&self) -> bool {
        let beats = self.beat.is_some() && self.looked_at - self.seen_at < 2 * BEAT;
        self.looked_at.elapsed() < if beats { LIFE_BELIEVED_FOR } else { LIFE_DOUBTED_FOR }
    }
}

impl Layer {
    /// If `holder` is the token of a replica that is found dead, deletes it from all of `claim`'s keys and answers
    /// true: the keys are worth another try. Only that very token is deleted: whoever came meanwhile is left alone,
    /// and a replica that was only slow is protected by its row lock.
    pub(super) async fn bury(&self, holder: &str, claim: &Claim) -> Result<bool, Fault> {
        let Some(replica) = claim::replica_of(holder) else { return Ok(false) };
        if replica == self.replica {
            return self.disown(holder, claim).await;
        }
        if self.seems_alive(replica).await? {
            return Ok(false);
        }
        let mut freed = 0;
        for (class, part) in claim.by_class() {
            let theirs = Claim { token: holder.into(), ..part };
            let keys = self.redis.release(&theirs, &[]).await?;
            self.metrics.takeovers.get_or_create(&Class { class }).inc_by(keys as u64);
            freed += keys;
        }
        tracing::warn!(
            lock.replica = &replica[..8],
            lock.keys = freed,
            lock.first_key = claim.first_in_logs(),
            "took over from a replica that stopped beating; the row lock protects what it may still write"
        );
        // Only what was freed is worth another try at once.
        Ok(freed > 0)
    }

    /// If `token`, one of this replica's, belongs to no section and no request here, deletes it from `claim`'s keys
    /// and answers true.
    pub(super) async fn disown(&self, token: &str, claim: &Claim) -> Result<bool, Fault> {
        let is_ours = claim::replica_of(token) == Some(self.replica.as_str());
        if !is_ours || self.waiters().contains_key(token) || self.is_held(token) {
            return Ok(false);
        }
        let orphan = Claim { token: token.into(), ..claim.clone() };
        let freed = self.redis.release(&orphan, &[]).await?;
        tracing::warn!(
            lock.keys = freed,
            lock.first_key = claim.first_in_logs(),
            "a key held a token of this replica that nobody here owns; it is free now"
        );
        Ok(freed > 0)
    }

    /// Whether `replica` has beaten lately: by its key in Redis, and, should Redis's clock have jumped, by this
    /// process's own.
    async fn seems_alive(&self, replica: &str) -> Result<bool, Fault> {
        let known = self.lives().get(replica).cloned();
        if let Some(life) = known.as_ref().filter(|life| life.is_fresh()) {
            return Ok(life.is_on());
        }
        let (beat, now) = (self.redis.last_beat(replica).await?, Instant::now());
        // A beat that is missed again after a while, in which nobody looked, may have been there in between.
        let still_so =
            |life: &Life| life.beat == beat && (beat.is_some() || life.looked_at.elapsed() < 2 * BEAT);
        let seen_at = known.filter(still_so).map_or(now, |life| life.seen_at);
        let life = Life { beat, seen_at, looked_at: now };
        let lives = life.is_on();
        let mut known = self.lives();
        if known.len() >= MAX_LIVES {
            known.clear();
        }
        known.insert(replica.to_owned(), life);
        Ok(lives)
    }

    /// Asks the replica whose token a key holds whether it does hold it. One that doesn't lets go.
    pub(super) async fn ask_owner(&self, token: &str, name: &str) -> Result<(), Fault> {
        match claim::replica_of(token) {
            Some(replica) => {
                self.redis.publish(&wake_channel(replica), &format!("{ASK} {token} {name}")).await
            }
            None => Ok(()),
        }
    }

    fn lives(&self) -> MutexGuard<'_, HashMap<String, Life>> {
        self.lives.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
