//! Postgres dies, hangs, and comes back.
//!
//! Nothing acknowledged may be lost, nothing may happen twice, and nobody may wait for ever: what is answered
//! meanwhile is 503 with a time to try again.

use std::time::Duration;

use hyper::Method;
use serde_json::json;
use tokio::time::Instant;

use super::SOON;
use crate::support::campaign::{amount, report};
use crate::support::row::until_at_a_row;
use crate::support::{
    Client, HeldRow, Load, Private, Replica, Reply, TestApp, TestDatabase, eventually, shared_redis, unique,
};

/// No answer may take longer, whatever hangs.
const ANSWER_MAX: Duration = Duration::from_secs(16);
/// An answer that the database is away takes at most this, when it is known to be.
const REFUSAL_MAX: Duration = Duration::from_secs(7);

async fn ready(client: &Client) -> Reply {
    client.send(Method::GET, "/health/ready", &[], "").await.unwrap()
}

#[track_caller]
fn assert_away(reply: &Reply) {
    assert_eq!((reply.status.as_u16(), reply.code().as_str()), (503, "database_unavailable"), "{reply:?}");
    assert!(reply.header("retry-after").unwrap().parse::<u32>().unwrap() >= 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_of_postgres_loses_nothing_acknowledged_and_doubles_nothing_unknown() {
    let mut postgres = Private::postgres_on_tcp().await;
    let judge = TestApp::with(TestDatabase::on(&postgres.url()).await, Some(&shared_redis()), &[]).await;
    let start = async || Replica::start(&judge.database.url, Some(&shared_redis()), &[]).await;
    let replicas = [start().await, start().await];
    let load = Load::start(&[&replicas[0].client, &replicas[1].client], 20, 6).await;
    let variant = judge.client.variant(1).await;
    let crashes = amount(2, 40);
    for _ in 0..crashes {
        load.acknowledged(60).await;
        postgres.stop_immediately().await.unwrap();
        load.left_unknown(6).await;
        assert_away(&judge.client.decrement(variant, 1).await);
        eventually(SOON, "not ready", async || ready(&judge.client).await.status == 503).await;
        let sick = ready(&judge.client).await.json();
        assert_eq!((&sick["status"], &sick["database"]), (&json!("not_ready"), &json!("down")));

        postgres.restart().await.unwrap();
        eventually(SOON, "ready by itself", async || ready(&judge.client).await.status == 200).await;
    }
    load.acknowledged(60).await;
    let (acknowledged, unknown) = load.settle(&judge.client).await;
    assert!(
        acknowledged >= 60 * (crashes + 1) && unknown >= crashes,
        "{acknowledged} acknowledged, {unknown} unknown"
    );
    report(&format!(
        "{crashes} crashes of Postgres under load: {acknowledged} writes acknowledged, {unknown} left unknown at first; \
         each sent again had one effect"
    ));
    for replica in replicas {
        assert!(replica.terminate().await);
    }
    judge.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pool_full_of_dead_connections_delays_no_refusal_and_no_recovery() {
    let mut postgres = Private::postgres_on_tcp().await;
    let settings = [("HOLDFAST_DB_MAX_CONNECTIONS", "16")];
    let app = TestApp::with(TestDatabase::on(&postgres.url()).await, None, &settings).await;
    let mut variants = Vec::new();
    for _ in 0..16 {
        variants.push(app.client.variant(100).await);
    }
    // All connections in use at once, so that the pool is full.
    let mut rows = Vec::new();
    for variant in &variants {
        rows.push(HeldRow::of(&app.database, *variant).await);
    }
    let sell_all = || {
        let sales: Vec<_> = variants
            .iter()
            .map(|variant| {
                let (client, variant) = (app.client.clone(), *variant);
                tokio::spawn(async move {
                    let sent = Instant::now();
                    (client.decrement(variant, 1).await, sent.elapsed())
                })
            })
            .collect();
        futures_util::future::join_all(sales)
    };
    let sales = tokio::spawn(sell_all());
    until_at_a_row(&app.database.pool, 16).await;
    for row in rows {
        row.let_go().await;
    }
    for sale in sales.await.unwrap() {
        sale.unwrap().0.expect(200);
    }
    let idle_since = Instant::now();
    postgres.stop_immediately().await.unwrap();
    eventually(SOON, "the connections are old enough to be doubted", async || {
        idle_since.elapsed() > Duration::from_millis(700)
    })
    .await;

    let sent = Instant::now();
    assert_away(&app.client.decrement(variants[0], 1).await);
    assert!(sent.elapsed() < REFUSAL_MAX, "one refusal took {:?}", sent.elapsed());
    for sale in sell_all().await {
        let (reply, took) = sale.unwrap();
        assert_away(&reply);
        assert!(took < REFUSAL_MAX, "a refusal in a crowd took {took:?}");
    }
    postgres.restart().await.unwrap();
    eventually(SOON, "ready by itself", async || ready(&app.client).await.status == 200).await;
    for sale in sell_all().await {
        sale.unwrap().0.expect(200);
    }
    app.finish().await;
}

#[tokio::test]
async fn a_postgres_whose_socket_is_gone_is_told_at_once() {
    let mut postgres = Private::postgres().await;
    let app = TestApp::with(TestDatabase::on(&postgres.url()).await, None, &[]).await;
    let variant = app.client.variant(100).await;
    postgres.stop().await.unwrap();
    // Those that are already there may be found dead first.
    assert_away(&app.client.decrement(variant, 1).await);
    let sent = Instant::now();
    for _ in 0..20 {
        assert_away(&app.client.decrement(variant, 1).await);
    }
    assert!(sent.elapsed() < REFUSAL_MAX, "20 refusals took {:?}", sent.elapsed());
    postgres.restart().await.unwrap();
    eventually(SOON, "ready by itself", async || ready(&app.client).await.status == 200).await;
    app.client.decrement(variant, 1).await.expect(200);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hung_postgres_is_answered_for_within_bounds_and_the_same_key_tells_what_became_of_it() {
    let mut postgres = Private::postgres_on_tcp().await;
    let database = TestDatabase::on(&postgres.url()).await;
    let app = TestApp::with(database, None, &[("HOLDFAST_LOCK_WAIT_MS", "1000")]).await;
    let (waiting, other) = (app.client.variant(10).await, app.client.variant(10).await);
    let row = HeldRow::of(&app.database, waiting).await;
    let sell = |variant, key: String| {
        let client = app.client.clone();
        async move {
            let sent = Instant::now();
            let path = format!("/inventory/{variant}/decrement");
            (client.post_keyed(&path, &json!({"quantity": 1}), &key).await, sent.elapsed())
        }
    };
    let at_the_row = unique("key");
    let first = tokio::spawn(sell(waiting, at_the_row.clone()));
    until_at_a_row(&app.database.pool, 1).await;
    app.client.decrement(other, 1).await.expect(200);

    postgres.pause();
    let keys: Vec<_> = (0..6).map(|_| unique("key")).collect();
    let crowd = keys.iter().map(|key| sell(other, key.clone()));
    let (crowd, first, health) = tokio::join!(futures_util::future::join_all(crowd), first, async {
        let sent = Instant::now();
        (ready(&app.client).await, sent.elapsed())
    });
    for (reply, took) in crowd.into_iter().chain([first.unwrap(), health]) {
        assert!(took < ANSWER_MAX, "an answer took {took:?}: {reply:?}");
        assert!(matches!(reply.status.as_u16(), 429 | 503), "{reply:?}");
    }
    postgres.resume();
    row.let_go().await;
    eventually(SOON, "ready by itself", async || ready(&app.client).await.status == 200).await;
    for key in &keys {
        sell(other, key.clone()).await.0.expect(200);
    }
    sell(waiting, at_the_row).await.0.expect(200);
    assert_eq!(app.client.on_hand(other).await, 10 - 1 - 6);
    assert_eq!(app.client.on_hand(waiting).await, 9);
    app.finish().await;
}
