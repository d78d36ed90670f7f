//! What readers cost who have nothing to hear.

use std::time::Duration;

use crate::support::campaign::amount;
use crate::support::{Private, Stream, TestApp, TestDatabase, eventually};

async fn number(app: &TestApp, sql: &str) -> i64 {
    sqlx::query_scalar(sql).fetch_one(&app.database.pool).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn however_many_readers_there_are_the_database_has_one() {
    let postgres = Private::postgres_with("shared_preload_libraries", "pg_stat_statements").await;
    let app = TestApp::with(TestDatabase::on(&postgres.url()).await, None, &[]).await;
    sqlx::query("CREATE EXTENSION pg_stat_statements").execute(&app.database.pool).await.unwrap();
    let variant = app.client.variant(1_000).await;
    let mut streams = Vec::new();
    for _ in 0..amount(200, 1_000) {
        streams.push(Stream::open(&app.client, "?types=stock.changed").await);
    }
    sqlx::query("SELECT pg_stat_statements_reset()").execute(&app.database.pool).await.unwrap();
    for _ in 0..3 {
        app.client.decrement(variant, 1).await.expect(200);
    }
    for stream in &mut streams {
        assert_eq!(stream.take(3).await[2].data["version"], 4);
    }
    let reads = number(
        &app,
        "SELECT coalesce(sum(calls), 0)::bigint FROM pg_stat_statements
         WHERE query LIKE '%position > $1 AND position <= $2%' AND query NOT LIKE '%pg_stat_statements%'",
    )
    .await;
    // Movements, orders and other events, at most once for each sale.
    assert!((3..=9).contains(&reads), "{reads} statements read events");
    let readers = "SELECT count(*) FROM pg_stat_activity
         WHERE datname = current_database() AND application_name = 'holdfast relay'";
    assert_eq!(number(&app, readers).await, 1);
    let metrics = &app.app.events.metrics;
    assert_eq!(metrics.readers.get(), streams.len() as i64);
    drop(streams);
    eventually(Duration::from_secs(60), "their places are free", async || metrics.readers.get() == 0).await;
    app.finish().await;
}
