//! Postgres falls silent: its host is gone without a word, or the network between. Nothing comes any more, and nothing breaks
//! off, so the server's limits can't act.

use std::time::Duration;

use holdfast::servers::Postgres;
use hyper::Method;
use serde_json::json;

use super::SOON;
use crate::support::proxy::{COMMIT, port_of};
use crate::support::row::until_at_a_row;
use crate::support::{
    HeldRow, Link, Peer, Private, Proxy, Reply, TestApp, TestDatabase, eventually, shared_redis,
};

/// How long a transaction may take, and how long a caller waits.
const LIMITS: (Duration, Duration) = (Duration::from_millis(300), Duration::from_millis(500));

/// A database, and the same through a proxy.
async fn both_ways(postgres: &Private<Postgres>) -> (Proxy, String, TestDatabase) {
    let proxy = Proxy::before(port_of(&postgres.url()), (Duration::ZERO, Duration::ZERO)).await;
    let mut database = TestDatabase::on(&postgres.url()).await;
    let through = proxy.instead_of(&database.url);
    let direct = std::mem::replace(&mut database.url, through);
    (proxy, direct, database)
}

#[track_caller]
fn assert_unknown(reply: &Reply) {
    assert_eq!((reply.status.as_u16(), reply.code().as_str()), (503, "database_unavailable"), "{reply:?}");
    assert!(reply.header("retry-after").is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_section_over_a_connection_that_falls_silent_keeps_neither_its_slot_nor_its_lease() {
    let postgres = Private::postgres_on_tcp().await;
    let (proxy, direct, database) = both_ways(&postgres).await;
    let other = Peer::start(&direct, Some(&shared_redis()), &[]).await;
    let app = TestApp::impatient(database, Some(&shared_redis()), LIMITS).await;
    let shared: &[(&str, &str)] = &[("content-type", "application/json")];
    let alone = [shared[0], ("prefer", "wait=5")];
    for (headers, at_the_commit) in [(shared, false), (&alone, false), (shared, true), (&alone, true)] {
        let variant = other.client.variant(10).await;
        proxy.fall_silent_at(if at_the_commit { COMMIT } else { variant.as_bytes() });
        let sale = format!("/api/v1/inventory/{variant}/decrement");
        let sell = async || {
            let body = json!({"quantity": 1}).to_string();
            app.client.send(Method::POST, &sale, headers, body).await.unwrap()
        };
        assert_unknown(&sell().await);
        // Its lease is another replica's to take, and with its connection its transaction is over.
        other.client.decrement(variant, 1).await.expect(200);
        eventually(SOON, "it sells again", async || sell().await.status == 200).await;
    }
    // What only reads is given up too, after its caller.
    let variant = other.client.variant(10).await;
    proxy.fall_silent_at(variant.as_bytes());
    assert_unknown(&app.client.get(&format!("/inventory/{variant}")).await);
    eventually(SOON, "nothing goes on", async || app.app.tasks.is_empty()).await;
    other.finish().await;
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_does_not_wait_for_the_look_whether_it_is_there_already() {
    let postgres = Private::postgres_on_tcp().await;
    let (proxy, direct, database) = both_ways(&postgres).await;
    let app = TestApp::only_serving(database, None, &[]).await;
    let variant = app.client.variant(10).await;
    let row = HeldRow::at(&direct, variant).await;
    let (client, path) = (app.client.clone(), format!("/inventory/{variant}/decrement"));
    let sale =
        tokio::spawn(async move { client.post_keyed(&path, &json!({"quantity": 1}), "looked-for").await });
    until_at_a_row(&app.database.pool, 1).await;
    proxy.fall_silent_at(b"looked-for");
    eventually(SOON, "it looks", async || proxy.has_fallen_silent()).await;
    row.let_go().await;
    assert!(!sale.await.unwrap().expect(200).was_replayed());
    proxy.link(Link::Reset);
    eventually(SOON, "the look is over", async || app.app.tasks.is_empty()).await;
    proxy.link(Link::Sound);
    app.finish().await;
}
