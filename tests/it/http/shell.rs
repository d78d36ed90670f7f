//! What every request goes through, whatever it asks for.

use hyper::Method;
use serde_json::{Value, json};

use crate::support::client::order_body;
use crate::support::{Reply, TestApp, unique};

const JSON: (&str, &str) = ("content-type", "application/json");

/// Holds for every refusal: a problem document that names its request, and nothing else.
fn assert_is_problem(reply: &Reply, status: u16, code: &str) {
    let problem = reply.json();
    assert_eq!((reply.status.as_u16(), reply.code().as_str()), (status, code), "{reply:?}");
    assert_eq!(reply.header("content-type"), Some("application/problem+json"));
    assert_eq!(problem["type"], format!("urn:holdfast:problem:{code}"));
    assert_eq!(problem["status"], status);
    assert_eq!(problem["request_id"].as_str(), reply.header("x-request-id"));
    let mut names: Vec<_> = problem.as_object().unwrap().keys().map(String::as_str).collect();
    names.retain(|name| *name != "errors");
    assert_eq!(names, ["code", "detail", "request_id", "status", "title", "type"]);
    for name in ["title", "detail"] {
        assert!(problem[name].as_str().is_some_and(|text| !text.is_empty()), "{problem}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_keeps_the_id_it_came_with_if_that_can_be_used() {
    let app = TestApp::without_redis().await;
    let longest = "r".repeat(128);
    for given in ["a", "req-7/ä".trim_end_matches('ä'), &longest] {
        let reply =
            app.client.send(Method::GET, "/api/v1/variants", &[("x-request-id", given)], "").await.unwrap();
        assert_eq!(reply.header("x-request-id"), Some(given));
    }
    for given in ["", "with space", &"r".repeat(129)] {
        let reply = app.client.send(Method::GET, "/nowhere", &[("x-request-id", given)], "").await.unwrap();
        let made = reply.header("x-request-id").unwrap();
        assert!(made != given && made.parse::<uuid::Uuid>().is_ok(), "{made}");
        assert_is_problem(&reply, 404, "not_found");
    }
    let (one, two) = (app.client.get("/variants").await, app.client.get("/variants").await);
    assert_ne!(one.header("x-request-id"), two.header("x-request-id"));
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_movement_keeps_the_id_of_its_request() {
    let app = TestApp::without_redis().await;
    let id = app.client.variant(5).await;
    let request_id = unique("request");
    let path = format!("/api/v1/inventory/{id}/decrement");
    app.client
        .send(Method::POST, &path, &[JSON, ("x-request-id", &request_id)], r#"{"quantity":1}"#)
        .await
        .unwrap()
        .expect(200);
    assert_eq!(app.count(&format!("stock_movements WHERE request_id = '{request_id}'")).await, 1);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_path_that_leads_nowhere_is_a_problem_document() {
    let app = TestApp::without_redis().await;
    for path in [
        "/",
        "/api",
        "/api/v1",
        "/api/v1/",
        "/api/v1/nothing",
        "/api/v2/variants",
        "/api/v1/variants/",
        "/metrics/..",
        "//",
    ] {
        let reply = app.client.send(Method::GET, path, &[], "").await.unwrap();
        // The root may come to serve something; a page is no JSON.
        if path != "/" {
            assert_is_problem(&reply, 404, "not_found");
        }
    }
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_method_that_a_path_does_not_take_is_refused_and_the_right_ones_are_named() {
    let app = TestApp::without_redis().await;
    let id = app.client.variant(5).await;
    let decrement = format!("/api/v1/inventory/{id}/decrement");
    for (method, path, allowed) in [
        (Method::DELETE, "/api/v1/variants", vec!["GET", "HEAD", "POST"]),
        (Method::GET, &decrement, vec!["POST"]),
        (Method::PUT, &decrement, vec!["POST"]),
        (Method::PATCH, "/api/v1/orders", vec!["GET", "HEAD", "POST"]),
        (Method::POST, "/health/live", vec!["GET", "HEAD"]),
        (Method::TRACE, "/api/v1/orders", vec!["GET", "HEAD", "POST"]),
    ] {
        let reply = app.client.send(method.clone(), path, &[JSON], "{}").await.unwrap();
        assert_is_problem(&reply, 405, "method_not_allowed");
        let mut named: Vec<_> = reply.header("allow").unwrap_or_default().split(',').map(str::trim).collect();
        named.sort_unstable();
        assert_eq!(named, allowed, "{method} {path}");
    }
    assert_eq!(app.client.on_hand(id).await, 5);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_may_have_one_mebibyte_and_not_one_byte_more() {
    let app = TestApp::without_redis().await;
    let id = app.client.variant(5).await;
    let order = app.client.order("ann", &unique("k"), &[(id, 1)]).await.expect(201).json();
    let decrement = format!("/api/v1/inventory/{id}/decrement");
    let cancel = format!("/api/v1/orders/{}/cancel", order["order_id"].as_str().unwrap());
    for (path, body) in [(&decrement, r#"{"quantity":1}"#), (&cancel, "{}")] {
        let padded = |bytes: usize| format!("{body}{}", " ".repeat(bytes - body.len()));
        let large = app.client.send(Method::POST, path, &[JSON], padded(1024 * 1024 + 1)).await.unwrap();
        assert_is_problem(&large, 413, "body_too_large");
        app.client.send(Method::POST, path, &[JSON], padded(1024 * 1024)).await.unwrap().expect(200);
    }
    assert_eq!(app.client.on_hand(id).await, 4);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_is_json_by_its_own_account_and_not_encoded() {
    let app = TestApp::without_redis().await;
    let id = app.client.variant(5).await;
    let path = format!("/api/v1/inventory/{id}/decrement");
    let body = r#"{"quantity":1}"#;
    for headers in [
        vec![],
        vec![("content-type", "text/plain")],
        vec![("content-type", "application/x-www-form-urlencoded")],
        vec![("content-type", "application/jsonp")],
        vec![("content-type", "")],
        vec![JSON, ("content-encoding", "gzip")],
        vec![JSON, ("content-encoding", "identity")],
    ] {
        let reply = app.client.send(Method::POST, &path, &headers, body).await.unwrap();
        assert_is_problem(&reply, 415, "unsupported_media_type");
    }
    for media_type in ["application/json", "application/json; charset=utf-8", "Application/JSON"] {
        let reply =
            app.client.send(Method::POST, &path, &[("content-type", media_type)], body).await.unwrap();
        reply.expect(200);
    }
    assert_eq!(app.client.on_hand(id).await, 2);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_json_is_malformed() {
    let app = TestApp::without_redis().await;
    let id = app.client.variant(5).await;
    let before = app.everything().await;
    let path = format!("/api/v1/inventory/{id}/decrement");
    let deep = format!("{{\"quantity\":{}1{}}}", "[".repeat(200), "]".repeat(200));
    for body in [
        &b""[..],
        b" ",
        b"{",
        b"{\"quantity\":1",
        b"{\"quantity\":1,}",
        b"{'quantity':1}",
        b"{quantity:1}",
        b"{\"quantity\":1} {\"quantity\":1}",
        b"quantity=1",
        b"\xef\xbb\xbf{\"quantity\":1}",
        b"\xff\xfe{\0\"\0",
        b"{\"quantity\":1,\"reason\":\"\xff\"}",
        b"{\"quantity\":1,\"reason\":\"\\ud800\"}",
        b"{\"quantity\":1,\"reason\":\"a\nb\"}",
        b"{\"quantity\":1,\"reason\":\"\\x41\"}",
    ] {
        let reply = app.client.send(Method::POST, &path, &[JSON], body).await.unwrap();
        assert_is_problem(&reply, 400, "malformed_json");
    }
    // Deep nesting may be found to be wrong before it is found to be deep.
    let reply = app.client.send(Method::POST, &path, &[JSON], deep).await.unwrap();
    assert!(matches!(reply.status.as_u16(), 400 | 422), "{reply:?}");
    assert_eq!(app.everything().await, before);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_field_that_nobody_asked_for_is_named() {
    let app = TestApp::without_redis().await;
    let id = app.client.variant(5).await;
    let before = app.everything().await;
    let with = |mut body: Value| {
        body["is_admin"] = json!({"a": [1]});
        body["Quantity"] = json!(7);
        body
    };
    let order = format!("/orders/{id}/cancel");
    for (path, body) in [
        ("/variants", json!({"sku": "s", "name": "n", "price": "1", "currency": "EUR"})),
        (&format!("/inventory/{id}/adjust"), json!({"delta": 1, "reason": "r"})),
        (&format!("/inventory/{id}/decrement"), json!({"quantity": 1})),
        (&format!("/inventory/{id}/increment"), json!({"quantity": 1})),
        (
            "/inventory/batch",
            json!({"mode": "atomic", "operations": [{"op": "decrement", "variant_id": id, "quantity": 1}]}),
        ),
        ("/orders", order_body("ann", &[(id, 1)])),
        (&order, json!({})),
    ] {
        let reply = app.client.post_keyed(path, &with(body), &unique("k")).await;
        assert_is_problem(&reply, 422, "validation_failed");
        let problem = reply.json();
        let mut named: Vec<_> =
            problem["errors"].as_array().unwrap().iter().map(|e| e["field"].as_str().unwrap()).collect();
        named.sort_unstable();
        assert_eq!(named, ["Quantity", "is_admin"], "{path}");
        assert!(problem["detail"].as_str().unwrap().contains("is_admin"));
    }
    let nested = json!([{"variant_id": id, "quantity": 1, "qty": 1}]);
    let reply = app.client.post("/inventory/check-stock/bulk", &nested).await;
    assert_is_problem(&reply, 422, "validation_failed");
    assert!(reply.json()["errors"][0]["field"].as_str().unwrap().ends_with("qty"));
    assert_eq!(app.everything().await, before);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_is_asked_for_head_first() {
    let app = TestApp::without_redis().await;
    let id = app.client.variant(5).await;
    for path in ["/api/v1/variants".to_owned(), format!("/api/v1/inventory/{id}"), "/health/live".to_owned()]
    {
        let reply = app.client.send(Method::HEAD, &path, &[], "").await.unwrap().expect(200);
        assert!(reply.bytes.is_empty());
    }
    app.finish().await;
}
