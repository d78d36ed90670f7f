//! One keep-alive HTTP/1.1 connection to one replica, opened when first needed and again after a break.

use std::time::Duration;

use anyhow::Context;
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{AUTHORIZATION, HOST, HeaderMap, HeaderValue};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::{Answer, Call, Target};

/// How an exchange ended without an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Broken {
    /// No connection came about: the service has not seen the request.
    NotConnected,
    /// The connection broke after the request may have been sent.
    Lost,
    /// No answer within the time allowed.
    TimedOut,
}

/// A connection and the headers each request on it carries.
#[derive(Debug)]
pub struct Line {
    authority: String,
    standing: HeaderMap,
    sender: Option<SendRequest<Full<Bytes>>>,
}

/// The longest a connection may take to open.
const CONNECT_LIMIT: Duration = Duration::from_secs(3);

impl Line {
    /// A line to `target` that speaks with `bearer`; nothing is opened yet.
    pub fn new(target: &Target, bearer: &str) -> anyhow::Result<Self> {
        let mut standing = HeaderMap::with_capacity(8);
        standing.insert(HOST, HeaderValue::from_str(&target.authority).context("the target's host")?);
        let mut authorization =
            HeaderValue::from_str(&format!("Bearer {bearer}")).context("the key has odd characters")?;
        authorization.set_sensitive(true);
        standing.insert(AUTHORIZATION, authorization);
        Ok(Self { authority: target.authority.clone(), standing, sender: None })
    }

    /// Sees to it that the connection is open, so that a request does not pay for it. One that the service
    /// has closed while nothing was on its way is replaced, and nobody need know.
    pub async fn open(&mut self) -> Result<(), Broken> {
        if let Some(sender) = &mut self.sender
            && sender.ready().await.is_ok()
        {
            return Ok(());
        }
        let opened = timeout(CONNECT_LIMIT, connect(&self.authority)).await;
        self.sender = Some(opened.ok().flatten().ok_or(Broken::NotConnected)?);
        Ok(())
    }

    /// Sends one request and waits for its whole answer.
    pub async fn exchange(&mut self, call: &Call, limit: Duration) -> Result<Answer, Broken> {
        self.open().await?;
        let Some(mut sender) = self.sender.take() else {
            return Err(Broken::NotConnected);
        };
        // The sender goes back only after a whole answer: after a break or a timeout, what is still on
        // its way on this connection must not be taken for the answer to the next request.
        let answer = timeout(limit, converse(&mut sender, call, &self.standing))
            .await
            .map_err(|_| Broken::TimedOut)??;
        self.sender = Some(sender);
        Ok(answer)
    }
}

async fn connect(authority: &str) -> Option<SendRequest<Full<Bytes>>> {
    let stream = TcpStream::connect(authority).await.ok()?;
    stream.set_nodelay(true).ok()?;
    let (sender, connection) = handshake(TokioIo::new(stream)).await.ok()?;
    // A broken connection shows itself to whoever waits for an answer on it.
    tokio::spawn(async move {
        let _ = connection.await;
    });
    Some(sender)
}

async fn converse(
    sender: &mut SendRequest<Full<Bytes>>,
    call: &Call,
    standing: &HeaderMap,
) -> Result<Answer, Broken> {
    let response = sender.send_request(call.request(standing)).await.map_err(|error| {
        // A cancelled request never left this process.
        if error.is_canceled() { Broken::NotConnected } else { Broken::Lost }
    })?;
    let (head, body) = response.into_parts();
    let body = body.collect().await.map_err(|_| Broken::Lost)?.to_bytes();
    Ok(Answer::new(head.status, &head.headers, body))
}
