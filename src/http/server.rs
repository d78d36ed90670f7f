//! The accept loop: HTTP/1.1 with limits on how slow and how many a client may be.
//!
//! What must stay true: a client that sends nothing, or half a header, or takes nothing of what it is sent, is let go at a
//! limit, and so is one that a handler [cuts](Connection::cut), with all that waits for it; and when the service stops,
//! connections end after the answer they are waiting for.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

/// How long a client may take to send a request's header, from connecting or from the answer before.
const HEADER_MAX: Duration = Duration::from_secs(15);
/// How long a client may take nothing of what it was sent, or say that it did: then the system ends the connection.
#[cfg(target_os = "linux")]
const TAKEN_WITHIN: Duration = Duration::from_secs(15);
/// Connections served at once; the next wait in the kernel's queue.
const CONNECTIONS_MAX: usize = 4_096;
/// Pause after an accept that failed for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// The connection that a request came by, among the request's extensions. Clones are the same connection.
#[derive(Debug, Clone, Default)]
pub struct Connection(CancellationToken);

impl Connection {
    /// Ends it at once. What was not sent yet is dropped.
    pub fn cut(&self) {
        self.0.cancel();
    }
}

impl<S: Sync> FromRequestParts<S> for Connection {
    type Rejection = Infallible;

    /// One that nobody has, where the request came by none.
    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(parts.extensions.get().cloned().unwrap_or_default())
    }
}

/// Serves `router` on `listener` until `stopping`, then lets what is under way end.
pub async fn serve(listener: TcpListener, router: Router, stopping: CancellationToken) {
    let graceful = GracefulShutdown::new();
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let accepted = tokio::select! {
            biased;
            () = stopping.cancelled() => break,
            accepted = accept(&listener, &places) => accepted,
        };
        let (stream, place) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let (service, this) = (TowerToHyperService::new(router.clone()), Connection::default());
        let its = this.clone();
        let service = service_fn(move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(its.clone());
            service.call(request)
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEADER_MAX)
            .serve_connection(TokioIo::new(stream), service);
        let connection = graceful.watch(connection);
        tokio::spawn(async move {
            match this.0.run_until_cancelled(connection).await {
                // An error is the client's: it hung up or sent no HTTP.
                Some(Err(error)) => tracing::trace!(%error, "a connection ended early"),
                Some(Ok(())) => {}
                None => tracing::debug!("a connection was cut"),
            }
            drop(place);
        });
    }
    drop(listener);
    graceful.shutdown().await;
}

async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> std::io::Result<(TcpStream, Option<OwnedSemaphorePermit>)> {
    // Never closed, so it always gives a place in the end.
    let place = places.clone().acquire_owned().await.ok();
    let (stream, _) = listener.accept().await?;
    stream.set_nodelay(true)?;
    #[cfg(target_os = "linux")]
    socket2::SockRef::from(&stream).set_tcp_user_timeout(Some(TAKEN_WITHIN))?;
    Ok((stream, place))
}

/// Binds `address`, which may have port 0.
///
/// # Errors
/// If it can't be bound; the error names it.
pub async fn bind(address: &str) -> anyhow::Result<(TcpListener, SocketAddr)> {
    use anyhow::Context;
    let listener = TcpListener::bind(address)
        .await
        .with_context(|| format!("HOLDFAST_LISTEN: can't listen on {address}"))?;
    let bound = listener.local_addr()?;
    Ok((listener, bound))
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_system_ends_a_connection_whose_client_takes_nothing() {
        let (listener, address) = bind("127.0.0.1:0").await.unwrap();
        let _client = TcpStream::connect(address).await.unwrap();
        let (stream, _place) = accept(&listener, &Arc::new(Semaphore::new(1))).await.unwrap();
        assert_eq!(socket2::SockRef::from(&stream).tcp_user_timeout().unwrap(), Some(TAKEN_WITHIN));
    }
}
