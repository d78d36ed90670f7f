//! What is counted and timed about locks, by class: never by variant, of which there are too many to tell apart.

use std::fmt::{self, Write};
use std::time::Duration;

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};
use schemars::JsonSchema;
use serde::Serialize;

use super::keys::LockClass;
use super::lease::DatabaseOnly;
use super::{Breaker, BreakerState, LockMode, Locks};

/// Of one class.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Class {
    /// Which.
    pub class: LockClass,
}

/// Of one class, in one mode.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ClassAndMode {
    /// Which class.
    pub class: LockClass,
    /// Which layers.
    pub mode: LockMode,
}

/// Of one class, for one reason.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ClassAndWhy {
    /// Which class.
    pub class: LockClass,
    /// Why no lease was given.
    pub why: Refused,
}

/// Why no lease was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Refused {
    /// Somebody else held it for as long as the caller may wait.
    Busy,
    /// Too many waited.
    Overloaded,
    /// The caller hung up.
    CallerGone,
}

impl Refused {
    const ALL: [Self; 3] = [Self::Busy, Self::Overloaded, Self::CallerGone];
}

/// Why a lease was without its Redis layer.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Without {
    /// The reason.
    pub why: DatabaseOnly,
}

/// In one mode.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Mode {
    /// Which.
    pub mode: LockMode,
}

/// In one mode, for one reason.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ModeAndWhy {
    /// Which.
    pub mode: LockMode,
    /// Why.
    pub why: ModeWhy,
}

/// Why leases are given in the mode they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ModeWhy {
    /// Redis answers.
    RedisAnswers,
    /// There is none to be asked.
    NotConfigured,
    /// It failed, and is left alone.
    BreakerOpen,
    /// It answered one probe, and has to answer another.
    HalfOpen,
}

/// What made a waiter look again.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct By {
    /// What it was.
    pub by: WokenBy,
}

/// What made a waiter look again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum WokenBy {
    /// The release told it.
    Message,
    /// It looked of itself.
    Poll,
}

/// The locks' metrics. Clones are the same metrics.
#[derive(Debug, Clone)]
pub struct LockMetrics {
    /// From asking to having, of leases that were given.
    pub waits: Family<ClassAndMode, Histogram>,
    /// From having to letting go.
    pub holds: Family<ClassAndMode, Histogram>,
    /// Leases that were not given.
    pub refused: Family<ClassAndWhy, Counter>,
    /// Leases without a Redis layer.
    pub database_only: Family<Without, Counter>,
    /// Keys taken over from dead replicas.
    pub takeovers: Family<Class, Counter>,
    /// Keys that were no longer ours before we let them go.
    pub lost: Family<Class, Counter>,
    /// TTLs renewed.
    pub renewals: Family<Class, Counter>,
    /// What made waiters look again.
    pub wake_ups: Family<By, Counter>,
    /// Changes of mode, by what it became.
    pub mode_changes: Family<Mode, Counter>,
    /// Time spent in each mode.
    pub mode_seconds: Family<Mode, Counter<f64, std::sync::atomic::AtomicU64>>,
    /// 1 for the mode that leases are given in now, and why; 0 for all others.
    pub mode_now: Family<ModeAndWhy, Gauge>,
    /// Requests in line in this process.
    pub waiting: Family<Class, Gauge>,
    /// 0 while requests use Redis, 1 while a probe decides, 2 while it is left alone.
    pub breaker: Gauge,
}

impl Default for LockMetrics {
    fn default() -> Self {
        let metrics = Self {
            waits: Family::new_with_constructor(times),
            holds: Family::new_with_constructor(times),
            refused: Family::default(),
            database_only: Family::default(),
            takeovers: Family::default(),
            lost: Family::default(),
            renewals: Family::default(),
            wake_ups: Family::default(),
            mode_changes: Family::default(),
            mode_seconds: Family::default(),
            mode_now: Family::default(),
            waiting: Family::default(),
            breaker: Gauge::default(),
        };
        metrics.begin_at_zero();
        metrics
    }
}

/// The values of labels, as `GET /locks/status` and the answers of writes spell them too. The derive would write the
/// variants' names.
macro_rules! label_values {
    ($($label:ty { $($value:ident: $text:literal),* })*) => {$(
        impl EncodeLabelValue for $label {
            fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), fmt::Error> {
                encoder.write_str(match self {
                    $(Self::$value => $text,)*
                })
            }
        }
    )*};
}
label_values! {
    LockClass { Order: "order", Inventory: "inventory", Rack: "rack", Invoice: "invoice", Custom: "custom" }
    LockMode { TwoLayer: "two_layer", DatabaseOnly: "database_only" }
    DatabaseOnly { NotConfigured: "not_configured", BreakerOpen: "breaker_open", Fault: "fault" }
    ModeWhy {
        RedisAnswers: "redis_answers", NotConfigured: "not_configured", BreakerOpen: "breaker_open",
        HalfOpen: "half_open"
    }
    Refused { Busy: "busy", Overloaded: "overloaded", CallerGone: "caller_gone" }
    WokenBy { Message: "message", Poll: "poll" }
}

/// From 100 µs to 13 s, each twice the one before.
fn times() -> Histogram {
    Histogram::new(exponential_buckets(0.000_1, 2.0, 18))
}

impl LockMetrics {
    /// Whatever can be counted is told from the start: the first of its kind is an increase, not a beginning.
    fn begin_at_zero(&self) {
        for class in LockClass::ALL {
            for mode in [LockMode::TwoLayer, LockMode::DatabaseOnly] {
                drop(self.waits.get_or_create(&ClassAndMode { class, mode }));
                drop(self.holds.get_or_create(&ClassAndMode { class, mode }));
            }
            for why in Refused::ALL {
                drop(self.refused.get_or_create(&ClassAndWhy { class, why }));
            }
            for counter in [&self.takeovers, &self.lost, &self.renewals] {
                drop(counter.get_or_create(&Class { class }));
            }
        }
        for why in DatabaseOnly::ALL {
            drop(self.database_only.get_or_create(&Without { why }));
        }
        for by in [WokenBy::Message, WokenBy::Poll] {
            drop(self.wake_ups.get_or_create(&By { by }));
        }
    }

    fn register(&self, registry: &mut Registry) {
        let locks = registry.sub_registry_with_prefix("lock");
        let (waits, holds) = (self.waits.clone(), self.holds.clone());
        locks.register_with_unit("wait", "From asking for a lease to having it", Unit::Seconds, waits);
        locks.register_with_unit("hold", "From having a lease to letting it go", Unit::Seconds, holds);
        locks.register("refused", "Leases that were not given", self.refused.clone());
        locks.register(
            "database_only",
            "Leases without a Redis layer, by reason",
            self.database_only.clone(),
        );
        locks.register(
            "takeovers",
            "Keys taken over from replicas that stopped beating",
            self.takeovers.clone(),
        );
        locks.register("lost", "Keys that were lost before they were let go; harmless", self.lost.clone());
        locks.register("renewals", "Leases renewed while their sections ran", self.renewals.clone());
        locks.register("wake_ups", "What made a waiter look again at a busy key", self.wake_ups.clone());
        locks.register("mode_changes", "Changes of the lock mode, by the new one", self.mode_changes.clone());
        locks.register_with_unit("mode", "Time in each lock mode", Unit::Seconds, self.mode_seconds.clone());
        let help = "1 for the lock mode of now and its reason, 0 for all others";
        locks.register("mode", help, self.mode_now.clone());
        locks.register("waiting", "Requests that wait in this process", self.waiting.clone());
        locks.register("breaker_state", "0 closed, 1 half open, 2 open", self.breaker.clone());
    }
}

/// What became of locks since the process began, all classes together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
pub struct LockTallies {
    /// Requests in line now.
    pub waiting: i64,
    /// Leases that were not given.
    pub refused: u64,
    /// Keys taken over from replicas that stopped beating.
    pub takeovers: u64,
    /// Keys that were lost before they were let go.
    pub lost: u64,
    /// Leases without a Redis layer.
    pub database_only: u64,
}

impl Locks {
    /// What became of locks so far.
    #[must_use]
    pub fn tallies(&self) -> LockTallies {
        let metrics = &self.0.metrics;
        let of_classes = |counter: &Family<Class, Counter>| {
            LockClass::ALL.into_iter().map(|class| counter.get_or_create(&Class { class }).get()).sum()
        };
        let refusals =
            LockClass::ALL.into_iter().flat_map(|class| Refused::ALL.map(|why| ClassAndWhy { class, why }));
        let without = DatabaseOnly::ALL.into_iter().map(|why| Without { why });
        LockTallies {
            waiting: self.0.lines.waiting_by_class().values().sum(),
            refused: refusals.map(|label| metrics.refused.get_or_create(&label).get()).sum(),
            takeovers: of_classes(&metrics.takeovers),
            lost: of_classes(&metrics.lost),
            database_only: without.map(|label| metrics.database_only.get_or_create(&label).get()).sum(),
        }
    }

    /// Adds the locks' metrics to `registry`.
    pub fn register_metrics(&self, registry: &mut Registry) {
        self.0.metrics.register(registry);
    }

    /// Brings those up to date that are looked at and not counted.
    pub fn update_metrics(&self) {
        let (metrics, inner) = (&self.0.metrics, &self.0);
        let waiting = inner.lines.waiting_by_class();
        for class in LockClass::ALL {
            let count = waiting.get(&class).copied().unwrap_or_default();
            metrics.waiting.get_or_create(&Class { class }).set(count);
        }
        for mode in [LockMode::TwoLayer, LockMode::DatabaseOnly] {
            let (turned, lasted) = match self.breaker() {
                Some(breaker) => (breaker.turned(mode), breaker.lasted(mode)),
                None if mode == LockMode::DatabaseOnly => (0, inner.started.elapsed()),
                None => (0, Duration::ZERO),
            };
            let changes = metrics.mode_changes.get_or_create(&Mode { mode });
            changes.inc_by(turned.saturating_sub(changes.get()));
            let seconds = metrics.mode_seconds.get_or_create(&Mode { mode });
            seconds.inc_by((lasted.as_secs_f64() - seconds.get()).max(0.0));
        }
        let now = match self.breaker().map(Breaker::state) {
            Some(BreakerState::Closed) => ModeWhy::RedisAnswers,
            Some(BreakerState::HalfOpen) => ModeWhy::HalfOpen,
            Some(BreakerState::Open) => ModeWhy::BreakerOpen,
            None => ModeWhy::NotConfigured,
        };
        for why in [ModeWhy::RedisAnswers, ModeWhy::NotConfigured, ModeWhy::BreakerOpen, ModeWhy::HalfOpen] {
            let is_two_layer = why == ModeWhy::RedisAnswers;
            let mode = if is_two_layer { LockMode::TwoLayer } else { LockMode::DatabaseOnly };
            metrics.mode_now.get_or_create(&ModeAndWhy { mode, why }).set(i64::from(why == now));
        }
        metrics.breaker.set(match self.breaker().map(Breaker::state) {
            Some(BreakerState::Closed) => 0,
            Some(BreakerState::HalfOpen) => 1,
            Some(BreakerState::Open) | None => 2,
        });
    }
}
