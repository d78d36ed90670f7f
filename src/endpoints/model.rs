//! The words of endpoints as types.

use axum::http::Uri;
use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::events::choice::Types;

/// The most characters an address may have.
const URL_MAX_CHARS: usize = 2_048;

/// The address of an endpoint: `http` or `https`, a host, and no user.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(try_from = "String")]
#[schemars(inline, extend("format" = "uri", "maxLength" = URL_MAX_CHARS))]
pub struct EndpointUrl(#[schemars(with = "String")] Uri);

impl TryFrom<String> for EndpointUrl {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let wrong = "must be an absolute address such as https://example.com/hooks, of at most 2048 characters, without a user";
        let uri: Uri = text.parse().map_err(|_| wrong)?;
        let has_user = uri.authority().is_some_and(|authority| authority.as_str().contains('@'));
        let is_http = matches!(uri.scheme_str(), Some("http" | "https"));
        let fits = text.len() <= URL_MAX_CHARS && is_http && !has_user && !text.contains('#');
        if fits && uri.host().is_some_and(|host| !host.is_empty()) { Ok(Self(uri)) } else { Err(wrong) }
    }
}

impl EndpointUrl {
    /// The address.
    #[must_use]
    pub fn uri(&self) -> &Uri {
        &self.0
    }

    /// The host, as it is looked up: an IPv6 address without its brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        self.0.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']')
    }

    /// Whether it is spoken to by TLS.
    #[must_use]
    pub fn is_tls(&self) -> bool {
        self.0.scheme_str() == Some("https")
    }

    /// The port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.0.port_u16().unwrap_or(if self.is_tls() { 443 } else { 80 })
    }
}

/// The types of events that an endpoint wants.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(try_from = "Vec<String>")]
#[schemars(inline, extend("minItems" = 1))]
pub struct WantedTypes(Vec<String>);

impl TryFrom<Vec<String>> for WantedTypes {
    type Error = String;

    fn try_from(names: Vec<String>) -> Result<Self, String> {
        if names.is_empty() {
            return Err("must name at least one type, or be left out for all".to_owned());
        }
        let types = Types::try_from(names.join(","))?;
        Ok(Self(types.kinds().iter().map(|kind| kind.as_str().to_owned()).collect()))
    }
}

impl WantedTypes {
    /// Their names; none for all.
    #[must_use]
    pub fn names(&self) -> &[String] {
        &self.0
    }
}

/// An endpoint as operators see it.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Endpoint {
    /// Its id.
    pub endpoint_id: Uuid,
    /// Its address.
    pub url: String,
    /// Which types of events; empty is all.
    pub types: Vec<String>,
    /// `open`: it is left alone for a while. `gone`: for good, it said so. Else `closed`.
    pub breaker: String,
    /// Attempts that failed in a row.
    pub failures: i32,
    /// Deliveries that are on their way; 10,000 if there are more.
    pub pending: i64,
    /// Deliveries that were given up; 10,000 if there are more.
    pub dead: i64,
    /// If it was away for longer than events are kept: after which cursor it missed something,
    pub skipped_from: Option<String>,
    /// up to which,
    pub skipped_to: Option<String>,
    /// and when that was found.
    pub skipped_at: Option<DateTime<Utc>>,
    /// Since when.
    pub created_at: DateTime<Utc>,
}

/// How far a delivery is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DeliveryState {
    /// It is sent, or will be.
    Pending,
    /// It was taken.
    Delivered,
    /// It was given up.
    Dead,
}

impl DeliveryState {
    /// The state's name in answers and tables.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Delivered => "delivered",
            Self::Dead => "dead",
        }
    }
}

/// A delivery as operators see it.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Delivery {
    /// Its id.
    pub delivery_id: Uuid,
    /// The event's id, which receivers know it by.
    pub event_id: Uuid,
    /// The event's type.
    pub r#type: String,
    /// How far it is.
    #[schemars(with = "DeliveryState")]
    pub state: String,
    /// How often it was sent.
    pub attempts: i32,
    /// What it was answered with last.
    pub last_status: Option<i16>,
    /// Why it was not taken.
    pub last_error: Option<String>,
    /// When it is sent next, if it is.
    pub next_attempt_at: Option<DateTime<Utc>>,
    /// When its event was found.
    pub created_at: DateTime<Utc>,
    /// When it was taken.
    pub delivered_at: Option<DateTime<Utc>>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_absolute_and_names_a_host_and_nobody() {
        let read = |text: &str| EndpointUrl::try_from(text.to_owned());
        let url = read("https://example.com/hooks?a=1").unwrap();
        assert_eq!((url.host(), url.port(), url.is_tls()), ("example.com", 443, true));
        let url = read("http://[::1]:8080/").unwrap();
        assert_eq!((url.host(), url.port(), url.is_tls()), ("::1", 8080, false));
        for bad in [
            "",
            "/hooks",
            "example.com",
            "ftp://a/",
            "https://ann:x@a/",
            "https:///x",
            "https://a/#b",
            "https://a b/",
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
        assert!(read(&format!("https://a/{}", "x".repeat(2_048))).is_err());
    }
}
