//! What Redis's clock leaves behind when it is set back: places in line that seem to be kept for an hour to come.
//!
//! Unless they are seen for what they are, a taker that died before stands in front of everybody until that hour is
//! over.

use super::SOON;
use crate::support::stranger::{inventory_lock, line_of};
use crate::support::{Private, Stranger, TestApp, TestDatabase, eventually};

/// In µs.
const HOUR: u64 = 3_600_000_000;
/// Longer than a request waits: whoever has to ask twice is refused.
const NO_POLL: &[(&str, &str)] = &[("HOLDFAST_LOCK_RETRY_MS", "10000"), ("HOLDFAST_LOCK_WAIT_MS", "1500")];

/// Stands in `key`'s line with a place kept until so many µs from now, under a name that no replica has.
async fn stand_in_line(redis: &Stranger, key: &str, kept_for: u64) -> String {
    let (seconds, micros): (u64, u64) = redis.ask(&["TIME"]).await;
    let (now, token) = (seconds * 1_000_000 + micros, "d".repeat(64));
    let entry = format!("{now} {}", now + kept_for);
    let _new: i64 = redis.ask(&["HSET", &line_of(key), &token, &entry]).await;
    token
}

#[tokio::test]
async fn a_place_kept_for_an_hour_holds_up_nobody_and_is_not_counted() {
    let redis = Private::redis().await;
    let app = TestApp::with(TestDatabase::fresh().await, Some(&redis.url()), NO_POLL).await;
    let stranger = Stranger::at(&redis.url()).await;
    let variant = app.client.variant(10).await;
    let key = inventory_lock(variant);
    stand_in_line(&stranger, &key, HOUR).await;
    let sold = app.client.decrement(variant, 1).await.expect(200);
    assert_eq!(sold.header("lock-mode"), Some("two_layer"));
    assert_eq!(stranger.line(&key).await, [""; 0], "it is taken out");

    assert!(stranger.take(&key, "a stranger").await);
    stand_in_line(&stranger, &key, HOUR).await;
    let client = app.client.clone();
    let sale = tokio::spawn(async move { client.decrement(variant, 1).await });
    eventually(SOON, "it stands in line", async || stranger.line(&key).await.len() == 2).await;
    let told = app.client.get("/locks/status").await.expect(200).json();
    assert_eq!((&told["waiters"], &told["locks"][0]["waiters"]), (&1.into(), &1.into()), "{told}");
    assert_eq!(sale.await.unwrap().expect(429).code(), "lock_timeout");
    app.finish().await;
}

#[tokio::test]
async fn a_place_kept_for_a_while_is_respected() {
    let redis = Private::redis().await;
    let app = TestApp::with(TestDatabase::fresh().await, Some(&redis.url()), &[]).await;
    let stranger = Stranger::at(&redis.url()).await;
    let variant = app.client.variant(10).await;
    let key = inventory_lock(variant);
    let first = stand_in_line(&stranger, &key, 50_000_000).await;
    let client = app.client.clone();
    let sale = tokio::spawn(async move { client.decrement(variant, 1).await });
    eventually(SOON, "the sale stands behind it", async || {
        let line = stranger.line(&key).await;
        line.len() == 2 && line[0] == first
    })
    .await;
    let _left: i64 = stranger.ask(&["HDEL", &line_of(&key), &first]).await;
    assert_eq!(sale.await.unwrap().expect(200).header("lock-mode"), Some("two_layer"));
    app.finish().await;
}
