//! What is counted about leases, by class: never by name.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

use crate::locks::LockClass;
use crate::locks::metrics::Class;

/// The classes that leases have.
const CLASSES: [LockClass; 2] = [LockClass::Rack, LockClass::Invoice];

/// The leases' metrics. Clones are the same metrics.
#[derive(Debug, Clone)]
pub struct LeaseMetrics {
    granted: Family<Class, Counter>,
    refused: Family<Class, Counter>,
    strangers: Family<Class, Counter>,
    takeovers: Family<Class, Counter>,
    lost: Family<Class, Counter>,
}

impl Default for LeaseMetrics {
    /// Whatever can be counted is told from the start.
    fn default() -> Self {
        let family = || {
            let family = Family::<Class, Counter>::default();
            CLASSES.into_iter().for_each(|class| drop(family.get_or_create(&Class { class })));
            family
        };
        Self {
            granted: family(),
            refused: family(),
            strangers: family(),
            takeovers: family(),
            lost: family(),
        }
    }
}

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident)*) => {$(
        $(#[$doc])*
        #[must_use]
        pub fn $name(&self, class: LockClass) -> Counter {
            self.$name.get_or_create_owned(&Class { class })
        }
    )*};
}

impl LeaseMetrics {
    counters! {
        /// Claims that were granted, repeated ones included.
        granted
        /// Claims that were not, for somebody held the lease.
        refused
        /// Claims that were not, for another program held the key in Redis.
        strangers
        /// Claims that followed one that had lapsed without an end.
        takeovers
        /// Renewals and checked writes that were refused, for their claim was no longer the newest or had ended.
        lost
    }

    /// Adds them to `registry`.
    pub fn register(&self, registry: &mut Registry) {
        let leases = registry.sub_registry_with_prefix("lease");
        for (name, help, family) in [
            ("granted", "Claims that were granted", &self.granted),
            ("refused", "Claims refused because somebody held the lease", &self.refused),
            ("strangers", "Claims refused because another program held the key", &self.strangers),
            ("takeovers", "Claims that followed one that lapsed without an end", &self.takeovers),
            ("lost", "Renewals and checked writes refused because their claim was lost", &self.lost),
        ] {
            leases.register(name, help, family.clone());
        }
    }
}
