//! Courtesy copies on Redis.

use std::time::Duration;

use futures_util::StreamExt;
use redis::aio::PubSub;
use serde_json::{Value, json};
use tokio::time::timeout;
use uuid::Uuid;

use crate::support::{Client, Peer, Private, Stranger, Stream, TestApp, TestDatabase, eventually, unique};

const SOON: Duration = Duration::from_secs(60);

/// The next message that is not of `tried`.
async fn next(heard: &mut PubSub, tried: Uuid) -> (String, Value) {
    loop {
        let message = timeout(SOON, heard.on_message().next()).await.expect("a message").unwrap();
        let text: String = message.get_payload().unwrap();
        if !message.get_channel_name().ends_with(&tried.to_string()) {
            return (message.get_channel_name().to_owned(), serde_json::from_str(&text).unwrap());
        }
    }
}

/// Sells of `tried` until that is published.
async fn until_published(client: &Client, tried: Uuid, heard: &mut PubSub) {
    eventually(SOON, "one of them publishes", async || {
        client.decrement(tried, 1).await.expect(200);
        timeout(Duration::from_millis(200), heard.on_message().next()).await.is_ok()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_two_replicas_publishes_what_is_told_each_fact_once_and_the_other_goes_on_when_it_is_gone() {
    let redis = Private::redis().await;
    let app = TestApp::with(TestDatabase::fresh().await, Some(&redis.url()), &[]).await;
    let peer = Peer::start(&app.database.url, Some(&redis.url()), &[]).await;
    let roles = || (*app.app.events.role().borrow(), *peer.app.events.role().borrow());
    eventually(SOON, "one of them has the role", async || roles().0 != roles().1).await;

    let mut heard = redis::Client::open(redis.url()).unwrap().get_async_pubsub().await.unwrap();
    heard.psubscribe(&["inventory:updates:*", "global:notifications"]).await.unwrap();
    let tried = app.client.variant(1_000).await;
    until_published(&app.client, tried, &mut heard).await;
    let (variant, other) = (app.client.variant(100).await, peer.client.variant(100).await);
    for (client, variant) in [(&app.client, variant), (&peer.client, other), (&app.client, variant)] {
        client.decrement(variant, 1).await.expect(200);
    }
    let order = app.client.order("ann", &unique("key"), &[(variant, 1)]).await.expect(201).json();
    let mut versions = Vec::new();
    for _ in 0..5 {
        let (channel, message) = next(&mut heard, tried).await;
        assert_eq!(channel, format!("inventory:updates:{}", message["variant_id"].as_str().unwrap()));
        assert_eq!(message["event"], "stock.changed");
        versions.push((message["variant_id"].clone(), message["data"]["version"].clone()));
    }
    let (a, b) = (json!(variant), json!(other));
    let expected = [(&a, 1), (&b, 1), (&a, 2), (&b, 2), (&a, 3)];
    assert_eq!(versions, expected.map(|(variant, version)| (variant.clone(), json!(version))));
    let (channel, message) = next(&mut heard, tried).await;
    assert_eq!(
        (channel.as_str(), &message["type"], &message["data"]),
        ("global:notifications", &json!("order.placed"), &order)
    );
    assert_eq!(next(&mut heard, tried).await.1["data"]["version"], 4);

    // The role ends with the session it was taken in; whoever takes it then goes on.
    let ended: i64 = sqlx::query_scalar(
        "SELECT count(pg_terminate_backend(pid)) FROM pg_locks JOIN pg_stat_activity a USING (pid)
         WHERE locktype = 'advisory' AND a.application_name = 'holdfast relay' AND a.datname = current_database()",
    )
    .fetch_one(&app.database.pool)
    .await
    .unwrap();
    assert_eq!(ended, 1);
    let mut stream = Stream::open(&app.client, &format!("?types=stock.changed&variant_id={variant}")).await;
    until_published(&app.client, tried, &mut heard).await;
    // The stream misses nothing meanwhile.
    for version in 5..8 {
        app.client.decrement(variant, 1).await.expect(200);
        assert_eq!(stream.next().await.unwrap().data["version"], version);
    }
    drop((stream, heard));
    peer.finish().await;
    app.finish().await;
}

/// How often events were read so far.
async fn reads(app: &TestApp) -> i64 {
    sqlx::query_scalar(
        "SELECT coalesce(sum(calls), 0)::bigint FROM pg_stat_statements
         WHERE query LIKE '%position > $1 AND position <= $2%' AND query NOT LIKE '%pg_stat_statements%'",
    )
    .fetch_one(&app.database.pool)
    .await
    .unwrap()
}

/// How often Redis was asked whether somebody listens.
async fn questions(redis: &Stranger) -> usize {
    let stats: String = redis.ask(&["INFO", "commandstats"]).await;
    let calls = stats.lines().find_map(|line| line.strip_prefix("cmdstat_pubsub|numpat:calls="));
    calls.map_or(0, |calls| calls.split(',').next().unwrap().parse().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn while_nobody_listens_no_event_is_read_and_whoever_then_subscribes_hears_what_is_committed_next() {
    let postgres = Private::postgres_with("shared_preload_libraries", "pg_stat_statements").await;
    let redis = Private::redis().await;
    let app = TestApp::with(TestDatabase::on(&postgres.url()).await, Some(&redis.url()), &[]).await;
    sqlx::query("CREATE EXTENSION pg_stat_statements").execute(&app.database.pool).await.unwrap();
    let asked = Stranger::at(&redis.url()).await;
    let variant = app.client.variant(1_000).await;
    for _ in 0..20 {
        app.client.decrement(variant, 1).await.expect(200);
    }
    let before = questions(&asked).await;
    eventually(SOON, "it is asked twice more", async || questions(&asked).await >= before + 2).await;
    assert_eq!(reads(&app).await, 0);

    let mut heard = redis::Client::open(redis.url()).unwrap().get_async_pubsub().await.unwrap();
    heard.subscribe(format!("inventory:updates:{variant}")).await.unwrap();
    let sold = app.client.decrement(variant, 1).await.expect(200).json();
    // Copies of the seconds before may come too, and none is left out between them.
    let mut versions = Vec::new();
    while versions.last() != sold["version"].as_i64().as_ref() {
        versions.push(next(&mut heard, Uuid::nil()).await.1["data"]["version"].as_i64().unwrap());
    }
    assert!(versions.windows(2).all(|two| two[0] + 1 == two[1]), "{versions:?}");
    assert!(reads(&app).await > 0, "reads are counted");
    drop(heard);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_redis_does_not_let_itself_be_asked_who_listens_copies_are_published() {
    let redis = Private::redis().await;
    let _set: String =
        Stranger::at(&redis.url()).await.ask(&["ACL", "SETUSER", "default", "-pubsub|numpat"]).await;
    let app = TestApp::with(TestDatabase::fresh().await, Some(&redis.url()), &[]).await;
    let mut heard = redis::Client::open(redis.url()).unwrap().get_async_pubsub().await.unwrap();
    let variant = app.client.variant(10).await;
    heard.subscribe(format!("inventory:updates:{variant}")).await.unwrap();
    let sold = app.client.decrement(variant, 1).await.expect(200).json();
    eventually(SOON, "it is heard", async || next(&mut heard, Uuid::nil()).await.1["data"] == sold).await;
    drop(heard);
    app.finish().await;
}
