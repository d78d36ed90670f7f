//! The locking core against a real Redis.

mod acl;
mod all_or_nothing;
mod arrival_order;
mod clock_set_back;
mod cluster_status;
mod clusters;
mod custom;
mod evidence;
mod fair_share;
mod hung_up;
mod interop;
mod model;
mod owner;
mod renewal;
mod row_order;
mod strangers;
mod topologies;
mod wake_up;

use std::time::Duration;

/// A limit for what should take no time: it only tells a hang from an answer.
const SOON: Duration = Duration::from_secs(15);
/// A limit for an election, which a busy machine may have to hold twice.
const FAILOVER: Duration = Duration::from_secs(60);
/// A request that meets a stranger gives up soon, Redis is probed often, and no slow machine is taken for a fault.
const PATIENT: &[(&str, &str)] = &[
    ("HOLDFAST_LOCK_WAIT_MS", "1500"),
    ("HOLDFAST_BREAKER_PROBE_MS", "50"),
    ("HOLDFAST_REDIS_TIMEOUT_MS", "1000"),
];
