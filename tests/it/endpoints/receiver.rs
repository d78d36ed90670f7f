//! A program that is told: it keeps what it was sent, and answers as the test says.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use http_body_util::{BodyExt, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{HeaderMap, Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

use crate::support::Certificate;

/// What it was sent once.
#[derive(Debug, Clone)]
pub struct Sent {
    pub headers: HeaderMap,
    pub body: Bytes,
    /// What it answered.
    pub status: u16,
}

impl Sent {
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers[name].to_str().unwrap()
    }
}

#[derive(Debug)]
struct State {
    answers: u16,
    sent: Vec<Sent>,
    answered: usize,
    held: watch::Sender<bool>,
}

/// Stopped when dropped.
pub struct Receiver {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
    serving: JoinHandle<()>,
}

impl Receiver {
    pub async fn start() -> Self {
        Self::behind(None).await
    }

    /// One that is spoken to by TLS.
    pub async fn with_tls(certificate: &Certificate) -> Self {
        Self::behind(Some(certificate.acceptor())).await
    }

    async fn behind(tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(Mutex::new(State {
            answers: 200,
            sent: Vec::new(),
            answered: 0,
            held: watch::Sender::new(false),
        }));
        let shared = state.clone();
        let serving = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let state = shared.clone();
                let service = service_fn(move |request| receive(state.clone(), request));
                let Some(tls) = tls.clone() else {
                    tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
                    continue;
                };
                tokio::spawn(async move {
                    // Whoever does not trust the certificate hangs up.
                    let Ok(stream) = tls.accept(stream).await else { return };
                    let _ended = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        Self { address, state, serving }
    }

    pub fn url(&self) -> String {
        format!("http://{}/hooks?of=shop", self.address)
    }

    /// The same by TLS, and by this name.
    pub fn secure_url(&self, host: &str) -> String {
        format!("https://{host}:{}/hooks?of=shop", self.address.port())
    }

    /// Until it is let go on, it keeps its answers back.
    pub fn hold(&self) {
        self.state.lock().unwrap().held.send_replace(true);
    }

    pub fn go_on(&self) {
        self.state.lock().unwrap().held.send_replace(false);
    }

    /// How many it has answered.
    pub fn answered(&self) -> usize {
        self.state.lock().unwrap().answered
    }

    /// From now on it answers this. 0 is no answer at all: it hangs.
    pub fn answers(&self, status: u16) {
        self.state.lock().unwrap().answers = status;
    }

    pub fn sent(&self) -> Vec<Sent> {
        self.state.lock().unwrap().sent.clone()
    }
}

async fn receive(
    state: Arc<Mutex<State>>,
    request: Request<Incoming>,
) -> Result<Response<Empty<Bytes>>, Infallible> {
    assert_eq!(request.uri().path_and_query().unwrap().as_str(), "/hooks?of=shop");
    let (parts, body) = request.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    let (status, mut held) = {
        let mut state = state.lock().unwrap();
        let status = state.answers;
        state.sent.push(Sent { headers: parts.headers, body, status });
        (status, state.held.subscribe())
    };
    held.wait_for(|held| !held).await.unwrap();
    if status == 0 {
        std::future::pending::<()>().await;
    }
    state.lock().unwrap().answered += 1;
    let mut response = Response::new(Empty::new());
    *response.status_mut() = hyper::StatusCode::from_u16(status).unwrap();
    response.headers_mut().insert("location", "/elsewhere".parse().unwrap());
    Ok(response)
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.serving.abort();
    }
}
