//! What is counted and timed about requests: by the route that was matched, never by the path that was asked for.
//!
//! What must stay true: whatever is asked for, there are at most so many series as routes and their methods: paths that
//! lead nowhere are one, and so are methods that nobody serves.

use std::sync::Arc;

use axum::extract::MatchedPath;
use axum::http::{Method, StatusCode};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::exemplar::HistogramWithExemplars;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};
use tokio::time::Instant;

/// The route of what is served nowhere.
const NOWHERE: &str = "none";
/// From 1 ms to longer than anybody waits for an answer.
const BUCKETS: [f64; 13] = [0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByRoute {
    method: &'static str,
    route: Arc<str>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByAnswer {
    method: &'static str,
    route: Arc<str>,
    status: &'static str,
}

/// Which trace an observation is of.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct InTrace {
    /// Its id, in hexadecimal.
    pub trace_id: String,
}

/// The metrics of requests. Clones are the same metrics.
#[derive(Debug, Clone)]
pub struct HttpMetrics {
    answers: Family<ByAnswer, Counter>,
    durations: Family<ByRoute, HistogramWithExemplars<InTrace>>,
    under_way: Gauge,
}

impl Default for HttpMetrics {
    fn default() -> Self {
        Self {
            answers: Family::default(),
            durations: Family::new_with_constructor(|| HistogramWithExemplars::new(BUCKETS.into_iter())),
            under_way: Gauge::default(),
        }
    }
}

impl HttpMetrics {
    /// Adds them to `registry`.
    pub fn register(&self, registry: &mut Registry) {
        let http = registry.sub_registry_with_prefix("http");
        http.register("requests", "Requests, by route and class of status", self.answers.clone());
        let help = "From a request's head to the head of its answer";
        http.register_with_unit("request_duration", help, Unit::Seconds, self.durations.clone());
        http.register("requests_in_flight", "Requests under way", self.under_way.clone());
    }

    /// A request begins that came at `started`.
    #[must_use]
    pub fn begin(&self, method: &Method, route: Option<MatchedPath>, started: Instant) -> UnderWay {
        self.under_way.inc();
        UnderWay { metrics: self.clone(), method: name_of(method), route, started, status: None, trace: None }
    }
}

/// A request under way. It counts when it is dropped: one that has no answer then has panicked.
#[derive(Debug)]
pub struct UnderWay {
    metrics: HttpMetrics,
    method: &'static str,
    route: Option<MatchedPath>,
    /// When it came.
    pub started: Instant,
    /// What it was answered with.
    pub status: Option<StatusCode>,
    /// The trace it is told in.
    pub trace: Option<InTrace>,
}

impl UnderWay {
    /// Its method, if it is one that is served.
    #[must_use]
    pub fn method(&self) -> &'static str {
        self.method
    }

    /// The path it was matched by.
    #[must_use]
    pub fn route(&self) -> &str {
        self.route.as_ref().map_or(NOWHERE, MatchedPath::as_str)
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let status = self.status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let is_served = self.route.is_some() && status != StatusCode::METHOD_NOT_ALLOWED;
        let method = if is_served { self.method } else { "other" };
        let route: Arc<str> = self.route().into();
        let took = self.started.elapsed().as_secs_f64();
        self.metrics.under_way.dec();
        let durations = self.metrics.durations.get_or_create_owned(&ByRoute { method, route: route.clone() });
        durations.observe(took, self.trace.take(), None);
        let answered = ByAnswer { method, route, status: class_of(status) };
        self.metrics.answers.get_or_create(&answered).inc();
    }
}

fn name_of(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::DELETE => "DELETE",
        Method::PATCH => "PATCH",
        Method::HEAD => "HEAD",
        _ => "other",
    }
}

fn class_of(status: StatusCode) -> &'static str {
    match status.as_u16() {
        ..200 => "1xx",
        200..300 => "2xx",
        300..400 => "3xx",
        400..500 => "4xx",
        _ => "5xx",
    }
}
