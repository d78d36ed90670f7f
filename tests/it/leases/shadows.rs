//! What other programs and onlookers see of leases in Redis, and what it has to say: no more than that a stranger is
//! there.

use holdfast::leases::{Claimed, LeaseName};

use super::claims::counted;
use super::{SOON, a_minute, begin, claim, commit, granted, lapse, rack};
use crate::support::row::until_at_a_row;
use crate::support::{Cluster, Private, Stranger, TestApp, TestDatabase, eventually, shared_redis};

/// The fence in the value that shows a claim.
async fn shown(redis: &Stranger, name: &LeaseName) -> Option<i64> {
    let value = redis.holder(name.as_str()).await?;
    let (fence, random) = value.strip_prefix("lease:").unwrap().split_once(':').unwrap();
    assert!(random.len() == 32 && random.bytes().all(|byte| byte.is_ascii_hexdigit()), "{value}");
    Some(fence.parse().unwrap())
}

async fn set(redis: &Stranger, name: &LeaseName, value: &str) {
    let _set: String = redis.ask(&["SET", name.as_str(), value, "PX", "30000"]).await;
}

#[tokio::test]
async fn the_published_key_is_set_renewed_and_deleted_with_the_claim_and_told_to_onlookers() {
    let redis = Private::redis().await;
    let app = TestApp::with(TestDatabase::fresh().await, Some(&redis.url()), super::PATIENT).await;
    let (stranger, name) = (Stranger::at(&redis.url()).await, rack());
    let fence = granted(&app.app, &name, "ann").await;
    let value = stranger.holder(name.as_str()).await;
    assert_eq!(shown(&stranger, &name).await, Some(fence.0));
    assert!(!stranger.take(name.as_str(), "another program").await);
    let status = app.client.get("/locks/status").await.expect(200).json();
    let lock = &status["locks"][0];
    assert_eq!(
        (lock["key"].as_str(), &lock["class"], &lock["replica"]),
        (Some(name.as_str()), &"rack".into(), &"lease".into())
    );
    assert_eq!(status["total_active_locks"], 1);

    let _short: i64 = stranger.ask(&["PEXPIRE", name.as_str(), "5000"]).await;
    app.app.leases.renew(&app.app.db, &name, fence, a_minute()).await.unwrap();
    assert!((50_000..=60_000).contains(&stranger.left_ms(name.as_str()).await));
    assert_eq!(stranger.holder(name.as_str()).await, value, "it is the same claim");

    app.app.leases.release(&app.app.db, &name, fence).await.unwrap();
    assert_eq!(stranger.holder(name.as_str()).await, None);
    assert_eq!(app.client.get("/locks/status").await.expect(200).json()["total_active_locks"], 0);
    assert!(stranger.take(name.as_str(), "another program").await);
    app.finish().await;
}

#[tokio::test]
async fn a_key_that_another_program_holds_refuses_a_claim_and_nothing_is_written() {
    let app = TestApp::start().await;
    let (redis, name) = (Stranger::at(&shared_redis()).await, rack());
    assert!(redis.take(name.as_str(), "another program").await);
    assert_eq!(claim(&app.app, &name, "ann").await, Claimed::HeldByStranger);
    assert_eq!(redis.holder(name.as_str()).await.as_deref(), Some("another program"));
    redis.delete(name.as_str()).await;
    let _pushed: i64 = redis.ask(&["RPUSH", name.as_str(), "not a lock at all"]).await;
    assert_eq!(claim(&app.app, &name, "ann").await, Claimed::HeldByStranger);
    assert_eq!((app.count("leases").await, counted(&app, "strangers").await), (0, 2));
    redis.delete(name.as_str()).await;
    granted(&app.app, &name, "ann").await;
    app.finish().await;
}

#[tokio::test]
async fn while_a_claim_is_made_no_other_program_gets_in() {
    let app = TestApp::start().await;
    let (redis, name) = (Stranger::at(&shared_redis()).await, rack());
    let first = granted(&app.app, &name, "ann").await;
    redis.delete(name.as_str()).await;
    let mut write = begin(&app).await;
    app.app.leases.hold_fence_in_tx(&mut write, &name, first).await.unwrap();
    lapse(&app.database.pool, &name).await;
    let (of, claims) = (app.app.clone(), name.clone());
    let claiming = tokio::spawn(async move { granted(&of, &claims, "bob").await });
    until_at_a_row(&app.database.pool, 1).await;
    assert_eq!(shown(&redis, &name).await, Some(0), "a place holder");
    assert!(!redis.take(name.as_str(), "another program").await);
    commit(write).await;
    let second = claiming.await.unwrap();
    assert_eq!(shown(&redis, &name).await, Some(second.0));
    app.finish().await;
}

#[tokio::test]
async fn whoever_is_refused_leaves_redis_as_it_was() {
    let app = TestApp::start().await;
    let (redis, name) = (Stranger::at(&shared_redis()).await, rack());
    let fence = granted(&app.app, &name, "ann").await;
    for is_shown in [true, false] {
        if !is_shown {
            redis.delete(name.as_str()).await;
        }
        assert!(matches!(claim(&app.app, &name, "bob").await, Claimed::HeldBy(_)));
        assert_eq!(shown(&redis, &name).await, is_shown.then_some(fence.0));
    }
    // Nor is the place holder touched of another who is just claiming.
    let others = format!("lease:0:{}", "0".repeat(32));
    set(&redis, &name, &others).await;
    assert!(matches!(claim(&app.app, &name, "bob").await, Claimed::HeldBy(_)));
    assert_eq!(redis.holder(name.as_str()).await, Some(others));
    app.finish().await;
}

#[tokio::test]
async fn a_shadow_that_comes_late_overwrites_none_of_a_newer_claim_and_deletes_none() {
    let app = TestApp::start().await;
    let (redis, name) = (Stranger::at(&shared_redis()).await, rack());
    let fence = granted(&app.app, &name, "ann").await;
    let random = "0".repeat(32);
    // As if a newer claim had been shown before this one's renewal and release are.
    set(&redis, &name, &format!("lease:{}:{random}", fence.0 + 1)).await;
    app.app.leases.renew(&app.app.db, &name, fence, a_minute()).await.unwrap();
    assert_eq!(shown(&redis, &name).await, Some(fence.0 + 1));
    app.app.leases.release(&app.app.db, &name, fence).await.unwrap();
    assert_eq!(shown(&redis, &name).await, Some(fence.0 + 1));
    // What an older claim left is overwritten, and deleted.
    set(&redis, &name, &format!("lease:{}:{random}", fence.0)).await;
    let next = granted(&app.app, &name, "bob").await;
    assert_eq!(shown(&redis, &name).await, Some(next.0));
    set(&redis, &name, &format!("lease:{}:{random}", fence.0)).await;
    app.app.leases.release(&app.app.db, &name, next).await.unwrap();
    assert_eq!(shown(&redis, &name).await, None);
    app.finish().await;
}

#[tokio::test]
async fn a_redis_that_forgets_everything_changes_nothing_and_is_told_again_by_the_next_renewal() {
    let redis = Private::redis().await;
    let app = TestApp::with(TestDatabase::fresh().await, Some(&redis.url()), super::PATIENT).await;
    let (stranger, name) = (Stranger::at(&redis.url()).await, rack());
    let fence = granted(&app.app, &name, "ann").await;
    let _gone: String = stranger.ask(&["FLUSHALL"]).await;
    assert!(matches!(claim(&app.app, &name, "bob").await, Claimed::HeldBy(holder) if holder.owner == "ann"));
    let mut write = begin(&app).await;
    app.app.leases.hold_fence_in_tx(&mut write, &name, fence).await.unwrap();
    commit(write).await;
    app.app.leases.renew(&app.app.db, &name, fence, a_minute()).await.unwrap();
    assert_eq!(shown(&stranger, &name).await, Some(fence.0));
    // A stranger that was quicker keeps what it has, and so does the owner.
    let _gone: String = stranger.ask(&["FLUSHALL"]).await;
    assert!(stranger.take(name.as_str(), "another program").await);
    app.app.leases.renew(&app.app.db, &name, fence, a_minute()).await.unwrap();
    app.app.leases.release(&app.app.db, &name, fence).await.unwrap();
    assert_eq!(stranger.holder(name.as_str()).await.as_deref(), Some("another program"));
    app.finish().await;
}

#[tokio::test]
async fn after_redis_was_away_leases_are_shown_again() {
    let mut redis = Private::redis().await;
    let settings = &[("HOLDFAST_BREAKER_PROBE_MS", "50")];
    let app = TestApp::with(TestDatabase::fresh().await, Some(&redis.url()), settings).await;
    let name = rack();
    redis.kill().await.unwrap();
    let fence = granted(&app.app, &name, "ann").await;
    redis.restart().await.unwrap();
    let stranger = Stranger::at(&redis.url()).await;
    eventually(SOON, "a renewal shows the lease", async || {
        app.app.leases.renew(&app.app.db, &name, fence, a_minute()).await.unwrap();
        shown(&stranger, &name).await == Some(fence.0)
    })
    .await;
    app.finish().await;
}

#[tokio::test]
async fn in_a_cluster_leases_are_shown_and_told_wherever_their_keys_live() {
    let cluster = Cluster::start().await;
    let app = TestApp::with(TestDatabase::fresh().await, Some(&cluster.url()), super::PATIENT).await;
    let mut leases = Vec::new();
    for _ in 0..6 {
        let name = rack();
        leases.push((granted(&app.app, &name, "ann").await, name));
    }
    for (fence, name) in &leases {
        assert_eq!(shown(&cluster.master_of(name.as_str()).await, name).await, Some(fence.0));
    }
    assert_eq!(app.client.get("/locks/status").await.expect(200).json()["total_active_locks"], 6);
    for (fence, name) in &leases {
        app.app.leases.release(&app.app.db, name, *fence).await.unwrap();
        assert_eq!(cluster.master_of(name.as_str()).await.holder(name.as_str()).await, None);
    }
    assert_eq!(app.client.get("/locks/status").await.expect(200).json()["total_active_locks"], 0);
    app.finish().await;
}
