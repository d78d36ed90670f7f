//! Leases that ended long ago are forgotten, and nothing comes of it.

use holdfast::leases::LeaseError;
use holdfast::purge::{Purged, purge};

use super::{begin, granted, rack, roll_back};
use crate::support::TestApp;

#[tokio::test]
async fn what_ended_over_a_week_ago_is_forgotten_but_never_its_place_in_the_order_of_fences() {
    let app = TestApp::without_redis().await;
    let (lapsed, released, recent, live, held) = (rack(), rack(), rack(), rack(), rack());
    let mut fences = Vec::new();
    for name in [&lapsed, &released, &recent, &live, &held] {
        fences.push(granted(&app.app, name, "ann").await);
    }
    app.app.leases.release(&app.app.db, &released, fences[1]).await.unwrap();
    app.app.leases.release(&app.app.db, &recent, fences[2]).await.unwrap();
    let age = async |name: &holdfast::leases::LeaseName, column: &str, age: &str| {
        sqlx::query(&format!(
            "UPDATE leases SET {column} = clock_timestamp() - interval '{age}' WHERE name = $1"
        ))
        .bind(name.as_str())
        .execute(&app.database.pool)
        .await
        .unwrap();
    };
    age(&lapsed, "expires_at", "8 days").await;
    age(&released, "ended_at", "8 days").await;
    age(&recent, "ended_at", "6 days").await;
    age(&held, "expires_at", "8 days").await;
    // Somebody writes under it, although it lapsed so long ago: it is left alone.
    let mut write = begin(&app).await;
    app.app.leases.hold_fence_in_tx(&mut write, &held, fences[4]).await.unwrap();
    assert_eq!(purge(&app.app.db).await.unwrap().leases, 2);
    roll_back(write).await;
    assert_eq!(purge(&app.app.db).await.unwrap().leases, 1);
    assert_eq!(purge(&app.app.db).await.unwrap(), Purged::default());
    assert_eq!(app.count("leases").await, 2);

    let mut late = begin(&app).await;
    let refused = app.app.leases.hold_fence_in_tx(&mut late, &lapsed, fences[0]).await;
    roll_back(late).await;
    assert!(matches!(refused, Err(LeaseError::NotFound)), "{refused:?}");
    for name in [&lapsed, &released, &held] {
        assert!(granted(&app.app, name, "bob").await > fences[4]);
    }
    app.finish().await;
}

#[tokio::test]
async fn many_are_forgotten_batch_by_batch() {
    let app = TestApp::without_redis().await;
    sqlx::query(
        "INSERT INTO leases (name, fence, owner, token, claimed_at, renewed_at, expires_at)
         SELECT 'rack:lock:' || n, n, 'ann', 'x', long_ago, long_ago, long_ago
         FROM generate_series(1, 1200) AS n, LATERAL (SELECT clock_timestamp() - interval '30 days' AS long_ago) AS t",
    )
    .execute(&app.database.pool)
    .await
    .unwrap();
    assert_eq!(purge(&app.app.db).await.unwrap(), Purged { leases: 1_200, ..Purged::default() });
    app.finish().await;
}
