//! The calls of operators: their paths, who may make them, and what is told of them.

use serde_json::json;

use super::{lock_status, metrics, process_status, release_lock};
use crate::http::api::{Group, get, post};
use crate::http::problem::Code::{LockNotHeld, LockServiceUnavailable, ReleaseUnknown};

/// What operators see and do.
#[must_use]
pub fn routes() -> Group {
    Group::new(
        "Operations",
        "What goes on, what is locked and who waits, and the way out in an emergency.",
        &[],
    )
    .with(
        get("/status", "operations.status", process_status::process_status)
            .says(
                "Look at what a process does",
                "As it knows without asking anybody: it answers whatever is away, to a key that was good within the hour.",
            )
            .looks_on()
            .answers::<process_status::ProcessStatus>(200, "All of it is of the process that was asked."),
    )
    .with(
        get("/locks/status", "locks.status", lock_status::lock_status)
            .says(
                "Look at all locks",
                "Of every replica, and who waits for whom in Postgres. Whatever is away, it answers a key that was good within the hour.",
            )
            .looks_on()
            .answers::<lock_status::Status>(200, "All locks there are, whatever can be asked."),
    )
    .with(
        post("/locks/{key}/release", "locks.release", release_lock::release_lock)
            .at("rack:lock:A-01-2")
            .says(
                "Take a lock away from its holder",
                "For emergencies, and on the record. `key` is the whole name, as the status shows it.",
            )
            .patient()
            .answers::<release_lock::Release>(200, "It was taken away.")
            .refuses(&[LockNotHeld, LockServiceUnavailable, ReleaseUnknown])
            .example(json!({"reason": "its holder hangs"})),
    )
}

/// Metrics, under no prefix.
#[must_use]
pub fn metrics() -> Group {
    Group::new("Metrics", "What this process counts and measures.", &[]).at_the_root().with(
        get("/metrics", "metrics.read", metrics::metrics)
            .says("Read the metrics", "For Prometheus.")
            .looks_on()
            .reads_header("Accept", "`application/openmetrics-text`, or else plain text is told.")
            .answers_as::<String>(200, "All of them, as text.", "application/openmetrics-text")
            .answers_as::<String>(200, "", "text/plain"),
    )
}
