//! Who waits: for strangers, for other replicas, and for those that died.

use serde_json::json;

use super::assert_adds_up;
use crate::operations::{SOON, lock, open_section, start, status};
use crate::support::row::until_at_a_row;
use crate::support::stranger::inventory_lock;
use crate::support::{HeldRow, Peer, Private, Replica, Stranger, eventually};

#[tokio::test]
async fn a_strangers_lock_that_a_request_waits_for_is_shown_with_its_waiter() {
    let redis = Private::redis().await;
    let app = start(&redis).await;
    let stranger = Stranger::at(&redis.url()).await;
    let variant = app.client.variant(10).await;
    let key = inventory_lock(variant);
    for (ttl, shown) in [(&["PX", "60000"][..], true), (&[], false), (&["PX", "9000000000000000000"], true)] {
        let _set: String = stranger.ask(&[&["SET", &key, "a stranger's secret"], ttl].concat()).await;
        let client = app.client.clone();
        let sale = tokio::spawn(async move { client.decrement(variant, 1).await });
        eventually(SOON, "it stands in line", async || stranger.line(&key).await.len() == 1).await;
        let reply = app.client.get("/locks/status").await.expect(200);
        let told = reply.json();
        let seen = lock(&told, &key).unwrap_or_else(|| panic!("not listed: {told}"));
        assert_eq!(
            (&seen["replica"], &seen["waiters"], &told["waiters"]),
            (&json!("stranger"), &json!(1), &json!(1))
        );
        assert_eq!(seen["ttl_ms"].is_u64(), shown, "{seen}");
        assert!(!String::from_utf8_lossy(&reply.bytes).contains("secret"));
        stranger.delete(&key).await;
        sale.await.unwrap().expect(200);
    }
    app.finish().await;
}

#[tokio::test]
async fn a_strangers_lock_that_a_request_waits_for_at_another_replica_is_shown_too() {
    let redis = Private::redis().await;
    let app = start(&redis).await;
    let peer = Peer::start(&app.database.url, Some(&redis.url()), &[]).await;
    let stranger = Stranger::at(&redis.url()).await;
    let variant = app.client.variant(10).await;
    let key = inventory_lock(variant);
    assert!(stranger.take(&key, "a stranger's").await);
    let client = peer.client.clone();
    let sale = tokio::spawn(async move { client.decrement(variant, 1).await });
    eventually(SOON, "the asked replica shows it", async || {
        let told = status(&app.client).await;
        assert_adds_up(&told);
        lock(&told, &key).is_some_and(|seen| seen["waiters"] == 1 && seen["replica"] == "stranger")
    })
    .await;
    assert!(!sale.is_finished());
    stranger.delete(&key).await;
    sale.await.unwrap().expect(200);
    eventually(SOON, "nothing is left to tell of it", async || {
        stranger.keys("holdfast:{fleet}:waiting:*").await.is_empty()
    })
    .await;
    peer.finish().await;
    app.finish().await;
}

#[tokio::test]
async fn a_section_that_nobody_waits_for_is_not_told_by_beats() {
    let redis = Private::redis().await;
    let app = start(&redis).await;
    let stranger = Stranger::at(&redis.url()).await;
    let variant = app.client.variant(10).await;
    let (row, sale) = open_section(&app, variant).await;
    let replica = stranger.holder(&inventory_lock(variant)).await.unwrap()[..32].to_owned();
    let beat = format!("holdfast:{{fleet}}:replica:{replica}");
    // The first may have been under way when the section began.
    for _ in 0..2 {
        let last: Option<String> = stranger.ask(&["GET", &beat]).await;
        eventually(SOON, "it beats", async || stranger.ask::<Option<String>>(&["GET", &beat]).await != last)
            .await;
    }
    assert_eq!(stranger.keys("holdfast:{fleet}:waiting:*").await, [""; 0], "the index has it");
    row.let_go().await;
    sale.await.unwrap().expect(200);
    app.finish().await;
}

#[tokio::test]
async fn waiters_of_all_replicas_add_up_whichever_is_asked() {
    let redis = Private::redis().await;
    let app = start(&redis).await;
    let peer = Peer::start(&app.database.url, Some(&redis.url()), &[]).await;
    let variant = app.client.variant(100).await;
    let key = inventory_lock(variant);
    let (row, sale) = open_section(&app, variant).await;
    let mut sales = vec![sale];
    for client in [&app.client, &app.client, &app.client, &peer.client, &peer.client] {
        let client = client.clone();
        sales.push(tokio::spawn(async move { client.decrement(variant, 1).await }));
    }
    for client in [&app.client, &peer.client] {
        eventually(SOON, "all five who wait are counted", async || {
            let told = status(client).await;
            assert_adds_up(&told);
            lock(&told, &key).is_some_and(|held| held["waiters"] == 5) && told["waiters"] == 5
        })
        .await;
    }
    row.let_go().await;
    for sale in sales {
        sale.await.unwrap().expect(200);
    }
    for client in [&app.client, &peer.client] {
        eventually(SOON, "nobody waits any more", async || {
            let told = status(client).await;
            told["waiters"] == 0 && told["total_active_locks"] == 0
        })
        .await;
    }
    peer.finish().await;
    app.finish().await;
}

#[tokio::test]
async fn what_a_killed_replica_held_is_told_until_it_is_taken_over_and_its_waiters_are_forgotten() {
    let redis = Private::redis().await;
    let app = start(&redis).await;
    let variant = app.client.variant(10).await;
    let key = inventory_lock(variant);
    let row = HeldRow::of(&app.database, variant).await;
    let replica = Replica::start(&app.database.url, Some(&redis.url()), &[]).await;
    let sell = || {
        let client = replica.client.clone();
        let (path, body) = (format!("/inventory/{variant}/decrement"), json!({"quantity": 1}));
        tokio::spawn(async move { client.try_post(&path, &body, None).await })
    };
    // Once it is at the row, nobody joins it any more.
    let first = sell();
    until_at_a_row(&app.database.pool, 1).await;
    let crowd = [first, sell(), sell()];
    eventually(SOON, "two wait for the third", async || {
        lock(&status(&app.client).await, &key).is_some_and(|held| held["waiters"] == 2)
    })
    .await;
    let owner = lock(&status(&app.client).await, &key).unwrap()["owner"].clone();
    replica.kill().await;
    for dead in crowd {
        assert!(dead.await.unwrap().is_err());
    }
    eventually(SOON, "nobody waits", async || status(&app.client).await["waiters"] == 0).await;
    let told = status(&app.client).await;
    assert_eq!(lock(&told, &key).expect("nobody released it")["owner"], owner);

    row.let_go().await;
    app.client.decrement(variant, 1).await.expect(200);
    let told = status(&app.client).await;
    assert_eq!((&told["total_active_locks"], &told["waiters"]), (&json!(0), &json!(0)));
    app.finish().await;
}
