//! Another program on the same Redis, with the usual client and the published names.

use std::time::Duration;

use redis::AsyncConnectionConfig;
use redis::aio::MultiplexedConnection;
use uuid::Uuid;

/// The library's own patience is half a second, which a busy Redis on a busy machine may need.
const PATIENCE: Duration = Duration::from_secs(10);

/// A connection that knows nothing of Holdfast but its keys' names.
#[derive(Clone)]
pub struct Stranger(MultiplexedConnection);

/// The published name of a variant's lock.
pub fn inventory_lock(variant_id: Uuid) -> String {
    format!("inventory_lock:{variant_id}")
}

/// The published name of an order's lock.
pub fn order_lock(user_id: &str, key: &str) -> String {
    format!("lock:order_creation_{user_id}_{key}")
}

/// Where those stand who wait for `key`.
pub fn line_of(key: &str) -> String {
    format!("holdfast:line:{{{key}}}")
}

impl Stranger {
    pub async fn at(url: &str) -> Self {
        Self::try_at(url).await.unwrap()
    }

    pub async fn try_at(url: &str) -> redis::RedisResult<Self> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(PATIENCE))
            .set_response_timeout(Some(PATIENCE));
        Ok(Self(redis::Client::open(url)?.get_multiplexed_async_connection_with_config(&config).await?))
    }

    /// Any command, as one would type it.
    pub async fn ask<T: redis::FromRedisValue>(&self, words: &[&str]) -> T {
        self.try_ask(words).await.unwrap()
    }

    /// The same where an error is an answer too.
    pub async fn try_ask<T: redis::FromRedisValue>(&self, words: &[&str]) -> redis::RedisResult<T> {
        let mut command = redis::cmd(words[0]);
        command.arg(&words[1..]);
        command.query_async(&mut self.0.clone()).await
    }

    /// The number that follows `name` in a section of INFO; 0 if it is not there.
    pub async fn info(&self, section: &str, name: &str) -> u64 {
        let told: String = self.ask(&["INFO", section]).await;
        let Some((_, rest)) = told.split_once(name) else { return 0 };
        rest.split(|c: char| !c.is_ascii_digit()).next().unwrap().parse().unwrap()
    }

    /// How often it answered with this kind of error.
    pub async fn errors(&self, kind: &str) -> u64 {
        self.info("errorstats", &format!("errorstat_{kind}:count=")).await
    }

    /// `SET key value NX PX ttl`. True if it is ours now.
    pub async fn take(&self, key: &str, value: &str) -> bool {
        let answer: Option<String> = self.ask(&["SET", key, value, "NX", "PX", "60000"]).await;
        answer.is_some()
    }

    pub async fn holder(&self, key: &str) -> Option<String> {
        self.ask(&["GET", key]).await
    }

    pub async fn left_ms(&self, key: &str) -> i64 {
        self.ask(&["PTTL", key]).await
    }

    pub async fn delete(&self, key: &str) {
        let _deleted: i64 = self.ask(&["DEL", key]).await;
    }

    /// Who stands in line for `key` across replicas, first come first.
    pub async fn line(&self, key: &str) -> Vec<String> {
        let entries: Vec<(String, String)> = self.ask(&["HGETALL", &line_of(key)]).await;
        let arrival = |entry: &str| entry.split(' ').next().unwrap().parse::<u64>().unwrap();
        let mut line: Vec<_> = entries.into_iter().map(|(token, entry)| (arrival(&entry), token)).collect();
        line.sort();
        line.into_iter().map(|(_, token)| token).collect()
    }

    /// How many connections hear the wake-ups of the replica whose token this is.
    pub async fn hearers_of(&self, token: &str) -> i64 {
        let channel = format!("holdfast:wake:{}", &token[..32]);
        let (_, hearers): (String, i64) = self.ask(&["PUBSUB", "NUMSUB", &channel]).await;
        hearers
    }

    pub async fn keys(&self, pattern: &str) -> Vec<String> {
        self.ask(&["KEYS", pattern]).await
    }
}
