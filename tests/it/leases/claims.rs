//! Who gets a lease: one of all who want it, and each with a higher fence than the one before.

use std::time::Duration;

use holdfast::leases::{Again, Claimed, Fence, Holder, Wanted, claim_in_tx};
use hyper::Method;

use super::{SOON, a_minute, begin, claim, commit, granted, in_all_modes, lapse, note, owner, rack};
use crate::support::row::until_at_a_row;
use crate::support::{Stranger, TestApp, at_once, shared_redis};

#[tokio::test(flavor = "multi_thread")]
async fn of_fifty_who_claim_at_once_one_wins_and_all_others_are_told_who() {
    const CLAIMERS: usize = 50;
    in_all_modes(async |app, peer| {
        let (name, pool) = (rack(), &app.database.pool);
        let apps = [app.app.clone(), peer.app.clone()];
        let mut last = Fence(0);
        // A name that nobody ever claimed, one that lapsed, and one that was forgotten.
        for round in 0..3 {
            let claims = at_once(CLAIMERS, |n| {
                let (app, name) = (apps[n % 2].clone(), name.clone());
                async move { claim(&app, &name, &format!("claimer {n}")).await }
            })
            .await;
            let mut winners = claims.iter().enumerate().filter_map(|(n, claim)| match claim {
                Claimed::Granted(granted) => Some((format!("claimer {n}"), granted.fence)),
                _ => None,
            });
            let (winner, fence) = winners.next().expect("somebody wins");
            assert_eq!(winners.next(), None);
            assert!(fence > last, "{fence:?} after {last:?}");
            last = fence;
            let told = |claim: &Claimed| {
                matches!(claim, Claimed::HeldBy(Holder { owner, fence: f, expires_in })
                if *owner == winner && *f == fence && *expires_in <= Duration::from_secs(60))
            };
            assert_eq!(claims.iter().filter(|claim| told(claim)).count(), CLAIMERS - 1);
            note(&mut pool.acquire().await.unwrap(), &name, fence, &winner).await;
            match round {
                0 => lapse(pool, &name).await,
                _ => assert_eq!(
                    sqlx::query("DELETE FROM leases").execute(pool).await.unwrap().rows_affected(),
                    1
                ),
            }
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_claims_one_after_another_have_growing_fences_whatever_ended_them() {
    in_all_modes(async |app, peer| {
        let (name, pool) = (rack(), &app.database.pool);
        let mut last = Fence(0);
        for round in 0..200 {
            let app = if round % 2 == 0 { &app.app } else { &peer.app };
            // The two meet at the row, whoever is first.
            let [one, two] = [claim(app, &name, "ann"), claim(app, &name, "bob")];
            let claims = futures_util::future::join(one, two).await;
            let (fence, by) = match claims {
                (Claimed::Granted(granted), Claimed::HeldBy(_)) => (granted.fence, "ann"),
                (Claimed::HeldBy(_), Claimed::Granted(granted)) => (granted.fence, "bob"),
                both => panic!("{both:?}"),
            };
            assert!(fence > last, "{fence:?} after {last:?}");
            last = fence;
            note(&mut pool.acquire().await.unwrap(), &name, fence, by).await;
            match round % 3 {
                0 => lapse(pool, &name).await,
                1 => app.leases.release(&app.db, &name, fence).await.unwrap(),
                _ => drop(sqlx::query("DELETE FROM leases").execute(pool).await.unwrap()),
            }
        }
    })
    .await;
}

#[tokio::test]
async fn of_two_first_claims_the_one_that_commits_later_has_the_higher_fence() {
    let app = TestApp::without_redis().await;
    let (name, by) = (rack(), owner("ann"));
    let mut first = begin(&app).await;
    let wanted = Wanted { name: &name, owner: &by, ttl: a_minute(), again: Again::SameClaim };
    let Claimed::Granted(earlier) = claim_in_tx(&mut first, &wanted).await.unwrap() else { panic!() };
    let (other, wants) = (app.app.clone(), name.clone());
    let second = tokio::spawn(async move { granted(&other, &wants, "bob").await });
    until_at_a_row(&app.database.pool, 1).await;
    // It is purged in the moment in which it is over.
    sqlx::query("DELETE FROM leases").execute(&mut first).await.unwrap();
    commit(first).await;
    let later = second.await.unwrap();
    assert!(later > earlier.fence, "{later:?} after {:?}", earlier.fence);
    app.finish().await;
}

#[tokio::test]
async fn an_owner_that_repeats_its_claim_has_the_same_fence_and_more_time() {
    let app = TestApp::without_redis().await;
    let name = rack();
    let Claimed::Granted(first) = claim(&app.app, &name, "ann").await else { panic!() };
    let Claimed::Granted(again) = claim(&app.app, &name, "ann").await else { panic!() };
    assert!(again.fence == first.fence && again.expires_at > first.expires_at);
    lapse(&app.database.pool, &name).await;
    let Claimed::Granted(later) = claim(&app.app, &name, "ann").await else { panic!() };
    assert!(later.fence > first.fence, "what lapsed is claimed anew");
    let wanted = Wanted { name: &name, owner: &owner("ann"), ttl: a_minute(), again: Again::Refused };
    let refused = app.app.leases.claim(&app.app.db, &wanted).await.unwrap();
    assert!(matches!(refused, Claimed::HeldBy(Holder { fence, .. }) if fence == later.fence), "{refused:?}");
    app.finish().await;
}

#[tokio::test]
async fn a_dead_owners_lease_is_had_by_the_next_once_the_databases_clock_says_so() {
    let app = TestApp::start().await;
    let name = rack();
    let dead = granted(&app.app, &name, "ann").await;
    assert!(matches!(claim(&app.app, &name, "bob").await, Claimed::HeldBy(holder) if holder.owner == "ann"));
    lapse(&app.database.pool, &name).await;
    let next = granted(&app.app, &name, "bob").await;
    assert!(next > dead);
    for (counter, count) in [("granted", 2), ("refused", 1), ("takeovers", 1), ("strangers", 0), ("lost", 0)]
    {
        assert_eq!(counted(&app, counter).await, count, "{counter}");
    }
    app.finish().await;
}

/// A counter of leases on racks, all of which are there from the start.
pub(super) async fn counted(app: &TestApp, counter: &str) -> u64 {
    let text = app.client.send(Method::GET, "/metrics", &[], "").await.unwrap().expect(200);
    let text = String::from_utf8(text.bytes.to_vec()).unwrap();
    let start = format!("holdfast_lease_{counter}_total{{class=\"rack\"}} ");
    let line = text.lines().find_map(|line| line.strip_prefix(&start));
    line.expect("it is told").parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_waits_for_a_row_no_longer_than_a_statement_may_and_then_nothing_was_done() {
    let app = TestApp::start().await;
    let name = rack();
    let fence = granted(&app.app, &name, "ann").await;
    lapse(&app.database.pool, &name).await;
    let redis = Stranger::at(&shared_redis()).await;
    redis.delete(name.as_str()).await;
    let mut write = begin(&app).await;
    app.app.leases.hold_fence_in_tx(&mut write, &name, fence).await.unwrap();
    let wanted = Wanted { name: &name, owner: &owner("bob"), ttl: a_minute(), again: Again::SameClaim };
    let refused = tokio::time::timeout(SOON, app.app.leases.claim(&app.app.db, &wanted)).await.unwrap();
    assert!(matches!(refused, Err(holdfast::db::DbError::RowLocked(_))), "{refused:?}");
    assert_eq!(redis.holder(name.as_str()).await, None, "its place holder is gone");
    commit(write).await;
    assert!(granted(&app.app, &name, "bob").await > fence);
    app.finish().await;
}
