//! The accept loop: HTTP/1.1 with limits on how slow and how many a client may be.
//!
//! What must stay true: a client that sends nothing, or half a header, or takes nothing of what it is sent, is let go at a
//! limit, and so is one that a handler [cuts](Connection::cut), with all that waits for it; when there are too many, one
//! more is told so and let go, and does not wait without an answer; and when the service stops, connections end after the
//! answer they are waiting for.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use http_body_util::{BodyExt, Limited};
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::problem::{Code, Problem};
use crate::ids;

/// How long a client may take to send a request's header, from connecting or from the answer before.
const HEADER_MAX: Duration = Duration::from_secs(15);
/// How long a client may take nothing of what it was sent, or say that it did: then the system ends the connection.
#[cfg(target_os = "linux")]
const TAKEN_WITHIN: Duration = Duration::from_secs(15);
/// Connections served at once; the next are told that they are too many.
const CONNECTIONS_MAX: usize = 4_096;
/// How many are told so at a time; the next wait in the kernel's queue.
const REFUSED_AT_ONCE: usize = 256;
/// How long one of these has to ask and to hear it, and how much of what it asks is read.
const REFUSED_WITHIN: Duration = Duration::from_secs(2);
const REFUSED_BODY_MAX: usize = 1024 * 1024;
/// When it may come again.
const REFUSED_FOR: Duration = Duration::from_secs(1);
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
    serve_at_most(CONNECTIONS_MAX, listener, router, stopping).await;
}

async fn serve_at_most(most: usize, listener: TcpListener, router: Router, stopping: CancellationToken) {
    let graceful = GracefulShutdown::new();
    let places = Places::new(most);
    loop {
        let accepted = tokio::select! {
            biased;
            () = stopping.cancelled() => break,
            accepted = accept(&listener, &places) => accepted,
        };
        let (stream, place, is_served) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        if !is_served {
            tokio::spawn(async move {
                // Whoever asks too slowly is let go without an answer.
                let _late = timeout(REFUSED_WITHIN, refuse(stream)).await;
                drop(place);
            });
            continue;
        }
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

/// Tells one connection more than are served that it is one too many, whatever it asks.
async fn refuse(stream: TcpStream) {
    let refused = service_fn(|request: Request<Incoming>| async {
        // All of it, for what is left unread when a connection is closed takes the answer with it.
        let _too_long = Limited::new(request.into_body(), REFUSED_BODY_MAX).collect().await;
        let problem = Problem::new(Code::Overloaded, "Too many connections are open. Nothing was done.");
        Ok::<_, Infallible>(problem.retry_after(REFUSED_FOR).respond(&ids::fresh().to_string()))
    });
    let mut builder = http1::Builder::new();
    let connection = builder.keep_alive(false).serve_connection(TokioIo::new(stream), refused);
    if let Err(error) = connection.await {
        tracing::trace!(%error, "a connection too many ended early");
    }
}

/// Room for connections.
struct Places {
    served: Arc<Semaphore>,
    refused: Arc<Semaphore>,
}

impl Places {
    fn new(most: usize) -> Self {
        Self { served: Arc::new(Semaphore::new(most)), refused: Arc::new(Semaphore::new(REFUSED_AT_ONCE)) }
    }
}

/// The next connection, its place, and whether it is one to be served.
async fn accept(
    listener: &TcpListener,
    places: &Places,
) -> std::io::Result<(TcpStream, Option<OwnedSemaphorePermit>, bool)> {
    // Never closed, so it always gives a place in the end.
    let refused = places.refused.clone().acquire_owned().await.ok();
    let (stream, _) = listener.accept().await?;
    stream.set_nodelay(true)?;
    #[cfg(target_os = "linux")]
    socket2::SockRef::from(&stream).set_tcp_user_timeout(Some(TAKEN_WITHIN))?;
    Ok(match places.served.clone().try_acquire_owned() {
        Ok(served) => (stream, Some(served), true),
        Err(_) => (stream, refused, false),
    })
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
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test]
    async fn the_system_ends_a_connection_whose_client_takes_nothing() {
        let (listener, address) = bind("127.0.0.1:0").await.unwrap();
        let _client = TcpStream::connect(address).await.unwrap();
        let (stream, ..) = accept(&listener, &Places::new(1)).await.unwrap();
        assert_eq!(socket2::SockRef::from(&stream).tcp_user_timeout().unwrap(), Some(TAKEN_WITHIN));
    }

    #[tokio::test]
    async fn one_connection_more_than_are_served_is_told_so_and_does_not_wait_without_an_answer() {
        let (listener, address) = bind("127.0.0.1:0").await.unwrap();
        let router = Router::new().fallback(async || "served");
        let stopping = CancellationToken::new();
        let serving = tokio::spawn(serve_at_most(1, listener, router, stopping.clone()));
        let ask = async |mut stream: TcpStream| {
            stream.write_all(b"GET / HTTP/1.1\r\nhost: here\r\nconnection: close\r\n\r\n").await.unwrap();
            let mut told = String::new();
            stream.read_to_string(&mut told).await.unwrap();
            told
        };
        let (first, second) =
            (TcpStream::connect(address).await.unwrap(), TcpStream::connect(address).await.unwrap());
        let refused = ask(second).await;
        assert!(refused.starts_with("HTTP/1.1 503 ") && refused.contains("overloaded"), "{refused}");
        assert!(refused.to_ascii_lowercase().contains("retry-after: "), "{refused}");
        assert!(ask(first).await.ends_with("served"));
        stopping.cancel();
        serving.await.unwrap();
    }
}
