//! The race that fences are for: an owner that was taken to be dead writes all the same.
//!
//! Without the check in the writing transaction, and without holding the row until its commit, what it writes would
//! land on what its successor has decided.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use holdfast::db::DbError;
use holdfast::leases::{Again, Claimed, Ending, Fence, LeaseError, LeaseName, Wanted, claim_in_tx};
use sqlx::PgConnection;

use super::{
    a_minute, begin, commit, granted, in_all_modes, lapse, note, owner, rack, roll_back,
    with_a_guarded_table, write,
};
use crate::support::row::until_at_a_row;
use crate::support::{TestApp, at_once};

/// What a write refused by the trigger alone is told.
fn told_by_the_trigger(refused: Result<(), sqlx::Error>) -> LeaseError {
    DbError::from(refused.unwrap_err()).into()
}

async fn start() -> TestApp {
    let app = TestApp::start().await;
    with_a_guarded_table(&app.database.pool).await;
    app
}

#[tokio::test]
async fn a_write_under_an_old_an_ended_or_an_unknown_fence_is_refused_by_the_check_and_by_the_trigger() {
    let app = start().await;
    let name = rack();
    let old = granted(&app.app, &name, "ann").await;
    lapse(&app.database.pool, &name).await;
    // Its time is over, but nobody came.
    let mut conn = begin(&app).await;
    app.app.leases.hold_fence_in_tx(&mut conn, &name, old).await.unwrap();
    write(&mut conn, &name, old, "late and harmless").await.unwrap();
    commit(conn).await;

    let newest = granted(&app.app, &name, "bob").await;
    let is_superseded =
        |error: &LeaseError| matches!(error, LeaseError::Superseded { newest: n } if *n == newest);
    let is_unknown = |error: &LeaseError| matches!(error, LeaseError::NotFound);
    refused(&app, &name, old, is_superseded).await;
    refused(&app, &name, Fence(newest.0 + 1), is_unknown).await;
    refused(&app, &rack(), newest, is_unknown).await;
    app.app.leases.release(&app.app.db, &name, newest).await.unwrap();
    refused(&app, &name, newest, |error| matches!(error, LeaseError::Ended(Ending::Released))).await;
    let notes: Vec<String> =
        sqlx::query_scalar("SELECT note FROM written").fetch_all(&app.database.pool).await.unwrap();
    assert_eq!(notes, ["late and harmless"]);
    // Nor may what was written be changed in its name, nor passed off as another's.
    for change in ["note = 'changed'", "fence = fence + 1000000", "fence = NULL"] {
        let changed = sqlx::query(&format!("UPDATE written SET {change}")).execute(&app.database.pool).await;
        assert!(told_by_the_trigger(changed.map(drop)).is_lost(), "{change}");
    }
    app.finish().await;
}

async fn refused(app: &TestApp, name: &LeaseName, fence: Fence, why: impl Fn(&LeaseError) -> bool) {
    let mut conn = begin(app).await;
    let checked = app.app.leases.hold_fence_in_tx(&mut conn, name, fence).await.unwrap_err();
    assert!(why(&checked), "{checked:?}");
    let written = told_by_the_trigger(write(&mut conn, name, fence, "late").await);
    assert!(why(&written), "{written:?}");
    roll_back(conn).await;
}

#[tokio::test]
async fn a_claim_that_comes_while_a_write_is_under_way_waits_for_it() {
    let app = start().await;
    for only_the_trigger in [false, true] {
        let name = rack();
        let old = granted(&app.app, &name, "ann").await;
        let mut conn = begin(&app).await;
        if !only_the_trigger {
            app.app.leases.hold_fence_in_tx(&mut conn, &name, old).await.unwrap();
        }
        write(&mut conn, &name, old, "in time").await.unwrap();
        lapse(&app.database.pool, &name).await;
        let (of, claims) = (app.app.clone(), name.clone());
        let claim = tokio::spawn(async move { granted(&of, &claims, "bob").await });
        until_at_a_row(&app.database.pool, 1).await;
        assert!(!claim.is_finished());
        commit(conn).await;
        assert!(claim.await.unwrap() > old);
    }
    assert_eq!(app.count("written").await, 2);
    app.finish().await;
}

#[tokio::test]
async fn a_write_that_comes_while_a_claim_is_under_way_is_refused_if_that_commits_and_made_if_not() {
    let app = start().await;
    for (only_the_trigger, commits) in [(false, true), (true, true), (false, false), (true, false)] {
        let (name, by) = (rack(), owner("bob"));
        let old = granted(&app.app, &name, "ann").await;
        lapse(&app.database.pool, &name).await;
        let mut claiming = begin(&app).await;
        let wanted = Wanted { name: &name, owner: &by, ttl: a_minute(), again: Again::SameClaim };
        let claimed = claim_in_tx(&mut claiming, &wanted).await.unwrap();
        assert!(matches!(claimed, Claimed::Granted(_)));
        let (of, writes) = (app.app.clone(), name.clone());
        let late = tokio::spawn(async move {
            let mut tx = of.db.begin().await.unwrap();
            if !only_the_trigger {
                of.leases.hold_fence_in_tx(&mut tx, &writes, old).await?;
            }
            write(&mut tx, &writes, old, "late")
                .await
                .map_err(|error| LeaseError::from(DbError::from(error)))?;
            tx.commit().await.map_err(|error| LeaseError::from(DbError::from(error)))
        });
        until_at_a_row(&app.database.pool, 1).await;
        let end = if commits { "COMMIT" } else { "ROLLBACK" };
        sqlx::query(end).execute(&mut claiming).await.unwrap();
        match late.await.unwrap() {
            Err(LeaseError::Superseded { newest }) => assert!(commits && newest > old),
            written => assert!(written.is_ok() && !commits, "{written:?}"),
        }
    }
    assert_eq!(app.count("written").await, 2);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn writers_and_claimers_that_race_leave_no_write_behind_a_newer_claim() {
    const WRITERS: usize = 12;
    const CLAIMS: usize = 40;
    in_all_modes(async |app, peer| {
        let name = rack();
        let apps = [app.app.clone(), peer.app.clone()];
        let over = Arc::new(AtomicBool::new(false));
        let (newest, written, refused) = (Arc::new(AtomicUsize::new(0)), Arc::default(), Arc::default());
        let pool = app.database.pool.clone();
        let claiming = {
            let (apps, name, over, newest) = (apps.clone(), name.clone(), over.clone(), newest.clone());
            tokio::spawn(async move {
                for round in 0..CLAIMS {
                    let app = &apps[round % 2];
                    let mut tx = app.db.begin().await.unwrap();
                    let by = owner(&format!("claimer {round}"));
                    let wanted = Wanted { name: &name, owner: &by, ttl: a_minute(), again: Again::SameClaim };
                    let Claimed::Granted(granted) = claim_in_tx(&mut tx, &wanted).await.unwrap() else {
                        panic!()
                    };
                    note(&mut tx, &name, granted.fence, by.as_str()).await;
                    tx.commit().await.unwrap();
                    newest.store(granted.fence.0 as usize, Ordering::Relaxed);
                    lapse(&pool, &name).await;
                }
                over.store(true, Ordering::Relaxed);
            })
        };
        at_once(WRITERS, |n| {
            let (app, name, over, newest) = (apps[n % 2].clone(), name.clone(), over.clone(), newest.clone());
            let (written, refused): (Arc<AtomicUsize>, Arc<AtomicUsize>) =
                (Arc::clone(&written), Arc::clone(&refused));
            async move {
                while !over.load(Ordering::Relaxed) {
                    let fence = Fence(newest.load(Ordering::Relaxed) as i64);
                    let mut tx = app.db.begin().await.unwrap();
                    let outcome = write_checked(&app, &mut tx, &name, fence, n % 3 == 0).await;
                    match outcome {
                        Ok(()) => {
                            tx.commit().await.unwrap();
                            written.fetch_add(1, Ordering::Relaxed);
                        }
                        Err(error) => {
                            assert!(error.is_lost(), "{error:?}");
                            refused.fetch_add(1, Ordering::Relaxed);
                        }
                    }
                }
            }
        })
        .await;
        claiming.await.unwrap();
        let (written, refused) = (written.load(Ordering::Relaxed), refused.load(Ordering::Relaxed));
        assert!(written > 0 && refused > 0, "{written} written, {refused} refused: they never met");
        assert_eq!(app.count("written").await, written as i64);
    })
    .await;
}

/// Half the way of a verb: some rely on the trigger alone.
async fn write_checked(
    app: &holdfast::app::App,
    conn: &mut PgConnection,
    name: &LeaseName,
    fence: Fence,
    only_the_trigger: bool,
) -> Result<(), LeaseError> {
    if !only_the_trigger {
        app.leases.hold_fence_in_tx(conn, name, fence).await?;
    }
    write(conn, name, fence, "raced").await.map_err(|error| DbError::from(error).into())
}

#[tokio::test]
async fn the_database_itself_lets_no_fence_fall_and_no_claim_rise_again() {
    let app = start().await;
    let name = rack();
    let fence = granted(&app.app, &name, "ann").await;
    app.app.leases.release(&app.app.db, &name, fence).await.unwrap();
    for (change, constraint) in [
        ("fence = fence - 1", "lease_fence_never_falls"),
        ("name = 'rack:lock:other'", "lease_fence_never_falls"),
        ("ended_at = NULL, ending = NULL", "lease_that_ended_stays_ended"),
        ("ended_at = NULL", "lease_that_ended_stays_ended"),
        ("ending = 'somehow'", "lease_ending_is_known"),
        ("ending = NULL", "lease_ending_is_whole"),
        ("progress = 101", "lease_progress_is_a_percentage"),
        ("owner = ''", "lease_owner_is_bounded"),
    ] {
        let changed = sqlx::query(&format!("UPDATE leases SET {change}")).execute(&app.database.pool).await;
        let refused = changed.unwrap_err();
        assert_eq!(refused.as_database_error().unwrap().constraint(), Some(constraint), "{change}");
    }
    app.finish().await;
}
