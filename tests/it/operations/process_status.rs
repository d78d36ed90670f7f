//! What a process tells of itself: with nothing else asked, so it answers whatever is away.

use std::time::Duration;

use holdfast::http::auth::{NewKey, Scope, create_key};
use hyper::Method;
use secrecy::ExposeSecret;
use serde_json::json;

use super::SOON;
use crate::support::{Client, Private, Scrape, TestApp, TestDatabase, eventually, shared_redis};

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

/// A key for operators of which nothing is known yet.
async fn made_key(app: &TestApp) -> Client {
    let new = NewKey { name: "prometheus", subject: "prometheus", scopes: &[Scope::Operator] };
    let key = create_key(&app.app.db, &new).await.unwrap();
    app.client.with_key(key.expose_secret())
}

/// No key stays known without being looked up, as if each call came ten seconds after the one before.
async fn forgetful(database: TestDatabase) -> TestApp {
    TestApp::changed(database, |app| app.keys.known_for = Duration::ZERO).await
}

async fn at_the_root(client: &Client, path: &str) -> u16 {
    client.send(Method::GET, path, &[], "").await.unwrap().status.as_u16()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_made_key_that_was_good_looks_on_while_postgres_is_away_and_does_nothing_else() {
    let mut postgres = Private::postgres().await;
    let app = forgetful(TestDatabase::on(&postgres.url()).await).await;
    let (known, unknown) = (made_key(&app).await, made_key(&app).await);
    let variant = app.client.variant(10).await;
    assert_eq!(at_the_root(&known, "/metrics").await, 200);
    let look = async |what: &str| {
        for path in ["/status", "/locks/status", "/whoami"] {
            assert_eq!(known.get(path).await.status, 200, "{path} while Postgres {what}");
        }
        eventually(SOON, "it tells that Postgres is away", async || {
            Scrape::of(&known).await.get("db_up") == 0.0
        })
        .await;
    };
    postgres.pause();
    look("hangs").await;
    postgres.resume();
    eventually(SOON, "it is back", async || Scrape::of(&known).await.get("db_up") == 1.0).await;
    postgres.stop().await.unwrap();
    look("is down").await;
    assert_eq!(known.decrement(variant, 1).await.expect(503).code(), "database_unavailable");
    assert_eq!(unknown.get("/status").await.expect(503).code(), "database_unavailable");
    postgres.restart().await.unwrap();
    eventually(SOON, "it is back", async || unknown.get("/status").await.status == 200).await;
    known.decrement(variant, 1).await.expect(200);
    // Once it can be asked, it is asked.
    sqlx::query("UPDATE api_keys SET revoked_at = clock_timestamp()")
        .execute(&app.database.pool)
        .await
        .unwrap();
    eventually(SOON, "it is no longer good", async || known.get("/status").await.status == 401).await;
    assert_eq!(unknown.decrement(variant, 1).await.expect(401).code(), "unauthenticated");
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_whom_nobody_remembers_looks_on_while_every_connection_is_in_use() {
    let app = forgetful(TestDatabase::fresh().await).await;
    let operator = made_key(&app).await;
    let mut taken = Vec::new();
    for _ in 0..app.app.db.levels().max {
        taken.push(app.app.db.read().await.unwrap());
    }
    let status = operator.get("/status").await.expect(200).json();
    assert_eq!(status["pool"]["busy"], status["pool"]["max"]);
    operator.get("/locks/status").await.expect(200);
    assert_eq!(at_the_root(&operator, "/metrics").await, 200);
    // Whoever wants something done waits for a connection, and is not let in by what was.
    operator.get("/inventory/audits").await.expect(503);
    drop(taken);
    app.finish().await;
}
