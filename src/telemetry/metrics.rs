//! What is counted of spans.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByOutcome {
    outcome: &'static str,
}

/// What became of spans. Clones are the same metrics.
#[derive(Debug, Clone)]
pub struct TraceMetrics(Family<ByOutcome, Counter>);

impl Default for TraceMetrics {
    /// Whatever can be counted is told from the start.
    fn default() -> Self {
        let spans = Family::<ByOutcome, Counter>::default();
        for outcome in ["sent", "dropped", "failed"] {
            drop(spans.get_or_create(&ByOutcome { outcome }));
        }
        Self(spans)
    }
}

impl TraceMetrics {
    pub(super) fn count(&self, outcome: &'static str, spans: u64) {
        self.0.get_or_create(&ByOutcome { outcome }).inc_by(spans);
    }

    /// How many there was no room for.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.0.get_or_create(&ByOutcome { outcome: "dropped" }).get()
    }

    /// Adds them to `registry`.
    pub fn register(&self, registry: &mut Registry) {
        let help = "Spans: sent, not sent by a collector's fault, or dropped for want of room";
        registry.register("trace_spans", help, self.0.clone());
    }
}
