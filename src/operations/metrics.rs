//! `GET /metrics`: counters and times of this process, as OpenMetrics text for Prometheus.

use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;

use crate::app::App;
use crate::endpoints::metrics::EndpointMetrics;
use crate::events::metrics::EventMetrics;
use crate::http::problem::{Code, Problem};
use crate::leases::Leases;
use crate::locks::Locks;
use crate::webhooks::metrics::WebhookMetrics;

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// All metrics of this process.
#[derive(Debug)]
pub struct Metrics(Mutex<Registry>);

impl Metrics {
    /// Those of `locks`, `leases`, `webhooks`, `events` and `endpoints`.
    #[must_use]
    pub fn new(
        locks: &Locks,
        leases: &Leases,
        webhooks: &WebhookMetrics,
        events: &EventMetrics,
        endpoints: &EndpointMetrics,
    ) -> Self {
        let mut registry = Registry::with_prefix("holdfast");
        locks.register_metrics(&mut registry);
        leases.metrics().register(&mut registry);
        webhooks.register(&mut registry);
        events.register(&mut registry);
        endpoints.register(&mut registry);
        Self(Mutex::new(registry))
    }

    /// As text.
    ///
    /// # Errors
    /// If a metric can't be written.
    pub fn render(&self, locks: &Locks) -> Result<String, std::fmt::Error> {
        let registry = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        locks.update_metrics();
        let mut text = String::new();
        encode(&mut text, &registry)?;
        Ok(text)
    }
}

/// # Errors
/// 500 if a metric can't be written.
pub async fn metrics(State(app): State<Arc<App>>) -> Result<impl IntoResponse, Problem> {
    app.events.metrics.lag.set(app.events.lag().as_secs_f64());
    let text = app.metrics.render(&app.locks);
    let text = text
        .map_err(|error| Problem::new(Code::Internal, "The metrics can't be written.").caused_by(&error))?;
    Ok(([(CONTENT_TYPE, OPEN_METRICS)], text))
}
