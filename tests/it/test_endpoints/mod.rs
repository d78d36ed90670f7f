//! The calls for load tests. Each test has a Redis of its own: clearing reaches every replica on it.

mod clear_test_locks;
mod test_concurrent_access;
mod test_decrement;

use std::time::Duration;

use holdfast::servers::Redis;
use hyper::Method;
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use uuid::Uuid;

use crate::support::{Client, Peer, Private, Reply, TestApp, TestDatabase};

/// A limit for what should take no time: it only tells a hang from an answer.
const SOON: Duration = Duration::from_secs(15);
/// Both are served alike.
const ROOTS: [&str; 2] = ["/test", "/api/v1/test"];
const ON: (&str, &str) = ("HOLDFAST_TEST_ENDPOINTS", "true");

const CALLS: [(Method, &str); 4] = [
    (Method::POST, "/inventory/test-decrement"),
    (Method::POST, "/inventory/test-concurrent-access"),
    (Method::POST, "/locks/clear-test-locks"),
    (Method::GET, "/locks/status"),
];

async fn start(redis: Option<&Private<Redis>>) -> TestApp {
    TestApp::with(TestDatabase::fresh().await, redis.map(|redis| redis.url()).as_deref(), &[ON]).await
}

async fn start_peer(app: &TestApp, redis: Option<&Private<Redis>>) -> Peer {
    Peer::start(&app.database.url, redis.map(|redis| redis.url()).as_deref(), &[ON]).await
}

/// A call whose parameters stand in the path.
async fn call(client: &Client, path: &str) -> Reply {
    client.send(Method::POST, path, &[], "").await.unwrap()
}

/// A call with a JSON body.
async fn call_json(client: &Client, path: &str, body: &Value, key: Option<&str>) -> Reply {
    let mut headers = vec![("content-type", "application/json")];
    headers.extend(key.map(|key| ("idempotency-key", key)));
    client.send(Method::POST, path, &headers, body.to_string()).await.unwrap()
}

/// Begins to hold a variant's lock for so many seconds.
fn hold(client: &Client, variant: Uuid, seconds: u64) -> JoinHandle<Reply> {
    let (client, body) = (client.clone(), json!({"variant_id": variant, "lock_duration": seconds}));
    tokio::spawn(
        async move { call_json(&client, "/test/inventory/test-concurrent-access", &body, None).await },
    )
}

#[tokio::test]
async fn they_are_not_there_unless_they_are_turned_on() {
    for setting in [&[][..], &[("HOLDFAST_TEST_ENDPOINTS", "false")], &[("HOLDFAST_TEST_ENDPOINTS", "")]] {
        let app = TestApp::with(TestDatabase::fresh().await, None, setting).await;
        for root in ROOTS {
            for (method, path) in CALLS {
                let reply = app.client.send(method, &format!("{root}{path}"), &[], "").await.unwrap();
                assert_eq!(reply.expect(404).code(), "not_found", "{root}{path}");
            }
        }
        app.finish().await;
    }
}

#[tokio::test]
async fn once_turned_on_all_are_there_under_both_roots() {
    let redis = Private::redis().await;
    let app = start(Some(&redis)).await;
    let variant = app.client.variant(10).await;
    for root in ROOTS {
        for (method, path) in CALLS {
            let path = match path {
                "/inventory/test-decrement" => format!("{root}{path}?variant_id={variant}"),
                "/inventory/test-concurrent-access" => {
                    format!("{root}{path}?variant_id={variant}&lock_duration=1")
                }
                _ => format!("{root}{path}"),
            };
            app.client.send(method, &path, &[], "").await.unwrap().expect(200);
        }
    }
    assert_eq!(app.client.on_hand(variant).await, 8);
    let names = |reply: Reply| reply.json().as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    let plain = names(app.client.get("/locks/status").await);
    for root in ROOTS {
        let path = format!("{root}/locks/status");
        assert_eq!(names(app.client.send(Method::GET, &path, &[], "").await.unwrap()), plain);
    }
    app.finish().await;
}
