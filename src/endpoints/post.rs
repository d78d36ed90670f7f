//! Sends one delivery: to the address that was checked, once, and no further.
//!
//! What must stay true: it ends within its limit; of the answer only the status is looked at; a redirect is an answer
//! like any other and not followed.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::http::{HeaderValue, Request, StatusCode, header};
use http_body_util::Full;
use hyper::body::Bytes;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use super::model::EndpointUrl;
use super::rules::is_public;
use crate::http::call::call;
use crate::telemetry::trace::TRACEPARENT;

/// How long an attempt may take, from looking up the host to the status.
const LIMIT: Duration = Duration::from_secs(10);
/// How long connecting to one of a host's addresses may take.
const CONNECT_LIMIT: Duration = Duration::from_secs(3);
/// So much of an error is kept.
const ERROR_MAX_CHARS: usize = 200;

/// Certificate authorities that are trusted besides those of the system.
#[derive(Debug, Clone, Default)]
pub struct Authorities(Vec<CertificateDer<'static>>);

impl Authorities {
    /// Reads them from a file in PEM.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn read(path: &str) -> Result<Self, String> {
        let certificates =
            CertificateDer::pem_file_iter(path).map_err(|error| format!("can't be read: {error}"))?;
        let read: Result<Vec<_>, _> = certificates.collect();
        let read = read.map_err(|error| format!("must be a file of certificates in PEM: {error}"))?;
        // What is no certificate at all would be left out in silence.
        let added = RootCertStore::empty().add_parsable_certificates(read.iter().cloned());
        if added == (read.len(), 0) && !read.is_empty() {
            Ok(Self(read))
        } else {
            Err("must be a file of certificates in PEM, one at least".to_owned())
        }
    }
}

/// What is sent.
#[derive(Debug)]
pub struct Letter {
    /// The event's id.
    pub id: String,
    /// The time of the attempt, in seconds since 1970.
    pub timestamp: i64,
    /// `v1,…`
    pub signature: String,
    /// The trace that it is part of.
    pub traceparent: Option<String>,
    /// JSON.
    pub body: String,
}

/// Sends letters.
#[derive(Debug, Clone)]
pub struct Post {
    tls: Option<TlsConnectorOf>,
    may_be_private: bool,
}

#[derive(Clone)]
struct TlsConnectorOf(TlsConnector);

impl std::fmt::Debug for TlsConnectorOf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TlsConnector")
    }
}

impl Post {
    /// Trusts whom the system trusts, and `authorities` besides. With `may_be_private`, private addresses are sent to as
    /// well.
    #[must_use]
    pub fn new(may_be_private: bool, authorities: &Authorities) -> Self {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        roots.add_parsable_certificates(authorities.0.iter().cloned());
        let tls = (!roots.is_empty()).then(|| {
            let config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
            TlsConnectorOf(TlsConnector::from(Arc::new(config)))
        });
        Self { tls, may_be_private }
    }

    /// Whether something may be sent to a host that is written as an address. Names are looked up when it is sent.
    #[must_use]
    pub fn may_send_to(&self, url: &EndpointUrl) -> bool {
        self.may_be_private || url.host().parse().map_or(url.host() != "localhost", is_public)
    }

    /// Sends a letter. Gives the status it was answered with.
    ///
    /// # Errors
    /// Why there was none, in a few words.
    pub async fn send(&self, url: &EndpointUrl, letter: &Letter) -> Result<StatusCode, String> {
        let sent = timeout(LIMIT, self.try_to_send(url, letter)).await;
        let outcome = sent.unwrap_or_else(|_| Err(format!("no answer within {} s", LIMIT.as_secs())));
        outcome.map_err(|error| error.chars().take(ERROR_MAX_CHARS).collect())
    }

    async fn try_to_send(&self, url: &EndpointUrl, letter: &Letter) -> Result<StatusCode, String> {
        let stream = connect(&self.addresses_of(url).await?).await?;
        if !url.is_tls() {
            return exchange(stream, url, letter).await;
        }
        let Some(TlsConnectorOf(tls)) = &self.tls else {
            return Err("this machine trusts no certificate authority".to_owned());
        };
        let name = ServerName::try_from(url.host().to_owned()).map_err(|error| error.to_string())?;
        let stream = tls.connect(name, stream).await.map_err(|error| error.to_string())?;
        exchange(stream, url, letter).await
    }

    /// The addresses of the host that may be sent to: these are connected to, whatever the name says next.
    async fn addresses_of(&self, url: &EndpointUrl) -> Result<Vec<SocketAddr>, String> {
        let found = tokio::net::lookup_host((url.host(), url.port())).await;
        let found = found.map_err(|error| format!("the host can't be looked up: {error}"))?;
        Ok(found.filter(|address| self.may_be_private || is_public(address.ip())).collect())
    }
}

/// Connects to the first that lets itself be connected to.
async fn connect(addresses: &[SocketAddr]) -> Result<TcpStream, String> {
    let mut failed = "the host has no public address".to_owned();
    for address in addresses {
        match timeout(CONNECT_LIMIT, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => failed = error.to_string(),
            Err(_) => failed = format!("no connection within {} s", CONNECT_LIMIT.as_secs()),
        }
    }
    Err(failed)
}

async fn exchange<S>(stream: S, url: &EndpointUrl, letter: &Letter) -> Result<StatusCode, String>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let path = url.uri().path_and_query().map_or("/", |path| path.as_str());
    let host = url.uri().authority().map_or("", |authority| authority.as_str());
    let request = Request::post(path)
        .header(header::HOST, host)
        .header(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))
        .header(header::USER_AGENT, HeaderValue::from_static("holdfast"))
        .header("webhook-id", &letter.id)
        .header("webhook-timestamp", letter.timestamp)
        .header("webhook-signature", &letter.signature);
    let request = match &letter.traceparent {
        Some(traceparent) => request.header(TRACEPARENT, traceparent),
        None => request,
    };
    let request =
        request.body(Full::new(Bytes::from(letter.body.clone()))).map_err(|error| error.to_string())?;
    call(stream, request).await
}
