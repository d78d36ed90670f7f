//! All calls, and the one that tells of them.

use std::sync::{Arc, OnceLock};

use axum::Router;
use axum::body::Bytes;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::IntoResponse;
use axum::routing;

use super::Group;
use super::document::document;
use super::page;
use crate::app::App;
use crate::http::{health, whoami};
use crate::{
    console, counts, endpoints, events, holds, inventory, invoices, operations, orders, test_endpoints,
    webhooks,
};

/// Every call that this process serves.
#[must_use]
pub fn groups(with_test_calls: bool) -> Vec<Group> {
    let mut groups = vec![
        inventory::routes::variants(),
        inventory::routes::routes(),
        orders::routes::routes(),
        holds::routes::routes(),
        webhooks::routes::routes(),
        counts::routes::routes(),
        invoices::routes::of_tills(),
        invoices::routes::of_suppliers(),
        invoices::routes::markers(),
        events::routes::routes(),
        endpoints::routes::routes(),
        operations::routes::routes(),
        operations::routes::metrics(),
        whoami::routes(),
        health::routes(),
    ];
    if with_test_calls {
        groups.push(test_endpoints::routes::routes());
    }
    groups
}

/// The router of all of them.
pub fn router(app: &Arc<App>) -> Router<Arc<App>> {
    let with_test_calls = app.test_holds.is_some();
    let (mut v1, mut root) = (Router::new(), Router::new());
    for group in groups(with_test_calls) {
        match group.root {
            "" => root = root.merge(group.router(app)),
            _ => v1 = v1.merge(group.router(app)),
        }
    }
    // Field devices know the calls of counting without a version, and load tests those for them without anything.
    let mut routes = root
        .nest("/api/v1", v1)
        .nest("/api", counts::routes::routes().router(app))
        .merge(page::routes())
        .merge(console::routes::routes());
    if with_test_calls {
        routes = routes.merge(test_endpoints::routes::routes().router(app));
    }
    let written = Arc::new(OnceLock::new());
    routes.route("/openapi.json", routing::get(move || tell(written.clone(), with_test_calls)))
}

/// `GET /openapi.json`, for anybody. Written when it is first asked for.
async fn tell(written: Arc<OnceLock<Bytes>>, with_test_calls: bool) -> impl IntoResponse {
    let text = written.get_or_init(|| document(&groups(with_test_calls)).to_string().into()).clone();
    ([(CONTENT_TYPE, "application/json"), (CACHE_CONTROL, "no-cache")], text)
}
