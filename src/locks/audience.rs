//! Messages to whoever listens on Redis, and whether anybody does.

use std::collections::BTreeMap;

use futures_util::future::try_join_all;
use redis::{RedisError, Value};

use super::redis::{Fault, Redis};

/// What `ROLE`, `PUBSUB NUMPAT`, `PUBSUB NUMSUB` and `PUBSUB CHANNELS` answer.
type Answer = (Vec<Value>, i64, (String, i64), Vec<String>);

/// How many messages go in one call.
const AT_ONCE: usize = 500;

/// Where somebody may listen.
#[derive(Debug, Clone, Copy)]
pub struct Channels {
    /// A channel.
    pub one: &'static str,
    /// What the names of the others are like, as a pattern of Redis.
    pub others: &'static str,
}

impl Redis {
    /// Whether somebody may hear what is published on one of these channels. Of those who listen by patterns it is not
    /// known to what, and servers that follow this one, or are its like in a cluster, have listeners of their own: where
    /// there are such, somebody may.
    ///
    /// # Errors
    /// A [`Fault`]; also if this may not be asked.
    pub async fn may_be_heard(&self, channels: Channels) -> Result<bool, Fault> {
        if self.is_cluster() {
            return Ok(true);
        }
        let mut ask = redis::pipe();
        ask.cmd("ROLE").cmd("PUBSUB").arg("NUMPAT").cmd("PUBSUB").arg("NUMSUB").arg(channels.one);
        ask.cmd("PUBSUB").arg("CHANNELS").arg(channels.others);
        let (role, patterns, (_, hearers), others) =
            self.call(self.budget, async |conn| ask.query_async::<Answer>(conn).await).await?;
        let has_followers = !matches!(role.get(2), Some(Value::Array(followers)) if followers.is_empty());
        Ok(has_followers || patterns > 0 || hearers > 0 || !others.is_empty())
    }

    /// Publishes messages, each on its channel: in few calls, but in a cluster, which routes each by itself.
    ///
    /// # Errors
    /// A [`Fault`]; some may have been published all the same.
    pub async fn publish_all(&self, messages: &[(String, String)]) -> Result<(), Fault> {
        for messages in messages.chunks(AT_ONCE) {
            if self.is_cluster() {
                self.publish_side_by_side(messages).await?;
                continue;
            }
            let mut all = redis::pipe();
            for (channel, message) in messages {
                all.cmd("PUBLISH").arg(channel).arg(message).ignore();
            }
            self.call(self.budget, async |conn| all.query_async::<()>(conn).await).await?;
        }
        Ok(())
    }

    /// Those of one channel one after the other.
    async fn publish_side_by_side(&self, messages: &[(String, String)]) -> Result<(), Fault> {
        let mut by_channel = BTreeMap::<&str, Vec<&str>>::new();
        for (channel, message) in messages {
            by_channel.entry(channel).or_default().push(message);
        }
        self.call(self.budget, async |conn| {
            let publishing = by_channel.iter().map(|(channel, messages)| {
                let mut conn = conn.clone();
                async move {
                    for message in messages {
                        let mut call = redis::cmd("PUBLISH");
                        call.arg(*channel).arg(*message).query_async::<Value>(&mut conn).await?;
                    }
                    Ok::<_, RedisError>(())
                }
            });
            try_join_all(publishing).await.map(drop)
        })
        .await
    }
}
