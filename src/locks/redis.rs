//! The Redis side of a lease: one script to take, one to release, a pool that is never waited for long.
//!
//! What must stay true: a call ends within its budget, whatever Redis does; a lock is set only by the take
//! script and deleted only by its owner's token; and a call whose outcome is unknown is reported as a
//! [`Fault`], so that the caller can undo what it may have done.

use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use bb8_redis::RedisConnectionManager;
use redis::aio::{MultiplexedConnection, PubSub};
use redis::{Client, RedisError, Script};
use tokio::time::timeout;

/// For how long a beat, or a take, proves that a replica lives.
pub const LIVENESS: Duration = Duration::from_millis(1_600);
/// Connections a process keeps to Redis. A take or release occupies one for some 100 microseconds.
const POOL_SIZE: u32 = 16;

/// Why Redis could not be asked. The answer is always the same: go on without it.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// The budget ran out: Redis is away, hung or slow, or the pool had no connection.
    #[error("no answer from Redis within {0:?}")]
    Timeout(Duration),
    /// No connection could be had.
    #[error("no connection to Redis")]
    Unreachable,
    /// Redis answered with an error, or the connection broke.
    #[error("Redis failed")]
    Failed(#[source] RedisError),
}

/// What a take came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Take {
    /// All keys are ours.
    Held,
    /// None is.
    Busy {
        /// Which key stood in the way.
        index: usize,
        /// What is left of the lock on it, if it has a holder with a TTL.
        left: Option<Duration>,
        /// Our place in line, to be given with the next try.
        ticket: i64,
    },
}

/// The names and token of one lease, as Redis knows them.
#[derive(Debug, Clone)]
pub struct Claim {
    /// The keys' names, sorted as [`super::LockKeys`] are.
    pub names: Vec<String>,
    /// TTL of each key, in milliseconds.
    pub ttls_ms: Vec<u64>,
    /// Proves ownership. Begins with the replica's 32 characters.
    pub token: String,
}

/// One Redis server, and the pool of connections to it.
#[derive(Debug)]
pub struct Redis {
    client: Client,
    pool: RwLock<bb8::Pool<Manager>>,
    budget: Duration,
    take: Script,
    release: Script,
}

impl Redis {
    /// Prepares for the server at `url`; nothing is connected yet.
    ///
    /// # Errors
    /// If the URL is not one of Redis.
    pub fn new(url: &str, budget: Duration) -> Result<Self, RedisError> {
        let client = Client::open(url)?;
        let pool = RwLock::new(new_pool(&client, budget)?);
        let take = Script::new(include_str!("take.lua"));
        let release = Script::new(include_str!("release.lua"));
        Ok(Self { client, pool, budget, take, release })
    }

    /// Tries once to take all of `claim`'s keys. `ticket` is the one an earlier try was given.
    ///
    /// # Errors
    /// A [`Fault`]; the keys may have been taken all the same.
    pub async fn take(
        &self,
        claim: &Claim,
        ticket: Option<i64>,
        linger: Duration,
        budget: Duration,
    ) -> Result<Take, Fault> {
        let mut call = self.take.prepare_invoke();
        call.arg(&claim.token);
        call.arg(ticket.map_or_else(String::new, |ticket| ticket.to_string()));
        call.arg(millis(linger));
        call.arg(millis(LIVENESS));
        claim.ttls_ms.iter().for_each(|ttl| {
            call.arg(*ttl);
        });
        claim.names.iter().for_each(|name| {
            call.key(name);
        });
        let answer: Vec<i64> = self.call(budget, async |conn| call.invoke_async(conn).await).await?;
        Ok(match answer.as_slice() {
            [index, left, ticket] => Take::Busy {
                index: usize::try_from(*index - 1).unwrap_or_default(),
                left: u64::try_from(*left).ok().filter(|left| *left > 0).map(Duration::from_millis),
                ticket: *ticket,
            },
            _ => Take::Held,
        })
    }

    /// Lets go of what `claim` still owns and wakes the next in line. Answers how many keys it owned.
    ///
    /// # Errors
    /// A [`Fault`]; the keys may have been released all the same.
    pub async fn release(&self, claim: &Claim, in_line: bool) -> Result<usize, Fault> {
        let mut call = self.release.prepare_invoke();
        call.arg(&claim.token);
        call.arg(if in_line { "1" } else { "0" });
        claim.names.iter().for_each(|name| {
            call.key(name);
        });
        self.call(self.budget, async |conn| call.invoke_async(conn).await).await
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

    /// What Redis does when its memory is full.
    ///
    /// # Errors
    /// A [`Fault`].
    pub async fn memory_policy(&self) -> Result<String, Fault> {
        let mut call = redis::cmd("CONFIG");
        call.arg("GET").arg("maxmemory-policy");
        let pair: Vec<String> = self.call(self.budget, async |conn| call.query_async(conn).await).await?;
        pair.into_iter().nth(1).ok_or(Fault::Unreachable)
    }

    /// Says that `replica` lives, for [`LIVENESS`].
    ///
    /// # Errors
    /// A [`Fault`].
    pub async fn beat(&self, replica: &str) -> Result<(), Fault> {
        let call = beat(replica);
        self.call(self.budget, async |conn| call.query_async(conn).await).await
    }

    /// Beats for `replica` and reads that back, over connections made anew: a Redis that only reads
    /// answers PING, so PING proves nothing. On success the new connections replace the old ones, which
    /// may be dead without knowing it.
    ///
    /// # Errors
    /// A [`Fault`] if Redis can't be written.
    pub async fn probe(&self, replica: &str) -> Result<(), Fault> {
        let pool = new_pool(&self.client, self.budget).map_err(Fault::Failed)?;
        let write_and_read = async {
            let mut conn = pool.get().await.map_err(|_| Fault::Unreachable)?;
            let conn = &mut conn.inner;
            let () = beat(replica).query_async(conn).await.map_err(Fault::Failed)?;
            let lives: bool =
                redis::cmd("EXISTS").arg(alive(replica)).query_async(conn).await.map_err(Fault::Failed)?;
            if lives { Ok(()) } else { Err(Fault::Unreachable) }
        };
        timeout(self.budget, write_and_read).await.map_err(|_| Fault::Timeout(self.budget))??;
        *self.pool.write().unwrap_or_else(PoisonError::into_inner) = pool;
        Ok(())
    }

    /// A connection that hears the wake-ups meant for `replica`.
    ///
    /// # Errors
    /// A [`Fault`] if Redis can't be reached.
    pub async fn subscribe(&self, replica: &str) -> Result<PubSub, Fault> {
        let subscribing = async {
            let mut pubsub = self.client.get_async_pubsub().await?;
            pubsub.subscribe(format!("holdfast:wake:{replica}")).await?;
            Ok(pubsub)
        };
        timeout(self.budget, subscribing)
            .await
            .map_err(|_| Fault::Timeout(self.budget))?
            .map_err(Fault::Failed)
    }

    /// Runs one call within `budget`, connection included. A connection whose call did not end well is
    /// never used again.
    async fn call<T>(
        &self,
        budget: Duration,
        call: impl AsyncFnOnce(&mut MultiplexedConnection) -> Result<T, RedisError>,
    ) -> Result<T, Fault> {
        let pool = self.pool.read().unwrap_or_else(PoisonError::into_inner).clone();
        let asking = async {
            let mut conn = pool.get().await.map_err(|_| Fault::Unreachable)?;
            conn.broken = true;
            let answer = call(&mut conn.inner).await.map_err(Fault::Failed)?;
            conn.broken = false;
            Ok(answer)
        };
        timeout(budget, asking).await.map_err(|_| Fault::Timeout(budget))?
    }
}

/// The key that says a replica lives.
fn alive(replica: &str) -> String {
    format!("holdfast:replica:{replica}")
}

fn beat(replica: &str) -> redis::Cmd {
    let mut call = redis::cmd("SET");
    call.arg(alive(replica)).arg("1").arg("PX").arg(millis(LIVENESS));
    call
}

/// The defaults of bb8 would wait 30 s for a connection and send a PING before each use.
fn new_pool(client: &Client, budget: Duration) -> Result<bb8::Pool<Manager>, RedisError> {
    let manager =
        Manager { inner: RedisConnectionManager::new(client.get_connection_info().clone())?, budget };
    Ok(bb8::Pool::builder()
        .max_size(POOL_SIZE)
        .connection_timeout(budget)
        .retry_connection(false)
        .test_on_check_out(false)
        .build_unchecked(manager))
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// bb8-redis's manager, but for one thing: it believes every connection to be sound for ever.
#[derive(Debug)]
struct Manager {
    inner: RedisConnectionManager,
    budget: Duration,
}

/// A connection and whether its last call ended well.
#[derive(Debug)]
struct Connection {
    inner: MultiplexedConnection,
    broken: bool,
}

impl bb8::ManageConnection for Manager {
    type Connection = Connection;
    type Error = RedisError;

    async fn connect(&self) -> Result<Connection, RedisError> {
        let mut inner = self.inner.connect().await?;
        // Its own default would cap the budget.
        inner.set_response_timeout(self.budget);
        Ok(Connection { inner, broken: false })
    }

    async fn is_valid(&self, conn: &mut Connection) -> Result<(), RedisError> {
        self.inner.is_valid(&mut conn.inner).await
    }

    fn has_broken(&self, conn: &mut Connection) -> bool {
        conn.broken
    }
}
