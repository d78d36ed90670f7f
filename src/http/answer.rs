//! What a guarded write answers with: bytes that can be stored and sent again, and the headers that say
//! how it was done.

use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, Response, StatusCode, header};
use axum::response::IntoResponse;
use serde::Serialize;

use super::problem::PROBLEM_JSON;
use crate::locks::Evidence;

const LOCK_MODE: HeaderName = HeaderName::from_static("lock-mode");
const LOCK_WAIT_MS: HeaderName = HeaderName::from_static("lock-wait-ms");
const SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");
const IDEMPOTENT_REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");

/// An answer, ready to be stored with its idempotency key and to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    status: StatusCode,
    body: Vec<u8>,
    replayed: bool,
    evidence: Option<Evidence>,
    database: Option<Duration>,
}

impl Answer {
    /// An answer whose body is `value` as JSON.
    #[must_use]
    pub fn json(status: StatusCode, value: &impl Serialize) -> Self {
        Self::stored(status, serde_json::to_vec(value).unwrap_or_default())
    }

    /// An answer of these very bytes: JSON, or a problem document if the status says so.
    #[must_use]
    pub fn stored(status: StatusCode, body: Vec<u8>) -> Self {
        Self { status, body, replayed: false, evidence: None, database: None }
    }

    /// Marks it as the repetition of an earlier answer.
    #[must_use]
    pub fn replayed(mut self) -> Self {
        self.replayed = true;
        self
    }

    /// Whether it is the repetition of an earlier answer.
    #[must_use]
    pub fn is_replayed(&self) -> bool {
        self.replayed
    }

    /// Adds how the request was guarded and how long the database took.
    #[must_use]
    pub fn guarded(mut self, evidence: Evidence, database: Duration) -> Self {
        self.evidence = Some(evidence);
        self.database = Some(database);
        self
    }

    /// Its status.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// Its bytes.
    #[must_use]
    pub fn body(&self) -> &[u8] {
        &self.body
    }
}

impl IntoResponse for Answer {
    fn into_response(self) -> axum::response::Response {
        let mut response = Response::new(Body::from(self.body));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        let is_problem = self.status.is_client_error();
        let media_type = if is_problem { PROBLEM_JSON } else { "application/json" };
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
        if self.replayed {
            headers.insert(IDEMPOTENT_REPLAYED, HeaderValue::from_static("true"));
        }
        if let (Some(evidence), Some(database)) = (self.evidence, self.database) {
            headers.insert(LOCK_MODE, HeaderValue::from_static(evidence.mode.as_str()));
            headers.insert(LOCK_WAIT_MS, HeaderValue::from(evidence.wait_ms));
            let timing =
                format!("lock;dur={}, db;dur={:.1}", evidence.wait_ms, database.as_secs_f64() * 1_000.0);
            headers.extend(HeaderValue::try_from(timing).ok().map(|timing| (SERVER_TIMING, timing)));
        }
        response
    }
}
