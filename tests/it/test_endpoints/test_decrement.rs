//! A sale without ceremony: the same sale, whichever way it is asked for, and one shape for whatever comes of it.

use hyper::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{ON, ROOTS, SOON, call, call_json, start};
use crate::support::stranger::inventory_lock;
use crate::support::{Private, Reply, Stranger, TestApp, TestDatabase, at_once, eventually};

const PATH: &str = "/test/inventory/test-decrement";

/// Holds for every answer, good or bad. Gives its body.
#[track_caller]
fn assert_shape(reply: &Reply) -> Value {
    let told = reply.json();
    let mut names: Vec<_> = told.as_object().unwrap().keys().map(String::as_str).collect();
    names.sort_unstable();
    names.retain(|name| *name != "code");
    assert_eq!(
        names,
        [
            "duration_ms",
            "lock",
            "lock_service_available",
            "message",
            "quantity_decremented",
            "success",
            "timestamp",
            "variant_id"
        ]
    );
    let success = reply.status == 200;
    assert_eq!((told["success"].as_bool(), told["code"].is_null()), (Some(success), success), "{told}");
    assert!(told["message"].as_str().is_some_and(|message| !message.is_empty()), "{told}");
    assert!(
        told["duration_ms"].as_f64().unwrap() >= 0.0 && told["timestamp"].as_str().unwrap().ends_with('Z')
    );
    assert_eq!(reply.header("content-type"), Some("application/json"));
    assert!(success || told["quantity_decremented"] == 0, "{told}");
    told
}

#[track_caller]
fn assert_refused(reply: &Reply, status: u16, code: &str) -> Value {
    let told = assert_shape(reply);
    assert_eq!((reply.status.as_u16(), told["code"].as_str()), (status, Some(code)), "{told}");
    told
}

#[tokio::test]
async fn it_sells_by_query_by_json_or_by_both_and_says_under_which_lock() {
    let redis = Private::redis().await;
    let app = start(Some(&redis)).await;
    let variant = app.client.variant(100).await;
    for root in ROOTS {
        let path = format!("{root}/inventory/test-decrement");
        let by_query = format!("{path}?variant_id={variant}&quantity=3&reason=a%20load%20test");
        let body = json!({"variant_id": variant, "quantity": 2, "reason": "by JSON"});
        for (reply, sold) in [
            (call(&app.client, &format!("{path}?variant_id={variant}")).await, 1),
            (call(&app.client, &by_query).await, 3),
            (call_json(&app.client, &path, &json!({"variant_id": variant}), None).await, 1),
            (call_json(&app.client, &path, &body, None).await, 2),
            // Of both, the body counts.
            (call_json(&app.client, &by_query, &json!({"quantity": 4}), None).await, 4),
            (call_json(&app.client, &by_query, &json!({"quantity": null}), None).await, 3),
        ] {
            let told = assert_shape(&reply.clone().expect(200));
            assert_eq!(told["quantity_decremented"], sold);
            assert_eq!(
                (&told["variant_id"], &told["lock_service_available"]),
                (&json!(variant), &json!(true))
            );
            assert_eq!(told["lock"]["mode"], "two_layer");
            assert_eq!(reply.header("lock-mode"), Some("two_layer"));
            assert_eq!(reply.header("lock-wait-ms"), Some(told["lock"]["wait_ms"].to_string().as_str()));
            assert!(reply.header("server-timing").is_some());
        }
    }
    assert_eq!(app.client.on_hand(variant).await, 100 - 2 * 14);
    let movements = app.client.get(&format!("/inventory/{variant}/movements")).await.json();
    let reasons: Vec<_> = movements["items"].as_array().unwrap().iter().map(|one| &one["reason"]).collect();
    // Newest first; the last is the opening stock.
    let each = ["a load test", "a load test", "by JSON", "test", "a load test", "test"];
    assert_eq!(reasons[..12], [each, each].concat());
    assert!(movements["items"][0]["lock"]["mode"] == "two_layer" && movements["items"][0]["kind"] == "sale");
    app.finish().await;
}

#[tokio::test]
async fn without_redis_it_sells_all_the_same_and_says_so() {
    let app = start(None).await;
    let variant = app.client.variant(10).await;
    let told = assert_shape(&call(&app.client, &format!("{PATH}?variant_id={variant}")).await.expect(200));
    assert_eq!(
        (&told["lock_service_available"], &told["lock"]["mode"]),
        (&json!(false), &json!("database_only"))
    );
    app.finish().await;
}

#[tokio::test]
async fn what_it_refuses_keeps_the_shape_and_the_status() {
    let redis = Private::redis().await;
    let settings = [ON, ("HOLDFAST_LOCK_WAIT_MS", "200")];
    let app = TestApp::with(TestDatabase::fresh().await, Some(&redis.url()), &settings).await;
    let (variant, nobody) = (app.client.variant(2).await, Uuid::new_v4());
    let before = app.everything().await;

    let unknown = assert_refused(
        &call(&app.client, &format!("{PATH}?variant_id={nobody}")).await,
        404,
        "variant_not_found",
    );
    assert_eq!(unknown["variant_id"], json!(nobody));
    let short = call(&app.client, &format!("{PATH}?variant_id={variant}&quantity=3")).await;
    let told = assert_refused(&short, 409, "insufficient_stock");
    assert_eq!(told["message"], "Insufficient stock. Available: 2, Requested: 3");
    assert_eq!((&told["lock"]["mode"], short.header("lock-mode")), (&json!("two_layer"), Some("two_layer")));

    for query in [
        "",
        "?quantity=1",
        "?variant_id=",
        "?variant_id=sesame",
        "?variant_id=V&quantity=0",
        "?variant_id=V&quantity=-1",
        "?variant_id=V&quantity=1.5",
        "?variant_id=V&quantity=",
        "?variant_id=V&quantity=1000000001",
        "?variant_id=V&reason=",
        "?variant_id=V&reason=a%0Ab",
        "?variant_id=V&lock_duration=1",
        "?variant_id=V&variant_id=V",
        "?variant_id=V&qty=1",
    ] {
        let path = format!("{PATH}{}", query.replace('V', &variant.to_string()));
        assert_refused(&call(&app.client, &path).await, 422, "validation_failed");
    }
    for body in [
        json!({}),
        json!([]),
        json!({"variant_id": 7}),
        json!({"variant_id": variant, "quantity": 0}),
        json!({"variant_id": variant, "quantity": "1"}),
        json!({"variant_id": variant, "reason": "r".repeat(256)}),
        json!({"variant_id": variant, "qty": 1}),
    ] {
        let reply = call_json(&app.client, PATH, &body, None).await;
        assert_refused(&reply, 422, "validation_failed");
    }
    let path = format!("{PATH}?variant_id={variant}&qty=1");
    assert!(call(&app.client, &path).await.json()["message"].as_str().unwrap().contains("qty"));
    let headers = [("content-type", "text/plain")];
    let reply = app.client.send(Method::POST, PATH, &headers, "{}").await.unwrap();
    assert_refused(&reply, 415, "unsupported_media_type");
    let headers = [("content-type", "application/json")];
    let reply = app.client.send(Method::POST, PATH, &headers, "{").await.unwrap();
    assert_refused(&reply, 400, "malformed_json");

    let stranger = Stranger::at(&redis.url()).await;
    assert!(stranger.take(&inventory_lock(variant), "a stranger").await);
    let busy = call(&app.client, &format!("{PATH}?variant_id={variant}")).await;
    assert_refused(&busy, 429, "lock_timeout");
    assert!(busy.header("retry-after").unwrap().parse::<u32>().unwrap() >= 1);
    assert_eq!(app.everything().await, before);
    app.finish().await;
}

#[tokio::test]
async fn with_postgres_away_it_is_503_in_the_same_shape() {
    let mut postgres = Private::postgres().await;
    let app = TestApp::with(TestDatabase::on(&postgres.url()).await, None, &[ON]).await;
    let variant = app.client.variant(10).await;
    postgres.stop().await.unwrap();
    let reply = call(&app.client, &format!("{PATH}?variant_id={variant}")).await;
    assert_refused(&reply, 503, "database_unavailable");
    assert!(reply.header("retry-after").is_some());
    postgres.restart().await.unwrap();
    let path = format!("{PATH}?variant_id={variant}");
    eventually(SOON, "it sells again", async || call(&app.client, &path).await.status == 200).await;
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_gives_the_first_answer_byte_for_byte_and_sells_once() {
    let redis = Private::redis().await;
    for app in [start(Some(&redis)).await, start(None).await] {
        let (variant, other) = (app.client.variant(10).await, app.client.variant(10).await);
        let query = |variant: Uuid, quantity: i64| format!("{PATH}?variant_id={variant}&quantity={quantity}");
        let keyed = async |path: &str, key: &str| {
            app.client.send(Method::POST, path, &[("idempotency-key", key)], "").await.unwrap()
        };
        let first = keyed(&query(variant, 2), "key-1").await.expect(200);
        let again = keyed(&query(variant, 2), "key-1").await.expect(200);
        assert!(!first.was_replayed() && again.was_replayed() && first.bytes == again.bytes, "{again:?}");
        // The same in other words.
        let body = json!({"quantity": 2, "variant_id": variant});
        let in_json = call_json(&app.client, PATH, &body, Some("key-1")).await.expect(200);
        assert!(in_json.was_replayed() && in_json.bytes == first.bytes);
        // Another request, although the path and the empty body are the same.
        for path in [query(variant, 3), query(other, 2)] {
            assert_refused(&keyed(&path, "key-1").await, 422, "idempotency_key_reused");
        }
        assert_eq!((app.client.on_hand(variant).await, app.client.on_hand(other).await), (8, 10));

        let refused = keyed(&query(variant, 9), "key-2").await;
        assert_refused(&refused, 409, "insufficient_stock");
        app.client
            .post(&format!("/inventory/{variant}/increment"), &json!({"quantity": 5}))
            .await
            .expect(200);
        let again = keyed(&query(variant, 9), "key-2").await;
        assert_refused(&again, 409, "insufficient_stock");
        assert!(again.was_replayed() && again.bytes == refused.bytes, "{again:?}");
        assert_refused(&keyed(&query(variant, 1), "a b").await, 400, "idempotency_key_invalid");

        let replies = at_once(12, |_| {
            let (client, path) = (app.client.clone(), query(variant, 1));
            async move { client.send(Method::POST, &path, &[("idempotency-key", "key-3")], "").await.unwrap() }
        })
        .await;
        assert_eq!(replies.iter().filter(|reply| !reply.was_replayed()).count(), 1);
        assert!(replies.iter().all(|reply| reply.status == 200 && reply.bytes == replies[0].bytes));
        assert_eq!(app.client.on_hand(variant).await, 12);
        app.finish().await;
    }
}
