//! What onlookers see of the locks of all replicas.
//!
//! What must stay true: looking costs time that grows with live locks and replicas, never with Redis's keyspace, and
//! changes nothing; no token is shown, only a hash of it; without Redis what this process knows is still told.

use std::collections::HashMap;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use schemars::JsonSchema;
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::claim::replica_of;
use super::fleet::Seen;
use super::layer::Layer;
use super::redis::Fault;
use super::shadow::is_a_leases;
use super::{BreakerState, LockClass, LockMode, Locks, ModeChange};
use crate::clock;

/// How many locks are told one by one.
const LOCKS_TOLD: usize = 1_000;

/// The locks as they are now. The answer of `GET /locks/status`, but for what the database knows.
#[derive(Debug, Serialize, JsonSchema)]
pub struct LockStatus {
    /// Whether Redis is used now.
    pub lock_service_available: bool,
    /// The mode the next lease will have here.
    pub lock_mode: LockMode,
    /// Whether Redis is asked at all, and what made that change.
    pub breaker: BreakerStatus,
    /// When this was looked at.
    pub timestamp: DateTime<Utc>,
    /// How many keys are held, over all replicas.
    pub total_active_locks: usize,
    /// Those of them that are variants'.
    pub inventory_locks: usize,
    /// All others.
    pub custom_locks: usize,
    /// How many requests wait, over all replicas; those of others as of their last beat. One that waits for several
    /// locks counts at each.
    pub waiters: usize,
    /// Each of them, those that most wait for first; at most a thousand.
    pub locks: Vec<LockSeen>,
}

/// The breaker of this process.
#[derive(Debug, Serialize, JsonSchema)]
pub struct BreakerStatus {
    /// Its state; `open` for good where no Redis is configured.
    pub state: BreakerState,
    /// Failures in a row.
    pub failures: u32,
    /// Since when it is open.
    pub opened_at: Option<DateTime<Utc>>,
    /// The last changes of mode, oldest first.
    pub history: Vec<ModeChange>,
}

/// One lock.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "LockHeld")]
pub struct LockSeen {
    /// Its name in Redis.
    pub key: String,
    /// `inventory_lock` or `custom_lock`.
    pub r#type: &'static str,
    /// Its family.
    pub class: LockClass,
    /// A hash of its owner's token; null where it is not known.
    pub owner: Option<String>,
    /// The beginning of the name of the replica that holds it; `lease` for one that outlives
    /// sections, whoever holds it; or `stranger`.
    pub replica: String,
    /// Seconds left, rounded up; null for a lock without an end.
    pub ttl: Option<u64>,
    /// Milliseconds left.
    pub ttl_ms: Option<u64>,
    /// For how many milliseconds it has been held, where the process that was asked holds it: Redis knows when a lock ends, not
    /// when it was taken.
    pub held_ms: Option<u64>,
    /// When it ends, if nobody lets go before or renews it.
    pub expires_at: Option<DateTime<Utc>>,
    /// How many requests wait for it.
    pub waiters: usize,
}

/// What is shown of a token.
#[must_use]
pub fn owner_hash(token: &str) -> String {
    Sha256::digest(token.as_bytes())[..8].iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Locks {
    /// Looks at all locks.
    pub async fn status(&self) -> LockStatus {
        let seen = match self.0.usable_layer() {
            Some(_) => self.look_around().await.ok(),
            None => None,
        };
        let lock_service_available = seen.is_some();
        let mut sight = seen.unwrap_or_else(|| self.look_inside());
        let timestamp = clock::shown_now();
        sight.locks.iter_mut().for_each(|lock| lock.expires_at = end_of(lock.ttl_ms, timestamp));
        sight.locks.sort_by(|one, other| (other.waiters, &one.key).cmp(&(one.waiters, &other.key)));
        let inventory_locks = sight.inventory;
        LockStatus {
            lock_service_available,
            lock_mode: self.mode(),
            breaker: self.breaker_status(),
            timestamp,
            total_active_locks: sight.total,
            inventory_locks,
            custom_locks: sight.total - inventory_locks,
            waiters: sight.waiters,
            locks: sight.locks,
        }
    }

    fn breaker_status(&self) -> BreakerStatus {
        let Some(breaker) = self.breaker() else {
            return BreakerStatus {
                state: BreakerState::Open,
                failures: 0,
                opened_at: None,
                history: Vec::new(),
            };
        };
        let (state, history) = (breaker.state(), breaker.history());
        let opened = history.iter().rev().find(|change| change.mode == LockMode::DatabaseOnly);
        let opened_at = opened.filter(|_| state != BreakerState::Closed).map(|change| change.at);
        BreakerStatus { state, failures: breaker.failures(), opened_at, history }
    }

    /// The locks of all replicas, by Redis's index of them, and whatever anyone waits for.
    async fn look_around(&self) -> Result<Sight, Fault> {
        let Some(layer) = &self.0.layer else { return Err(Fault::Unreachable(Duration::ZERO)) };
        let behind = self.crowds_everywhere().await?;
        let live = layer.redis.live_locks().await?;
        let mut names: Vec<String> = behind.keys().cloned().collect();
        names.sort_unstable_by_key(|name| std::cmp::Reverse(behind[name]));
        names.extend(live.iter().filter(|name| !behind.contains_key(*name)).cloned());
        let is_whole = names.len() <= LOCKS_TOLD;
        names.truncate(LOCKS_TOLD);
        let looked_at = layer.redis.look(&names).await?;

        let waiters_of = |seen: &Seen| seen.takers + behind.get(&seen.name).copied().unwrap_or_default();
        let waiters = looked_at.iter().map(waiters_of).sum();
        let locks: Vec<LockSeen> = looked_at
            .iter()
            .filter(|seen| !seen.holder.is_empty())
            .map(|seen| LockSeen::of(seen, waiters_of(seen), layer.held_for(&seen.holder)))
            .collect();
        if is_whole {
            return Ok(Sight::of(locks, waiters));
        }
        let inventory = live.iter().filter(|name| LockClass::of_name(name) == LockClass::Inventory).count();
        Ok(Sight { total: live.len(), inventory, waiters, locks })
    }

    /// How many wait behind the head of each line, over all replicas: here as of now, elsewhere as of the last beat.
    /// Lines without a crowd count too, for the same reason as [below](Self::waiting_here).
    async fn crowds_everywhere(&self) -> Result<HashMap<String, usize>, Fault> {
        let Some(layer) = &self.0.layer else { return Err(Fault::Unreachable(Duration::ZERO)) };
        let here = self.0.lines.look(LOCKS_TOLD).into_iter();
        let mut behind: HashMap<String, usize> =
            here.map(|line| (line.key.to_string(), line.waiting)).collect();
        for (replica, crowds) in layer.redis.waiting().await? {
            if replica != layer.replica {
                crowds.into_iter().for_each(|(name, count)| *behind.entry(name).or_default() += count);
            }
        }
        Ok(behind)
    }

    /// What others are to know of the lines here, at most `limit` of them: how many wait behind the head, and even if
    /// nobody does, those whose head does not hold the lock. It may wait for a stranger, whose lock no index knows.
    pub(super) fn waiting_here(&self, layer: &Layer, limit: usize) -> Vec<(String, usize)> {
        let (lines, held) = (&self.0.lines, layer.names_held());
        let crowds = lines.crowds(limit).into_iter().map(|(key, waiting)| (key.to_string(), waiting));
        let mut told: HashMap<String, usize> = crowds.collect();
        let alone = lines.look(limit).into_iter().filter(|line| line.is_served && line.waiting == 0);
        let alone = alone.map(|line| line.key.to_string()).filter(|name| !held.contains(name));
        for name in alone.take(limit - told.len()) {
            told.entry(name).or_default();
        }
        told.into_iter().collect()
    }

    /// What this process holds and who waits in it.
    fn look_inside(&self) -> Sight {
        let lines = self.0.lines.look(LOCKS_TOLD);
        let waiters = lines.iter().map(|line| line.waiting).sum();
        let held = lines.into_iter().filter(|line| line.is_served);
        let locks = held.map(|line| {
            let key = line.key.to_string();
            LockSeen { waiters: line.waiting, ..LockSeen::unknown(key) }
        });
        Sight::of(locks.collect(), waiters)
    }
}

/// When a lock with so much left ends; `None` for one that never does, or not before dates end.
fn end_of(ttl_ms: Option<u64>, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    now.checked_add_signed(TimeDelta::try_milliseconds(i64::try_from(ttl_ms?).ok()?)?)
}

/// What was seen.
struct Sight {
    total: usize,
    inventory: usize,
    waiters: usize,
    locks: Vec<LockSeen>,
}

impl Sight {
    fn of(locks: Vec<LockSeen>, waiters: usize) -> Self {
        let inventory = locks.iter().filter(|lock| lock.class == LockClass::Inventory).count();
        Self { total: locks.len(), inventory, waiters, locks }
    }
}

impl LockSeen {
    fn of(seen: &Seen, waiters: usize, held: Option<Duration>) -> Self {
        let millis = |left: Duration| u64::try_from(left.as_millis()).unwrap_or(u64::MAX);
        Self {
            owner: Some(owner_hash(&seen.holder)),
            replica: match replica_of(&seen.holder) {
                Some(replica) => &replica[..8],
                None if is_a_leases(&seen.holder) => "lease",
                None => "stranger",
            }
            .to_owned(),
            ttl: seen.left.map(|left| left.as_secs() + u64::from(left.subsec_nanos() > 0)),
            ttl_ms: seen.left.map(millis),
            held_ms: held.map(millis),
            waiters,
            ..Self::unknown(seen.name.clone())
        }
    }

    /// A lock of this process of which Redis can't be asked.
    fn unknown(key: String) -> Self {
        let class = LockClass::of_name(&key);
        let r#type = if class == LockClass::Inventory { "inventory_lock" } else { "custom_lock" };
        let (owner, ttl, ttl_ms, held_ms, expires_at) = (None, None, None, None, None);
        Self {
            key,
            r#type,
            class,
            owner,
            replica: "here".to_owned(),
            ttl,
            ttl_ms,
            held_ms,
            expires_at,
            waiters: 0,
        }
    }
}
