//! What a look costs, and what it takes.

use std::collections::BTreeMap;

use holdfast::locks::{LockKeys, Locks, Timing};
use hyper::Method;
use serde_json::json;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use crate::operations::{SOON, start, status};
use crate::support::{Load, Peer, Private, Stranger, TestApp, at_once};

/// How often each command was run by `looks` looks.
async fn commands_of(locks: &Locks, stranger: &Stranger, looks: u64) -> BTreeMap<String, u64> {
    let _reset: String = stranger.ask(&["CONFIG", "RESETSTAT"]).await;
    for _ in 0..looks {
        assert!(locks.status().await.lock_service_available);
    }
    let info: String = stranger.ask(&["INFO", "commandstats"]).await;
    let calls = info.lines().filter_map(|line| {
        let (name, rest) = line.strip_prefix("cmdstat_")?.split_once(":calls=")?;
        let calls: u64 = rest.split(',').next()?.parse().ok()?;
        Some((name.to_owned(), calls / looks)).filter(|_| !name.starts_with("config") && name != "info")
    });
    calls.collect()
}

#[tokio::test]
async fn a_look_costs_what_live_locks_cost_and_nothing_for_what_else_redis_keeps() {
    let redis = Private::redis().await;
    let stranger = Stranger::at(&redis.url()).await;
    // No keeper runs, so that whatever Redis is asked, a look asks.
    let locks = Locks::two_layer(&redis.url(), Timing::default(), TaskTracker::new()).unwrap();
    let gone = CancellationToken::new();
    let take = async |n: usize| {
        let keys = LockKeys::variants((0..n).map(|_| Uuid::new_v4())).unwrap();
        locks.acquire(keys, &gone).await.unwrap()
    };
    let three = take(3).await;
    locks.status().await;
    let few = commands_of(&locks, &stranger, 10).await;
    let fill =
        "for i = 1, 10000 do redis.call('SET', 'inventory_lock_log:' .. ARGV[1] .. i, 'x') end return 1";
    for part in 0..20 {
        let _filled: i64 = stranger.ask(&["EVAL", fill, "0", &format!("{part}:")]).await;
    }
    assert!(stranger.ask::<u64>(&["DBSIZE"]).await > 200_000);
    assert_eq!(commands_of(&locks, &stranger, 10).await, few);
    assert!(few.keys().all(|name| !["keys", "scan"].contains(&name.as_str())), "{few:?}");
    assert_eq!(few["get"], 3, "{few:?}");

    let forty = take(40).await;
    let kept_as: String = stranger.ask(&["OBJECT", "ENCODING", "holdfast:{fleet}:locks"]).await;
    assert_eq!(kept_as, "skiplist", "no list to be gone through for each of many locks");
    let more = commands_of(&locks, &stranger, 10).await;
    assert_eq!((more["get"], more["pttl"]), (43, 43));
    let rest = |stats: &BTreeMap<String, u64>| {
        let mut stats = stats.clone();
        stats.retain(|name, _| !["get", "pttl", "hvals"].contains(&name.as_str()));
        stats
    };
    assert_eq!(rest(&more), rest(&few), "one script for all of them");
    forty.release().await;
    three.release().await;
    assert_eq!(locks.status().await.total_active_locks, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_who_look_on_again_and_again_are_all_answered_and_disturb_nobody() {
    let redis = Private::redis().await;
    let app = start(&redis).await;
    let peer = Peer::start(&app.database.url, Some(&redis.url()), &[]).await;
    let load = Load::start(&[&app.client, &peer.client], 3, 8).await;
    let looks = at_once(50, |_| {
        let client = app.client.clone();
        async move {
            let mut slowest = std::time::Duration::ZERO;
            for _ in 0..6 {
                let looked = Instant::now();
                let told = status(&client).await;
                slowest = slowest.max(looked.elapsed());
                assert_eq!(told["lock_service_available"], true, "{told}");
                assert_eq!(told["database_available"], true, "{told}");
            }
            slowest
        }
    })
    .await;
    let slowest = looks.into_iter().max().unwrap();
    assert!(slowest < SOON, "a look took {slowest:?}");
    load.acknowledged(50).await;
    let (acknowledged, unknown) = load.settle(&app.client).await;
    assert!(acknowledged >= 50 && unknown == 0, "{acknowledged} acknowledged, {unknown} unknown");
    let told = status(&app.client).await;
    assert_eq!(told["breaker"]["history"], json!([]), "nobody took Redis for away");
    assert_eq!(told["total_active_locks"], 0);
    peer.finish().await;
    app.finish().await;
}

#[tokio::test]
async fn looking_takes_no_parameters_and_no_other_method() {
    let app = TestApp::without_redis().await;
    let reply = app.client.send(Method::POST, "/api/v1/locks/status", &[], "").await.unwrap();
    assert_eq!(reply.expect(405).code(), "method_not_allowed");
    app.finish().await;
}
