//! Whom traces are told to, by the names that OpenTelemetry gave its settings.

use std::time::Duration;

use axum::http::uri::{Authority, PathAndQuery};
use axum::http::{HeaderName, HeaderValue, Uri};

use crate::config::{ConfigError, wrong};

const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
const HEADERS: &str = "OTEL_EXPORTER_OTLP_HEADERS";
const PROTOCOL: &str = "OTEL_EXPORTER_OTLP_PROTOCOL";
const SAMPLER: &str = "OTEL_TRACES_SAMPLER_ARG";
const DELAY: &str = "OTEL_BSP_SCHEDULE_DELAY";
/// Where a collector takes traces, under the path that is set.
const TRACES: &str = "/v1/traces";
/// How long spans gather before they are sent.
const DELAY_DEFAULT_MS: u64 = 1_000;

/// Where traces go.
#[derive(Debug, Clone)]
pub struct TraceSettings {
    /// The collector's host and port.
    pub(super) authority: Authority,
    /// The path that takes traces.
    pub(super) path: PathAndQuery,
    /// What it wants to be told with each call; secrets.
    pub(super) headers: Vec<(HeaderName, HeaderValue)>,
    /// What this service is called.
    pub(super) service: String,
    /// Of requests that come without a trace, how many begin one: 0 to 1.
    pub(super) ratio: f64,
    /// How long spans gather before they are sent.
    pub(super) delay: Duration,
}

impl TraceSettings {
    /// Reads them; none if no collector is named.
    ///
    /// # Errors
    /// [`ConfigError`] for the first that is wrong.
    pub fn read(set: &dyn Fn(&'static str) -> Option<String>) -> Result<Option<Self>, ConfigError> {
        let Some(endpoint) = set(ENDPOINT) else { return Ok(None) };
        if set(PROTOCOL).is_some_and(|protocol| protocol.trim() != "http/json") {
            return Err(wrong(PROTOCOL, "must be http/json, if it is set"));
        }
        let why = "must be http://HOST:PORT, as in http://127.0.0.1:4318, and maybe a path before /v1/traces, which is added; \
                   no query; for TLS put a collector beside this";
        let uri: Uri = endpoint.trim().parse().map_err(|_| wrong(ENDPOINT, why))?;
        let authority = uri.authority().filter(|authority| !authority.as_str().contains('@')).cloned();
        let (Some("http"), Some(authority)) = (uri.scheme_str(), authority) else {
            return Err(wrong(ENDPOINT, why));
        };
        let before = uri.path().trim_end_matches('/');
        if uri.query().is_some() || before.ends_with(TRACES) {
            return Err(wrong(ENDPOINT, why));
        }
        let path = format!("{before}{TRACES}");
        let ratio = match set(SAMPLER) {
            None => 1.0,
            Some(text) => text
                .trim()
                .parse()
                .ok()
                .filter(|ratio| (0.0..=1.0).contains(ratio))
                .ok_or_else(|| wrong(SAMPLER, "must be a number from 0 to 1"))?,
        };
        let delay = match set(DELAY) {
            None => DELAY_DEFAULT_MS,
            Some(text) => text
                .trim()
                .parse()
                .ok()
                .filter(|delay| (1..=60_000).contains(delay))
                .ok_or_else(|| wrong(DELAY, "must be a whole number of milliseconds from 1 to 60000"))?,
        };
        Ok(Some(Self {
            authority,
            path: path.parse().map_err(|_| wrong(ENDPOINT, why))?,
            headers: read_headers(&set(HEADERS).unwrap_or_default())
                .ok_or_else(|| wrong(HEADERS, "must be name=value, several with commas between them"))?,
            service: set("OTEL_SERVICE_NAME").unwrap_or_else(|| "holdfast".to_owned()),
            ratio,
            delay: Duration::from_millis(delay),
        }))
    }
}

fn read_headers(text: &str) -> Option<Vec<(HeaderName, HeaderValue)>> {
    let pairs = text.split(',').map(str::trim).filter(|pair| !pair.is_empty());
    let read = pairs.map(|pair| {
        let (name, value) = pair.split_once('=')?;
        let mut value = HeaderValue::from_bytes(&decoded(value.trim())?).ok()?;
        value.set_sensitive(true);
        Some((name.trim().parse().ok()?, value))
    });
    read.collect()
}

/// `text` with its `%XX` as the bytes they stand for.
fn decoded(text: &str) -> Option<Vec<u8>> {
    let (mut bytes, mut all) = (text.bytes(), Vec::with_capacity(text.len()));
    while let Some(byte) = bytes.next() {
        match byte {
            b'%' => all.extend(hex::decode([bytes.next()?, bytes.next()?]).ok()?),
            byte => all.push(byte),
        }
    }
    Some(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&'static str, &str)]) -> Result<Option<TraceSettings>, ConfigError> {
        TraceSettings::read(&|name| {
            pairs.iter().find(|(given, _)| *given == name).map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn nothing_is_told_unless_a_collector_is_named_and_its_path_is_added() {
        assert!(read(&[(SAMPLER, "nonsense")]).unwrap().is_none());
        let settings = read(&[(ENDPOINT, "http://collector:4318/otlp/")]).unwrap().unwrap();
        assert_eq!(
            (settings.authority.as_str(), settings.path.as_str()),
            ("collector:4318", "/otlp/v1/traces")
        );
        assert_eq!((settings.service.as_str(), settings.ratio), ("holdfast", 1.0));
    }

    #[test]
    fn a_wrong_value_names_its_variable_and_a_header_is_never_shown() {
        let there = (ENDPOINT, "http://c:4318");
        for (name, value) in [
            (ENDPOINT, "collector"),
            (ENDPOINT, "https://c:4318"),
            (ENDPOINT, "http://ann:secret@c:4318"),
            (ENDPOINT, "http://c:4318/?tenant=secret"),
            (ENDPOINT, "http://c:4318/v1/traces"),
            (PROTOCOL, "grpc"),
            (SAMPLER, "1.1"),
            (SAMPLER, "NaN"),
            (DELAY, "0"),
            (HEADERS, "no value"),
            (HEADERS, "a=secret%2"),
            (HEADERS, "a=secret%0A"),
        ] {
            let pairs = if name == ENDPOINT { vec![(name, value)] } else { vec![there, (name, value)] };
            let message = read(&pairs).unwrap_err().to_string();
            assert!(message.starts_with(&format!("{name}: ")) && !message.contains("secret"), "{message}");
        }
        let settings = read(&[there, (HEADERS, "api-key=s3cret,x-b=Basic%20abc%3D%3d")]).unwrap().unwrap();
        assert_eq!(settings.headers[1].1, "Basic abc==");
        let shown = format!("{settings:?}");
        assert!(!shown.contains("s3cret") && !shown.contains("abc"), "{shown}");
    }
}
