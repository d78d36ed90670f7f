//! One answer of the service, reduced to what the load generator judges.

use std::time::Duration;

use anyhow::Context;
use hyper::StatusCode;
use hyper::body::Bytes;
use hyper::header::{HeaderMap, RETRY_AFTER};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// What the `Lock-Mode` header said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LockMode {
    /// The advisory layer and the database both guarded the write.
    TwoLayer,
    /// The database alone guarded it.
    DatabaseOnly,
    /// A header was there with a word nobody agreed on.
    Unknown,
    /// No header at all.
    Absent,
}

impl LockMode {
    /// Every mode, in the order of reports.
    pub const ALL: [Self; 4] = [Self::TwoLayer, Self::DatabaseOnly, Self::Unknown, Self::Absent];

    /// The word used on the wire and in reports.
    pub const fn word(self) -> &'static str {
        match self {
            Self::TwoLayer => "two_layer",
            Self::DatabaseOnly => "database_only",
            Self::Unknown => "unknown",
            Self::Absent => "absent",
        }
    }

    fn read(headers: &HeaderMap) -> Self {
        match headers.get("lock-mode").map(|value| value.as_bytes()) {
            Some(b"two_layer") => Self::TwoLayer,
            Some(b"database_only") => Self::DatabaseOnly,
            Some(_) => Self::Unknown,
            None => Self::Absent,
        }
    }
}

/// A whole answer: head and body.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status line.
    pub status: StatusCode,
    /// Which layers guarded the write.
    pub lock_mode: LockMode,
    /// Whether `Idempotent-Replayed: true` was there.
    pub replayed: bool,
    /// How long the service asks to wait before the next try.
    pub retry_after: Option<Duration>,
    /// The body, byte for byte.
    pub body: Bytes,
}

impl Answer {
    /// Puts an answer together from its parts.
    pub fn new(status: StatusCode, headers: &HeaderMap, body: Bytes) -> Self {
        let seconds = headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.trim().parse().ok());
        Self {
            status,
            lock_mode: LockMode::read(headers),
            replayed: headers.get("idempotent-replayed").is_some_and(|value| value == "true"),
            retry_after: seconds.map(Duration::from_secs),
            body,
        }
    }

    /// The stable name in a problem document, where the body is one.
    pub fn code(&self) -> Option<String> {
        #[derive(Deserialize)]
        struct Problem {
            code: String,
        }
        if self.status.is_success() {
            return None;
        }
        serde_json::from_slice::<Problem>(&self.body).ok().map(|problem| problem.code)
    }

    /// Whether the request was refused for want of stock.
    pub fn is_short_of_stock(&self) -> bool {
        self.status == StatusCode::CONFLICT && self.code().as_deref() == Some("insufficient_stock")
    }

    /// Whether the service says that it wrote nothing and that the same request may come again.
    pub fn is_not_now(&self) -> bool {
        match self.status {
            StatusCode::TOO_MANY_REQUESTS => true,
            StatusCode::CONFLICT => self.code().as_deref() == Some("idempotency_in_flight"),
            StatusCode::SERVICE_UNAVAILABLE => self.code().as_deref() == Some("overloaded"),
            _ => false,
        }
    }

    /// The body read as JSON of a known shape.
    pub fn json<T: DeserializeOwned>(&self) -> anyhow::Result<T> {
        serde_json::from_slice(&self.body)
            .with_context(|| format!("cannot read the body of a {} answer: {}", self.status, self.excerpt()))
    }

    /// `409 insufficient_stock`: the answer in one phrase.
    pub fn phrase(&self) -> String {
        match self.code() {
            Some(code) => format!("{} {code}", self.status.as_u16()),
            None => self.status.as_u16().to_string(),
        }
    }

    /// The beginning of the body, for messages.
    pub fn excerpt(&self) -> String {
        const LONGEST: usize = 300;
        let text = String::from_utf8_lossy(&self.body);
        text.chars().take(LONGEST).collect()
    }
}
