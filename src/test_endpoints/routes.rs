//! The paths of the test endpoints, and who may use them.

use std::sync::Arc;

use axum::Router;
use axum::routing::{get, post};

use super::{clear_test_locks, test_concurrent_access, test_decrement};
use crate::app::App;
use crate::http::auth::Scope::Operator;
use crate::http::open_to;
use crate::operations::lock_status;

/// Routes under `/api/v1`, and under no prefix.
pub fn routes(app: &Arc<App>) -> Router<Arc<App>> {
    Router::new()
        .route("/test/inventory/test-decrement", post(test_decrement::test_decrement))
        .route("/test/inventory/test-concurrent-access", post(test_concurrent_access::test_concurrent_access))
        .route("/test/locks/status", get(lock_status::lock_status))
        .route("/test/locks/clear-test-locks", post(clear_test_locks::clear_test_locks))
        .route_layer(open_to(app, &[Operator]))
}
