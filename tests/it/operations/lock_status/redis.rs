//! What is still known when Redis is away, was never there, or has lost what it knew.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::{assert_adds_up, names};
use crate::operations::{SOON, lock, open_section, start, status};
use crate::support::row::until_at_a_row;
use crate::support::stranger::inventory_lock;
use crate::support::{Peer, Private, Stranger, TestApp, eventually};

#[tokio::test]
async fn with_redis_killed_it_tells_since_when_and_what_this_process_holds() {
    let mut redis = Private::redis().await;
    let app = start(&redis).await;
    let variant = app.client.variant(100).await;
    let (row, sale) = open_section(&app, variant).await;
    let client = app.client.clone();
    let next = tokio::spawn(async move { client.decrement(variant, 1).await });
    eventually(SOON, "the next waits", async || app.app.locks.in_line(variant) == 2).await;
    redis.kill().await.unwrap();

    // At once, before anybody knows what became of Redis.
    let told = status(&app.client).await;
    assert_eq!(told["lock_service_available"], json!(false));
    eventually(SOON, "the breaker opens", async || status(&app.client).await["breaker"]["state"] != "closed")
        .await;
    let told = status(&app.client).await;
    assert_adds_up(&told);
    assert_eq!(
        (&told["lock_service_available"], &told["lock_mode"], &told["database_available"]),
        (&json!(false), &json!("database_only"), &json!(true))
    );
    let breaker = &told["breaker"];
    assert_eq!(names(breaker), ["failures", "history", "opened_at", "state"]);
    assert!(breaker["failures"].as_u64().unwrap() >= 1, "{breaker}");
    let opened: DateTime<Utc> = breaker["opened_at"].as_str().unwrap().parse().unwrap();
    let looked: DateTime<Utc> = told["timestamp"].as_str().unwrap().parse().unwrap();
    assert!((0..15).contains(&(looked - opened).num_seconds()), "{breaker}");
    let change = &breaker["history"][0];
    assert_eq!((names(change), &change["mode"]), (vec!["at", "mode", "why"], &json!("database_only")));
    assert_eq!(change["at"], breaker["opened_at"]);
    let held = lock(&told, &inventory_lock(variant)).expect("what this process holds is known");
    assert_eq!(
        held,
        &json!({"key": inventory_lock(variant), "type": "inventory_lock", "class": "inventory", "owner": null,
                "replica": "here", "ttl": null, "ttl_ms": null, "held_ms": null, "expires_at": null, "waiters": 1})
    );
    assert_eq!(told["waiters"], 1);
    assert_eq!(told["database_waits"].as_array().unwrap().len(), 1);

    row.let_go().await;
    sale.await.unwrap().expect(200);
    next.await.unwrap().expect(200);
    redis.restart().await.unwrap();
    eventually(SOON, "Redis is used again", async || {
        let told = status(&app.client).await;
        told["lock_service_available"] == true
            && told["breaker"]["state"] == "closed"
            && told["breaker"]["opened_at"].is_null()
            && told["breaker"]["history"].as_array().unwrap().len() == 2
    })
    .await;
    app.finish().await;
}

#[tokio::test]
async fn without_redis_by_choice_it_is_answered_too() {
    let app = TestApp::without_redis().await;
    let variant = app.client.variant(10).await;
    let (row, sale) = open_section(&app, variant).await;
    let told = status(&app.client).await;
    assert_adds_up(&told);
    assert_eq!(
        (&told["lock_service_available"], &told["lock_mode"], &told["breaker"]["state"]),
        (&json!(false), &json!("database_only"), &json!("open"))
    );
    assert_eq!((&told["breaker"]["opened_at"], &told["inventory_locks"]), (&Value::Null, &json!(1)));
    row.let_go().await;
    sale.await.unwrap().expect(200);
    assert_eq!(status(&app.client).await["total_active_locks"], 0);
    app.finish().await;
}

#[tokio::test]
async fn after_redis_was_emptied_only_locks_that_are_taken_since_are_told() {
    let redis = Private::redis().await;
    let app = start(&redis).await;
    let peer = Peer::start(&app.database.url, Some(&redis.url()), &[]).await;
    let stranger = Stranger::at(&redis.url()).await;
    let variant = app.client.variant(10).await;
    let key = inventory_lock(variant);
    let (row, sale) = open_section(&app, variant).await;
    let lost = lock(&status(&app.client).await, &key).unwrap()["owner"].clone();
    let _gone: String = stranger.ask(&["FLUSHALL"]).await;
    assert_eq!(status(&app.client).await["total_active_locks"], 0, "Redis holds no lock now");

    let client = peer.client.clone();
    let next = tokio::spawn(async move { client.decrement(variant, 1).await });
    until_at_a_row(&app.database.pool, 2).await;
    let told = status(&app.client).await;
    assert_adds_up(&told);
    let held = lock(&told, &key).expect("the one who took it since");
    assert!(held["owner"] != lost && told["total_active_locks"] == 1, "{told}");
    assert_eq!(told["database_waits"].as_array().unwrap().len(), 2, "where both sections stand");
    row.let_go().await;
    sale.await.unwrap().expect(200);
    next.await.unwrap().expect(200);
    assert_eq!(status(&app.client).await["total_active_locks"], 0);
    peer.finish().await;
    app.finish().await;
}
