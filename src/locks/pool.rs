//! Connections to Redis, as the pool keeps them.

use std::time::Duration;

use redis::RedisError;

use super::connection::Connection;
use super::topology::Topology;

/// Connections a process keeps to Redis. A take or release occupies one for some 100 microseconds.
const POOL_SIZE: u32 = 16;
/// The same to a cluster, where each connection reaches every node.
const CLUSTER_POOL_SIZE: u32 = 4;

/// The pool.
pub type Pool = bb8::Pool<Manager>;

/// The defaults of bb8 would wait 30 s for a connection and send a PING before each use.
#[must_use]
pub fn new_pool(topology: &Topology, budget: Duration) -> Pool {
    bb8::Pool::builder()
        .max_size(if topology.is_cluster() { CLUSTER_POOL_SIZE } else { POOL_SIZE })
        .connection_timeout(budget)
        .retry_connection(false)
        .test_on_check_out(false)
        .build_unchecked(Manager { topology: topology.clone(), budget })
}

/// How connections are made. (bb8-redis's own manager believes every connection to be sound for ever.)
#[derive(Debug)]
pub struct Manager {
    topology: Topology,
    budget: Duration,
}

/// A connection and whether its last call ended well.
#[derive(Debug)]
pub struct Pooled {
    /// The connection.
    pub inner: Connection,
    /// Set while a call runs: one that did not end well is not used again.
    pub broken: bool,
}

impl bb8::ManageConnection for Manager {
    type Connection = Pooled;
    type Error = RedisError;

    async fn connect(&self) -> Result<Pooled, RedisError> {
        Ok(Pooled { inner: self.topology.connect(self.budget).await?, broken: false })
    }

    async fn is_valid(&self, conn: &mut Pooled) -> Result<(), RedisError> {
        redis::cmd("PING").query_async(&mut conn.inner).await
    }

    fn has_broken(&self, conn: &mut Pooled) -> bool {
        conn.broken
    }
}
