//! The Redis side of a lease: the scripts, and a pool that is never waited for long.
//!
//! What must stay true: a call ends within its budget, whatever Redis does; a lock is set only by the take
//! script and deleted only by its owner's token; and a call whose outcome is unknown is reported as a
//! [`Fault`], so that the caller can undo what it may have done.
//!
//! On one server (Sentinel included) each call is one script over all keys. In a cluster keys live in
//! different slots, so they are taken one by one in lock order, and given back if one can't be had.

use std::ops::Range;
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use bb8::RunError;
use redis::aio::PubSub;
use redis::{RedisError, Value};
use tokio::time::{Instant, timeout};

use super::claim::Claim;
use super::connection::Connection;
pub use super::fault::Fault;
use super::line::Successor;
use super::pool::{Pool, new_pool};
use super::script::Script;
use super::topology::Topology;

/// What a call over many keys may take longer for each of them in a cluster.
const CLUSTER_BUDGET_A_KEY: Duration = Duration::from_millis(1);

/// All live locks by the end of their TTL, in ms of Redis's clock.
pub(super) const INDEX: &str = "holdfast:{fleet}:locks";

/// What a take came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Take {
    /// All keys are ours.
    Held,
    /// None is.
    Busy {
        /// Which key stood in the way.
        index: usize,
        /// What is left of the lock on it, if it has a holder with a TTL.
        left: Option<Duration>,
        /// Whose token it holds; empty if it is only promised to somebody who came earlier.
        holder: String,
    },
}

/// Redis, and the pool of connections to it.
#[derive(Debug)]
pub struct Redis {
    topology: Topology,
    pool: RwLock<Pool>,
    pub(super) budget: Duration,
    linger: Duration,
    pub(super) scripts: Scripts,
}

#[derive(Debug)]
pub(super) struct Scripts {
    take: Script,
    release: Script,
    renew: Script,
    pub(super) beat: Script,
    pub(super) look: Script,
    pub(super) shadow: Script,
}

impl Scripts {
    fn new() -> Self {
        let script = |text| Script::new(format!("{}\n{text}", include_str!("scripts/line.lua")));
        Self {
            take: script(include_str!("scripts/take.lua")),
            release: script(include_str!("scripts/release.lua")),
            renew: script(include_str!("scripts/renew.lua")),
            beat: script(include_str!("scripts/beat.lua")),
            look: script(include_str!("scripts/look.lua")),
            shadow: script(include_str!("scripts/shadow.lua")),
        }
    }
}

impl Redis {
    /// Prepares for the Redis of `topology`; nothing is connected yet. A call may take `budget`, and a waiter
    /// keeps its place for `linger` without asking again.
    #[must_use]
    pub fn new(topology: Topology, budget: Duration, linger: Duration) -> Self {
        let pool = RwLock::new(new_pool(&topology, budget));
        Self { topology, pool, budget, linger, scripts: Scripts::new() }
    }

    /// Whether its keys live in different places.
    #[must_use]
    pub fn is_cluster(&self) -> bool {
        self.topology.is_cluster()
    }

    /// Tries once to take all of `claim`'s keys, for somebody who has waited for `waited` already.
    ///
    /// # Errors
    /// A [`Fault`]; the keys may have been taken all the same.
    pub async fn take(&self, claim: &Claim, waited: Duration, budget: Duration) -> Result<Take, Fault> {
        let all = 0..claim.names.len();
        self.call(self.budget_for(claim, budget), async |conn| {
            if self.is_cluster() {
                self.take_one_by_one(conn, claim, waited).await
            } else {
                self.take_part(conn, claim, all, waited).await
            }
        })
        .await
    }

    async fn take_one_by_one(
        &self,
        conn: &mut Connection,
        claim: &Claim,
        waited: Duration,
    ) -> Result<Take, RedisError> {
        for index in 0..claim.names.len() {
            let take = self.take_part(conn, claim, index..index + 1, waited).await?;
            if take != Take::Held {
                // Its turn at these stays its own: else it would lose one for each that it comes too late for.
                let itself = Successor::itself(claim.token.clone(), waited);
                let itself = vec![Some(itself); index];
                for given_back in 0..index {
                    self.release_part(conn, claim, given_back..given_back + 1, &itself).await?;
                }
                return Ok(take);
            }
        }
        self.note_in_index(conn, claim).await?;
        Ok(Take::Held)
    }

    /// One script over the keys of `part`, which live in one place.
    async fn take_part(
        &self,
        conn: &mut Connection,
        claim: &Claim,
        part: Range<usize>,
        waited: Duration,
    ) -> Result<Take, RedisError> {
        let mut call = self.scripts.take.call();
        call.arg(&*claim.token).arg(micros(waited)).arg(micros(self.linger));
        for index in part.clone() {
            call.key(&claim.names[index]).key(&claim.lines[index]).arg(claim.ttls_ms[index]);
        }
        if !self.is_cluster() {
            call.key(INDEX);
        }
        let answer: Vec<Value> = call.run(conn).await?;
        match answer.as_slice() {
            [Value::Int(0)] => Ok(Take::Held),
            [Value::Int(nth), Value::Int(left), Value::BulkString(holder)] => Ok(Take::Busy {
                index: busy_one(part, *nth).ok_or_else(unexpected)?,
                left: u64::try_from(*left).ok().filter(|left| *left > 0).map(Duration::from_millis),
                holder: String::from_utf8_lossy(holder).into_owned(),
            }),
            _ => Err(unexpected()),
        }
    }

    /// Lets go of what `claim` still owns, leaves its lines, keeps the places of its successors there and calls
    /// the next. Answers how many keys it owned.
    ///
    /// # Errors
    /// A [`Fault`]; the keys may have been released all the same.
    pub async fn release(&self, claim: &Claim, successors: &[Option<Successor>]) -> Result<usize, Fault> {
        self.release_within(claim, successors, self.budget).await
    }

    /// The same within `budget`.
    ///
    /// # Errors
    /// A [`Fault`]; the keys may have been released all the same.
    pub async fn release_within(
        &self,
        claim: &Claim,
        successors: &[Option<Successor>],
        budget: Duration,
    ) -> Result<usize, Fault> {
        self.call(self.budget_for(claim, budget), async |conn| {
            if !self.is_cluster() {
                return self.release_part(conn, claim, 0..claim.names.len(), successors).await;
            }
            let mut owned = Vec::new();
            for (index, name) in claim.names.iter().enumerate() {
                if self.release_part(conn, claim, index..index + 1, successors).await? > 0 {
                    owned.push(name);
                }
            }
            if !owned.is_empty() {
                let mut forget = redis::cmd("ZREM");
                forget.arg(INDEX).arg(&owned);
                forget.query_async::<Value>(conn).await?;
            }
            Ok(owned.len())
        })
        .await
    }

    async fn release_part(
        &self,
        conn: &mut Connection,
        claim: &Claim,
        part: Range<usize>,
        successors: &[Option<Successor>],
    ) -> Result<usize, RedisError> {
        let mut call = self.scripts.release.call();
        call.arg(&*claim.token).arg(micros(self.linger));
        for index in part {
            call.key(&claim.names[index]).key(&claim.lines[index]);
            match successors.get(index).and_then(Option::as_ref) {
                Some(next) => call.arg(&*next.token).arg(micros(next.waited)),
                None => call.arg("").arg(0),
            };
        }
        if !self.is_cluster() {
            call.key(INDEX);
        }
        call.run(conn).await
    }

    /// Gives what `claim` still owns its whole TTL again. Answers how many keys it owned.
    ///
    /// # Errors
    /// A [`Fault`]; the TTLs may have been renewed all the same.
    pub async fn renew(&self, claim: &Claim) -> Result<usize, Fault> {
        let all = 0..claim.names.len();
        self.call(self.budget_for(claim, self.budget), async |conn| {
            if !self.is_cluster() {
                return self.renew_part(conn, claim, all).await;
            }
            let mut owned = 0;
            for index in all {
                owned += self.renew_part(conn, claim, index..index + 1).await?;
            }
            self.note_in_index(conn, claim).await?;
            Ok(owned)
        })
        .await
    }

    async fn renew_part(
        &self,
        conn: &mut Connection,
        claim: &Claim,
        part: Range<usize>,
    ) -> Result<usize, RedisError> {
        let mut call = self.scripts.renew.call();
        call.arg(&*claim.token);
        for index in part {
            call.key(&claim.names[index]).arg(claim.ttls_ms[index]);
        }
        if !self.is_cluster() {
            call.key(INDEX);
        }
        call.run(conn).await
    }

    /// In a cluster the index lives elsewhere than the locks, so it is written after them.
    pub(super) async fn note_in_index(&self, conn: &mut Connection, claim: &Claim) -> Result<(), RedisError> {
        if claim.names.is_empty() {
            return Ok(());
        }
        let now = clock_ms(conn).await?;
        let mut note = redis::cmd("ZADD");
        note.arg(INDEX);
        for (name, ttl) in claim.names.iter().zip(&claim.ttls_ms) {
            note.arg(now.saturating_add(*ttl)).arg(name);
        }
        note.query_async::<Value>(conn).await.map(drop)
    }

    /// Deletes `name` if it still holds `token`, whoever's that is, and calls the next in line.
    ///
    /// # Errors
    /// A [`Fault`]; the key may have been deleted all the same.
    pub async fn break_lock(&self, name: &str, token: &str) -> Result<bool, Fault> {
        let claim = Claim::of_names(vec![name.to_owned()], token.into());
        self.release(&claim, &[]).await.map(|owned| owned > 0)
    }

    /// Beats for `replica`, then takes and releases a lock of its own, over connections made anew: a Redis that
    /// only reads answers PING, and one that refuses scripts answers SET. On success the new connections replace
    /// the old ones, which may be dead without knowing it.
    ///
    /// # Errors
    /// A [`Fault`] if Redis can't be used.
    pub async fn probe(&self, replica: &str) -> Result<(), Fault> {
        let pool = new_pool(&self.topology, self.budget);
        let claim = Claim::of_names(vec![format!("holdfast:probe:{replica}")], replica.into());
        over(&pool, self.budget, async |_| Ok(())).await?;
        over(&pool, self.budget, async |conn| self.beat_on(conn, replica, &[]).await).await?;
        // These two within what they may cost a request: where that is not enough, Redis is no use to it.
        over(&pool, self.budget, async |conn| {
            self.take_part(conn, &claim, 0..1, Duration::ZERO).await?;
            match self.release_part(conn, &claim, 0..1, &[]).await? {
                1 => Ok(()),
                _ => Err(unexpected()),
            }
        })
        .await?;
        *self.pool.write().unwrap_or_else(PoisonError::into_inner) = pool;
        Ok(())
    }

    /// A connection that hears the wake-ups meant for `replica`.
    ///
    /// # Errors
    /// A [`Fault`] if Redis can't be reached.
    pub async fn subscribe(&self, replica: &str) -> Result<PubSub, Fault> {
        let channel = wake_channel(replica);
        timeout(self.budget, self.topology.subscribe(&channel, self.budget))
            .await
            .map_err(|_| Fault::Timeout(self.budget))?
            .map_err(Fault::Failed)
    }

    fn budget_for(&self, claim: &Claim, budget: Duration) -> Duration {
        let keys = u32::try_from(claim.names.len()).unwrap_or(u32::MAX);
        if self.is_cluster() { budget + CLUSTER_BUDGET_A_KEY * keys } else { budget }
    }

    pub(super) async fn call<T>(
        &self,
        budget: Duration,
        call: impl AsyncFnOnce(&mut Connection) -> Result<T, RedisError>,
    ) -> Result<T, Fault> {
        let pool = self.pool.read().unwrap_or_else(PoisonError::into_inner).clone();
        over(&pool, budget, call).await
    }
}

/// Runs one call within `budget`, connection included. A connection whose call did not end well is never used
/// again.
async fn over<T>(
    pool: &Pool,
    budget: Duration,
    call: impl AsyncFnOnce(&mut Connection) -> Result<T, RedisError>,
) -> Result<T, Fault> {
    let started = Instant::now();
    let asking = async {
        let mut conn = pool.get().await.map_err(|error| match error {
            RunError::User(error) => Fault::Failed(error),
            RunError::TimedOut => Fault::Unreachable(started.elapsed()),
        })?;
        conn.broken = true;
        let answer = call(&mut conn.inner).await.map_err(Fault::Failed)?;
        conn.broken = false;
        Ok(answer)
    };
    match timeout(budget, asking).await {
        Err(_) => Err(Fault::Timeout(started.elapsed())),
        // The connection's own limit, which may be the first to be seen.
        Ok(Err(Fault::Failed(error))) if error.is_timeout() => Err(Fault::Timeout(started.elapsed())),
        Ok(answer) => answer,
    }
}

/// Where a replica hears that its waiters come next, and what others ask of it.
pub(super) fn wake_channel(replica: &str) -> String {
    format!("holdfast:wake:{replica}")
}

/// Redis's own clock, in ms.
pub(super) async fn clock_ms(conn: &mut Connection) -> Result<u64, RedisError> {
    let (seconds, micros): (u64, u64) = redis::cmd("TIME").query_async(conn).await?;
    Ok(seconds.saturating_mul(1_000).saturating_add(micros / 1_000))
}

/// Which of the keys that were asked for is busy, by its number among them from 1. A Redis that answers nonsense may say any.
fn busy_one(mut part: Range<usize>, nth: i64) -> Option<usize> {
    part.nth(usize::try_from(nth.checked_sub(1)?).ok()?)
}

fn unexpected() -> RedisError {
    RedisError::from((redis::ErrorKind::UnexpectedReturnType, "a script answered what it can't"))
}

pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_busy_key_is_one_of_those_that_were_asked_for() {
        assert_eq!([1, 2].map(|nth| busy_one(3..5, nth)), [Some(3), Some(4)]);
        for nonsense in [0, -1, 3, i64::MIN, i64::MAX] {
            assert_eq!(busy_one(3..5, nonsense), None);
        }
    }
}
