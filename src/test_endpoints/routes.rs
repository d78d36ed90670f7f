//! The test calls: their paths, who may make them, and what is told of them.

use serde_json::json;

use super::{clear_test_locks, test_concurrent_access, test_decrement};
use crate::http::api::document::example_of;
use crate::http::api::{Group, get, post};
use crate::http::problem::Code::{InsufficientStock, NotFound, VariantNotFound};
use crate::operations::lock_status;

/// Test calls, which are served under no prefix too.
#[must_use]
pub fn routes() -> Group {
    let about = "For load tests: served only where `HOLDFAST_TEST_ENDPOINTS` is `true`; under `/test` too. Parameters \
                 stand in the query, in the body, or in both, of which the body counts.";
    Group::new("Test calls", about, &[])
        .with(
            post("/test/inventory/test-decrement", "test.decrement", test_decrement::test_decrement)
                .says("Sell without ceremony", "Failures have the same shape, with their real status.")
                .guarded()
                .answers::<test_decrement::Outcome>(200, "It is sold.")
                .refuses(&[VariantNotFound, InsufficientStock])
                .fails_as::<test_decrement::Outcome>()
                .example(json!({"variant_id": example_of("variant_id"), "quantity": 1})),
        )
        .with(
            post(
                "/test/inventory/test-concurrent-access",
                "test.hold_lock",
                test_concurrent_access::test_concurrent_access,
            )
            .says("Hold a variant's lock", "In both layers, as a slow section would.")
            .answers::<test_concurrent_access::Held>(200, "It was held, and let go.")
            .refuses(&[NotFound, VariantNotFound])
            .example(json!({"variant_id": example_of("variant_id"), "lock_duration": 1})),
        )
        .with(
            post("/test/locks/clear-test-locks", "test.clear_locks", clear_test_locks::clear_test_locks)
                .says("Let go of all that test calls hold", "No other lock is touched.")
                .answers::<clear_test_locks::Cleared>(200, "How many there were.")
                .example(json!({})),
        )
        .with(
            get("/test/locks/status", "test.lock_status", lock_status::lock_status)
                .says("Look at all locks", "")
                .answers::<lock_status::Status>(200, "As `GET /locks/status`."),
        )
}
