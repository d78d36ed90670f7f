//! What is counted about events.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use std::sync::atomic::AtomicU64;

/// The events' metrics. Clones are the same metrics.
#[derive(Debug, Clone, Default)]
pub struct EventMetrics {
    /// Streams that are open.
    pub readers: Gauge,
    /// Streams that were cut because their reader took nothing.
    pub cut: Counter,
    /// Events that the relay has told.
    pub told: Counter,
    /// Set when it is asked for.
    pub lag: Gauge<f64, AtomicU64>,
}

impl EventMetrics {
    /// Adds them to `registry`.
    pub fn register(&self, registry: &mut Registry) {
        let events = registry.sub_registry_with_prefix("event");
        events.register("readers", "Streams of events that are open", self.readers.clone());
        events.register("cut", "Streams cut because their reader took nothing", self.cut.clone());
        events.register("told", "Events that were read to be told", self.told.clone());
        events.register(
            "lag_seconds",
            "How long the stream has waited for a transaction that lasts, or for the database",
            self.lag.clone(),
        );
    }
}
