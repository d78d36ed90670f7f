//! What is counted about the pool.

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};
use std::fmt::{self, Write};
use tokio::time::Instant;

use super::{DbError, PoolLevels};

/// Why no connection was had.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Why {
    /// All stayed busy.
    Exhausted,
    /// Postgres is away.
    Unavailable,
    /// Anything else.
    Failed,
}

impl EncodeLabelValue for Why {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), fmt::Error> {
        encoder.write_str(match self {
            Self::Exhausted => "exhausted",
            Self::Unavailable => "unavailable",
            Self::Failed => "failed",
        })
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByWhy {
    why: Why,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByState {
    state: &'static str,
}

/// The pool's metrics. Clones are the same metrics.
#[derive(Debug, Clone)]
pub struct DbMetrics {
    waiting: Gauge,
    acquired: Histogram,
    failures: Family<ByWhy, Counter>,
    connections: Family<ByState, Gauge>,
    most: Gauge,
    /// Whether Postgres answered when it was asked last.
    pub up: Gauge,
}

impl Default for DbMetrics {
    /// Whatever can be counted is told from the start.
    fn default() -> Self {
        let failures = Family::<ByWhy, Counter>::default();
        for why in [Why::Exhausted, Why::Unavailable, Why::Failed] {
            drop(failures.get_or_create(&ByWhy { why }));
        }
        Self {
            waiting: Gauge::default(),
            // From 50 µs to 3 s: past 2 s nobody waits.
            acquired: Histogram::new(exponential_buckets(0.000_05, 2.0, 17)),
            failures,
            connections: Family::default(),
            most: Gauge::default(),
            up: Gauge::default(),
        }
    }
}

impl DbMetrics {
    /// Whoever asked for a connection at `since` waits no more.
    pub(super) fn ended<T>(&self, since: Instant, outcome: Result<T, DbError>) -> Result<T, DbError> {
        let why = match &outcome {
            Ok(_) => {
                self.acquired.observe(since.elapsed().as_secs_f64());
                return outcome;
            }
            Err(DbError::PoolExhausted) => Why::Exhausted,
            Err(DbError::Unavailable(_)) => Why::Unavailable,
            Err(_) => Why::Failed,
        };
        self.failures.get_or_create(&ByWhy { why }).inc();
        outcome
    }

    /// What the pool has now, and how many wait for it.
    pub(super) fn see(&self, levels: PoolLevels, waiting: u32) {
        self.waiting.set(i64::from(waiting));
        let idle = levels.connections.saturating_sub(levels.busy);
        self.connections.get_or_create(&ByState { state: "idle" }).set(i64::from(idle));
        self.connections.get_or_create(&ByState { state: "busy" }).set(i64::from(levels.busy));
        self.most.set(i64::from(levels.max));
    }

    /// Adds them to `registry`.
    pub fn register(&self, registry: &mut Registry) {
        let db = registry.sub_registry_with_prefix("db");
        db.register("connections", "Connections of the pool, by what they do", self.connections.clone());
        db.register("connections_max", "The most connections the pool may have", self.most.clone());
        db.register("waiting", "Those who wait for a connection now", self.waiting.clone());
        let help = "From asking for a connection to having it, its BEGIN included";
        db.register_with_unit("acquire", help, Unit::Seconds, self.acquired.clone());
        db.register("acquire_failures", "Connections that were not had, by reason", self.failures.clone());
        db.register("up", "1 if Postgres answered when metrics were asked for last", self.up.clone());
    }
}
