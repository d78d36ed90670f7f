//! Redis's wall clock is set, by a shim around its library calls: ahead, so that every lock expires at once, and
//! back, so that none expires for an hour.

use super::SOON;
use crate::support::{ClockedRedis, Shop, Stranger, eventually};

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
