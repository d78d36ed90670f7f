//! Redis hangs: connections are accepted, nothing answers.
//!
//! Without a budget for each call every request would wait for ever; without the breaker each would pay the
//! budget; without the sweep, takes that the hung server runs when it wakes would hold their keys for the TTL.

use std::time::Duration;

use futures_util::future::join_all;
use holdfast::ids;
use holdfast::locks::{LockKeys, LockMode, Locks, Timing};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use super::{QUICK_PROBE, SOON};
use crate::support::row::until_at_a_row;
use crate::support::stranger::inventory_lock;
use crate::support::{HeldRow, LockProcess, Private, Stranger, TestApp, TestDatabase, eventually};

const REQUESTS: i64 = 100;
/// Far above what a few budgets of 250 ms come to, far below [`REQUESTS`] of them.
const ALL_REQUESTS_MAX: Duration = Duration::from_secs(10);

#[tokio::test]
async fn a_few_requests_pay_for_a_hung_redis_and_then_nobody_does() {
    let mut redis = Private::redis().await;
    let app = TestApp::with(TestDatabase::fresh().await, Some(&redis.url()), &[]).await;
    let variant = app.client.variant(1_000).await;
    app.client.decrement(variant, 1).await.expect(200);
    redis.pause();
    let started = Instant::now();
    for _ in 0..REQUESTS {
        let sold = app.client.decrement(variant, 1).await.expect(200);
        assert_eq!(sold.header("lock-mode"), Some("database_only"));
    }
    let took = started.elapsed();
    assert!(took < ALL_REQUESTS_MAX, "{REQUESTS} requests took {took:?}");
    redis.resume();
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crowd_that_meets_a_hung_redis_at_once_does_not_pay_one_after_another() {
    let mut redis = Private::redis().await;
    let app = TestApp::with(TestDatabase::fresh().await, Some(&redis.url()), &[]).await;
    let variant = app.client.variant(1_000).await;
    app.client.decrement(variant, 1).await.expect(200);
    redis.pause();
    let started = Instant::now();
    let crowd: Vec<_> = (0..REQUESTS)
        .map(|_| {
            let client = app.client.clone();
            tokio::spawn(async move { client.decrement(variant, 1).await.expect(200) })
        })
        .collect();
    for sale in crowd {
        sale.await.unwrap();
    }
    let took = started.elapsed();
    assert!(took < ALL_REQUESTS_MAX, "{REQUESTS} requests took {took:?}");
    redis.resume();
    app.finish().await;
}

async fn lease_and_release(locks: &Locks, variant: Uuid) -> LockMode {
    let lease = locks.acquire(LockKeys::variant(variant), &CancellationToken::new()).await.unwrap();
    let mode = lease.evidence().mode;
    lease.release().await;
    mode
}

#[tokio::test]
async fn a_line_that_meets_a_hung_redis_pays_for_it_once() {
    let mut redis = Private::redis().await;
    // Nobody beats or probes: what fails is what the line asks.
    let locks = Locks::two_layer(&redis.url(), Timing::default(), TaskTracker::new()).unwrap();
    for a_release_hangs in [true, false] {
        let variant = ids::fresh();
        assert_eq!(lease_and_release(&locks, variant).await, LockMode::TwoLayer);
        let holder = locks.acquire(LockKeys::variant(variant), &CancellationToken::new()).await.unwrap();
        let holder = if a_release_hangs {
            Some(holder)
        } else {
            // Then it is the first one's take.
            holder.release().await;
            redis.pause();
            None
        };
        let line: Vec<_> = (0..20)
            .map(|_| {
                let locks = locks.clone();
                tokio::spawn(async move { lease_and_release(&locks, variant).await })
            })
            .collect();
        eventually(SOON, "all stand in line", async || locks.in_line(variant) >= 20).await;
        if let Some(holder) = holder {
            redis.pause();
            holder.release().await;
        }
        for lease in line {
            assert_eq!(lease.await.unwrap(), LockMode::DatabaseOnly);
        }
        assert_eq!(locks.breaker().unwrap().failures(), 1, "calls that were waited for in vain");
        redis.resume();
    }
}

#[tokio::test]
async fn whoever_was_to_come_next_and_went_on_without_redis_does_not_stay_in_line_there() {
    let mut redis = Private::redis().await;
    let process = LockProcess::start(&redis.url(), Timing::default());
    let stranger = Stranger::at(&redis.url()).await;
    for _ in 0..3 {
        let variant = ids::fresh();
        eventually(SOON, "two-layer", async || process.locks.mode() == LockMode::TwoLayer).await;
        let holder = process.lease(LockKeys::variant(variant)).await;
        let locks = process.locks.clone();
        let next = tokio::spawn(async move { lease_and_release(&locks, variant).await });
        eventually(SOON, "the next stands in line", async || process.locks.in_line(variant) == 2).await;
        redis.pause();
        // It tells a Redis that will hear of it when it wakes.
        holder.release().await;
        assert_eq!(next.await.unwrap(), LockMode::DatabaseOnly);
        redis.resume();
        eventually(SOON, "two-layer again", async || process.locks.mode() == LockMode::TwoLayer).await;
        // Nobody else looks there, so nobody else takes it out.
        eventually(SOON, "nobody is left in line", async || {
            stranger.line(&inventory_lock(variant)).await.is_empty()
        })
        .await;
    }
    process.stop().await;
}

async fn sell_each(app: &TestApp, variants: &[Uuid]) {
    for reply in join_all(variants.iter().map(|variant| app.client.decrement(*variant, 1))).await {
        reply.expect(200);
    }
}

#[tokio::test]
async fn a_redis_that_hung_and_woke_keeps_no_lock_that_nobody_owns() {
    let mut redis = Private::redis().await;
    let app = TestApp::with(TestDatabase::fresh().await, Some(&redis.url()), &[QUICK_PROBE]).await;
    let stranger = Stranger::at(&redis.url()).await;
    let mut variants = Vec::new();
    for _ in 0..12 {
        variants.push(app.client.variant(100).await);
    }
    for round in 0..3 {
        // All at once, so that each has a connection that is there already when it happens.
        sell_each(&app, &variants).await;
        // One is in its section then, so its release goes unanswered; of the others it is the takes.
        let row = HeldRow::of(&app.database, variants[0]).await;
        let (client, first) = (app.client.clone(), variants[0]);
        let sale = tokio::spawn(async move { client.decrement(first, 1).await });
        until_at_a_row(&app.database.pool, 1).await;
        redis.pause();
        row.let_go().await;
        sale.await.unwrap().expect(200);
        sell_each(&app, &variants[1..]).await;
        let lines: Vec<_> = variants.iter().map(|variant| (*variant, 1)).collect();
        app.client.order("ann", &format!("key-{round}"), &lines).await.expect(201);

        redis.resume();
        eventually(SOON, "two-layer again", async || app.app.locks.mode() == LockMode::TwoLayer).await;
        let mut left = stranger.keys("inventory_lock:*").await;
        left.extend(stranger.keys("lock:*").await);
        assert!(left.is_empty(), "nobody owns {left:?}");
        for variant in &variants {
            let sold = app.client.decrement(*variant, 1).await.expect(200);
            assert_eq!(sold.header("lock-mode"), Some("two_layer"));
        }
    }
    app.finish().await;
}

#[tokio::test]
async fn a_request_that_waits_in_line_when_redis_hangs_goes_on_without_it() {
    let mut redis = Private::redis().await;
    let app = TestApp::with(TestDatabase::fresh().await, Some(&redis.url()), &[QUICK_PROBE]).await;
    let stranger = Stranger::at(&redis.url()).await;
    let variant = app.client.variant(100).await;
    let key = inventory_lock(variant);
    assert!(stranger.take(&key, "a stranger").await);
    let client = app.client.clone();
    let sale = tokio::spawn(async move { client.decrement(variant, 1).await });
    eventually(SOON, "it stands in line", async || stranger.line(&key).await.len() == 1).await;
    redis.pause();
    let sold = sale.await.unwrap().expect(200);
    assert_eq!(sold.header("lock-mode"), Some("database_only"));
    redis.resume();
    eventually(SOON, "nobody is left in line", async || stranger.line(&key).await.is_empty()).await;
    assert_eq!(stranger.holder(&key).await.as_deref(), Some("a stranger"));
    app.finish().await;
}
