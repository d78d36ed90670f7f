//! What became of attempts to deliver, counted: never by endpoint.

use std::fmt::{self, Write};
use std::time::Duration;

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

/// How an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// It was taken.
    Delivered,
    /// It is tried again.
    Failed,
    /// It was the last one.
    Dead,
}

impl EncodeLabelValue for Outcome {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), fmt::Error> {
        encoder.write_str(match self {
            Self::Delivered => "delivered",
            Self::Failed => "failed",
            Self::Dead => "dead",
        })
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByOutcome {
    outcome: Outcome,
}

/// The endpoints' metrics. Clones are the same metrics.
#[derive(Debug, Clone)]
pub struct EndpointMetrics {
    attempts: Family<ByOutcome, Counter>,
    /// Gaps: an endpoint came back after what it wants was forgotten.
    pub gaps: Counter,
    durations: Histogram,
}

impl Default for EndpointMetrics {
    /// Whatever can be counted is told from the start.
    fn default() -> Self {
        let attempts = Family::<ByOutcome, Counter>::default();
        for outcome in [Outcome::Delivered, Outcome::Failed, Outcome::Dead] {
            drop(attempts.get_or_create(&ByOutcome { outcome }));
        }
        // From 5 ms to 10 s: then an attempt is given up.
        let durations = Histogram::new(exponential_buckets(0.005, 2.0, 12));
        Self { attempts, gaps: Counter::default(), durations }
    }
}

impl EndpointMetrics {
    /// Counts an attempt that took so long.
    pub fn count(&self, outcome: Outcome, took: Duration) {
        self.durations.observe(took.as_secs_f64());
        self.attempts.get_or_create(&ByOutcome { outcome }).inc();
    }

    /// Adds them to `registry`.
    pub fn register(&self, registry: &mut Registry) {
        let endpoints = registry.sub_registry_with_prefix("endpoint");
        endpoints.register(
            "gaps",
            "Times that an endpoint came back after events it wants were forgotten",
            self.gaps.clone(),
        );
        endpoints.register("attempts", "Attempts to deliver events to endpoints", self.attempts.clone());
        let help = "From looking up an endpoint's host to its answer";
        endpoints.register_with_unit("attempt", help, Unit::Seconds, self.durations.clone());
    }
}
