//! Processing markers: one worker at a file, and what became of it.

use std::time::Duration;

use holdfast::app::App;
use holdfast::leases::marker::{Marker, Percent, Start};
use holdfast::leases::{Ending, Fence, LeaseError};
use holdfast::text::Reason;

use super::{a_minute, begin, commit, in_all_modes, lapse, note, owner, roll_back, write};
use crate::support::row::until_at_a_row;
use crate::support::{Stranger, TestApp, at_once, shared_redis, unique};

fn file() -> Marker {
    Marker::of("acc-1", &unique("hash")).unwrap()
}

async fn start(app: &App, marker: &Marker, by: &str) -> Start {
    app.leases.start(&app.db, marker, &owner(by), a_minute()).await.unwrap()
}

async fn started(app: &App, marker: &Marker, by: &str) -> Fence {
    match start(app, marker, by).await {
        Start::Started { fence, .. } => fence,
        refused => panic!("{refused:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_twenty_who_start_at_once_one_works_and_its_file_is_written_once() {
    const STARTERS: usize = 20;
    in_all_modes(async |app, peer| {
        let marker = file();
        let apps = [app.app.clone(), peer.app.clone()];
        let starts = at_once(STARTERS, |n| {
            let (app, marker) = (apps[n % 2].clone(), marker.clone());
            // Even one user who uploads it twice.
            async move {
                let Start::Started { fence, .. } = start(&app, &marker, "ann").await else { return false };
                let mut tx = app.db.begin().await.unwrap();
                note(&mut tx, marker.name(), fence, "ann").await;
                write(&mut tx, marker.name(), fence, "the invoice").await.unwrap();
                tx.commit().await.unwrap();
                true
            }
        })
        .await;
        assert_eq!(starts.iter().filter(|worked| **worked).count(), 1);
        assert_eq!((app.count("written").await, app.count("claims_made").await), (1, 1));
    })
    .await;
}

#[tokio::test]
async fn who_is_at_it_since_when_and_how_far_is_told_until_it_is_done() {
    let app = TestApp::start().await;
    let (leases, db, marker) = (&app.app.leases, &app.app.db, file());
    assert_eq!(leases.running(db, &marker).await.unwrap(), None);
    let fence = started(&app.app, &marker, "worker 1").await;
    let first = leases.running(db, &marker).await.unwrap().unwrap();
    assert_eq!((&*first.owner, first.fence, first.progress), ("worker 1", fence, None));
    assert!(first.expires_in > Duration::from_secs(30) && first.expires_in <= Duration::from_secs(60));
    for percent in [Some(40), None] {
        let progress = percent.map(|percent| Percent::try_from(percent).unwrap());
        leases.beat(db, &marker, fence, progress, a_minute()).await.unwrap();
        let later = leases.running(db, &marker).await.unwrap().unwrap();
        assert_eq!((later.since, later.progress), (first.since, Some(40)));
    }
    match start(&app.app, &marker, "worker 2").await {
        Start::AlreadyRunning(Some(holder)) => {
            assert_eq!((&*holder.owner, holder.fence), ("worker 1", fence))
        }
        other => panic!("{other:?}"),
    }
    let mut conn = begin(&app).await;
    leases.finish_in_tx(&mut conn, &marker, fence).await.unwrap();
    commit(conn).await;
    leases.fade(marker.name(), fence).await;
    assert_eq!(leases.running(db, &marker).await.unwrap(), None);
    assert_eq!(Stranger::at(&shared_redis()).await.holder(marker.name().as_str()).await, None);
    let again = started(&app.app, &marker, "worker 2").await;
    assert!(again > fence);
    assert_eq!(leases.running(db, &marker).await.unwrap().unwrap().progress, None);
    app.finish().await;
}

#[tokio::test]
async fn a_crashed_workers_file_is_started_again_and_the_first_neither_beats_nor_finishes_when_it_wakes() {
    let app = TestApp::start().await;
    let (leases, db, marker) = (&app.app.leases, &app.app.db, file());
    let slow = started(&app.app, &marker, "slow").await;
    lapse(&app.database.pool, marker.name()).await;
    assert_eq!(leases.running(db, &marker).await.unwrap(), None);
    let next = started(&app.app, &marker, "next").await;
    assert!(next > slow);
    let is_late = |late: Result<(), LeaseError>| {
        assert!(matches!(late, Err(LeaseError::Superseded { newest }) if newest == next), "{late:?}");
    };
    is_late(leases.beat(db, &marker, slow, None, a_minute()).await.map(drop));
    is_late(leases.fail(db, &marker, slow, &Reason::try_from("slow".to_owned()).unwrap()).await);
    let mut conn = begin(&app).await;
    is_late(leases.finish_in_tx(&mut conn, &marker, slow).await);
    roll_back(conn).await;
    assert_eq!(leases.running(db, &marker).await.unwrap().unwrap().fence, next);
    app.finish().await;
}

#[tokio::test]
async fn nobody_finishes_twice_and_what_is_rolled_back_is_not_finished() {
    let app = TestApp::start().await;
    let (leases, db, marker) = (&app.app.leases, &app.app.db, file());
    let fence = started(&app.app, &marker, "ann").await;
    let mut conn = begin(&app).await;
    leases.finish_in_tx(&mut conn, &marker, fence).await.unwrap();
    roll_back(conn).await;
    assert_eq!(leases.running(db, &marker).await.unwrap().unwrap().fence, fence);
    // Two of it at once: the second waits for the first.
    let finishes = at_once(2, |_| {
        let (app, marker) = (app.app.clone(), marker.clone());
        async move {
            let mut tx = app.db.begin().await.unwrap();
            let finished = app.leases.finish_in_tx(&mut tx, &marker, fence).await;
            tx.commit().await.unwrap();
            finished
        }
    })
    .await;
    let late: Vec<_> = finishes.into_iter().filter_map(Result::err).collect();
    assert!(matches!(late[..], [LeaseError::Ended(Ending::Finished)]), "{late:?}");
    app.finish().await;
}

#[tokio::test]
async fn a_worker_that_lapsed_may_finish_what_it_has_written_while_another_waits_to_start() {
    let app = TestApp::start().await;
    let marker = file();
    let fence = started(&app.app, &marker, "slow").await;
    let mut conn = begin(&app).await;
    app.app.leases.hold_fence_in_tx(&mut conn, marker.name(), fence).await.unwrap();
    lapse(&app.database.pool, marker.name()).await;
    let (of, starts) = (app.app.clone(), marker.clone());
    let next = tokio::spawn(async move { started(&of, &starts, "next").await });
    until_at_a_row(&app.database.pool, 1).await;
    // It holds the row already, and does not queue behind the one who waits for it.
    app.app.leases.finish_in_tx(&mut conn, &marker, fence).await.unwrap();
    commit(conn).await;
    assert!(next.await.unwrap() > fence);
    app.finish().await;
}

#[tokio::test]
async fn a_failure_is_kept_with_its_reason_and_the_file_is_free() {
    let app = TestApp::start().await;
    let (leases, db, marker) = (&app.app.leases, &app.app.db, file());
    let fence = started(&app.app, &marker, "ann").await;
    let why = Reason::try_from("page 3 can't be read".to_owned()).unwrap();
    leases.fail(db, &marker, fence, &why).await.unwrap();
    let kept: (String, String) =
        sqlx::query_as("SELECT ending, reason FROM leases").fetch_one(&app.database.pool).await.unwrap();
    assert_eq!(kept, ("failed".to_owned(), why.as_str().to_owned()));
    let refused = leases.beat(db, &marker, fence, None, a_minute()).await;
    assert!(matches!(refused, Err(LeaseError::Ended(Ending::Failed))), "{refused:?}");
    assert!(started(&app.app, &marker, "bob").await > fence);
    app.finish().await;
}

#[tokio::test]
async fn a_file_that_another_program_marked_is_not_started() {
    let app = TestApp::start().await;
    let (redis, marker) = (Stranger::at(&shared_redis()).await, file());
    assert!(redis.take(marker.name().as_str(), "another program").await);
    assert_eq!(start(&app.app, &marker, "ann").await, Start::AlreadyRunning(None));
    assert_eq!(app.count("leases").await, 0);
    app.finish().await;
}
