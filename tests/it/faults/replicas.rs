//! Replicas as processes of their own: killed without a word, and ended politely, under load.
//!
//! A kill may strike between any two instructions. What was acknowledged must be there, what was not must be done
//! once when it is repeated elsewhere, and no order may be half there. A polite end may cost nobody an answer.

use std::time::Duration;

use crate::support::campaign::{amount, report};
use crate::support::client::order_body;
use crate::support::link::draw;
use crate::support::row::until_at_a_row;
use crate::support::stranger::{inventory_lock, order_lock};
use crate::support::{
    HeldRow, Load, Private, Replica, Stranger, TestApp, TestDatabase, eventually, shared_redis,
};

/// The shortest that is allowed, and little patience: what a dead replica held is refused soon, not waited for.
const SETTINGS: &[(&str, &str)] = &[
    ("HOLDFAST_INVENTORY_LOCK_TTL_MS", "15000"),
    ("HOLDFAST_ORDER_LOCK_TTL_MS", "15000"),
    ("HOLDFAST_LOCK_WAIT_MS", "100"),
];

/// Half the TTL.
const TAKEN_OVER: Duration = Duration::from_millis(7_500);

#[tokio::test(flavor = "multi_thread")]
async fn replicas_killed_under_load_lose_nothing_and_what_is_unknown_happens_once() {
    let redis = Private::redis().await;
    // Settles the accounts without asking Redis, so that nobody waits for what the dead held there.
    let judge = TestApp::with(TestDatabase::fresh().await, None, &[]).await;
    let url = judge.database.url.clone();
    let start = async || Replica::start(&url, Some(&redis.url()), SETTINGS).await;
    let (mut mortal, steady) = (start().await, start().await);
    let load = Load::start(&[&mortal.client, &steady.client], 40, 6).await;
    let kills = amount(5, 200);
    for kill in 0..kills {
        load.acknowledged(40).await;
        // Any moment will do: the later kills are spread over some more of them.
        tokio::time::sleep(Duration::from_micros(draw(256) * 20 * (kill as u64 % 5 + 1))).await;
        mortal.kill().await;
        load.left_unknown(1).await;
        mortal = start().await;
        load.replace(0, &mortal.client);
    }
    load.acknowledged(40).await;
    let (acknowledged, unknown) = load.settle(&judge.client).await;
    assert!(
        acknowledged >= 40 * (kills + 1) && unknown >= kills,
        "{acknowledged} acknowledged, {unknown} unknown"
    );
    report(&format!(
        "{kills} replicas killed under load: {acknowledged} writes acknowledged, {unknown} left unknown at first; each \
         sent again had one effect"
    ));
    assert!(mortal.terminate().await && steady.terminate().await);
    judge.finish().await;
}

#[tokio::test]
async fn what_a_dead_replica_held_is_free_long_before_its_ttl() {
    let app = TestApp::with(TestDatabase::fresh().await, Some(&shared_redis()), SETTINGS).await;
    let redis = Stranger::at(&shared_redis()).await;
    let (variant, other) = (app.client.variant(10).await, app.client.variant(10).await);
    let row = HeldRow::of(&app.database, variant.max(other)).await;
    let replica = Replica::start(&app.database.url, Some(&shared_redis()), SETTINGS).await;
    let client = replica.client.clone();
    let order = tokio::spawn(async move {
        let lines = order_body("ann", &[(variant, 1), (other, 1)]);
        client.try_post("/orders", &lines, Some("key-1")).await
    });
    until_at_a_row(&app.database.pool, 1).await;
    let keys = [inventory_lock(variant), inventory_lock(other), order_lock("ann", "key-1")];
    let dead = redis.holder(&keys[0]).await;
    replica.kill().await;
    assert!(order.await.unwrap().is_err(), "the dead don't answer");
    row.let_go().await;

    for key in &keys {
        assert_eq!(redis.holder(key).await, dead, "nobody released it");
    }
    let retried = async || app.client.order("ann", "key-1", &[(variant, 1), (other, 1)]).await;
    eventually(TAKEN_OVER, "the order is placed elsewhere", async || {
        let reply = retried().await;
        assert!(matches!(reply.status.as_u16(), 201 | 409 | 429), "{reply:?}");
        reply.status == 201
    })
    .await;
    assert!(retried().await.was_replayed());
    assert_eq!((app.client.on_hand(variant).await, app.client.on_hand(other).await), (9, 9));
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_asked_to_stop_under_load_ends_well_and_cuts_no_answer() {
    let redis = Private::redis().await;
    let judge = TestApp::with(TestDatabase::fresh().await, None, &[]).await;
    let url = judge.database.url.clone();
    let start = async || Replica::start(&url, Some(&redis.url()), &[]).await;
    let (mut leaving, steady) = (start().await, start().await);
    // A cut answer fails the load by itself.
    let load = Load::start(&[&leaving.client, &steady.client], 40, 6).await;
    for _ in 0..3 {
        load.acknowledged(40).await;
        assert!(leaving.terminate().await, "it ends with status 0");
        leaving = start().await;
        load.replace(0, &leaving.client);
    }
    load.settle(&judge.client).await;
    assert!(leaving.terminate().await && steady.terminate().await);
    let stranger = Stranger::at(&redis.url()).await;
    for left in ["inventory_lock:*", "lock:*"] {
        assert_eq!(stranger.keys(left).await, [""; 0], "a lease was not released");
    }
    judge.finish().await;
}
