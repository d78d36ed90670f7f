//! `holdfast serve`: serves until SIGINT or SIGTERM, then drains.
//!
//! The order of stopping: not ready → no new connections → answers under way → sections and releases still
//! running → background work → pool. A second signal ends it at once.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use tokio::signal::unix::{Signal, SignalKind, signal};
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
    if let Some(policy) = app.locks.evicts().await {
        tracing::warn!(
            redis.maxmemory_policy = policy,
            "Redis can evict locks: set maxmemory-policy noeviction"
        );
    }
    let keeper = tokio::spawn(app.locks.clone().keep(app.stopping.clone()));
    let purging = tokio::spawn(keep_purging(app.clone()));
    let relaying = tokio::spawn(events::relay::keep(app.clone()));
    let publishing = tokio::spawn(events::publish::keep(app.clone()));
    let delivering = tokio::spawn(endpoints::deliver::keep(app.clone()));
    let noting = tokio::spawn(events::modes::keep(app.clone()));
    let expiring = tokio::spawn(holds::expire::keep(app.clone()));
    let lapsing = tokio::spawn(counts::lapses::keep(app.clone()));
    let tracing = tokio::spawn(app.clone().tell_traces());
    let stopping = CancellationToken::new();
    let serving = tokio::spawn(http::server::serve(listener, http::router(&app), stopping.clone()));
    let mut signals = StopSignals::listen()?;
    super::show(&format!("listening on http://{address}"));
    on_listening(address);

    signals.next().await;
    tracing::info!("stopping: finishing what is under way");
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
    keeper.await.context("the lock keeper panicked")?;
    purging.await.context("the purge panicked")?;
    expiring.await.context("the expiry of holds panicked")?;
    lapsing.await.context("the telling of lapses panicked")?;
    relaying.await.context("the relay of events panicked")?;
    publishing.await.context("the publishing of events panicked")?;
    delivering.await.context("the delivery of webhooks panicked")?;
    noting.await.context("the notes of lock modes panicked")?;
    tracing.await.context("the telling of traces panicked")?;
    app.db.close().await;
    Ok(())
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
