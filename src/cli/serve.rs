//! `holdfast serve`: serves until SIGINT or SIGTERM, then drains.
//!
//! The order of stopping: not ready → no new connections → answers under way → sections and releases still
//! running → background work → pool. A second signal ends it at once.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::{Id, JoinSet};
use tokio_util::sync::CancellationToken;

use crate::app::App;
use crate::config::Config;
use crate::purge::keep_purging;
use crate::{counts, endpoints, events, holds, http};

/// How long stopping waits for what is under way: answers, and sections whose callers are gone.
const DRAIN_MAX: Duration = Duration::from_secs(30);

/// Serves. `on_listening` is told the real address once requests can be made.
///
/// # Errors
/// If the address can't be bound or a URL can't be read. A database or Redis that is away is no error: it
/// may come.
pub async fn run(config: Config, on_listening: impl FnOnce(SocketAddr)) -> anyhow::Result<()> {
    let app = Arc::new(App::new(&config)?);
    let (listener, address) = http::server::bind(&config.listen).await?;
    app.locks.look_once().await;
    if let Ok(Some(policy)) = app.locks.evicts().await {
        tracing::warn!(
            redis.maxmemory_policy = policy,
            "Redis can evict locks: set maxmemory-policy noeviction"
        );
    }
    let mut background = Background::default();
    background.begin("the lock keeper", app.locks.clone().keep(app.stopping.clone()));
    background.begin("the purge", keep_purging(app.clone()));
    background.begin("the relay of events", events::relay::keep(app.clone()));
    background.begin("the publishing of events", events::publish::keep(app.clone()));
    background.begin("the delivery of webhooks", endpoints::deliver::keep(app.clone()));
    background.begin("the notes of lock modes", events::modes::keep(app.clone()));
    background.begin("the expiry of holds", holds::expire::keep(app.clone()));
    background.begin("the telling of lapses", counts::lapses::keep(app.clone()));
    background.begin("the telling of traces", app.clone().tell_traces());
    let stopping = CancellationToken::new();
    let serving = tokio::spawn(http::server::serve(listener, http::router(&app), stopping.clone()));
    let mut signals = StopSignals::listen()?;
    super::show(&format!("listening on http://{address}"));
    on_listening(address);

    // What nobody does any more, another replica must: with this process go its sessions, and the roles that they have.
    let broken = tokio::select! {
        () = signals.next() => None,
        name = background.panicked() => Some(name),
    };
    match broken {
        None => tracing::info!("stopping: finishing what is under way"),
        Some(name) => tracing::error!(task = name, "it panicked: this process stops, to be started anew"),
    }
    app.drain();
    stopping.cancel();
    tokio::select! {
        finished = tokio::time::timeout(DRAIN_MAX, finish(&app, serving)) => {
            if finished.is_err() {
                tracing::error!(requests = app.tasks.len(), "some requests did not end in time");
            }
        }
        () = signals.next() => {
            tracing::warn!(requests = app.tasks.len(), "asked to stop twice: stopping at once");
        }
    }
    app.stopping.cancel();
    let broken = broken.or(background.ended().await);
    app.db.close().await;
    broken.map_or(Ok(()), |name| Err(anyhow::anyhow!("{name} panicked")))
}

/// What goes on besides requests, by name.
#[derive(Default)]
struct Background {
    tasks: JoinSet<()>,
    names: HashMap<Id, &'static str>,
}

impl Background {
    fn begin(&mut self, name: &'static str, work: impl Future<Output = ()> + Send + 'static) {
        let task = self.tasks.spawn(work);
        self.names.insert(task.id(), name);
    }

    /// The first that panics. While none does, this does not end.
    async fn panicked(&mut self) -> &'static str {
        match self.ended().await {
            Some(name) => name,
            None => std::future::pending().await,
        }
    }

    /// Waits until one panics, or all have ended.
    async fn ended(&mut self) -> Option<&'static str> {
        while let Some(ended) = self.tasks.join_next().await {
            if let Err(error) = ended {
                return Some(self.names.get(&error.id()).copied().unwrap_or_default());
            }
        }
        None
    }
}

async fn finish(app: &App, serving: tokio::task::JoinHandle<()>) {
    if let Err(error) = serving.await {
        tracing::error!(%error, "the accept loop panicked");
    }
    app.tasks.close();
    app.tasks.wait().await;
}

/// The signals that ask the service to stop. From when it is made none is lost.
struct StopSignals {
    interrupt: Signal,
    terminate: Signal,
}

impl StopSignals {
    fn listen() -> anyhow::Result<Self> {
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn whoever_panics_is_named_and_whoever_merely_ends_is_not() {
        let mut background = Background::default();
        background.begin("one that has nothing to do", async {});
        background.begin("one that goes on", std::future::pending());
        background.begin("one that breaks", async { panic!("on purpose") });
        assert_eq!(background.panicked().await, "one that breaks");
    }
}
