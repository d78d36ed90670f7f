//! One request, in a form that can be said again word for word.

use anyhow::Context;
use hyper::body::Bytes;
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Request, Uri};
use serde::Serialize;

/// A request without its destination; cloning it copies no body.
#[derive(Clone, Debug)]
pub struct Call {
    method: Method,
    path: Uri,
    key: Option<HeaderValue>,
    /// What stands beside the headers that every request has.
    headers: Vec<(HeaderName, HeaderValue)>,
    body: Bytes,
}

/// The name of the header that makes a write repeatable.
const IDEMPOTENCY_KEY: &str = "idempotency-key";

impl Call {
    /// A read of `path`, which begins with `/`.
    pub fn get(path: &str) -> anyhow::Result<Self> {
        Ok(Self {
            method: Method::GET,
            path: parse(path)?,
            key: None,
            headers: Vec::new(),
            body: Bytes::new(),
        })
    }

    /// A write of `body` as JSON to `path` under an idempotency key.
    pub fn post(path: &str, key: &str, body: &impl Serialize) -> anyhow::Result<Self> {
        let key =
            HeaderValue::from_str(key).with_context(|| format!("{key:?} cannot be an idempotency key"))?;
        let body = serde_json::to_vec(body).context("cannot write a request body")?;
        Ok(Self::prepared(parse(path)?, Some(key), body.into()))
    }

    /// A write whose parts are ready: the cheap way in for a benchmark's inner loop.
    pub fn prepared(path: Uri, key: Option<HeaderValue>, body: Bytes) -> Self {
        Self { method: Method::POST, path, key, headers: Vec::new(), body }
    }

    /// A write that its headers vouch for, and not a key.
    pub fn signed(path: &str, headers: Vec<(HeaderName, HeaderValue)>, body: Bytes) -> anyhow::Result<Self> {
        Ok(Self { method: Method::POST, path: parse(path)?, key: None, headers, body })
    }

    /// The idempotency key, where there is one.
    pub fn key(&self) -> &str {
        self.key.as_ref().and_then(|key| key.to_str().ok()).unwrap_or_default()
    }

    /// Method and path, for messages.
    pub fn title(&self) -> String {
        format!("{} {} (key {:?})", self.method, self.path, self.key())
    }

    /// The request itself, on top of the headers every request to a target carries.
    pub(super) fn request(&self, standing: &HeaderMap) -> Request<http_body_util::Full<Bytes>> {
        let mut request = Request::new(http_body_util::Full::new(self.body.clone()));
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = self.path.clone();
        *request.headers_mut() = standing.clone();
        if self.method == Method::POST {
            request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        for (name, value) in &self.headers {
            request.headers_mut().insert(name, value.clone());
        }
        if let Some(key) = &self.key {
            request.headers_mut().insert(IDEMPOTENCY_KEY, key.clone());
        }
        request
    }
}

fn parse(path: &str) -> anyhow::Result<Uri> {
    path.parse().with_context(|| format!("{path:?} is not a path"))
}
