//! Why Redis could not be asked.

use std::time::Duration;

use redis::RedisError;

/// Why Redis could not be asked. The answer is always the same: go on without it.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// The budget ran out: Redis is away, hung or slow, or the pool had no connection.
    #[error("no answer from Redis within {0:?}")]
    Timeout(Duration),
    /// No connection could be had for so long: nothing was sent.
    #[error("no connection to Redis")]
    Unreachable(Duration),
    /// Redis answered with an error, or the connection broke.
    #[error("Redis failed")]
    Failed(#[source] RedisError),
}

impl Fault {
    /// How long it took to be seen: an error is an answer, and comes as fast as one.
    #[must_use]
    pub fn took(&self) -> Duration {
        match self {
            Self::Timeout(took) | Self::Unreachable(took) => *took,
            Self::Failed(_) => Duration::ZERO,
        }
    }

    /// The fault and its causes in one line.
    #[must_use]
    pub fn describe(&self) -> String {
        match std::error::Error::source(self) {
            Some(cause) => format!("{self}: {cause}"),
            None => self.to_string(),
        }
    }
}
