//! Whose claim may go on, and whose may not.

use holdfast::leases::{Ending, Fence, LeaseError};

use super::claims::counted;
use super::{a_minute, begin, commit, granted, lapse, rack, roll_back};
use crate::support::row::until_at_a_row;
use crate::support::{Private, TestApp, TestDatabase};

#[tokio::test]
async fn a_lapsed_lease_is_renewed_if_nobody_came_and_refused_if_somebody_did() {
    let app = TestApp::start().await;
    let (leases, db, name) = (&app.app.leases, &app.app.db, rack());
    let anns = granted(&app.app, &name, "ann").await;
    lapse(&app.database.pool, &name).await;
    let until = leases.renew(db, &name, anns, a_minute()).await.unwrap();
    let is_live: bool =
        sqlx::query_scalar("SELECT expires_at > clock_timestamp() AND expires_at = $1 FROM leases")
            .bind(until)
            .fetch_one(&app.database.pool)
            .await
            .unwrap();
    assert!(is_live);

    lapse(&app.database.pool, &name).await;
    let bobs = granted(&app.app, &name, "bob").await;
    for lapsed in [false, true] {
        if lapsed {
            lapse(&app.database.pool, &name).await;
        }
        let refused = leases.renew(db, &name, anns, a_minute()).await;
        assert!(matches!(refused, Err(LeaseError::Superseded { newest }) if newest == bobs), "{refused:?}");
        let refused = leases.release(db, &name, anns).await;
        assert!(matches!(refused, Err(LeaseError::Superseded { newest }) if newest == bobs), "{refused:?}");
    }
    assert_eq!(counted(&app, "lost").await, 2);
    leases.renew(db, &name, bobs, a_minute()).await.unwrap();
    app.finish().await;
}

#[tokio::test]
async fn released_twice_is_the_same_answer_and_what_was_released_is_renewed_no_more() {
    let app = TestApp::start().await;
    let (leases, db, name) = (&app.app.leases, &app.app.db, rack());
    let fence = granted(&app.app, &name, "ann").await;
    for _ in 0..2 {
        leases.release(db, &name, fence).await.unwrap();
    }
    let refused = leases.renew(db, &name, fence, a_minute()).await;
    assert!(matches!(refused, Err(LeaseError::Ended(Ending::Released))), "{refused:?}");
    for (name, fence) in [(&rack(), fence), (&name, Fence(fence.0 + 1)), (&name, Fence(-1))] {
        for refused in
            [leases.renew(db, name, fence, a_minute()).await.map(drop), leases.release(db, name, fence).await]
        {
            match refused {
                Err(LeaseError::NotFound) => {}
                Err(LeaseError::Superseded { newest }) => assert!(newest > fence),
                other => panic!("{other:?}"),
            }
        }
    }
    app.finish().await;
}

#[tokio::test]
async fn a_renewal_does_not_wait_for_the_writes_under_it_and_a_release_does() {
    let app = TestApp::start().await;
    let (leases, db, name) = (&app.app.leases, &app.app.db, rack());
    let fence = granted(&app.app, &name, "ann").await;
    let mut write = begin(&app).await;
    leases.hold_fence_in_tx(&mut write, &name, fence).await.unwrap();
    leases.renew(db, &name, fence, a_minute()).await.unwrap();
    let (of, releases) = (app.app.clone(), name.clone());
    let release = tokio::spawn(async move { of.leases.release(&of.db, &releases, fence).await });
    until_at_a_row(&app.database.pool, 1).await;
    commit(write).await;
    release.await.unwrap().unwrap();
    let mut late = begin(&app).await;
    let refused = leases.hold_fence_in_tx(&mut late, &name, fence).await;
    roll_back(late).await;
    assert!(matches!(refused, Err(LeaseError::Ended(Ending::Released))), "{refused:?}");
    app.finish().await;
}

#[tokio::test]
async fn redis_killed_between_claim_and_release_is_missed_by_nobody() {
    let mut redis = Private::redis().await;
    let app = TestApp::with(TestDatabase::fresh().await, Some(&redis.url()), &[]).await;
    let (leases, db, name) = (&app.app.leases, &app.app.db, rack());
    let first = granted(&app.app, &name, "ann").await;
    // Dies while a claim stands at the row.
    let mut write = begin(&app).await;
    leases.hold_fence_in_tx(&mut write, &name, first).await.unwrap();
    lapse(&app.database.pool, &name).await;
    let (of, claims) = (app.app.clone(), name.clone());
    let claim = tokio::spawn(async move { granted(&of, &claims, "bob").await });
    until_at_a_row(&app.database.pool, 1).await;
    redis.kill().await.unwrap();
    commit(write).await;
    let second = claim.await.unwrap();
    assert!(second > first);
    for _ in 0..10 {
        leases.renew(db, &name, second, a_minute()).await.unwrap();
    }
    leases.release(db, &name, second).await.unwrap();
    assert!(granted(&app.app, &name, "ann").await > second);
    app.finish().await;
}
