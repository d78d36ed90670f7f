//! Redis answers, with errors: it may only be read, is full, can not save, knows nobody, refuses a command, is busy.
//!
//! Each is as good as away, and none may be taken for an answer about a lock.

use std::cell::Cell;
use std::time::Duration;

use holdfast::locks::LockMode;
use tokio::time::Instant;

use super::SOON;
use crate::support::campaign::amount;
use crate::support::{Private, Shop, Stranger, eventually};

/// Some probes long.
const WHILE_PROBED: Duration = Duration::from_secs(3);

/// Lets a fault that shows as this kind of error come by `begin` and go by `end`.
async fn survives(shop: &Shop, admin: &Stranger, kind: &str, begin: &[&str], end: &[&str]) {
    let errors = admin.errors(kind).await;
    let mut outage = shop.outage(kind);
    let _done: String = admin.ask(begin).await;
    outage.is_noticed().await;
    let _done: String = admin.ask(end).await;
    assert!(admin.errors(kind).await > errors, "nobody was told {kind}");
    outage.ends().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_only_reads_is_full_or_can_not_save_fails_no_request() {
    let redis = Private::redis().await;
    let (shop, admin) = (Shop::on(&redis.url()).await, Stranger::at(&redis.url()).await);
    for _ in 0..amount(1, 20) {
        // Nobody listens there; it answers reads from what it had.
        let (begin, end) = (["REPLICAOF", "127.0.0.1", "1"], ["REPLICAOF", "NO", "ONE"]);
        survives(&shop, &admin, "READONLY", &begin, &end).await;
        let (begin, end) = (["CONFIG", "SET", "maxmemory", "1"], ["CONFIG", "SET", "maxmemory", "0"]);
        survives(&shop, &admin, "OOM", &begin, &end).await;
    }
    // Saving fails: its file can not take the place of a folder.
    let folder: Vec<String> = admin.ask(&["CONFIG", "GET", "dir"]).await;
    std::fs::create_dir(format!("{}/dump.rdb", folder[1])).unwrap();
    let _begun: String = admin.ask(&["BGSAVE"]).await;
    eventually(SOON, "saving has failed", async || {
        admin.ask::<String>(&["INFO", "persistence"]).await.contains("rdb_last_bgsave_status:err")
    })
    .await;
    let (begin, end) = (["CONFIG", "SET", "save", "3600 1000000"], ["CONFIG", "SET", "save", ""]);
    survives(&shop, &admin, "MISCONF", &begin, &end).await;
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_wants_a_password_or_permits_nothing_fails_no_request() {
    let redis = Private::redis().await;
    let (shop, admin) = (Shop::on(&redis.url()).await, Stranger::at(&redis.url()).await);
    for _ in 0..amount(1, 20) {
        let (begin, end) =
            (["ACL", "SETUSER", "default", "-@all", "+acl"], ["ACL", "SETUSER", "default", "+@all"]);
        let errors = admin.errors("NOPERM").await;
        let mut outage = shop.outage("NOPERM");
        let _done: String = admin.ask(&begin).await;
        outage.is_noticed().await;
        let _done: String = admin.ask(&end).await;
        assert!(admin.errors("NOPERM").await > errors, "nobody was told NOPERM");
        outage.ends().await;

        let mut outage = shop.outage("NOAUTH");
        let _done: String = admin.ask(&["CONFIG", "SET", "requirepass", "a secret"]).await;
        // Those who are in already would stay in.
        for kind in ["normal", "pubsub"] {
            let _ended: i64 = admin.ask(&["CLIENT", "KILL", "TYPE", kind, "SKIPME", "yes"]).await;
        }
        outage.is_noticed().await;
        assert!(admin.errors("NOAUTH").await > 0, "nobody was told NOAUTH");
        let _done: String = admin.ask(&["CONFIG", "SET", "requirepass", ""]).await;
        outage.ends().await;
    }
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_refuses_scripts_is_not_taken_for_well_because_it_answers_plain_commands() {
    let redis = Private::redis().await;
    let (shop, admin) = (Shop::on(&redis.url()).await, Stranger::at(&redis.url()).await);
    let mut outage = shop.outage("NOPERM for scripts alone");
    let _done: String = admin.ask(&["ACL", "SETUSER", "default", "-@scripting"]).await;
    outage.is_noticed().await;
    let noticed = Instant::now();
    let mut well = 0;
    eventually(SOON, "it was probed for a while", async || {
        well += usize::from(shop.modes().contains(&LockMode::TwoLayer));
        noticed.elapsed() > WHILE_PROBED
    })
    .await;
    let _done: String = admin.ask(&["ACL", "SETUSER", "default", "+@scripting"]).await;
    outage.ends().await;
    shop.close().await;
    assert_eq!(well, 0, "it was taken for well while it refused every take");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_busy_with_somebodys_script_fails_no_request() {
    let redis = Private::redis().await;
    let (shop, admin) = (Shop::on(&redis.url()).await, Stranger::at(&redis.url()).await);
    let _done: String = admin.ask(&["CONFIG", "SET", "busy-reply-threshold", "20"]).await;
    for _ in 0..amount(1, 20) {
        let mut outage = shop.outage("BUSY");
        let endless = Stranger::at(&redis.url()).await;
        let script = tokio::spawn(async move {
            let _killed = endless.try_ask::<redis::Value>(&["EVAL", "while true do end", "0"]).await;
        });
        outage.is_noticed().await;
        let _done: String = admin.ask(&["SCRIPT", "KILL"]).await;
        script.await.unwrap();
        assert!(admin.errors("BUSY").await > 0, "nobody was told BUSY");
        outage.ends().await;
    }
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_is_loading_its_data_fails_no_request() {
    // Slow at it: 2 ms a key.
    let mut redis = Private::redis_as(|options| {
        options.set("key-load-delay", "2000").set("loading-process-events-interval-bytes", "1024")
    })
    .await;
    let admin = Stranger::at(&redis.url()).await;
    for n in 0..500 {
        let _done: String = admin.ask(&["SET", &format!("filler:{n}"), &"x".repeat(500)]).await;
    }
    let _saved: String = admin.ask(&["SAVE"]).await;
    let shop = Shop::on(&redis.url()).await;
    let mut outage = shop.outage("LOADING");
    redis.kill().await.unwrap();
    outage.is_noticed().await;
    let url = redis.url();
    let loading = async {
        eventually(SOON, "somebody is told that it is loading", async || {
            let Ok(redis) = Stranger::try_at(&url).await else { return false };
            let told = redis.try_ask::<String>(&["GET", "a"]).await;
            told.is_err_and(|error| error.code() == Some("LOADING"))
        })
        .await;
    };
    let (started, ()) = tokio::join!(redis.restart(), loading);
    started.unwrap();
    outage.ends().await;
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_forgets_its_scripts_is_told_them_again() {
    let redis = Private::redis().await;
    let (shop, admin) = (Shop::on(&redis.url()).await, Stranger::at(&redis.url()).await);
    let (mut outage, flushed_at) = (shop.outage("NOSCRIPT"), Cell::new(0));
    outage
        .lasts_until("scripts were asked for in vain", async |_| {
            // Not more often than they can be told again: that would be a Redis that takes no scripts.
            let changes = shop.crowd.tally().changes;
            if changes >= flushed_at.get() + 5 {
                flushed_at.set(changes);
                let _forgotten: String = admin.ask(&["SCRIPT", "FLUSH"]).await;
            }
            admin.errors("NOSCRIPT").await >= amount(20, 2_000) as u64
        })
        .await;
    outage.ends().await;
    shop.close().await;
}
