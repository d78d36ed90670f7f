//! How large sections are, and what becomes of their requests.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByOutcome {
    outcome: &'static str,
}

/// What becomes of a request that came to a section.
const OUTCOMES: [&str; 4] = ["answered", "alone", "no_lease", "failed"];

/// The sections' metrics. Clones are the same metrics.
#[derive(Debug, Clone)]
pub struct SectionMetrics {
    requests: Histogram,
    keys: Histogram,
    /// From the lease to the end of the commit.
    pub(super) transactions: Histogram,
    outcomes: Family<ByOutcome, Counter>,
    /// How many may prepare their commits at a time.
    pub(super) slots: Gauge,
    /// How many do.
    pub(super) slots_busy: Gauge,
}

impl Default for SectionMetrics {
    /// Whatever can be counted is told from the start.
    fn default() -> Self {
        let outcomes = Family::<ByOutcome, Counter>::default();
        OUTCOMES.into_iter().for_each(|outcome| drop(outcomes.get_or_create(&ByOutcome { outcome })));
        Self {
            requests: Histogram::new(exponential_buckets(1.0, 2.0, 9)),
            keys: Histogram::new(exponential_buckets(1.0, 2.0, 10)),
            transactions: Histogram::new(exponential_buckets(0.000_5, 2.0, 15)),
            outcomes,
            slots: Gauge::default(),
            slots_busy: Gauge::default(),
        }
    }
}

impl SectionMetrics {
    /// A section has its lease.
    pub(super) fn begun(&self, requests: usize, keys: usize) {
        self.requests.observe(requests as f64);
        self.keys.observe(keys as f64);
    }

    /// Counts what became of a request.
    pub(super) fn count(&self, outcome: &'static str) {
        self.outcomes.get_or_create(&ByOutcome { outcome }).inc();
    }

    /// Adds them to `registry`.
    pub fn register(&self, registry: &mut Registry) {
        let sections = registry.sub_registry_with_prefix("section");
        sections.register("requests", "Requests that shared a section", self.requests.clone());
        sections.register("keys", "Keys that a section stood for", self.keys.clone());
        let help = "From a section's lease to the end of its commit";
        sections.register_with_unit("transaction", help, Unit::Seconds, self.transactions.clone());
        let help = "Requests that came to a section, by what became of them there";
        sections.register("outcomes", help, self.outcomes.clone());
        sections.register("slots", "Sections that may prepare their commits at a time", self.slots.clone());
        sections.register("slots_busy", "Sections that do", self.slots_busy.clone());
    }
}
