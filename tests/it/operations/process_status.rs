//! What a process tells of itself: with nothing else asked, so it answers whatever is away.

use std::time::Duration;

use serde_json::json;

use super::SOON;
use crate::support::{Private, TestApp, TestDatabase, eventually, shared_redis};

/// However slow the machine is.
const PATIENT: (&str, &str) = ("HOLDFAST_REDIS_TIMEOUT_MS", "1000");
const QUICK_PROBE: (&str, &str) = ("HOLDFAST_BREAKER_PROBE_MS", "50");

#[tokio::test]
async fn it_tells_what_was_answered_in_the_last_minute_and_what_is_hot() {
    let app = TestApp::with(TestDatabase::fresh().await, Some(&shared_redis()), &[PATIENT]).await;
    // Making them is a write that wants them, too.
    let (hot, other) = (app.client.variant(100).await, app.client.variant(100).await);
    for _ in 0..10 {
        app.client.decrement(hot, 1).await.expect(200);
    }
    app.client.decrement(other, 1_000).await.expect(409);
    app.client.order("ann", "key-1", &[(hot, 1), (other, 1)]).await.expect(201);
    app.client.get(&format!("/inventory/{hot}")).await.expect(200);
    app.client.get("/locks/status").await.expect(200);

    let mut status = json!(null);
    eventually(SOON, "the second is over", async || {
        status = app.client.get("/status").await.expect(200).json();
        status["last_minute"]["writes"] == 14
    })
    .await;
    let minute = &status["last_minute"];
    assert_eq!((&minute["reads"], &minute["refused"], &minute["failed"]), (&json!(1), &json!(1), &json!(0)));
    let (half, most) =
        (minute["write_ms"]["p50"].as_f64().unwrap(), minute["write_ms"]["p99"].as_f64().unwrap());
    assert!(half > 0.0 && half <= most, "{minute}");
    let seconds = status["seconds"].as_array().unwrap();
    assert_eq!(seconds.iter().map(|second| second["writes"].as_u64().unwrap()).sum::<u64>(), 14);
    let told: Vec<_> =
        status["hot"].as_array().unwrap().iter().map(|hot| (&hot["variant_id"], &hot["requests"])).collect();
    assert_eq!(told, [(&json!(hot), &json!(12)), (&json!(other), &json!(3))]);
    assert_eq!(status["mode"]["lock_mode"], "two_layer");
    assert_eq!(status["mode"]["since"], status["process"]["started_at"]);
    let pool = &status["pool"];
    assert!(
        pool["busy"].as_u64() <= pool["connections"].as_u64()
            && pool["connections"].as_u64() <= pool["max"].as_u64()
    );
    app.finish().await;
}

#[tokio::test]
async fn it_says_since_when_and_why_redis_is_done_without() {
    let mut redis = Private::redis().await;
    let app = TestApp::with(TestDatabase::fresh().await, Some(&redis.url()), &[QUICK_PROBE]).await;
    let variant = app.client.variant(100).await;
    redis.kill().await.unwrap();
    for _ in 0..10 {
        app.client.decrement(variant, 1).await.expect(200);
    }
    let status = app.client.get("/status").await.expect(200).json();
    let mode = &status["mode"];
    let last = mode["history"].as_array().unwrap().last().unwrap();
    assert_eq!(mode["lock_mode"], "database_only");
    assert_eq!(
        (&mode["since"], &mode["why"], &last["mode"]),
        (&last["at"], &last["why"], &json!("database_only"))
    );
    assert!(status["locks"]["database_only"].as_u64().unwrap() > 0);
    app.finish().await;
}

#[tokio::test]
async fn it_answers_at_once_while_postgres_hangs_and_every_connection_is_in_use() {
    let mut postgres = Private::postgres().await;
    let database = TestDatabase::on(&postgres.url()).await;
    let app = TestApp::with(database, None, &[]).await;
    let variant = app.client.variant(1).await;
    postgres.pause();
    let client = app.client.clone();
    let sale = tokio::spawn(async move { client.decrement(variant, 1).await });
    let status = tokio::time::timeout(Duration::from_secs(10), app.client.get("/status")).await.unwrap();
    assert_eq!(status.expect(200).json()["mode"]["why"], "no Redis is configured");
    postgres.resume();
    sale.await.unwrap().expect(200);
    app.finish().await;
}
