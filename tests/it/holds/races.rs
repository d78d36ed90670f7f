//! Everything at once on few holds and little stock, over two replicas: whatever wins, nothing is sold twice and nothing
//! stays held.

use holdfast::holds::expire::expire_due;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{held, hold, lapse, level, resolve};
use crate::support::campaign::{amount, report};
use crate::support::{Client, Peer, Reply, TestApp, TestDatabase, at_once, shared_redis, unique};

/// Pairs of verbs on one hold.
const PAIRS: [[&str; 2]; 11] = [
    ["capture", "capture"],
    ["capture", "release"],
    ["capture", "extend"],
    ["capture", "lapse"],
    ["capture", "order"],
    ["release", "release"],
    ["release", "extend"],
    ["extend", "lapse"],
    ["expire", "capture"],
    ["lapse", "order"],
    ["expire", "order"],
];

async fn apply(app: &TestApp, client: &Client, hold: &Value, verb: &str, variant: Uuid) -> Option<Reply> {
    match verb {
        "lapse" => lapse(app, hold).await,
        "expire" => {
            lapse(app, hold).await;
            expire_due(&app.app).await.unwrap();
        }
        "order" => return Some(client.order("bob", &unique("key"), &[(variant, 1)]).await),
        "extend" => return Some(resolve(client, hold, verb, &json!({"ttl_seconds": 60})).await),
        verb => return Some(resolve(client, hold, verb, &json!({})).await),
    }
    None
}

/// What must hold whatever won: each unit is on hand or in one order, and a hold has at most one end.
async fn check(app: &TestApp, variant: Uuid, replies: &[Option<Reply>], pair: [&str; 2]) {
    let sold = sqlx::query_scalar::<_, i64>(
        "SELECT coalesce(sum(quantity), 0)::bigint FROM order_lines WHERE variant_id = $1",
    )
    .bind(variant)
    .fetch_one(&app.database.pool)
    .await
    .unwrap();
    let [on_hand, held, available] = level(&app.client, variant).await;
    assert_eq!(on_hand, 2 - sold, "{pair:?}");
    assert!(held >= 0 && available >= 0 && held <= on_hand, "{pair:?}: {held} of {on_hand} held");
    let placed = replies.iter().flatten().filter(|reply| reply.status == 201).count();
    assert!(i64::try_from(placed).unwrap() <= sold, "{pair:?}: an order nobody has");
    for reply in replies.iter().flatten() {
        let refused = ["hold_captured", "hold_released", "hold_expired", "insufficient_stock"];
        assert!(reply.status.is_success() || refused.contains(&reply.code().as_str()), "{pair:?}: {reply:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_pair_of_verbs_raced_on_one_hold_ends_in_a_right_state() {
    let rounds = amount(6, 200);
    for redis in [Some(shared_redis()), None] {
        let app =
            std::sync::Arc::new(TestApp::with(TestDatabase::fresh().await, redis.as_deref(), &[]).await);
        let peer = Peer::start(&app.database.url, redis.as_deref(), &[]).await;
        for pair in PAIRS {
            for _ in 0..rounds {
                let variant = app.client.variant(2).await;
                let hold = held(&app, &[(variant, 2)]).await;
                let replies = at_once(2, |n| {
                    let (app, hold) = (app.clone(), hold.clone());
                    let client = [&app.client, &peer.client][n].clone();
                    async move { apply(&app, &client, &hold, pair[n], variant).await }
                })
                .await;
                check(&app, variant, &replies, pair).await;
                // Whatever is still held is given up, so that the user's number of holds stays low.
                let _over = resolve(&app.client, &hold, "release", &json!({})).await;
            }
        }
        report(&format!(
            "{} pairs of verbs, each raced {rounds} times on one hold, {}: no unit sold twice, none held for ever",
            PAIRS.len(),
            if redis.is_some() { "two-layer" } else { "database-only" }
        ));
        peer.finish().await;
        std::sync::Arc::into_inner(app).unwrap().finish().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_units_go_to_as_many_as_there_are_whether_held_ordered_or_sold() {
    let app = TestApp::start().await;
    let peer = Peer::start(&app.database.url, Some(&shared_redis()), &[]).await;
    let variant = app.client.variant(10).await;
    let replies = at_once(45, |n| {
        let client = [&app.client, &peer.client][n % 2].clone();
        async move {
            match n % 3 {
                0 => hold(&client, &format!("user-{n}"), &[(variant, 1)]).await,
                1 => client.order("bob", &unique("key"), &[(variant, 1)]).await,
                _ => client.decrement(variant, 1).await,
            }
        }
    })
    .await;
    assert_eq!(replies.iter().filter(|reply| reply.status.is_success()).count(), 10);
    let [on_hand, held, available] = level(&app.client, variant).await;
    assert_eq!((available, on_hand), (0, held));
    peer.finish().await;
    app.finish().await;
}
