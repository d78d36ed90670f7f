//! What replicas tell each other through Redis: that they live, who waits in them, and which locks there are.
//!
//! What must stay true: the cost of every look grows with live locks and replicas, never with the keyspace. All keys
//! here share the slot of `{fleet}`; in a cluster the index of locks is written after the locks themselves.

use std::collections::HashMap;
use std::time::Duration;

use futures_util::future::try_join_all;
use redis::{RedisError, Value};

use super::claim::{Claim, fits_a_cluster};
use super::connection::Connection;
use super::redis::{Fault, INDEX, Redis, clock_ms, millis};
use super::script::Script;
use super::timing::{LIVENESS, TEST_LOCK_NOTED};

/// How many locks are looked at in one script.
const LOOK_AT_ONCE: usize = 200;
/// How many scripts look at the same time in a cluster, at one lock each.
const LOOKS_SIDE_BY_SIDE: usize = 16;
/// The locks that test endpoints hold, each a token and a name, by when their notes end.
const TEST_LOCKS: &str = "holdfast:{fleet}:test_locks";
/// All replicas by the end of their liveness.
const REPLICAS: &str = "holdfast:{fleet}:replicas";

/// What scripts call the holder of a key of another type than a lock's: nobody's token, for there is a space in it.
pub const NOT_A_LOCK: &str = "not a lock";

/// A lock as an onlooker sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// The key.
    pub name: String,
    /// The token it holds, or [`NOT_A_LOCK`]; empty if nobody has it.
    pub holder: String,
    /// What is left of its TTL; `None` for a lock without one.
    pub left: Option<Duration>,
    /// How many replicas have a taker in its line.
    pub takers: usize,
}

/// A lock that a test endpoint holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TestLock {
    /// The token of this very hold.
    pub token: String,
    /// The key.
    pub name: String,
}

impl TestLock {
    /// As it is noted. A token has no space in it.
    fn entry(&self) -> String {
        format!("{} {}", self.token, self.name)
    }

    fn of_entry(entry: &str) -> Option<Self> {
        let (token, name) = entry.split_once(' ')?;
        Some(Self { token: token.to_owned(), name: name.to_owned() })
    }
}

impl Redis {
    /// Remembers for [`TEST_LOCK_NOTED`] that test endpoints hold this lock.
    ///
    /// # Errors
    /// A [`Fault`].
    pub async fn note_test_lock(&self, lock: &TestLock) -> Result<(), Fault> {
        self.call(self.budget, async |conn| {
            let until = forget_past(conn, TEST_LOCKS).await?.saturating_add(millis(TEST_LOCK_NOTED));
            redis::cmd("ZADD").arg(TEST_LOCKS).arg(until).arg(lock.entry()).query_async::<Value>(conn).await
        })
        .await
        .map(drop)
    }

    /// Forgets that they hold it.
    ///
    /// # Errors
    /// A [`Fault`].
    pub async fn forget_test_lock(&self, lock: &TestLock) -> Result<(), Fault> {
        let mut call = redis::cmd("ZREM");
        call.arg(TEST_LOCKS).arg(lock.entry());
        self.call(self.budget, async |conn| call.query_async::<Value>(conn).await).await.map(drop)
    }

    /// The locks that test endpoints of all replicas hold. Notes that their replica left when it died are forgotten.
    ///
    /// # Errors
    /// A [`Fault`].
    pub async fn test_locks(&self) -> Result<Vec<TestLock>, Fault> {
        let entries: Vec<String> = self
            .call(self.budget, async |conn| {
                forget_past(conn, TEST_LOCKS).await?;
                redis::cmd("ZRANGE").arg(TEST_LOCKS).arg(0).arg(-1).query_async(conn).await
            })
            .await?;
        Ok(entries.iter().filter_map(|entry| TestLock::of_entry(entry)).collect())
    }

    /// Tells whoever holds it that it was cleared. Said of a token, it can mean no later hold; and it is not said by
    /// the absence of a note, for a Redis that was emptied has none either.
    ///
    /// # Errors
    /// A [`Fault`].
    pub async fn say_cleared(&self, token: &str) -> Result<(), Fault> {
        let mut call = redis::cmd("SET");
        call.arg(cleared(token)).arg(1).arg("PX").arg(millis(TEST_LOCK_NOTED));
        self.call(self.budget, async |conn| call.query_async::<Value>(conn).await).await.map(drop)
    }

    /// Whether somebody said that.
    ///
    /// # Errors
    /// A [`Fault`].
    pub async fn is_cleared(&self, token: &str) -> Result<bool, Fault> {
        self.exists(&cleared(token)).await
    }

    /// Whether a key of this name exists.
    ///
    /// # Errors
    /// A [`Fault`].
    pub async fn exists(&self, name: &str) -> Result<bool, Fault> {
        let mut call = redis::cmd("EXISTS");
        call.arg(name);
        self.call(self.budget, async |conn| call.query_async(conn).await).await
    }

    /// The last beat of `replica`, if it is not too long ago: another one each time it beats.
    ///
    /// # Errors
    /// A [`Fault`].
    pub async fn last_beat(&self, replica: &str) -> Result<Option<String>, Fault> {
        let mut call = redis::cmd("GET");
        call.arg(alive(replica));
        self.call(self.budget, async |conn| call.query_async(conn).await).await
    }

    /// What Redis does when its memory is full.
    ///
    /// # Errors
    /// A [`Fault`].
    pub async fn memory_policy(&self) -> Result<String, Fault> {
        let mut call = redis::cmd("CONFIG");
        call.arg("GET").arg("maxmemory-policy");
        let pair: Vec<String> = self.call(self.budget, async |conn| call.query_async(conn).await).await?;
        pair.into_iter().nth(1).ok_or(Fault::Unreachable(Duration::ZERO))
    }

    /// The version that Redis, or what speaks like it, says it has.
    ///
    /// # Errors
    /// A [`Fault`].
    pub async fn version(&self) -> Result<String, Fault> {
        // `INFO` would need a right that nothing else does.
        let call = redis::cmd("HELLO");
        let mut said: HashMap<String, Value> =
            self.call(self.budget, async |conn| call.query_async(conn).await).await?;
        let version = said.remove("version").and_then(|version| redis::from_redis_value(version).ok());
        version.ok_or(Fault::Unreachable(Duration::ZERO))
    }

    /// Its clock, in seconds since 1970.
    ///
    /// # Errors
    /// A [`Fault`].
    pub async fn time(&self) -> Result<f64, Fault> {
        let call = redis::cmd("TIME");
        let (seconds, micros): (u64, u64) =
            self.call(self.budget, async |conn| call.query_async(conn).await).await?;
        Ok(seconds as f64 + micros as f64 / 1e6)
    }

    /// Says that `replica` lives, for [`LIVENESS`], and how many wait in it for which lock.
    ///
    /// # Errors
    /// A [`Fault`].
    pub async fn beat(&self, replica: &str, waiting: &[(String, usize)]) -> Result<(), Fault> {
        self.call(self.budget, async |conn| self.beat_on(conn, replica, waiting).await).await
    }

    pub(super) async fn beat_on(
        &self,
        conn: &mut Connection,
        replica: &str,
        waiting: &[(String, usize)],
    ) -> Result<(), RedisError> {
        let (alive, waiters) = (alive(replica), waiters_of(replica));
        let mut call = self.scripts.beat.call();
        call.key(&alive).key(REPLICAS).key(&waiters).key(INDEX);
        call.arg(replica).arg(millis(LIVENESS));
        for (name, count) in waiting {
            call.arg(name).arg(*count);
        }
        call.run(conn).await
    }

    /// Tells whoever listens on `channel`.
    ///
    /// # Errors
    /// A [`Fault`].
    pub async fn publish(&self, channel: &str, message: &str) -> Result<(), Fault> {
        let mut call = redis::cmd("PUBLISH");
        call.arg(channel).arg(message);
        self.call(self.budget, async |conn| call.query_async::<Value>(conn).await).await?;
        Ok(())
    }

    /// The names of all live locks, those that end last first.
    ///
    /// # Errors
    /// A [`Fault`].
    pub async fn live_locks(&self) -> Result<Vec<String>, Fault> {
        self.call(self.budget, async |conn| {
            forget_past(conn, INDEX).await?;
            let all = redis::cmd("ZRANGE").arg(INDEX).arg(0).arg(-1).arg("REV").query_async(conn).await;
            // But for the one that only makes the set what it is: see the script that takes.
            all.map(|mut names: Vec<String>| {
                names.retain(|name| !name.starts_with('-'));
                names
            })
        })
        .await
    }

    /// What these locks hold now; those that nobody has or wants are left out.
    ///
    /// # Errors
    /// A [`Fault`].
    pub async fn look(&self, names: &[String]) -> Result<Vec<Seen>, Fault> {
        let at_once = if self.is_cluster() { LOOKS_SIDE_BY_SIDE } else { LOOK_AT_ONCE };
        let fitting = names.iter().filter(|name| !self.is_cluster() || fits_a_cluster(name)).cloned();
        let locks = Claim::of_names(fitting.collect(), "".into());
        let keys: Vec<_> = locks.names.iter().zip(&locks.lines).collect();
        let mut seen = Vec::new();
        for keys in keys.chunks(at_once) {
            let found = self
                .call(self.budget, async |conn| {
                    if !self.is_cluster() {
                        return self.look_on(conn.clone(), keys).await;
                    }
                    // No script there may look at keys of two places.
                    let looks = keys.chunks(1).map(|key| self.look_on(conn.clone(), key));
                    Ok(try_join_all(looks).await?.concat())
                })
                .await?;
            let there = keys.iter().zip(found).filter(|(_, (_, left, takers))| *left != -2 || *takers > 0);
            seen.extend(there.map(|((name, _), (holder, left, takers))| Seen {
                name: (*name).clone(),
                holder,
                left: u64::try_from(left).ok().map(Duration::from_millis),
                takers,
            }));
        }
        Ok(seen)
    }

    async fn look_on(
        &self,
        mut conn: Connection,
        keys: &[(&String, &String)],
    ) -> Result<Vec<(String, i64, usize)>, RedisError> {
        let mut call = self.scripts.look.call();
        for (name, line) in keys {
            call.key(name).key(line);
        }
        call.run(&mut conn).await
    }

    /// Deletes `name` if it is of a type that no lock has, and calls the first in its line. Nobody but an operator does
    /// this: whoever made such a key by mistake may miss what is in it.
    ///
    /// # Errors
    /// A [`Fault`]; the key may have been deleted all the same.
    pub async fn remove_other_type(&self, name: &str) -> Result<bool, Fault> {
        let lock = Claim::of_names(vec![name.to_owned()], "".into());
        let text = concat!(include_str!("scripts/line.lua"), "\n", include_str!("scripts/remove.lua"));
        let script = Script::new(text.to_owned());
        let mut call = script.call();
        call.key(&lock.names[0]).key(&lock.lines[0]);
        self.call(self.budget, async |conn| call.run(conn).await).await
    }

    /// How many requests wait for which lock in each replica that lives.
    ///
    /// # Errors
    /// A [`Fault`].
    pub async fn waiting(&self) -> Result<HashMap<String, HashMap<String, usize>>, Fault> {
        self.call(self.budget, async |conn| {
            let now = clock_ms(conn).await?;
            let mut alive = redis::cmd("ZRANGE");
            alive.arg(REPLICAS).arg(now).arg("+inf").arg("BYSCORE");
            let replicas: Vec<String> = alive.query_async(conn).await?;
            let mut waiting = HashMap::new();
            for replica in replicas {
                let counts = redis::cmd("HGETALL").arg(waiters_of(&replica)).query_async(conn).await?;
                waiting.insert(replica, counts);
            }
            Ok(waiting)
        })
        .await
    }
}

/// Takes out of a set by ends what has ended by now, and tells when that is.
async fn forget_past(conn: &mut Connection, set: &str) -> Result<u64, RedisError> {
    let now = clock_ms(conn).await?;
    redis::cmd("ZREMRANGEBYSCORE").arg(set).arg("-inf").arg(now).query_async::<Value>(conn).await?;
    Ok(now)
}

/// The key that says that a test's lock was cleared.
fn cleared(token: &str) -> String {
    format!("holdfast:{{fleet}}:cleared:{token}")
}

/// The key that says a replica lives.
fn alive(replica: &str) -> String {
    format!("holdfast:{{fleet}}:replica:{replica}")
}

/// How many wait in a replica for which lock.
fn waiters_of(replica: &str) -> String {
    format!("holdfast:{{fleet}}:waiting:{replica}")
}
