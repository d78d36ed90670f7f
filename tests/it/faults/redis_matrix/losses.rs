//! Redis loses locks, or gives them to others, while their sections run.
//!
//! Two may then believe to be alone with a variant. The row lock lets one pass at a time, and what Redis says of it
//! afterwards is its own affair.

use std::cell::Cell;

use super::SOON;
use crate::support::campaign::amount;
use crate::support::link::draw;
use crate::support::stranger::inventory_lock;
use crate::support::{Private, Shop, Stranger, eventually};

const THIEF: &str = "a thief";

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_flushed_again_and_again_in_mid_section_costs_nothing_but_order() {
    let redis = Private::redis().await;
    let (shop, admin) = (Shop::on(&redis.url()).await, Stranger::at(&redis.url()).await);
    let forget = "local held = #redis.call('KEYS', 'inventory_lock:*'); redis.call('FLUSHALL'); return held";
    let (mut outage, forgotten) = (shop.outage("FLUSHALL"), Cell::new(0));
    outage
        .lasts_until("locks were thrown away", async |_| {
            forgotten.set(forgotten.get() + admin.ask::<usize>(&["EVAL", forget, "0"]).await);
            forgotten.get() >= amount(50, 5_000)
        })
        .await;
    outage.ends().await;
    let section = shop.section(&admin).await;
    let _held: usize = admin.ask(&["EVAL", forget, "0"]).await;
    section.ends_beside(&shop.peers[0].client, &shop.app).await;
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_killed_and_started_again_empty_fails_no_request() {
    let mut redis = Private::redis().await;
    let shop = Shop::on(&redis.url()).await;
    for _ in 0..amount(2, 40) {
        let mut outage = shop.outage("killed and started again");
        redis.kill().await.unwrap();
        outage.is_noticed().await;
        redis.restart().await.unwrap();
        outage.ends().await;
    }
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failover_to_a_redis_that_has_no_locks_lets_sections_end_beside_each_other() {
    let (one, other) = tokio::join!(Private::redis(), Private::redis());
    let shop = Shop::on(&one.url()).await;
    for (from, to) in [(&one, &other), (&other, &one)] {
        let (old, new) = (Stranger::at(&from.url()).await, Stranger::at(&to.url()).await);
        let _emptied: String = new.ask(&["FLUSHALL"]).await;
        let _forgotten: String = new.ask(&["CONFIG", "RESETSTAT"]).await;
        let section = shop.section(&old).await;
        let mut outage = shop.outage("failed over to an empty one");
        for link in &shop.links {
            link.lead_to(&to.url());
        }
        eventually(SOON, "the other one is asked", async || {
            new.info("commandstats", "cmdstat_evalsha:calls=").await > 0
        })
        .await;
        assert_eq!(old.holder(&section.key).await, Some(section.token.clone()), "lost with the old one");
        section.ends_beside(&shop.peers[1].client, &shop.app).await;
        outage.lasts().await;
        outage.ends().await;
    }
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_evicts_locks_to_make_room_lets_sections_end_beside_each_other() {
    let redis = Private::redis().await;
    let (shop, admin) = (Shop::on(&redis.url()).await, Stranger::at(&redis.url()).await);
    for setting in [["maxmemory-policy", "allkeys-lru"], ["maxmemory-samples", "64"]] {
        let _set: String = admin.ask(&["CONFIG", "SET", setting[0], setting[1]]).await;
    }
    let limit = admin.info("memory", "used_memory:").await + 2_000_000;
    let _set: String = admin.ask(&["CONFIG", "SET", "maxmemory", &limit.to_string()]).await;
    let (mut outage, filled) = (shop.outage("evicting"), Cell::new(0));
    let fill = async || {
        for _ in 0..20 {
            filled.set(filled.get() + 1);
            let filler = ["SET", &format!("filler:{}", filled.get()), &"x".repeat(20_000)];
            let _full: redis::RedisResult<String> = admin.try_ask(&filler).await;
        }
    };
    let section = shop.section(&admin).await;
    eventually(SOON, "the lock of a running section is evicted", async || {
        fill().await;
        admin.holder(&section.key).await.is_none()
    })
    .await;
    section.ends_beside(&shop.peers[0].client, &shop.app).await;
    outage
        .lasts_until("more is evicted", async |_| {
            fill().await;
            admin.info("stats", "evicted_keys:").await > 100
        })
        .await;
    outage.ends().await;
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_stolen_and_deleted_in_mid_section_cost_a_wait_at_most() {
    let redis = Private::redis().await;
    let (shop, admin) = (Shop::on(&redis.url()).await, Stranger::at(&redis.url()).await);
    let (stolen, deleted) = (Cell::new(0), Cell::new(0));
    let mut outage = shop.outage("stolen and deleted keys").with_long_lines();
    outage
        .lasts_until("keys that were held are stolen and deleted", async |_| {
            let key = inventory_lock(shop.crowd.some_variant());
            if draw(2) == 0 {
                let was: Option<String> = admin.ask(&["SET", &key, THIEF, "XX", "GET", "PX", "20"]).await;
                stolen.set(stolen.get() + usize::from(was.is_some_and(|was| was != THIEF)));
            } else {
                deleted.set(deleted.get() + admin.ask::<usize>(&["DEL", &key]).await);
            }
            stolen.get().min(deleted.get()) >= amount(20, 2_000)
        })
        .await;
    outage.ends().await;

    let section = shop.section(&admin).await;
    let _stolen: String = admin.ask(&["SET", &section.key, THIEF, "PX", "60000"]).await;
    section.row.let_go().await;
    section.sale.await.unwrap().expect(200);
    assert_eq!(admin.holder(&section.key).await.as_deref(), Some(THIEF), "nobody deletes what is not his");
    admin.delete(&section.key).await;
    eventually(SOON, "the variant is sold again", async || {
        shop.peers[0].client.decrement(section.variant, 1).await.status == 200
    })
    .await;
    shop.close().await;
}
