//! Redis as a cluster: keys live on several masters, and each of them can die alone.
//!
//! Without care an order's keys could not be had at all, for they are never on one node; or those of one node
//! would stay behind when another has none to give.

use std::time::Duration;

use futures_util::StreamExt;
use holdfast::locks::topology::Topology;
use redis::AsyncCommands;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{FAILOVER, PATIENT, SOON};
use crate::support::stranger::inventory_lock;
use crate::support::{Cluster, Peer, TestApp, TestDatabase, eventually, unique};

const BUDGET: Duration = Duration::from_secs(1);

/// Keys of all slots, more or less.
fn keys() -> Vec<String> {
    (0..50).map(|n| format!("key-{n}")).collect()
}

#[tokio::test]
async fn a_call_goes_to_the_node_that_has_the_key_even_after_its_slot_has_moved() {
    let cluster = Cluster::start().await;
    let topology = Topology::parse(&cluster.url()).unwrap();
    let mut conn = topology.connect(BUDGET).await.unwrap();
    let script = redis::Script::new("return redis.call('SET', KEYS[1], ARGV[1])");
    for key in keys() {
        let _set: String = script.key(&key).arg("here").invoke_async(&mut conn).await.unwrap();
        assert_eq!(cluster.master_of(&key).await.holder(&key).await.as_deref(), Some("here"));
    }
    for key in ["moved-1", "moved-2"] {
        cluster.move_slot_of(key).await;
        let _set: String = script.key(key).arg("there").invoke_async(&mut conn).await.unwrap();
        assert_eq!(cluster.master_of(key).await.holder(key).await.as_deref(), Some("there"));
    }
}

#[tokio::test]
async fn what_is_published_on_any_node_is_heard_on_whichever_was_subscribed_to() {
    let cluster = Cluster::start().await;
    let topology = Topology::parse(&cluster.url()).unwrap();
    let mut hearing = topology.subscribe("news", BUDGET).await.unwrap();
    let mut messages = hearing.on_message();
    for (n, node) in cluster.strangers().await.iter().enumerate() {
        let _hearers: i64 = node.ask(&["PUBLISH", "news", &n.to_string()]).await;
        let message = tokio::time::timeout(SOON, messages.next()).await.unwrap().unwrap();
        assert_eq!(message.get_payload::<usize>().unwrap(), n);
    }
}

#[tokio::test]
async fn a_node_that_hangs_costs_a_call_a_connection_and_a_subscription_no_more_than_the_budget() {
    let mut cluster = Cluster::start().await;
    let topology = Topology::parse(&cluster.url()).unwrap();
    let mut before = topology.connect(BUDGET).await.unwrap();
    let (hung, well) = cluster.two_keys_of_different_masters().await;
    cluster.pause_master_of(&hung).await;

    let asked = Instant::now();
    before.get::<_, Option<String>>(&hung).await.unwrap_err();
    assert!(asked.elapsed() < BUDGET * 2, "{:?}", asked.elapsed());
    let mut after = topology.connect(BUDGET).await.unwrap();
    for conn in [&mut before, &mut after] {
        // Once the others know of it they refuse everything until the failover, which is an answer too.
        let answer: Result<Option<String>, _> = conn.get(&well).await;
        assert!(
            answer.as_ref().is_ok_and(Option::is_none) || answer.as_ref().is_err_and(is_refused),
            "{answer:?}"
        );
    }
    topology.subscribe("news", BUDGET).await.unwrap();
    cluster.until_ok().await;
    let mut again = topology.connect(BUDGET).await.unwrap();
    let _none: Option<String> = again.get(&hung).await.unwrap();
}

fn is_refused(error: &redis::RedisError) -> bool {
    error.code() == Some("CLUSTERDOWN")
}

#[tokio::test]
async fn one_variant_is_locked_on_the_node_that_has_its_key() {
    let cluster = Cluster::start().await;
    let app = TestApp::with(TestDatabase::fresh().await, Some(&cluster.url()), PATIENT).await;
    for _ in 0..10 {
        let variant = app.client.variant(5).await;
        let sold = app.client.decrement(variant, 1).await.expect(200);
        assert_eq!(sold.header("lock-mode"), Some("two_layer"));
        let key = inventory_lock(variant);
        let node = cluster.master_of(&key).await;
        assert!(node.take(&key, "a stranger").await);
        assert_eq!(app.client.decrement(variant, 1).await.expect(429).code(), "lock_timeout");
        assert_eq!(node.holder(&key).await.as_deref(), Some("a stranger"));
    }
    app.finish().await;
}

#[tokio::test]
async fn an_order_over_keys_of_all_nodes_is_two_layer_and_leaves_none() {
    let cluster = Cluster::start().await;
    let app = TestApp::with(TestDatabase::fresh().await, Some(&cluster.url()), PATIENT).await;
    let lines: Vec<_> = app.variants(50, 5).await.into_iter().map(|variant| (variant, 1)).collect();
    let placed = app.client.order(&unique("user"), "key-1", &lines).await.expect(201);
    assert_eq!(placed.json()["lock"]["mode"], "two_layer");
    no_lock_is_left(&cluster, &[]).await;
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_over_many_busy_keys_is_not_overtaken_at_each_of_them_for_ever() {
    let cluster = Cluster::start().await;
    let app = TestApp::with(TestDatabase::fresh().await, Some(&cluster.url()), PATIENT).await;
    let peer = Peer::start(&app.database.url, Some(&cluster.url()), PATIENT).await;
    let variants = app.variants(12, 1_000_000).await;
    let over = CancellationToken::new();
    let singles: Vec<_> = variants
        .iter()
        .map(|variant| {
            let (client, variant, over) = (peer.client.clone(), *variant, over.clone());
            tokio::spawn(async move {
                while !over.is_cancelled() {
                    client.decrement(variant, 1).await.expect(200);
                }
            })
        })
        .collect();
    let lines: Vec<_> = variants.iter().map(|variant| (*variant, 1)).collect();
    let user = unique("user");
    for n in 0..5 {
        let placed = app.client.order(&user, &format!("key-{n}"), &lines).await.expect(201);
        assert_eq!(placed.json()["lock"]["mode"], "two_layer");
    }
    over.cancel();
    for single in singles {
        single.await.unwrap();
    }
    no_lock_is_left(&cluster, &[]).await;
    peer.finish().await;
    app.finish().await;
}

#[tokio::test]
async fn an_order_that_cannot_have_one_of_its_keys_gives_the_others_back() {
    let cluster = Cluster::start().await;
    let app = TestApp::with(TestDatabase::fresh().await, Some(&cluster.url()), PATIENT).await;
    let variants = app.variants(12, 5).await;
    let lines: Vec<_> = variants.iter().map(|variant| (*variant, 1)).collect();
    let user = unique("user");
    for (n, held) in variants.iter().enumerate().step_by(4) {
        let key = inventory_lock(*held);
        let node = cluster.master_of(&key).await;
        assert!(node.take(&key, "a stranger").await);
        let refused = app.client.order(&user, &format!("key-{n}"), &lines).await.expect(429);
        assert_eq!(refused.code(), "lock_timeout");
        assert_eq!(node.holder(&key).await.as_deref(), Some("a stranger"));
        no_lock_is_left(&cluster, std::slice::from_ref(&key)).await;
        node.delete(&key).await;
    }
    let placed = app.client.order(&user, "key-1", &lines).await.expect(201);
    assert_eq!(placed.json()["lock"]["mode"], "two_layer");
    app.finish().await;
}

#[tokio::test]
async fn when_a_master_dies_no_request_fails_and_the_locks_are_two_layer_after_the_failover() {
    let mut cluster = Cluster::start().await;
    let app = TestApp::with(TestDatabase::fresh().await, Some(&cluster.url()), PATIENT).await;
    let variants = app.variants(20, 1_000_000).await;
    let lines: Vec<(Uuid, i64)> = variants.iter().map(|variant| (*variant, 1)).collect();
    let user = unique("user");
    let mut orders = 0;
    let mut all_are_two_layer = async || {
        let mut modes = Vec::new();
        for variant in &variants {
            let sold = app.client.decrement(*variant, 1).await.expect(200);
            modes.push(sold.header("lock-mode").unwrap().to_owned());
        }
        orders += 1;
        let placed = app.client.order(&user, &format!("key-{orders}"), &lines).await.expect(201);
        modes.push(placed.header("lock-mode").unwrap().to_owned());
        modes.iter().all(|mode| mode == "two_layer")
    };
    assert!(all_are_two_layer().await);
    cluster.kill_master_of(&inventory_lock(variants[0])).await;
    assert!(!all_are_two_layer().await);
    eventually(FAILOVER, "all are two-layer again", all_are_two_layer).await;
    no_lock_is_left(&cluster, &[]).await;
    app.finish().await;
}

/// But for `known` ones.
async fn no_lock_is_left(cluster: &Cluster, known: &[String]) {
    eventually(SOON, "no lock is left behind", async || {
        let mut left = cluster.keys("inventory_lock:*").await;
        left.extend(cluster.keys("lock:*").await);
        left == known
    })
    .await;
}
