//! The database and the Redis that a program is to use: those of the environment, else private ones.
//!
//! What must stay true: what the environment names is used as it is, neither started nor stopped here.

use std::{
    env,
    path::{Path, PathBuf},
};

use anyhow::Result;

use super::{Options, Postgres, Redis, find, folder, say};

/// A database and, if there is one, a Redis.
#[derive(Debug)]
pub struct Pair {
    postgres: Option<Postgres>,
    redis: Option<Redis>,
    folder: PathBuf,
    database_url: String,
    redis_url: Option<String>,
}

impl Pair {
    /// Uses `DATABASE_URL` and `REDIS_URL`, and starts in `folder` what they leave open. Where no Redis can be found
    /// it goes on without and says so.
    ///
    /// # Errors
    /// When no database can be had, or a server does not start.
    pub async fn start(folder: &Path, durable: bool) -> Result<Self> {
        folder::open_to_servers(folder)?;
        let options = |name| Options { durable, ..Options::throwaway(folder.join(name)) };
        let named = (named_by("DATABASE_URL"), named_by("REDIS_URL"));
        let (for_postgres, for_redis) = (options("postgres"), options("redis"));
        let (postgres, redis) = tokio::try_join!(
            start_postgres(named.0.as_deref(), &for_postgres),
            start_redis(named.1.as_deref(), &for_redis)
        )?;
        let database_url = named.0.or_else(|| postgres.as_ref().map(Postgres::url)).unwrap_or_default();
        let redis_url = named.1.or_else(|| redis.as_ref().map(Redis::url));
        Ok(Self { postgres, redis, folder: folder.to_owned(), database_url, redis_url })
    }

    /// The value for `DATABASE_URL`.
    #[must_use]
    pub fn database_url(&self) -> &str {
        &self.database_url
    }

    /// The value for `REDIS_URL`; `None` means to go without.
    #[must_use]
    pub fn redis_url(&self) -> Option<&str> {
        self.redis_url.as_deref()
    }

    /// The folder of the database that was started here.
    #[must_use]
    pub fn private_database(&self) -> Option<&Path> {
        self.postgres.as_ref().map(|_| self.folder.as_path())
    }

    /// The folder of the Redis that was started here.
    #[must_use]
    pub fn private_redis(&self) -> Option<&Path> {
        self.redis.as_ref().map(|_| self.folder.as_path())
    }

    /// Stops what was started here.
    ///
    /// # Errors
    /// When a server does not stop.
    pub async fn stop(&mut self) -> Result<()> {
        let redis = match &mut self.redis {
            Some(redis) => redis.stop().await,
            None => Ok(()),
        };
        let postgres = match &mut self.postgres {
            Some(postgres) => postgres.stop().await,
            None => Ok(()),
        };
        redis.and(postgres)
    }
}

async fn start_postgres(named: Option<&str>, options: &Options) -> Result<Option<Postgres>> {
    match named {
        Some(_) => Ok(None),
        None => Ok(Some(Postgres::start(options).await?)),
    }
}

async fn start_redis(named: Option<&str>, options: &Options) -> Result<Option<Redis>> {
    if named.is_some() {
        return Ok(None);
    }
    if let Err(reason @ (find::NotFound::Missing { .. } | find::NotFound::TooOld { .. })) = find::redis() {
        say(&format!("{reason}"));
        say("going on without Redis: locks are held in the database only");
        return Ok(None);
    }
    Ok(Some(Redis::start(options).await?))
}

/// The value of a variable; an empty one counts as not set.
fn named_by(variable: &str) -> Option<String> {
    env::var(variable).ok().filter(|value| !value.is_empty())
}
