//! What a collector is told of requests: where their time went, in their callers' traces, and no secret.

use hyper::Method;
use serde_json::json;
use tokio::net::TcpListener;

use super::{SOON, open_section};
use crate::support::{
    ADMIN_KEY, Collector, Scrape, Span, TestApp, TestDatabase, at_once, eventually, free_port,
};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CALLER: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
const SECRET: &str = "s3cret-of-the-collector";

async fn traced(url: &str, more: &[(&str, &str)]) -> TestApp {
    let header = format!("api-key={SECRET}");
    let mut settings = vec![
        ("OTEL_EXPORTER_OTLP_ENDPOINT", url),
        ("OTEL_EXPORTER_OTLP_HEADERS", header.as_str()),
        ("OTEL_BSP_SCHEDULE_DELAY", "5"),
    ];
    settings.extend_from_slice(more);
    TestApp::with(TestDatabase::fresh().await, None, &settings).await
}

fn named<'a>(spans: &'a [Span], name: &str) -> &'a Span {
    let mut all = spans.iter().filter(|span| span.name == name);
    let found = all.next().unwrap_or_else(|| panic!("no {name} in {spans:#?}"));
    assert!(all.next().is_none(), "more than one {name} in {spans:#?}");
    found
}

#[tokio::test]
async fn a_callers_trace_goes_on_through_verb_lock_section_and_transaction_and_comes_back() {
    let collector = Collector::start().await;
    let app = traced(&collector.url(), &[]).await;
    let variant = app.client.variant(5).await;
    let body = json!({"user_id": "ann", "lines": [{"variant_id": variant, "quantity": 1}]});
    let headers =
        [("content-type", "application/json"), ("idempotency-key", "key-1"), ("traceparent", CALLER)];
    let placed = app
        .client
        .send(Method::POST, "/api/v1/orders", &headers, body.to_string())
        .await
        .unwrap()
        .expect(201);
    eventually(SOON, "all its spans are told", async || collector.trace(TRACE).len() == 5).await;
    let spans = collector.trace(TRACE);
    let request = named(&spans, "POST /api/v1/orders");
    assert_eq!((request.parent_span_id.as_deref(), request.kind), (Some("00f067aa0ba902b7"), 2));
    let said = request.attributes();
    assert_eq!(
        (said["http.request.method"], said["http.route"], said["http.response.status_code"]),
        ("POST", "/api/v1/orders", "201")
    );
    assert_eq!(Some(said["holdfast.request_id"]), placed.header("x-request-id"));
    let tree = [
        ("orders.place", "POST /api/v1/orders"),
        ("lock.wait", "orders.place"),
        ("section", "orders.place"),
        ("transaction", "section"),
    ];
    for (name, parent) in tree {
        let (span, parent) = (named(&spans, name), named(&spans, parent));
        assert_eq!(span.parent_span_id.as_ref(), Some(&parent.span_id), "{name}");
        assert!(span.from() >= request.from() && span.until() <= request.until(), "{name}: {spans:#?}");
        assert!(!span.has_failed());
    }
    assert_eq!(named(&spans, "lock.wait").attributes()["lock.mode"], "database_only");
    assert_eq!(named(&spans, "section").attributes()["section.requests"], "1");
    let answered = format!("00-{TRACE}-{}-01", request.span_id);
    assert_eq!(placed.header("traceresponse"), Some(answered.as_str()));

    // What follows from it later can be told in the same trace.
    let kept: Option<String> =
        sqlx::query_scalar("SELECT traceparent FROM orders").fetch_one(&app.database.pool).await.unwrap();
    assert_eq!(kept.as_ref(), Some(&answered));
    let cancel = format!("/api/v1/orders/{}/cancel", placed.json()["order_id"].as_str().unwrap());
    let headers = [("content-type", "application/json"), ("traceparent", CALLER)];
    let cancelled = app.client.send(Method::POST, &cancel, &headers, "{}").await.unwrap().expect(200);
    let of_event = "SELECT traceparent FROM events WHERE kind = 'order.cancelled'";
    let kept: Option<String> = sqlx::query_scalar(of_event).fetch_one(&app.database.pool).await.unwrap();
    assert_eq!(kept.as_deref(), cancelled.header("traceresponse"));

    // What a request does in a section that others could have shared is its own, too.
    let held = app.client.post_keyed("/holds", &body, "key-2").await.expect(201);
    let capture = format!("/api/v1/holds/{}/capture", held.json()["hold_id"].as_str().unwrap());
    let headers =
        [("content-type", "application/json"), ("idempotency-key", "key-3"), ("traceparent", CALLER)];
    let captured = app.client.send(Method::POST, &capture, &headers, "{}").await.unwrap().expect(201);
    let of_event = "SELECT traceparent FROM events WHERE kind = 'hold.captured'";
    let kept: Option<String> = sqlx::query_scalar(of_event).fetch_one(&app.database.pool).await.unwrap();
    assert_eq!(kept.as_deref(), captured.header("traceresponse"));
    let plenty = app.client.variant(20).await;
    let sell = format!("/api/v1/inventory/{plenty}/decrement");
    let headers = [("content-type", "application/json"), ("traceparent", CALLER)];
    let sold =
        app.client.send(Method::POST, &sell, &headers, r#"{"quantity": 15}"#).await.unwrap().expect(200);
    let of_event = "SELECT traceparent FROM events WHERE kind = 'stock.low' ORDER BY position DESC LIMIT 1";
    let kept: Option<String> = sqlx::query_scalar(of_event).fetch_one(&app.database.pool).await.unwrap();
    assert_eq!(kept.as_deref(), sold.header("traceresponse"));
    app.finish().await;
}

#[tokio::test]
async fn what_writes_is_told_by_the_id_that_the_document_gives_it() {
    let collector = Collector::start().await;
    let app = traced(&collector.url(), &[]).await;
    let document = app.client.send(Method::GET, "/openapi.json", &[], "").await.unwrap().expect(200).json();
    let variant = app.client.variant(5).await;
    for (path, body) in [
        ("/racks".to_owned(), json!({"rack_id": "R1", "floor": "1"})),
        ("/racks/R1/claim".to_owned(), json!({"floor": "1"})),
        ("/racks/R1/release".to_owned(), json!({})),
        ("/sync/batch".to_owned(), json!({"records": []})),
        (format!("/inventory/{variant}/adjust"), json!({"delta": 1, "reason": "found"})),
        ("/webhook-endpoints".to_owned(), json!({"url": "https://example.com/hooks"})),
        ("/locks/some-lock/release".to_owned(), json!({"reason": "to see"})),
        ("/invoices/check".to_owned(), json!({})),
    ] {
        app.client.post(&path, &body).await;
    }
    let requests = async || {
        let mut spans = collector.spans();
        spans.retain(|span| span.kind == 2 && span.name.starts_with("POST /api/"));
        spans
    };
    eventually(SOON, "all are told", async || requests().await.len() == 9).await;
    for request in requests().await {
        let said = request.attributes();
        let is_within = |span: &Span| span.parent_span_id.as_ref() == Some(&request.span_id);
        let spans = collector.trace(&request.trace_id);
        let within: Vec<_> =
            spans.iter().filter(|span| is_within(span)).map(|span| span.name.as_str()).collect();
        assert_eq!(
            json!(within),
            json!([document["paths"][said["http.route"]]["post"]["operationId"]]),
            "{said:?}"
        );
    }
    app.finish().await;
}

#[tokio::test]
async fn who_waits_in_vain_for_a_lock_is_told_of_as_one_who_failed() {
    let collector = Collector::start().await;
    let app = traced(&collector.url(), &[("HOLDFAST_LOCK_WAIT_MS", "200")]).await;
    let variant = app.client.variant(100).await;
    let lease = app.lease(variant).await;
    let refused = app.client.decrement(variant, 1).await.expect(429);
    lease.release().await;
    let trace_id = refused.header("traceresponse").unwrap().split('-').nth(1).unwrap().to_owned();
    eventually(SOON, "it is told", async || collector.trace(&trace_id).len() == 3).await;
    let spans = collector.trace(&trace_id);
    let verb = named(&spans, "inventory.decrement");
    let waited = named(&spans, "lock.wait");
    assert!(verb.has_failed() && waited.has_failed(), "{spans:#?}");
    assert_eq!(waited.parent_span_id.as_ref(), Some(&verb.span_id));
    assert!(waited.from() >= verb.from() && waited.until() <= verb.until());
    app.finish().await;
}

#[tokio::test]
async fn what_is_left_to_tell_is_told_when_the_service_stops() {
    let collector = Collector::start().await;
    let url = collector.url();
    let settings = [("OTEL_EXPORTER_OTLP_ENDPOINT", &*url), ("OTEL_BSP_SCHEDULE_DELAY", "60000")];
    let mut app = TestApp::with(TestDatabase::fresh().await, None, &settings).await;
    let asked = app.client.send(Method::GET, "/health/live", &[], "").await.unwrap().expect(200);
    let trace_id = asked.header("traceresponse").unwrap().split('-').nth(1).unwrap().to_owned();
    assert!(collector.trace(&trace_id).is_empty(), "it gathers for a minute");
    app.quiet().await;
    assert_eq!(collector.trace(&trace_id).len(), 1);
    app.finish().await;
}

#[tokio::test]
async fn those_who_share_a_section_are_each_told_of_it_in_their_own_trace() {
    let collector = Collector::start().await;
    let app = traced(&collector.url(), &[]).await;
    let variant = app.client.variant(100).await;
    let (row, first) = open_section(&app, variant).await;
    let crowd = tokio::spawn({
        let client = app.client.clone();
        async move {
            at_once(4, |_| {
                let client = client.clone();
                async move { client.decrement(variant, 1).await.expect(200) }
            })
            .await
        }
    });
    eventually(SOON, "all wait", async || app.app.locks.in_line(variant) == 5).await;
    row.let_go().await;
    first.await.unwrap().expect(200);
    for reply in crowd.await.unwrap() {
        let trace_id = reply.header("traceresponse").unwrap().split('-').nth(1).unwrap().to_owned();
        eventually(SOON, "its spans are told", async || collector.trace(&trace_id).len() == 5).await;
        let spans = collector.trace(&trace_id);
        assert_eq!(named(&spans, "section").attributes()["section.requests"], "4");
        let request = named(&spans, "POST /api/v1/inventory/{variant_id}/decrement");
        assert_eq!(request.parent_span_id, None);
        let verb = named(&spans, "inventory.decrement");
        for name in ["lock.wait", "section"] {
            assert_eq!(named(&spans, name).parent_span_id.as_ref(), Some(&verb.span_id));
        }
    }
    app.finish().await;
}

#[tokio::test]
async fn the_collector_hears_no_secret_and_metrics_name_a_trace() {
    let collector = Collector::start().await;
    let app = traced(&collector.url(), &[]).await;
    let path = "/api/v1/inventory/check-stock/hunter2?quantity=1&token=hunter2";
    let headers = [("content-type", "application/json"), ("cookie", "hunter2")];
    app.client.send(Method::POST, path, &headers, r#"{"password": "hunter2"}"#).await.unwrap();
    app.client.variant(5).await;
    eventually(SOON, "both are told", async || collector.spans().len() >= 5).await;
    let told = collector.everything();
    for secret in ["hunter2", ADMIN_KEY, SECRET, "Bearer", "refused"] {
        assert!(!told.contains(secret), "{secret}: {told}");
    }
    assert!(collector.headers().iter().all(|headers| headers["api-key"] == SECRET));
    let scrape = Scrape::of(&app.client).await;
    assert!(scrape.get(r#"trace_spans_total{outcome="sent"}"#) >= 5.0);
    let traces: Vec<_> = collector.spans().into_iter().map(|span| span.trace_id).collect();
    assert!(!scrape.exemplars.is_empty());
    for exemplar in &scrape.exemplars {
        let trace_id = exemplar.strip_prefix("{trace_id=\"").and_then(|rest| rest.get(..32)).expect(exemplar);
        assert!(traces.iter().any(|told| told == trace_id), "{exemplar}");
    }
    app.finish().await;
}

#[tokio::test]
async fn a_trace_that_its_caller_does_not_tell_is_not_told_here_and_a_wrong_one_begins_anew() {
    let collector = Collector::start().await;
    let app = traced(&collector.url(), &[("OTEL_TRACES_SAMPLER_ARG", "0")]).await;
    let ask = async |traceparent: &str| {
        let headers = [("traceparent", traceparent)];
        let reply = app.client.send(Method::GET, "/health/live", &headers, "").await.unwrap().expect(200);
        reply.header("traceresponse").unwrap().to_owned()
    };
    let untold = ask(&CALLER.replace("-01", "-00")).await;
    assert!(untold.starts_with(&format!("00-{TRACE}-")) && untold.ends_with("-00"), "{untold}");
    let anew = ask("00-nonsense").await;
    assert!(!anew.contains(TRACE) && anew.ends_with("-00"), "{anew}");
    // A caller's wish goes before our share.
    ask(CALLER).await;
    eventually(SOON, "one is told", async || !collector.spans().is_empty()).await;
    assert_eq!(collector.spans().len(), 1);
    app.finish().await;
}

#[tokio::test]
async fn a_collector_that_is_away_or_hangs_slows_and_fails_nothing() {
    let hangs = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let hung = format!("http://{}", hangs.local_addr().unwrap());
    for url in [format!("http://127.0.0.1:{}", free_port()), hung] {
        let app = traced(&url, &[]).await;
        let variant = app.client.variant(1_000).await;
        let many = 400;
        at_once(8, |_| {
            let client = app.client.clone();
            async move {
                for _ in 0..many / 8 {
                    client.decrement(variant, 1).await.expect(200);
                }
            }
        })
        .await;
        assert_eq!(app.client.on_hand(variant).await, 1_000 - many);
        let scrape = Scrape::of(&app.client).await;
        assert_eq!(scrape.get(r#"trace_spans_total{outcome="sent"}"#), 0.0);
        eventually(SOON, "what it did not take is counted", async || {
            Scrape::of(&app.client).await.get(r#"trace_spans_total{outcome="failed"}"#) > 0.0
        })
        .await;
        app.finish().await;
    }
}
