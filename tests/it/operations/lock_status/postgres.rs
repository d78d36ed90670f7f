//! Who waits in Postgres, and what is told when it can't be asked.

use serde_json::json;
use tokio::time::Instant;

use super::names;
use crate::operations::{SOON, status};
use crate::support::row::{sessions_at_a_row, until_at_a_row};
use crate::support::{HeldRow, Private, TestApp, TestDatabase, eventually};

#[tokio::test]
async fn who_waits_for_whom_in_postgres_is_told_although_every_connection_is_busy() {
    let redis = Private::redis().await;
    let settings = [("HOLDFAST_DB_MAX_CONNECTIONS", "2")];
    let app = TestApp::with(TestDatabase::fresh().await, Some(&redis.url()), &settings).await;
    let (one, two, three) =
        (app.client.variant(9).await, app.client.variant(9).await, app.client.variant(9).await);
    let (first, second) = (HeldRow::of(&app.database, one).await, HeldRow::of(&app.database, two).await);
    let sell = |variant| {
        let client = app.client.clone();
        tokio::spawn(async move { client.decrement(variant, 1).await })
    };
    let sales = [sell(one), sell(two)];
    until_at_a_row(&app.database.pool, 2).await;
    assert_eq!(sell(three).await.unwrap().expect(503).code(), "overloaded");

    let looked = Instant::now();
    let told = status(&app.client).await;
    assert!(looked.elapsed().as_secs() < 2, "it waits for no connection: {:?}", looked.elapsed());
    assert_eq!(told["database_available"], true);
    let waits = told["database_waits"].as_array().unwrap();
    let mut waiting: Vec<_> = waits.iter().map(|wait| wait["pid"].as_i64().unwrap()).collect();
    waiting.sort_unstable();
    let mut at_a_row: Vec<_> =
        sessions_at_a_row(&app.database.pool).await.into_iter().map(i64::from).collect();
    at_a_row.sort_unstable();
    assert_eq!(waiting, at_a_row);
    for wait in waits {
        assert_eq!(names(wait), ["blocked_by", "pid", "query", "seconds", "waiting_for"]);
        assert_eq!(wait["blocked_by"].as_array().unwrap().len(), 1, "{wait}");
        assert!(wait["query"].as_str().unwrap().contains("FOR UPDATE"), "{wait}");
        assert_eq!(wait["waiting_for"], "transactionid");
        // Both waited while the third was refused.
        assert!((1.5..15.0).contains(&wait["seconds"].as_f64().unwrap()), "{wait}");
    }
    first.let_go().await;
    second.let_go().await;
    for sale in sales {
        sale.await.unwrap().expect(200);
    }
    assert_eq!(status(&app.client).await["database_waits"], json!([]));
    app.finish().await;
}

#[tokio::test]
async fn with_postgres_away_the_locks_are_told_all_the_same() {
    let redis = Private::redis().await;
    let mut postgres = Private::postgres().await;
    let app = TestApp::with(TestDatabase::on(&postgres.url()).await, Some(&redis.url()), &[]).await;
    app.client.get("/locks/status").await.expect(200);
    postgres.stop().await.unwrap();
    for _ in 0..3 {
        let told = status(&app.client).await;
        assert_eq!((&told["database_available"], &told["database_waits"]), (&json!(false), &json!([])));
        assert_eq!(told["lock_service_available"], true);
    }
    postgres.restart().await.unwrap();
    eventually(SOON, "it is seen again", async || status(&app.client).await["database_available"] == true)
        .await;
    app.finish().await;
}

#[tokio::test]
async fn with_postgres_hung_it_is_answered_within_bounds() {
    let redis = Private::redis().await;
    let mut postgres = Private::postgres().await;
    let app = TestApp::with(TestDatabase::on(&postgres.url()).await, Some(&redis.url()), &[]).await;
    app.client.get("/locks/status").await.expect(200);
    postgres.pause();
    for _ in 0..3 {
        let looked = Instant::now();
        assert_eq!(status(&app.client).await["database_available"], false);
        assert!(looked.elapsed().as_secs() < 4, "{:?}", looked.elapsed());
    }
    postgres.resume();
    eventually(SOON, "it is seen again", async || status(&app.client).await["database_available"] == true)
        .await;
    app.finish().await;
}
