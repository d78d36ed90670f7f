//! The way to Redis breaks: it leads nowhere, swallows, holds up or spoils what it carries.
//!
//! Each replica must find out within its budget, and none may take a silence or nonsense for a lock.

use tokio::time::{Duration, Instant};

use crate::support::campaign::amount;
use crate::support::{Link, Private, Shop};

/// Lets each fault of the links come and go.
async fn survives(faults: &[Link]) {
    let redis = Private::redis().await;
    let shop = Shop::on(&redis.url()).await;
    for _ in 0..amount(1, 20) {
        for fault in faults {
            let mut outage = shop.outage(format!("{fault:?}"));
            shop.link(*fault);
            outage.is_noticed().await;
            shop.link(Link::Sound);
            outage.ends().await;
        }
    }
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_refuses_resets_or_breaks_off_connections_fails_no_request() {
    survives(&[Link::Refused, Link::Reset, Link::CutAfter(3)]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_goes_silent_fails_no_request_whether_or_not_it_hears() {
    survives(&[Link::BlackHole, Link::Stalled, Link::NoAnswers]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_slower_than_its_budget_fails_no_request() {
    survives(&[Link::Slow(240, 240), Link::Slow(500, 500)]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_whose_answers_are_garbled_fails_no_request_and_gives_no_false_lock_a_say() {
    survives(&[Link::Garbled]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_slow_within_its_budget_is_waited_for_or_done_without() {
    let redis = Private::redis().await;
    let shop = Shop::on(&redis.url()).await;
    for delay in [5, 60] {
        let mut outage = shop.outage(format!("{delay} ms each way")).with_long_lines();
        shop.link(Link::Slow(delay, delay));
        outage
            .lasts_until("a sale takes as long as its two calls, or does without", async |_| {
                let variant = shop.app.client.variant(1).await;
                let sent = Instant::now();
                let sold = shop.app.client.decrement(variant, 1).await.expect(200);
                sent.elapsed() >= Duration::from_millis(4 * delay)
                    || sold.header("lock-mode") == Some("database_only")
            })
            .await;
        shop.link(Link::Sound);
        outage.ends().await;
    }
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_hangs_with_all_its_connections_fails_no_request() {
    let mut redis = Private::redis().await;
    let shop = Shop::on(&redis.url()).await;
    for _ in 0..amount(1, 20) {
        let mut outage = shop.outage("stopped by a signal");
        redis.pause();
        outage.is_noticed().await;
        redis.resume();
        outage.ends().await;
    }
    shop.close().await;
}
