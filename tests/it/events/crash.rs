//! Postgres crashes, and positions that it had drawn are drawn again.

use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use sqlx::{Connection, Executor, PgConnection};

use crate::support::{Private, Stream, TestApp, TestDatabase, eventually};

/// More than a sequence is written to the log ahead.
const DRAWN: &str = "BEGIN; SELECT nextval('event_positions') FROM generate_series(1, 100); ROLLBACK";

async fn drawn(app: &TestApp) -> i64 {
    let drawn = "SELECT pg_sequence_last_value('event_positions')";
    sqlx::query_scalar(drawn).fetch_one(&app.database.pool).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn no_reader_is_given_a_cursor_that_a_crash_of_postgres_takes_back() {
    let mut postgres = Private::postgres().await;
    let app = TestApp::with(TestDatabase::on(&postgres.url()).await, None, &[]).await;
    let variant = app.client.variant(100).await;
    let mut stream = Stream::open(&app.client, "").await;
    app.client.decrement(variant, 1).await.expect(200);
    stream.next().await.unwrap();
    drop(stream);
    // What is drawn and rolled back need not be on disk, and nobody sees to that now.
    let writer = "SELECT pid FROM pg_stat_activity WHERE backend_type = 'walwriter'";
    let writer: i32 = sqlx::query_scalar(writer).fetch_one(&app.database.pool).await.unwrap();
    kill(Pid::from_raw(writer), Signal::SIGSTOP).unwrap();
    PgConnection::connect(&app.database.url).await.unwrap().execute(DRAWN).await.unwrap();
    let before = drawn(&app).await;
    let client = app.client.clone();
    let opening: tokio::task::JoinHandle<String> =
        tokio::spawn(async move { Stream::open(&client, "").await.last_id.clone() });
    eventually(Duration::from_secs(60), "it is told where it begins, or waits", async || {
        opening.is_finished() || app.app.events.lag() > Duration::from_millis(500)
    })
    .await;
    let given = if opening.is_finished() {
        Some(opening.await.unwrap())
    } else {
        opening.abort();
        None
    };
    kill(Pid::from_raw(writer), Signal::SIGKILL).unwrap();
    postgres.kill().await.unwrap();
    postgres.restart().await.unwrap();
    assert!(drawn(&app).await < before, "what was drawn was taken back");
    eventually(Duration::from_secs(60), "it is there again", async || {
        app.client
            .try_post(&format!("/inventory/{variant}/decrement"), &serde_json::json!({"quantity": 1}), None)
            .await
            .is_ok_and(|reply| reply.status == 200)
    })
    .await;
    assert!(
        given.is_none(),
        "{given:?} was given, and facts before that came after it: {}",
        drawn(&app).await
    );
    let mut stream = Stream::open(&app.client, "?types=stock.changed").await;
    app.client.decrement(variant, 1).await.expect(200);
    assert_eq!(stream.next().await.unwrap().data["version"], 4);
    drop(stream);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_was_told_what_the_database_has_lost_is_told_so_and_misses_nothing_that_comes_in_its_stead() {
    let app = TestApp::without_redis().await;
    app.client.variant(1).await;
    let before = drawn(&app).await;
    app.database.pool.execute(DRAWN).await.unwrap();
    let mut stream = Stream::open(&app.client, "").await;
    assert!(stream.last_id.parse::<i64>().unwrap() > before);
    // As one that was restored, or took over without the last of it.
    sqlx::query("SELECT setval('event_positions', $1)")
        .bind(before)
        .execute(&app.database.pool)
        .await
        .unwrap();
    let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
        WHERE datname = current_database() AND application_name = 'holdfast relay'";
    app.database.pool.execute(end).await.unwrap();
    assert_eq!(stream.next().await, None);
    let again = app.client.get(&format!("/events?last_event_id={}", stream.last_id)).await.expect(410);
    assert_eq!(again.code(), "cursor_gone");
    drop(stream);
    app.finish().await;
}
