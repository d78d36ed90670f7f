//! What is told of requests, of the pool, of sections, and of what waits in the database.

use hyper::Method;
use serde_json::json;
use uuid::Uuid;

use super::{SOON, open_section};
use crate::support::{Scrape, TestApp, at_once, eventually};

const SALES: &str = r#"method="POST",route="/api/v1/inventory/{variant_id}/decrement""#;

#[tokio::test]
async fn a_route_is_counted_timed_and_told_by_its_own_words() {
    let app = TestApp::without_redis().await;
    let variant = app.client.variant(1).await;
    app.client.decrement(variant, 1).await.expect(200);
    app.client.decrement(variant, 1).await.expect(409);
    let scrape = Scrape::of(&app.client).await;
    for status in ["2xx", "4xx"] {
        let answers = format!(r#"http_requests_total{{{SALES},status="{status}"}}"#);
        assert_eq!(scrape.get(&answers), 1.0, "{answers}");
    }
    assert_eq!(scrape.get(&format!("http_request_duration_seconds_count{{{SALES}}}")), 2.0);
    assert_eq!(scrape.get(&format!(r#"http_request_duration_seconds_bucket{{{SALES},le="+Inf"}}"#)), 2.0);
    assert_eq!(scrape.get("http_requests_in_flight"), 1.0, "the one that asks");
    assert!(scrape.exemplars.is_empty(), "nothing is traced");
    app.finish().await;
}

#[tokio::test]
async fn whatever_a_stranger_asks_for_adds_one_series_and_no_more() {
    let app = TestApp::without_redis().await;
    let ask = async |method: &str, path: &str| {
        let method: Method = method.parse().unwrap();
        app.client.send(method, path, &[("x-request-id", path), ("traceparent", path)], "").await.unwrap()
    };
    // One of each sort that there can be.
    for (method, path) in [
        ("GET", "/nowhere"),
        ("GET", "/api/v1/inventory/00000000-0000-0000-0000-000000000000"),
        ("BREW", "/api/v1/orders"),
        ("GET", "/api/v1/inventory/x"),
    ] {
        ask(method, path).await;
    }
    let _first = Scrape::of(&app.client).await;
    let before = Scrape::of(&app.client).await;
    for number in 0..50 {
        let id = Uuid::from_u128(number);
        for (method, path) in [
            ("GET", format!("/wp-admin/{id}")),
            ("GET", format!("/api/v1/inventory/{id}")),
            ("GET", format!("/api/v1/inventory/%22%7D{number}")),
            (["BREW", "TRACE", "LINK", "MOVE"][number as usize % 4], "/api/v1/orders".to_owned()),
            ("DELETE", format!("/{number}/%0Aholdfast_up%201")),
        ] {
            ask(method, &path).await;
        }
    }
    let after = Scrape::of(&app.client).await;
    assert_eq!(after.samples.len(), before.samples.len(), "{:?}", after.samples.keys());
    assert!(after.get(r#"http_requests_total{method="other",route="none",status="4xx"}"#) >= 100.0);
    assert!(after.get(r#"http_requests_total{method="other",route="/api/v1/orders",status="4xx"}"#) >= 50.0);
    app.finish().await;
}

#[tokio::test]
async fn a_crowd_shows_in_the_sections_and_in_the_pool() {
    let app = TestApp::without_redis().await;
    let variant = app.client.variant(100).await;
    eventually(SOON, "Postgres answered", async || Scrape::of(&app.client).await.get("db_up") == 1.0).await;
    let before = Scrape::of(&app.client).await;
    assert!(before.get("db_connections_max") >= 1.0);
    let (row, first) = open_section(&app, variant).await;
    let crowd = tokio::spawn({
        let client = app.client.clone();
        async move {
            at_once(8, |_| {
                let client = client.clone();
                async move { client.decrement(variant, 1).await.expect(200) }
            })
            .await
        }
    });
    eventually(SOON, "all wait behind the first", async || {
        Scrape::of(&app.client).await.get(r#"lock_waiting{class="inventory"}"#) == 8.0
    })
    .await;
    assert!(Scrape::of(&app.client).await.get(r#"db_connections{state="busy"}"#) >= 1.0);
    row.let_go().await;
    first.await.unwrap().expect(200);
    crowd.await.unwrap();
    let after = Scrape::of(&app.client).await;
    let grown = |name: &str| after.get(name) - before.get(name);
    assert_eq!(grown("section_requests_sum"), 9.0);
    assert_eq!(grown("section_requests_count"), 2.0, "one alone, and all who came meanwhile together");
    assert_eq!(grown("section_transaction_seconds_count"), 2.0);
    assert_eq!(grown(r#"section_outcomes_total{outcome="answered"}"#), 9.0);
    assert_eq!((after.get("section_slots_busy"), after.get("db_waiting")), (0.0, 0.0));
    assert!(grown("db_acquire_seconds_count") >= 2.0);
    app.finish().await;
}

#[tokio::test]
async fn what_the_last_audit_found_is_told_by_every_replica_until_the_next() {
    let app = TestApp::without_redis().await;
    let variant = app.client.variant(5).await;
    let unknown = Scrape::of(&app.client).await;
    assert!(unknown.get("audit_ok").is_nan() && unknown.get("audit_timestamp_seconds").is_nan());
    app.client.get("/inventory/audit").await.expect(200);
    let seen = async |ok: f64| {
        eventually(SOON, "the verdict is told", async || Scrape::of(&app.client).await.get("audit_ok") == ok)
            .await;
        Scrape::of(&app.client).await
    };
    assert_eq!(seen(1.0).await.count("holdfast_audit_violations{"), 0);

    let set = async |on_hand: i64| {
        let set = "UPDATE stock SET on_hand = $2 WHERE variant_id = $1";
        sqlx::query(set).bind(variant).bind(on_hand).execute(&app.database.pool).await.unwrap();
    };
    set(6).await;
    app.client.get("/inventory/audit").await.expect(200);
    let broken = seen(0.0).await;
    assert_eq!(broken.get(r#"audit_violations{invariant="balance_is_the_sum_of_movements"}"#), 1.0);
    assert!(broken.get("audit_timestamp_seconds") > 1_600_000_000.0);
    set(5).await;
    app.client.get("/inventory/audit").await.expect(200);
    seen(1.0).await;
    app.finish().await;
}

#[tokio::test]
async fn what_waits_for_somebody_is_told() {
    let app = TestApp::without_redis().await;
    let endpoint = json!({"url": "https://example.com/hooks"});
    let endpoint = app.client.post("/webhook-endpoints", &endpoint).await.expect(201).json();
    // Nobody delivers here, so what happens is not published.
    let variant = app.client.variant(5).await;
    app.client.decrement(variant, 1).await.expect(200);
    eventually(SOON, "an event waits", async || {
        Scrape::of(&app.client).await.get("event_unpublished_seconds") > 0.0
    })
    .await;
    let wait =
        "INSERT INTO webhook_deliveries (delivery_id, endpoint_id, position, event_id, type, aggregate, body,
                    state, pending_since)
                SELECT gen_random_uuid(), endpoint_id, 1, gen_random_uuid(), 'stock.changed', 'nothing', '{}', state,
                    clock_timestamp() - interval '1 hour'
                FROM webhook_endpoints CROSS JOIN unnest(ARRAY['pending', 'dead', 'dead']) AS state";
    sqlx::query(wait).execute(&app.database.pool).await.unwrap();
    eventually(SOON, "deliveries wait", async || {
        let scrape = Scrape::of(&app.client).await;
        (scrape.get("endpoint_pending"), scrape.get("endpoint_dead")) == (1.0, 2.0)
    })
    .await;
    assert!(Scrape::of(&app.client).await.get("endpoint_oldest_pending_seconds") >= 3_600.0);
    // One that answered 410 is told of as such, and what it is not sent any more waits for nobody.
    sqlx::query("UPDATE webhook_endpoints SET gone_at = clock_timestamp()")
        .execute(&app.database.pool)
        .await
        .unwrap();
    eventually(SOON, "one is gone", async || {
        let scrape = Scrape::of(&app.client).await;
        let waiting =
            ["pending", "dead", "oldest_pending_seconds"].map(|name| scrape.get(&format!("endpoint_{name}")));
        (waiting, scrape.get("endpoint_gone")) == ([0.0; 3], 1.0)
    })
    .await;
    sqlx::query("UPDATE webhook_endpoints SET gone_at = NULL").execute(&app.database.pool).await.unwrap();
    eventually(SOON, "it is back", async || Scrape::of(&app.client).await.get("endpoint_dead") == 2.0).await;
    // What is left of an endpoint that was removed waits for nobody.
    let remove = format!("/api/v1/webhook-endpoints/{}", endpoint["endpoint_id"].as_str().unwrap());
    app.client.send(Method::DELETE, &remove, &[], "").await.unwrap().expect(204);
    eventually(SOON, "nothing waits", async || {
        let scrape = Scrape::of(&app.client).await;
        (scrape.get("endpoint_pending"), scrape.get("endpoint_dead")) == (0.0, 0.0)
    })
    .await;
    app.finish().await;
}

#[tokio::test]
async fn whoever_asks_for_plain_text_gets_it() {
    let app = TestApp::without_redis().await;
    for (accept, form) in [
        ("text/plain", "text/plain; version=0.0.4; charset=utf-8"),
        (
            "application/openmetrics-text;version=1.0.0,text/plain;q=0.5",
            "application/openmetrics-text; version=1.0.0; charset=utf-8",
        ),
        ("*/*", "application/openmetrics-text; version=1.0.0; charset=utf-8"),
    ] {
        let reply = app.client.send(Method::GET, "/metrics", &[("accept", accept)], "").await.unwrap();
        assert_eq!(reply.expect(200).header("content-type"), Some(form), "{accept}");
    }
    app.finish().await;
}
