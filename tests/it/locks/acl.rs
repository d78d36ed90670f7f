//! A Redis that allows what `docs/OPERATIONS.md` says and nothing else.
//!
//! What is denied looks like an outage, or worse, fails in the middle of a script; so every use of Redis is made here
//! under the documented rules, and nothing may have been denied.

use std::collections::BTreeSet;

use futures_util::StreamExt;
use holdfast::locks::LockMode;
use serde_json::{Value, json};
use tokio::time::timeout;

use super::SOON;
use crate::support::row::until_at_a_row;
use crate::support::stranger::inventory_lock;
use crate::support::{HeldRow, Peer, Private, Stranger, TestApp, TestDatabase, eventually};

/// Longer than a request waits: whoever is not called is refused.
const SETTINGS: &[(&str, &str)] = &[
    ("HOLDFAST_LOCK_RETRY_MS", "10000"),
    ("HOLDFAST_BREAKER_PROBE_MS", "50"),
    ("HOLDFAST_TEST_ENDPOINTS", "true"),
];
/// In seconds: more than the two silences of 2 s each after which a subscription is made anew, had the question in
/// between not been answered.
const SILENCE: u64 = 5;

/// The command of the documentation, word by word.
fn documented(password: &str) -> Vec<String> {
    let text = include_str!("../../../docs/OPERATIONS.md");
    let rules = text.lines().find(|line| line.starts_with("ACL SETUSER ")).expect("the documented rules");
    rules.replace("PASSWORD", password).split(' ').map(str::to_owned).collect()
}

/// Holds the variant at one replica while another waits for it, and lets go: the waiter is called by message.
async fn one_waits_for_the_other(app: &TestApp, peer: &Peer, redis: &Stranger) {
    let variant = app.client.variant(10).await;
    let (key, row) = (inventory_lock(variant), HeldRow::of(&app.database, variant).await);
    let sell = |client: &crate::support::Client| {
        let client = client.clone();
        tokio::spawn(async move { client.decrement(variant, 1).await })
    };
    let first = sell(&app.client);
    until_at_a_row(&app.database.pool, 1).await;
    let second = sell(&peer.client);
    eventually(SOON, "the second stands in line", async || redis.line(&key).await.len() == 1).await;
    let waiter = redis.line(&key).await.remove(0);
    eventually(SOON, "its replica hears wake-ups", async || redis.hearers_of(&waiter).await == 1).await;
    for client in [&app.client, &peer.client] {
        eventually(SOON, "both replicas show it", async || {
            let told = client.get("/locks/status").await.json();
            told["lock_service_available"] == true && told["locks"][0]["waiters"] == 1
        })
        .await;
    }
    row.let_go().await;
    for sale in [first, second] {
        assert_eq!(sale.await.unwrap().expect(200).header("lock-mode"), Some("two_layer"));
    }
}

/// The connections that hear wake-ups: their numbers, and for how many seconds the youngest has been there.
async fn subscriptions(redis: &Stranger) -> (BTreeSet<u64>, u64) {
    let clients: String = redis.ask(&["CLIENT", "LIST", "TYPE", "PUBSUB"]).await;
    let ours = clients.lines().filter(|line| line.contains(" user=holdfast "));
    let number = |line: &str, name: &str| -> u64 {
        let field = line.split(' ').find_map(|field| field.strip_prefix(name)?.strip_prefix('='));
        field.unwrap().parse().unwrap()
    };
    let known: Vec<_> = ours.map(|line| (number(line, "id"), number(line, "age"))).collect();
    (known.iter().map(|(id, _)| *id).collect(), known.iter().map(|(_, age)| *age).min().unwrap_or(0))
}

/// Both replicas lose Redis and find it again, and say so to whoever listens.
async fn an_outage(app: &TestApp, peer: &Peer, redis: &mut Private<holdfast::servers::Redis>) {
    let mut listener = redis::Client::open(redis.url()).unwrap().get_async_pubsub().await.unwrap();
    listener.subscribe("global:notifications").await.unwrap();
    let both_are = async |mode| app.app.locks.mode() == mode && peer.app.locks.mode() == mode;
    redis.pause();
    eventually(SOON, "both do without", async || both_are(LockMode::DatabaseOnly).await).await;
    redis.resume();
    eventually(SOON, "both are two-layer again", async || both_are(LockMode::TwoLayer).await).await;
    let mut notices = listener.on_message();
    for _ in 0..4 {
        let notice = timeout(SOON, notices.next()).await.expect("a notice").unwrap();
        let notice: Value = serde_json::from_str(&notice.get_payload::<String>().unwrap()).unwrap();
        assert_eq!(notice["type"], "lock.mode_changed");
    }
}

/// What operators and load tests do.
async fn by_hand(app: &TestApp, peer: &Peer, redis: &Stranger) {
    let release = async |name: &str| {
        app.client.post(&format!("/locks/{name}/release"), &json!({"reason": "r"})).await.expect(200)
    };
    for name in ["lock:x", "rack:lock:x", "session:lock:x", "user:heartbeat:x", "processing:x"] {
        assert!(redis.take(name, "a stranger").await);
        release(name).await;
    }
    let _pushed: i64 = redis.ask(&["RPUSH", "inventory_lock:x", "of another type"]).await;
    release("inventory_lock:x").await;

    let variant = app.client.variant(10).await;
    let client = app.client.clone();
    let held = tokio::spawn(async move {
        let path = format!("/test/inventory/test-concurrent-access?variant_id={variant}&lock_duration=60");
        client.send(hyper::Method::POST, &path, &[], "").await.unwrap()
    });
    let clear = async || {
        let path = "/test/locks/clear-test-locks";
        peer.client.send(hyper::Method::POST, path, &[], "").await.unwrap().expect(200).json()
    };
    eventually(SOON, "another replica clears it", async || clear().await["locks_cleared"] == 1).await;
    held.await.unwrap().expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_documentation_allows_is_all_that_is_needed() {
    let mut server = Private::redis().await;
    let redis = Stranger::at(&server.url()).await;
    let rules = documented("a-password");
    let _set: String = redis.ask(&rules.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let url = format!("{}?user=holdfast&pass=a-password", server.url());
    let app = TestApp::with(TestDatabase::fresh().await, Some(&url), SETTINGS).await;
    let peer = Peer::start(&app.database.url, Some(&url), SETTINGS).await;
    assert!(matches!(app.app.locks.evicts().await, Ok(None)));

    one_waits_for_the_other(&app, &peer, &redis).await;
    let (before, age) = subscriptions(&redis).await;
    assert_eq!(before.len(), 2, "one a replica");
    eventually(SOON, "nothing is heard for a while", async || subscriptions(&redis).await.1 > age + SILENCE)
        .await;
    assert_eq!(subscriptions(&redis).await.0, before, "the same subscriptions as before");
    one_waits_for_the_other(&app, &peer, &redis).await;

    by_hand(&app, &peer, &redis).await;
    an_outage(&app, &peer, &mut server).await;
    one_waits_for_the_other(&app, &peer, &redis).await;
    let denied: Vec<redis::Value> = redis.ask(&["ACL", "LOG"]).await;
    assert!(denied.is_empty(), "{denied:?}");
    peer.finish().await;
    app.finish().await;
}
