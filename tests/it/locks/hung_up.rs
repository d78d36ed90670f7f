//! The caller that goes away: while it waits, it must leave the line; once its section runs, the section must end
//! as if it were still there.
//!
//! A handler that is dropped with its connection would leave its place taken, its key in Redis until the TTL, or
//! its transaction half done.

use holdfast::ids;
use holdfast::locks::{LockError, LockKeys, Timing};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::SOON;
use crate::support::row::until_at_a_row;
use crate::support::stranger::inventory_lock;
use crate::support::{HeldRow, Link, LockProcess, Proxy, Stranger, TestApp, eventually, shared_redis, wire};

#[tokio::test]
async fn a_caller_that_hangs_up_while_it_waits_leaves_the_line_and_nothing_is_written_for_it() {
    let app = TestApp::start().await;
    let redis = Stranger::at(&shared_redis()).await;
    let variant = app.client.variant(10).await;
    let key = inventory_lock(variant);
    assert!(redis.take(&key, "a stranger").await);
    let path = format!("/inventory/{variant}/decrement");
    let gone = wire::send(&app.client, &path, &json!({"quantity": 7}), None).await.unwrap();
    eventually(SOON, "the first stands in line", async || redis.line(&key).await.len() == 1).await;
    let first = redis.line(&key).await;
    let client = app.client.clone();
    let next = tokio::spawn(async move { client.decrement(variant, 1).await });

    drop(gone);
    eventually(SOON, "the next has taken its place", async || {
        let line = redis.line(&key).await;
        line.len() == 1 && line != first
    })
    .await;
    redis.delete(&key).await;
    next.await.unwrap().expect(200);
    assert_eq!(app.client.on_hand(variant).await, 9);
    app.finish().await;
}

#[tokio::test]
async fn a_section_whose_caller_hangs_up_runs_to_its_end_and_lets_go_of_its_key() {
    for app in [TestApp::start().await, TestApp::without_redis().await] {
        let redis = Stranger::at(&shared_redis()).await;
        let variant = app.client.variant(10).await;
        let row = HeldRow::of(&app.database, variant).await;
        let path = format!("/inventory/{variant}/decrement");
        let gone = wire::send(&app.client, &path, &json!({"quantity": 7}), Some("key-1")).await.unwrap();
        until_at_a_row(&app.database.pool, 1).await;
        drop(gone);
        // By the time a connection made later is answered, the end of this one has been read too.
        app.client.get(&format!("/inventory/{variant}")).await.expect(200);
        row.let_go().await;
        eventually(SOON, "the sale is written", async || app.client.on_hand(variant).await == 3).await;
        let key = inventory_lock(variant);
        eventually(SOON, "its key is free", async || redis.holder(&key).await.is_none()).await;
        let again = app.client.post_keyed(&path, &json!({"quantity": 7}), "key-1").await.expect(200);
        assert!(again.was_replayed());
        app.finish().await;
    }
}

#[tokio::test]
async fn whoever_leaves_while_redis_is_told_that_it_comes_next_does_not_stay_in_line_there() {
    let (link, redis) = (Proxy::before_redis(&shared_redis()).await, Stranger::at(&shared_redis()).await);
    let process = LockProcess::start(&link.redis_url(), Timing::default());
    // Two connections that are there already: which of two calls arrives first is up to the link.
    let (one, another) = tokio::join!(
        process.lease(LockKeys::variant(ids::fresh())),
        process.lease(LockKeys::variant(ids::fresh()))
    );
    tokio::join!(one.release(), another.release());
    link.link(Link::Slow(0, 40));
    for _ in 0..30 {
        let variant = ids::fresh();
        let holder = process.lease(LockKeys::variant(variant)).await;
        let (locks, gone) = (process.locks.clone(), CancellationToken::new());
        let hangs_up = gone.clone();
        let waiter = tokio::spawn(async move { locks.acquire(LockKeys::variant(variant), &gone).await });
        eventually(SOON, "it stands behind", async || process.locks.in_line(variant) == 2).await;
        tokio::join!(holder.release(), async { hangs_up.cancel() });
        assert_eq!(waiter.await.unwrap().unwrap_err(), LockError::CallerGone);
        eventually(SOON, "whoever leaves has left", async || process.tasks.is_empty()).await;
        assert_eq!(redis.line(&inventory_lock(variant)).await, [""; 0]);
    }
    process.stop().await;
}
