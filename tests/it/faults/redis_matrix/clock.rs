//! Redis's wall clock is set, by a shim around its library calls: ahead, so that every lock expires at once, and
//! back, so that none expires for an hour.

use serde_json::json;

use super::SOON;
use crate::support::row::until_at_a_row;
use crate::support::stranger::inventory_lock;
use crate::support::{ClockedRedis, HeldRow, Replica, Shop, Stranger, TestApp, TestDatabase, eventually};

const HOUR: i64 = 3_600;

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_set_ahead_lets_sections_end_beside_each_other() {
    let redis = ClockedRedis::start().await;
    let (shop, admin) = (Shop::on(&redis.url()).await, Stranger::at(&redis.url()).await);
    let section = shop.section(&admin).await;
    let mut outage = shop.outage("its clock is 60 s ahead");
    redis.set_ahead(60);
    eventually(SOON, "locks expire", async || admin.holder(&section.key).await.is_none()).await;
    section.ends_beside(&shop.peers[0].client, &shop.app).await;
    outage.lasts().await;
    outage.ends().await;
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_set_back_leaves_no_lock_for_an_hour() {
    let redis = ClockedRedis::start().await;
    let (shop, admin) = (Shop::on(&redis.url()).await, Stranger::at(&redis.url()).await);
    let section = shop.section(&admin).await;
    let mut outage = shop.outage("its clock is an hour back");
    redis.set_ahead(-HOUR);
    let left = admin.left_ms(&section.key).await;
    assert!(left > (HOUR - 60) * 1_000, "{left} ms left: the clock was not set");
    section.row.let_go().await;
    section.sale.await.unwrap().expect(200);
    assert_eq!(admin.holder(&section.key).await, None, "released all the same");
    outage.lasts().await;
    outage.ends().await;
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_died_before_the_clock_was_set_back_does_not_seem_to_live_for_an_hour() {
    let redis = ClockedRedis::start().await;
    let app = TestApp::with(TestDatabase::fresh().await, Some(&redis.url()), &[]).await;
    let (admin, variant) = (Stranger::at(&redis.url()).await, app.client.variant(10).await);
    let doomed = Replica::start(&app.database.url, Some(&redis.url()), &[]).await;
    let row = HeldRow::of(&app.database, variant).await;
    let client = doomed.client.clone();
    let path = format!("/inventory/{variant}/decrement");
    let cut = tokio::spawn(async move { client.try_post(&path, &json!({"quantity": 1}), None).await });
    until_at_a_row(&app.database.pool, 1).await;
    let key = inventory_lock(variant);
    let dead = admin.holder(&key).await;
    doomed.kill().await;
    redis.set_ahead(-HOUR);
    assert!(admin.left_ms(&key).await > (HOUR - 60) * 1_000, "the clock was not set");
    let sold = {
        let client = app.client.clone();
        tokio::spawn(async move { client.decrement(variant, 1).await })
    };
    eventually(SOON, "its key is taken over", async || {
        let holder = admin.holder(&key).await;
        holder.is_some() && holder != dead
    })
    .await;
    row.let_go().await;
    assert_eq!(sold.await.unwrap().expect(200).header("lock-mode"), Some("two_layer"));
    assert!(cut.await.unwrap().is_err(), "who was killed can't answer");
    app.finish().await;
}
