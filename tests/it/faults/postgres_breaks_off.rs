//! Postgres is there, but the connection breaks at the worst moment, or somebody else sits on a row.
//!
//! An error does not mean that nothing was committed. Without the answer kept with its key in the same
//! transaction, a client that retries buys twice; without limits by the server, one forgotten `psql` stops the shop.

use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;

use crate::support::proxy::{Cut, port_of};
use crate::support::row::{sessions_at_a_row, until_at_a_row};
use crate::support::{HeldRow, Private, Proxy, TestApp, TestDatabase, shared_redis};

#[tokio::test]
async fn a_commit_whose_answer_is_lost_is_replayed_and_one_that_never_arrived_is_carried_out() {
    let postgres = Private::postgres_on_tcp().await;
    let proxy = Proxy::before(port_of(&postgres.url()), (Duration::ZERO, Duration::ZERO)).await;
    let mut database = TestDatabase::on(&postgres.url()).await;
    database.url = proxy.instead_of(&database.url);
    let app = TestApp::with(database, Some(&shared_redis()), &[]).await;
    let variant = app.client.variant(100).await;
    let (sale, body) = (format!("/inventory/{variant}/decrement"), json!({"quantity": 1}));
    let order = crate::support::client::order_body("ann", &[(variant, 10), (variant, 10)]);
    let mut on_hand = 100;
    for (cut, was_done) in [(Cut::AfterCommit, true), (Cut::BeforeCommit, false)] {
        for (path, body, sold) in [(&sale, &body, 1), (&"/orders".to_owned(), &order, 20)] {
            let key = format!("{cut:?}-{sold}");
            let cuts = proxy.cuts();
            proxy.cut_next(cut);
            let unknown = app.client.post_keyed(path, body, &key).await.expect(503);
            assert_eq!(unknown.code(), "database_unavailable");
            assert!(unknown.header("retry-after").is_some());
            assert_eq!(proxy.cuts(), cuts + 1);

            let told = app.client.post_keyed(path, body, &key).await;
            assert!(told.status.is_success(), "{told:?}");
            assert_eq!(told.was_replayed(), was_done);
            let again = app.client.post_keyed(path, body, &key).await;
            assert!(again.was_replayed());
            assert_eq!(again.bytes, told.bytes);
            on_hand -= sold;
            assert_eq!(app.client.on_hand(variant).await, on_hand);
        }
    }
    app.finish().await;
}

#[tokio::test]
async fn a_session_ended_in_mid_section_leaves_nothing_and_the_same_key_works_at_once() {
    let app = TestApp::start().await;
    let (a, b) = (app.client.variant(10).await, app.client.variant(10).await);
    let row = HeldRow::of(&app.database, a.max(b)).await;
    let client = app.client.clone();
    let order = tokio::spawn(async move { client.order("ann", "key-1", &[(a, 1), (b, 1)]).await });
    until_at_a_row(&app.database.pool, 1).await;
    let session = sessions_at_a_row(&app.database.pool).await[0];
    let _ended: bool = sqlx::query_scalar("SELECT pg_terminate_backend($1)")
        .bind(session)
        .fetch_one(&app.database.pool)
        .await
        .unwrap();
    let broken = order.await.unwrap().expect(503);
    assert_eq!(broken.code(), "database_unavailable");
    assert!(broken.header("retry-after").is_some());

    row.let_go().await;
    let placed = app.client.order("ann", "key-1", &[(a, 1), (b, 1)]).await.expect(201);
    assert!(!placed.was_replayed());
    assert_eq!((app.client.on_hand(a).await, app.client.on_hand(b).await), (9, 9));
    app.finish().await;
}

#[tokio::test]
async fn a_foreign_transaction_that_sits_on_a_row_stops_that_variant_and_no_other() {
    let settings = [("HOLDFAST_DB_MAX_CONNECTIONS", "3"), ("HOLDFAST_LOCK_WAIT_MS", "1000")];
    let app = TestApp::with(TestDatabase::fresh().await, Some(&shared_redis()), &settings).await;
    let (stuck, other) = (app.client.variant(100).await, app.client.variant(100).await);
    let row = HeldRow::of(&app.database, stuck).await;
    // Many more than there are connections.
    let crowd: Vec<_> = (0..20)
        .map(|_| {
            let client = app.client.clone();
            tokio::spawn(async move { client.decrement(stuck, 1).await })
        })
        .collect();
    until_at_a_row(&app.database.pool, 1).await;
    let mut slowest = Duration::ZERO;
    for _ in 0..30 {
        let sent = Instant::now();
        app.client.decrement(other, 1).await.expect(200);
        slowest = slowest.max(sent.elapsed());
    }
    assert_eq!(sessions_at_a_row(&app.database.pool).await.len(), 1, "the others wait without a connection");
    assert!(slowest < Duration::from_secs(1), "another variant took {slowest:?}");
    for refused in crowd {
        let refused = refused.await.unwrap().expect(429);
        assert_eq!(refused.code(), "lock_timeout");
        assert!(refused.header("retry-after").is_some());
    }
    row.let_go().await;
    app.client.decrement(stuck, 1).await.expect(200);
    assert_eq!(app.client.on_hand(stuck).await, 99);
    app.finish().await;
}
