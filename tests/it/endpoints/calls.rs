//! Endpoints are made, shown, changed and removed by operators.

use hyper::Method;
use serde_json::json;

use super::{Receiver, path, register, start};
use crate::support::{TestApp, unique};

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_is_shown_once_and_by_its_key_again() {
    let app = start().await;
    let key = unique("key");
    let body = json!({"url": "https://example.com/hooks", "types": ["order.*"]});
    let first = app.client.post_keyed("/webhook-endpoints", &body, &key).await.expect(201);
    let again = app.client.post_keyed("/webhook-endpoints", &body, &key).await.expect(201);
    assert!(again.was_replayed() && again.bytes == first.bytes);
    let made = first.json();
    assert!(made["secret"].as_str().unwrap().starts_with("whsec_"));
    assert_eq!(made["types"], json!(["order.placed", "order.cancelled"]));
    let listed = app.client.get("/webhook-endpoints").await.expect(200).json();
    assert_eq!(listed["items"].as_array().unwrap().len(), 1);
    assert!(!listed.to_string().contains("whsec_"));
    let one = app.client.get(&path(&made, "")).await.expect(200).json();
    assert_eq!((&one["breaker"], &one["pending"]), (&json!("closed"), &json!(0)));
    let other = app.client.post(&path(&made, "/rotate"), &json!({})).await.expect(200).json();
    assert_ne!(other["secret"], made["secret"]);
    let remove = format!("/api/v1{}", path(&made, ""));
    for status in [204, 404] {
        app.client.send(Method::DELETE, &remove, &[], "").await.unwrap().expect(status);
    }
    for (verb, rest) in [("get", ""), ("get", "/deliveries"), ("post", "/replay"), ("post", "/rotate")] {
        let path = path(&made, rest);
        let reply = if verb == "get" {
            app.client.get(&path).await
        } else {
            app.client.post(&path, &json!({})).await
        };
        assert_eq!(reply.expect(404).code(), "endpoint_not_found");
    }
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_address_or_type_is_refused_by_its_name_and_so_is_a_private_one() {
    let app = TestApp::without_redis().await;
    for (field, value) in [
        ("url", json!("example.com")),
        ("url", json!("ftp://example.com/")),
        ("url", json!("https://ann:secret@example.com/")),
        ("url", json!("http://127.0.0.1/")),
        ("url", json!("http://[::1]:9/")),
        ("url", json!("http://169.254.169.254/latest")),
        ("url", json!("http://localhost/")),
        ("types", json!(["order.shipped"])),
        ("types", json!([])),
        ("secret", json!("mine")),
    ] {
        let mut body = json!({"url": "https://example.com/hooks"});
        body[field] = value;
        let refused = app.client.post("/webhook-endpoints", &body).await.expect(422).json();
        assert!(refused["errors"][0]["field"].as_str().unwrap().starts_with(field), "{refused}");
    }
    assert_eq!(app.count("webhook_endpoints").await, 0);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn there_are_a_hundred_at_most() {
    let app = start().await;
    let receiver = Receiver::start().await;
    for _ in 0..100 {
        register(&app, &receiver.url(), &["order.placed"]).await;
    }
    let one_more = app.client.post("/webhook-endpoints", &json!({"url": receiver.url()})).await.expect(409);
    assert_eq!(one_more.code(), "too_many_endpoints");
    app.finish().await;
}
