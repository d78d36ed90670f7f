//! Tells spans to a collector: OTLP over HTTP, in its JSON form.
//!
//! What must stay true: it takes part in nobody's request; a collector that is away, hangs or refuses, or is too slow, costs
//! spans, and a line in the log when that begins and when it ends. Nor does the service wait for it long when it stops,
//! whatever it is in the middle of.

use std::time::Duration;

use axum::http::{Request, StatusCode, header};
use http_body_util::Full;
use hyper::body::Bytes;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::metrics::TraceMetrics;
use super::settings::TraceSettings;
use super::trace::{Ended, Kind, Note};
use crate::http::call::call;
use crate::ids;

/// How many spans are told in one call.
const BATCH: usize = 512;
/// How long it sleeps between two looks at those that gather: not woken for each, it costs next to nothing.
const LULL: Duration = Duration::from_millis(10);
/// How long a call may take.
const CALL_MAX: Duration = Duration::from_secs(5);
/// How long telling the last spans may take when the service stops.
const LAST_MAX: Duration = Duration::from_secs(2);

/// Where spans come out, and whom they are told to.
#[derive(Debug)]
pub struct Exporter {
    spans: mpsc::Receiver<Ended>,
    settings: TraceSettings,
    metrics: TraceMetrics,
    resource: Value,
}

impl Exporter {
    /// One that has not begun.
    #[must_use]
    pub fn new(spans: mpsc::Receiver<Ended>, settings: &TraceSettings, metrics: TraceMetrics) -> Self {
        let resource = json!({"attributes": [
            {"key": "service.name", "value": {"stringValue": settings.service}},
            {"key": "service.version", "value": {"stringValue": env!("CARGO_PKG_VERSION")}},
            {"key": "service.instance.id", "value": {"stringValue": ids::fresh().to_string()}},
        ]});
        Self { spans, settings: settings.clone(), metrics, resource }
    }

    /// Tells until the service stops, and then what is left; of that, what it can in time.
    pub async fn keep(self, stopping: CancellationToken) {
        let late = async {
            stopping.cancelled().await;
            sleep(LAST_MAX).await;
        };
        tokio::select! {
            () = self.tell_all(&stopping) => {}
            () = late => tracing::warn!("the last traces could not be told in time"),
        }
    }

    async fn tell_all(mut self, stopping: &CancellationToken) {
        let mut batch = Vec::with_capacity(BATCH);
        let (mut is_away, mut is_full, mut dropped) = (false, false, 0);
        while stopping
            .run_until_cancelled(self.spans.recv_many(&mut batch, BATCH))
            .await
            .is_some_and(|n| n > 0)
        {
            if stopping.run_until_cancelled(self.gather(&mut batch)).await.is_none() {
                break;
            }
            let told = self.tell(&batch).await;
            if told.is_err() != is_away {
                is_away = !is_away;
                match &told {
                    Err(why) => {
                        tracing::warn!(why, "traces can't be told to their collector, and are dropped")
                    }
                    Ok(()) => tracing::info!("traces are told to their collector again"),
                }
            }
            let before = std::mem::replace(&mut dropped, self.metrics.dropped());
            if (dropped > before) != is_full {
                is_full = !is_full;
                match is_full {
                    true => tracing::warn!(
                        spans = dropped - before,
                        "there are more spans than can be told: some are dropped"
                    ),
                    false => tracing::info!("all spans can be told again"),
                }
            }
            batch.clear();
        }
        self.tell_the_rest(batch).await;
    }

    /// Waits for more until there is a batch of them, or the delay is over.
    async fn gather(&mut self, batch: &mut Vec<Ended>) {
        let (delay, began) = (self.settings.delay, Instant::now());
        while batch.len() < BATCH && began.elapsed() < delay {
            sleep(delay.min(LULL)).await;
            let room = BATCH - batch.len();
            if !self.spans.is_empty() {
                self.spans.recv_many(batch, room).await;
            }
        }
    }

    async fn tell_the_rest(&mut self, mut batch: Vec<Ended>) {
        self.spans.close();
        loop {
            if !batch.is_empty() && self.tell(&batch).await.is_err() {
                return;
            }
            batch.clear();
            if self.spans.recv_many(&mut batch, BATCH).await == 0 {
                return;
            }
        }
    }

    async fn tell(&self, batch: &[Ended]) -> Result<(), String> {
        let body = Bytes::from(self.written(batch).to_string());
        let told = match timeout(CALL_MAX, self.call(body)).await {
            Ok(Ok(status)) if status.is_success() => Ok(()),
            Ok(Ok(status)) => Err(format!("it answered {status}")),
            Ok(Err(error)) => Err(error),
            Err(_) => Err(format!("no answer within {} s", CALL_MAX.as_secs())),
        };
        self.metrics.count(if told.is_ok() { "sent" } else { "failed" }, batch.len() as u64);
        told
    }

    async fn call(&self, body: Bytes) -> Result<StatusCode, String> {
        let TraceSettings { authority, path, headers, .. } = &self.settings;
        let host = authority.host().trim_start_matches('[').trim_end_matches(']');
        let stream = TcpStream::connect((host, authority.port_u16().unwrap_or(80)));
        let stream = stream.await.map_err(|error| error.to_string())?;
        let mut request = Request::post(path.as_str())
            .header(header::HOST, authority.as_str())
            .header(header::CONTENT_TYPE, "application/json");
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let request = request.body(Full::new(body)).map_err(|error| error.to_string())?;
        call(stream, request).await
    }

    fn written(&self, batch: &[Ended]) -> Value {
        let spans: Vec<_> = batch.iter().map(span).collect();
        let scope = json!({"name": "holdfast", "version": env!("CARGO_PKG_VERSION")});
        json!({"resourceSpans": [
            {"resource": self.resource, "scopeSpans": [{"scope": scope, "spans": spans}]}
        ]})
    }
}

/// One span. Whole numbers of 64 bits are strings in JSON, ids hexadecimal.
fn span(ended: &Ended) -> Value {
    let notes: Vec<_> =
        ended.notes.iter().map(|(name, note)| json!({"key": name, "value": value(note)})).collect();
    let mut span = json!({
        "traceId": format!("{:032x}", ended.trace_id),
        "spanId": format!("{:016x}", ended.span_id),
        "name": ended.name,
        "kind": match ended.kind {
            Kind::Internal => 1,
            Kind::Server => 2,
            Kind::Client => 3,
        },
        "startTimeUnixNano": ended.from.to_string(),
        "endTimeUnixNano": ended.until.to_string(),
        "attributes": notes,
        "status": if ended.has_failed { json!({"code": 2}) } else { json!({}) },
    });
    if let Some(parent) = ended.parent {
        span["parentSpanId"] = format!("{parent:016x}").into();
    }
    span
}

fn value(note: &Note) -> Value {
    match note {
        Note::Text(text) => json!({"stringValue": text}),
        Note::Number(number) => json!({"intValue": number.to_string()}),
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::super::trace::Tracer;
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_collector_that_hangs_holds_up_no_stop() {
        let hangs = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", hangs.local_addr().unwrap());
        let settings =
            TraceSettings::read(&|name| (name == "OTEL_EXPORTER_OTLP_ENDPOINT").then(|| url.clone()));
        let settings = settings.unwrap().unwrap();
        let (tracer, spans) = Tracer::new(Some(&settings));
        let (exporter, stopping) =
            (Exporter::new(spans.unwrap(), &settings, tracer.metrics()), CancellationToken::new());
        let keeping = tokio::spawn(exporter.keep(stopping.clone()));
        drop(tracer.background(None, Kind::Internal, "work"));
        // It is being told of it, and says nothing.
        let _called = hangs.accept().await.unwrap();
        drop(tracer.background(None, Kind::Internal, "more work"));
        let asked = Instant::now();
        stopping.cancel();
        keeping.await.unwrap();
        assert!(asked.elapsed() <= LAST_MAX + LULL, "{:?}", asked.elapsed());
    }
}
