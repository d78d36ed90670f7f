//! A collector of traces: takes what OTLP sends in its JSON form, and refuses whatever has not that form.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use http_body_util::{BodyExt, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{HeaderMap, Request, Response};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// As `opentelemetry/proto/collector/trace/v1` names it, and nothing else.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Told {
    resource_spans: Vec<OfResource>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct OfResource {
    resource: Resource,
    scope_spans: Vec<OfScope>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Resource {
    attributes: Vec<Attribute>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct OfScope {
    scope: Scope,
    spans: Vec<Span>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Scope {
    name: String,
    version: String,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Attribute {
    key: String,
    value: OneValue,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
enum OneValue {
    StringValue(String),
    /// Of 64 bits, so a string.
    IntValue(String),
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Status {
    #[serde(default)]
    code: u8,
}

/// A span as it was told.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Span {
    pub trace_id: String,
    pub span_id: String,
    #[serde(default)]
    pub parent_span_id: Option<String>,
    pub name: String,
    /// 1 within a process, 2 of the called, 3 of the caller.
    pub kind: u8,
    start_time_unix_nano: String,
    end_time_unix_nano: String,
    attributes: Vec<Attribute>,
    status: Status,
}

impl Span {
    fn check(&self) {
        let is_hex = |text: &str, length| {
            text.len() == length && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
        };
        assert!(is_hex(&self.trace_id, 32) && is_hex(&self.span_id, 16), "{self:?}");
        assert!(self.parent_span_id.as_ref().is_none_or(|parent| is_hex(parent, 16)), "{self:?}");
        assert!((1..=3).contains(&self.kind) && !self.name.is_empty(), "{self:?}");
        assert!(self.from() <= self.until() && self.from() > 1_600_000_000_000_000_000, "{self:?}");
    }

    pub fn from(&self) -> u64 {
        self.start_time_unix_nano.parse().unwrap()
    }

    pub fn until(&self) -> u64 {
        self.end_time_unix_nano.parse().unwrap()
    }

    pub fn has_failed(&self) -> bool {
        self.status.code == 2
    }

    pub fn attributes(&self) -> BTreeMap<&str, &str> {
        self.attributes
            .iter()
            .map(|attribute| {
                let (OneValue::StringValue(value) | OneValue::IntValue(value)) = &attribute.value;
                (attribute.key.as_str(), value.as_str())
            })
            .collect()
    }
}

#[derive(Debug, Default)]
struct State {
    spans: Vec<Span>,
    bodies: Vec<Bytes>,
    headers: Vec<HeaderMap>,
}

/// Stopped when dropped.
pub struct Collector {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
    serving: JoinHandle<()>,
}

impl Collector {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::<Mutex<State>>::default();
        let shared = state.clone();
        let serving = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let state = shared.clone();
                let service = service_fn(move |request| take(state.clone(), request));
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
            }
        });
        Self { address, state, serving }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn spans(&self) -> Vec<Span> {
        self.state.lock().unwrap().spans.clone()
    }

    /// Those of one trace, in the order of their beginnings.
    pub fn trace(&self, trace_id: &str) -> Vec<Span> {
        let mut spans = self.spans();
        spans.retain(|span| span.trace_id == trace_id);
        spans.sort_by_key(Span::from);
        spans
    }

    /// All that it was ever told, as it came.
    pub fn everything(&self) -> String {
        let state = self.state.lock().unwrap();
        state.bodies.iter().map(|body| String::from_utf8_lossy(body).into_owned()).collect()
    }

    pub fn headers(&self) -> Vec<HeaderMap> {
        self.state.lock().unwrap().headers.clone()
    }
}

async fn take(
    state: Arc<Mutex<State>>,
    request: Request<Incoming>,
) -> Result<Response<Empty<Bytes>>, Infallible> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    let is_well_asked = parts.method == hyper::Method::POST
        && parts.uri.path() == "/v1/traces"
        && parts.headers["content-type"] == "application/json";
    let mut response = Response::new(Empty::new());
    match serde_json::from_slice::<Told>(&body) {
        Ok(told) if is_well_asked => {
            let mut state = state.lock().unwrap();
            for of_resource in told.resource_spans {
                let named = of_resource.resource.attributes.iter().any(|one| one.key == "service.name");
                assert!(named, "a service without a name");
                for of_scope in of_resource.scope_spans {
                    assert!(!of_scope.scope.name.is_empty() && !of_scope.scope.version.is_empty());
                    of_scope.spans.iter().for_each(Span::check);
                    state.spans.extend(of_scope.spans);
                }
            }
            state.bodies.push(body);
            state.headers.push(parts.headers);
        }
        refused => {
            let shown: Option<Value> = serde_json::from_slice(&body).ok();
            *response.status_mut() = hyper::StatusCode::BAD_REQUEST;
            state.lock().unwrap().bodies.push(Bytes::from(format!("refused: {refused:?} {shown:?}")));
        }
    }
    Ok(response)
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.serving.abort();
    }
}
