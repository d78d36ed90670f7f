//! `GET /metrics`: counters and times of this process, and what waits in the database, as text for Prometheus:
//! OpenMetrics, or the older form for whoever asks for plain text and not for that.

use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::State;
use axum::http::HeaderMap;
use axum::http::header::{ACCEPT, CONTENT_TYPE};
use axum::response::IntoResponse;
use prometheus_client::encoding::{prometheus_text, text};
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

use crate::app::App;
use crate::http::problem::{Code, Problem};

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// All metrics of this process.
#[derive(Debug)]
pub struct Metrics(Mutex<Registry>);

impl Metrics {
    /// Those that `register` adds.
    #[must_use]
    pub fn new(register: impl FnOnce(&mut Registry)) -> Self {
        let mut registry = Registry::with_prefix("holdfast");
        let build = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        registry.register("build", "Which Holdfast this is", build);
        register(&mut registry);
        Self(Mutex::new(registry))
    }

    /// As text.
    ///
    /// # Errors
    /// If a metric can't be written.
    pub fn render(&self, form: Form) -> Result<String, std::fmt::Error> {
        let registry = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut written = String::new();
        match form {
            Form::Open => text::encode(&mut written, &registry)?,
            Form::Plain => prometheus_text::encode(&mut written, &registry)?,
        }
        Ok(written)
    }
}

/// How metrics are written.
#[derive(Debug, Clone, Copy)]
pub enum Form {
    /// OpenMetrics.
    Open,
    /// Prometheus's older text.
    Plain,
}

impl Form {
    fn wanted(headers: &HeaderMap) -> Self {
        let accepted = headers.get(ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
        let wants_plain = accepted.contains("text/plain") && !accepted.contains("openmetrics");
        if wants_plain { Self::Plain } else { Self::Open }
    }

    fn content_type(self) -> &'static str {
        match self {
            Self::Open => OPEN_METRICS,
            Self::Plain => prometheus_text::CONTENT_TYPE,
        }
    }
}

/// # Errors
/// 500 if a metric can't be written.
pub async fn metrics(State(app): State<Arc<App>>, headers: HeaderMap) -> Result<impl IntoResponse, Problem> {
    app.backlog_lookout.look(&app).await;
    app.locks.update_metrics();
    app.db.update_metrics();
    app.sections.update_metrics();
    app.events.metrics.lag.set(app.events.lag().as_secs_f64());
    let form = Form::wanted(&headers);
    let text = app.metrics.render(form);
    let text = text
        .map_err(|error| Problem::new(Code::Internal, "The metrics can't be written.").caused_by(&error))?;
    Ok(([(CONTENT_TYPE, form.content_type())], text))
}
