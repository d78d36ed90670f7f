//! Calling a script by its hash, and by its text where it is not known yet.
//!
//! The library would load an unknown script into every node of a cluster, and fail for good while a dead one is
//! listed. `EVAL` runs it where it is needed, which also makes it known there.

use redis::aio::ConnectionLike;
use redis::{Cmd, ErrorKind, FromRedisValue, RedisError, ServerErrorKind, ToRedisArgs};

/// A script.
#[derive(Debug)]
pub struct Script {
    text: String,
    hash: String,
}

impl Script {
    /// A script of this text.
    #[must_use]
    pub fn new(text: String) -> Self {
        let hash = redis::Script::new(&text).get_hash().to_owned();
        Self { text, hash }
    }

    /// A call of it, to be given keys and arguments.
    #[must_use]
    pub fn call(&self) -> Call<'_> {
        Call { script: self, keys: Vec::new(), args: Vec::new() }
    }
}

/// A call that is being put together.
#[derive(Debug)]
pub struct Call<'a> {
    script: &'a Script,
    keys: Vec<&'a str>,
    args: Vec<Vec<u8>>,
}

impl<'a> Call<'a> {
    /// Adds a key.
    pub fn key(&mut self, key: &'a str) -> &mut Self {
        self.keys.push(key);
        self
    }

    /// Adds an argument.
    pub fn arg(&mut self, arg: impl ToRedisArgs) -> &mut Self {
        self.args.extend(arg.to_redis_args());
        self
    }

    /// Runs it.
    ///
    /// # Errors
    /// What Redis or the connection says.
    pub async fn run<T: FromRedisValue>(&self, conn: &mut impl ConnectionLike) -> Result<T, RedisError> {
        match self.command("EVALSHA", &self.script.hash).query_async(conn).await {
            Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
                self.command("EVAL", &self.script.text).query_async(conn).await
            }
            answer => answer,
        }
    }

    fn command(&self, name: &str, script: &str) -> Cmd {
        let mut command = redis::cmd(name);
        command.arg(script).arg(self.keys.len()).arg(&self.keys).arg(&self.args);
        command
    }
}
