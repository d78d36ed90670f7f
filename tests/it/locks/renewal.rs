//! Sections that run longer than the TTL of their lease.
//!
//! Without renewal, another replica would be let in on a section that is merely slow, and wait at its row with a
//! connection; with a renewal that outlives its section, a key would stay locked that nobody works under.

use std::sync::Arc;
use std::time::Duration;

use holdfast::ids;
use holdfast::locks::{LockKey, LockKeys, Timing};
use tokio::time::Instant;
use uuid::Uuid;

use super::SOON;
use crate::support::stranger::inventory_lock;
use crate::support::{Link, LockProcess, Proxy, Stranger, eventually, shared_redis};

/// So short that several pass in a test. (The program refuses it: it has to outlive a statement.)
const TTL: Duration = Duration::from_millis(400);

fn start() -> LockProcess {
    LockProcess::start(
        &shared_redis(),
        Timing { inventory_ttl: TTL, order_ttl: TTL * 2, ..Timing::default() },
    )
}

/// Waits for several TTLs and looks all the while whether `key` is still `owner`'s.
async fn stays(redis: &Stranger, key: &str, owner: &Option<String>) {
    let since = Instant::now();
    eventually(SOON, "several TTLs have passed", async || {
        assert_eq!(redis.holder(key).await, *owner, "lost after {:?}", since.elapsed());
        since.elapsed() > 4 * TTL
    })
    .await;
}

#[tokio::test]
async fn a_lease_lasts_as_long_as_its_section_and_no_longer() {
    let (process, redis) = (start(), Stranger::at(&shared_redis()).await);
    let variants = [ids::fresh(), ids::fresh()];
    let order = LockKey::order("ann", &ids::token());
    let keys = [order.clone(), LockKey::Inventory(variants[0]), LockKey::Inventory(variants[1])];
    let lease = process.lease(LockKeys::new(keys.to_vec()).unwrap()).await;
    let owner = redis.holder(&order.to_string()).await;
    assert!(owner.is_some());
    stays(&redis, &inventory_lock(variants[1]), &owner).await;
    for key in &keys {
        assert_eq!(redis.holder(&key.to_string()).await, owner);
    }
    lease.release().await;
    let renewed = process.counted("renewals");
    assert!(renewed >= 4, "renewed {renewed} times in four TTLs");
    for key in &keys {
        assert_eq!(redis.holder(&key.to_string()).await, None);
    }
    assert_eq!(process.counted("lost"), 0);
    process.stop().await;
}

#[tokio::test]
async fn a_section_that_panics_or_is_dropped_is_renewed_no_more_and_lets_go() {
    let (process, redis) = (Arc::new(start()), Stranger::at(&shared_redis()).await);
    for panics in [true, false] {
        let variant = ids::fresh();
        let (inner, begun) = (process.clone(), Arc::new(tokio::sync::Notify::new()));
        let (told, end) = (begun.clone(), Arc::new(tokio::sync::Notify::new()));
        let ending = end.clone();
        let section = tokio::spawn(async move {
            let lease = inner.lease(LockKeys::variant(variant)).await;
            let work = async {
                told.notify_one();
                ending.notified().await;
                assert!(!panics, "the section panics, as it is told to");
                std::future::pending::<()>().await;
            };
            lease.release_after(work).await;
        });
        begun.notified().await;
        let key = inventory_lock(variant);
        let owner = redis.holder(&key).await;
        stays(&redis, &key, &owner).await;
        if panics {
            end.notify_one();
        } else {
            section.abort();
        }
        assert!(section.await.is_err());
        eventually(SOON, "its key is free", async || redis.holder(&key).await.is_none()).await;
        let renewed = process.counted("renewals");
        let since = Instant::now();
        eventually(SOON, "a TTL has passed", async || since.elapsed() > TTL).await;
        assert_eq!(process.counted("renewals"), renewed, "renewed after its end");
    }
    Arc::into_inner(process).unwrap().stop().await;
}

#[tokio::test]
async fn a_lease_that_is_lost_under_its_section_is_counted_once_and_its_new_owner_left_alone() {
    let (process, redis) = (start(), Stranger::at(&shared_redis()).await);
    let stolen = ids::fresh();
    let keys = LockKeys::variants([stolen, Uuid::from_u128(stolen.as_u128() + 1)]).unwrap();
    let lease = process.lease(keys).await;
    let key = inventory_lock(stolen);
    let _thief: String = redis.ask(&["SET", &key, "a thief", "PX", "60000"]).await;
    eventually(SOON, "the next renewal has noticed", async || process.counted("lost") == 1).await;
    let left = redis.left_ms(&key).await;
    let (before, since) = (process.counted("renewals"), Instant::now());
    eventually(SOON, "it was renewed some times more", async || process.counted("renewals") > before + 2)
        .await;
    lease.release().await;
    assert_eq!(process.counted("lost"), 1, "what was known to be lost is not lost again");
    assert_eq!(redis.holder(&key).await.as_deref(), Some("a thief"));
    let expected = left - i64::try_from(since.elapsed().as_millis()).unwrap();
    assert!(redis.left_ms(&key).await <= expected + 50, "the thief's time was prolonged");
    redis.delete(&key).await;
    process.stop().await;
}

#[tokio::test]
async fn a_lease_that_is_asked_about_while_it_is_let_go_is_not_counted_as_lost() {
    let link = Proxy::before_redis(&shared_redis()).await;
    let (process, redis) =
        (LockProcess::start(&link.redis_url(), Timing::default()), Stranger::at(&shared_redis()).await);
    // Two connections that are there already.
    let (some, other) = (ids::fresh(), ids::fresh());
    let (one, another) =
        tokio::join!(process.lease(LockKeys::variant(some)), process.lease(LockKeys::variant(other)));
    let token = redis.holder(&inventory_lock(some)).await.unwrap();
    eventually(SOON, "it hears questions", async || redis.hearers_of(&token).await == 1).await;
    tokio::join!(one.release(), another.release());
    let channel = format!("holdfast:wake:{}", &token[..32]);
    link.link(Link::Slow(0, 40));
    for _ in 0..30 {
        let variant = ids::fresh();
        let (lease, key) = (process.lease(LockKeys::variant(variant)).await, inventory_lock(variant));
        let question = format!("ask {} {key}", redis.holder(&key).await.unwrap());
        let words = ["PUBLISH", &channel, &question];
        tokio::join!(lease.release(), redis.ask::<i64>(&words));
    }
    assert_eq!(process.counted("lost"), 0);
    process.stop().await;
}
