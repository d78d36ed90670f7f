//! Who may call what: every route with every scope.

use holdfast::http::api::routes::groups;
use holdfast::http::auth::Scope::{self, Finance, Operator, Storefront, Warehouse};
use hyper::Method;

use crate::support::{Client, Reply, TestApp, TestDatabase};

/// Every route, and the scopes that open it. None is open to anyone.
const ROUTES: &[(&str, &str, Option<&[Scope]>)] = &[
    ("DELETE", "/invoices/processing", Some(&[Finance])),
    ("DELETE", "/invoices/processing/{marker}", Some(&[Finance])),
    ("DELETE", "/webhook-endpoints/{endpoint_id}", Some(&[])),
    ("GET", "/", None),
    ("GET", "/console/{file}", None),
    ("GET", "/events", Some(&[Storefront, Warehouse, Finance])),
    ("GET", "/health/live", None),
    ("GET", "/health/ready", None),
    ("GET", "/holds", Some(&[Storefront])),
    ("GET", "/holds/{hold_id}", Some(&[Storefront])),
    ("GET", "/idempotency-keys/{key}", Some(&[Storefront])),
    ("GET", "/inventory/audit", Some(&[])),
    ("GET", "/inventory/audits", Some(&[])),
    ("GET", "/inventory/check-stock/{variant_id}", Some(&[Storefront, Warehouse])),
    ("GET", "/inventory/{variant_id}", Some(&[Storefront, Warehouse])),
    ("GET", "/inventory/{variant_id}/movements", Some(&[Storefront, Warehouse])),
    ("GET", "/invoices", Some(&[Finance])),
    ("GET", "/invoices/policies/{account_id}", Some(&[Finance])),
    ("GET", "/invoices/processing", Some(&[Finance])),
    ("GET", "/invoices/processing/{marker}", Some(&[Finance])),
    ("GET", "/invoices/{invoice_id}", Some(&[Finance])),
    ("GET", "/locks/status", Some(&[])),
    ("GET", "/metrics", Some(&[])),
    ("GET", "/orders", Some(&[Storefront])),
    ("GET", "/orders/{order_id}", Some(&[Storefront])),
    ("GET", "/orders/{order_id}/history", Some(&[Storefront])),
    ("GET", "/pos/invoices/{name}", Some(&[Finance])),
    ("GET", "/pos/invoices/{name}/history", Some(&[Finance])),
    ("GET", "/presence", Some(&[Warehouse])),
    ("GET", "/racks", Some(&[Warehouse])),
    ("GET", "/racks/available", Some(&[Warehouse])),
    ("GET", "/racks/floors", Some(&[Warehouse])),
    ("GET", "/racks/{rack_id}/status", Some(&[Warehouse])),
    ("GET", "/sessions", Some(&[Warehouse])),
    ("GET", "/sessions/{session_id}", Some(&[Warehouse])),
    ("GET", "/sessions/{session_id}/export", Some(&[Warehouse])),
    ("GET", "/sessions/{session_id}/records", Some(&[Warehouse])),
    ("GET", "/sessions/{session_id}/variances", Some(&[Warehouse])),
    ("GET", "/status", Some(&[])),
    ("GET", "/sync/conflicts", Some(&[Warehouse])),
    ("GET", "/test/locks/status", Some(&[])),
    ("GET", "/variants", Some(&[Storefront, Warehouse])),
    ("GET", "/variants/{variant_id}", Some(&[Storefront, Warehouse])),
    ("GET", "/webhook-endpoints", Some(&[])),
    ("GET", "/webhook-endpoints/{endpoint_id}", Some(&[])),
    ("GET", "/webhook-endpoints/{endpoint_id}/deliveries", Some(&[])),
    ("GET", "/webhooks/inbox", Some(&[])),
    ("GET", "/whoami", Some(&[Storefront, Warehouse, Finance])),
    ("POST", "/holds", Some(&[Storefront])),
    ("POST", "/holds/{hold_id}/capture", Some(&[Storefront])),
    ("POST", "/holds/{hold_id}/extend", Some(&[Storefront])),
    ("POST", "/holds/{hold_id}/release", Some(&[Storefront])),
    ("POST", "/inventory/batch", Some(&[Storefront, Warehouse])),
    ("POST", "/inventory/check-stock/bulk", Some(&[Storefront, Warehouse])),
    ("POST", "/inventory/{variant_id}/adjust", Some(&[Warehouse])),
    ("POST", "/inventory/{variant_id}/decrement", Some(&[Storefront])),
    ("POST", "/inventory/{variant_id}/increment", Some(&[Storefront])),
    ("POST", "/invoices", Some(&[Finance])),
    ("POST", "/invoices/batch", Some(&[Finance])),
    ("POST", "/invoices/check", Some(&[Finance])),
    ("POST", "/invoices/processing", Some(&[Finance])),
    ("POST", "/invoices/processing/{marker}/beat", Some(&[Finance])),
    ("POST", "/invoices/processing/{marker}/fail", Some(&[Finance])),
    ("POST", "/invoices/processing/{marker}/finish", Some(&[Finance])),
    ("POST", "/invoices/vendors/forget", Some(&[Finance])),
    ("POST", "/invoices/{invoice_id}/override", Some(&[Finance])),
    ("POST", "/invoices/{invoice_id}/receive", Some(&[Finance])),
    ("POST", "/invoices/{invoice_id}/void", Some(&[Finance])),
    ("POST", "/locks/{key}/release", Some(&[])),
    ("POST", "/orders", Some(&[Storefront])),
    ("POST", "/orders/{order_id}/cancel", Some(&[Storefront])),
    ("POST", "/pos/invoices/{name}/return", Some(&[Finance])),
    ("POST", "/pos/invoices/{name}/submit", Some(&[Finance])),
    ("POST", "/racks", Some(&[Warehouse])),
    ("POST", "/racks/import", Some(&[Warehouse])),
    ("POST", "/racks/{rack_id}/claim", Some(&[Warehouse])),
    ("POST", "/racks/{rack_id}/complete", Some(&[Warehouse])),
    ("POST", "/racks/{rack_id}/pause", Some(&[Warehouse])),
    ("POST", "/racks/{rack_id}/release", Some(&[Warehouse])),
    ("POST", "/racks/{rack_id}/renew", Some(&[Warehouse])),
    ("POST", "/racks/{rack_id}/resume", Some(&[Warehouse])),
    ("POST", "/sessions", Some(&[Warehouse])),
    ("POST", "/sessions/{session_id}/discard", Some(&[Warehouse])),
    ("POST", "/sessions/{session_id}/heartbeat", Some(&[Warehouse])),
    ("POST", "/sessions/{session_id}/post", Some(&[Warehouse])),
    ("POST", "/sync/batch", Some(&[Warehouse])),
    ("POST", "/sync/conflicts/auto-resolve", Some(&[Warehouse])),
    ("POST", "/sync/conflicts/{conflict_id}/resolve", Some(&[Warehouse])),
    ("POST", "/sync/heartbeat", Some(&[Warehouse])),
    ("POST", "/sync/import", Some(&[Warehouse])),
    ("POST", "/test/inventory/test-concurrent-access", Some(&[])),
    ("POST", "/test/inventory/test-decrement", Some(&[])),
    ("POST", "/test/locks/clear-test-locks", Some(&[])),
    ("POST", "/variants", Some(&[])),
    ("POST", "/webhook-endpoints", Some(&[])),
    ("POST", "/webhook-endpoints/{endpoint_id}/replay", Some(&[])),
    ("POST", "/webhook-endpoints/{endpoint_id}/rotate", Some(&[])),
    ("POST", SIGNED, None),
    ("POST", "/webhooks/inbox/{entry_id}/replay", Some(&[])),
    ("PUT", "/invoices/policies/{account_id}", Some(&[Finance])),
    ("PUT", "/pos/invoices/{name}", Some(&[Finance])),
];
/// Opens to a signature, and to no key.
const SIGNED: &str = "/webhooks/cancellations";

/// Every route that is described, and the pages of the console.
fn routes_that_are_described() -> Vec<(String, String)> {
    let pages = ["/", "/console/{file}"].map(|path| ("GET".to_owned(), path.to_owned()));
    let operations = groups(true).into_iter().flat_map(|group| group.operations);
    let mut routes: Vec<_> =
        operations.map(|call| (call.method.to_string(), call.path.to_owned())).chain(pages).collect();
    routes.sort();
    routes
}

async fn call(client: &Client, method: &str, path: &str) -> Reply {
    // Whatever it is that the path names, nothing has this id.
    let parts = path
        .split('/')
        .map(|part| if part.starts_with('{') { "00000000-0000-7000-8000-000000000000" } else { part });
    let path = parts.collect::<Vec<_>>().join("/");
    let path = if path.starts_with("/console/") { "/console/app.js".to_owned() } else { path };
    // Open, it has no end.
    let path = if path == "/events" { "/events?types=none".to_owned() } else { path };
    let no_root = ["/health", "/console", "/metrics"].iter().any(|begin| path.starts_with(begin));
    let root = if no_root || path == "/" { "" } else { "/api/v1" };
    let method: Method = method.parse().unwrap();
    let body = if method == Method::GET { "" } else { "{}" };
    client
        .send(method, &format!("{root}{path}"), &[("content-type", "application/json")], body)
        .await
        .unwrap()
}

#[test]
fn every_route_stands_in_the_table_of_scopes() {
    let known: Vec<_> =
        ROUTES.iter().map(|(method, path, _)| ((*method).to_owned(), (*path).to_owned())).collect();
    assert_eq!(
        routes_that_are_described(),
        known,
        "a route was added or removed: say in the table who may use it"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn every_route_is_closed_to_strangers_and_open_to_its_scopes_alone() {
    let served = [("HOLDFAST_TEST_ENDPOINTS", "true")];
    let app = TestApp::with(TestDatabase::fresh().await, None, &served).await;
    let mut holders = Vec::new();
    for scope in Scope::ALL {
        holders.push((scope, app.client_of(scope.as_str(), &[scope]).await));
    }
    for (method, path, scopes) in ROUTES {
        if *path == SIGNED {
            for client in [&app.client, &app.client.with_key("")] {
                assert_eq!(call(client, method, path).await.expect(401).code(), "bad_signature");
            }
            continue;
        }
        for stranger in ["", "hf_nobody", "hf_test_0123456789abcdef0123456789abcdee"] {
            let reply = call(&app.client.with_key(stranger), method, path).await;
            match scopes {
                None => assert_eq!(reply.status, 200, "{method} {path}"),
                Some(_) => {
                    assert_eq!(
                        (reply.status.as_u16(), reply.code().as_str()),
                        (401, "unauthenticated"),
                        "{method} {path}"
                    );
                    assert_eq!(reply.header("www-authenticate"), Some("Bearer"));
                }
            }
        }
        for (scope, client) in &holders {
            let reply = call(client, method, path).await;
            let open = scopes.is_none_or(|scopes| *scope == Operator || scopes.contains(scope));
            if open {
                assert!(
                    !matches!(reply.status.as_u16(), 401 | 403 | 500..),
                    "{scope:?} {method} {path}: {reply:?}"
                );
            } else {
                assert_eq!(
                    (reply.status.as_u16(), reply.code().as_str()),
                    (403, "forbidden"),
                    "{scope:?} {method} {path}"
                );
            }
        }
    }
    assert!(holders.iter().any(|(scope, _)| *scope == Finance), "every scope was tried");
    assert_eq!(app.everything().await, [0; 9]);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_given_as_a_bearer_token_and_in_no_other_way() {
    let app = TestApp::without_redis().await;
    let bare = app.client.with_key("");
    let key = &app.client.key;
    for (authorization, status) in [
        (format!("Bearer {key}"), 200),
        (format!("bearer {key}"), 200),
        (format!("BEARER  {key} "), 200),
        (key.clone(), 401),
        (format!("Basic {key}"), 401),
        (format!("Bearer{key}"), 401),
        ("Bearer".to_owned(), 401),
        ("Bearer ".to_owned(), 401),
        (format!("Bearer {key}x"), 401),
        (format!("Bearer {}", key.to_uppercase()), 401),
    ] {
        let reply = bare
            .send(Method::GET, "/api/v1/variants", &[("authorization", &authorization)], "")
            .await
            .unwrap();
        assert_eq!(reply.status, status, "{authorization:?}");
    }
    let elsewhere = [("x-api-key", key.as_str()), ("cookie", key)];
    let reply = bare.send(Method::GET, &format!("/api/v1/variants?key={key}"), &elsewhere, "").await.unwrap();
    assert_eq!(reply.status, 401);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_key_opens_nothing() {
    let app = TestApp::without_redis().await;
    let client = app.client_of("shop", &[Storefront]).await;
    sqlx::query("UPDATE api_keys SET revoked_at = now()").execute(&app.database.pool).await.unwrap();
    assert_eq!(client.get("/variants").await.expect(401).code(), "unauthenticated");
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_kept_hashed() {
    let app = TestApp::without_redis().await;
    let client = app.client_of("shop", &[Storefront]).await;
    let kept = app.count(&format!("api_keys WHERE api_keys::text LIKE '%{}%'", &client.key[3..20])).await;
    assert_eq!((kept, app.count("api_keys").await), (0, 1));
    app.finish().await;
}
