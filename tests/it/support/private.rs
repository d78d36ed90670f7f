//! Servers of a test's own, which it may kill, pause and fill.

use std::ops::{Deref, DerefMut};

use holdfast::servers::{Options, Postgres, Redis, TempFolder};

/// A server and its folder, which goes after it.
pub struct Private<S> {
    server: S,
    _folder: TempFolder,
}

impl Private<Redis> {
    pub async fn redis() -> Self {
        Self::redis_as(|options| options).await
    }

    pub async fn redis_on_tcp() -> Self {
        Self::redis_as(Options::on_tcp).await
    }

    /// On a port of 127.0.0.1, with these settings over the usual ones.
    pub async fn redis_with(settings: &[(&str, String)]) -> Self {
        let all = |options: Options| settings.iter().fold(options, |all, (name, value)| all.set(name, value));
        Self::redis_as(|options| all(options.on_tcp())).await
    }

    /// With settings of its own.
    pub async fn redis_as(change: impl FnOnce(Options) -> Options) -> Self {
        let folder = TempFolder::new().unwrap();
        let options = change(Options::throwaway(folder.path().join("redis")));
        Self { server: Redis::start(&options).await.unwrap(), _folder: folder }
    }
}

impl Private<Postgres> {
    /// On a Unix socket.
    pub async fn postgres() -> Self {
        Self::postgres_as(|options| options).await
    }

    pub async fn postgres_on_tcp() -> Self {
        Self::postgres_as(Options::on_tcp).await
    }

    /// On a Unix socket, and on disk before a commit is acknowledged.
    pub async fn durable_postgres() -> Self {
        Self::postgres_as(|options| Options { durable: true, ..options }).await
    }

    /// On a Unix socket, with a further setting.
    pub async fn postgres_with(name: &'static str, value: &'static str) -> Self {
        Self::postgres_as(move |options| options.set(name, value)).await
    }

    async fn postgres_as(change: impl FnOnce(Options) -> Options) -> Self {
        let folder = TempFolder::new().unwrap();
        let options = change(Options::throwaway(folder.path().join("postgres")));
        Self { server: Postgres::start(&options).await.unwrap(), _folder: folder }
    }
}

impl<S> Deref for Private<S> {
    type Target = S;

    fn deref(&self) -> &S {
        &self.server
    }
}

impl<S> DerefMut for Private<S> {
    fn deref_mut(&mut self) -> &mut S {
        &mut self.server
    }
}
