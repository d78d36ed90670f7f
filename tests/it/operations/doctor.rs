//! What `holdfast doctor` says of a deployment in which a fault is planted.

use sqlx::{Executor, PgPool};

use crate::support::program::Said;
use crate::support::{Peer, Private, Stranger, Stream, TestApp, TestDatabase, holdfast};

async fn doctor(url: &str, settings: &[(&str, &str)]) -> Said {
    holdfast(url, &["doctor"], settings).await
}

fn assert_says(said: &Said, lines: &[&str]) {
    for line in lines {
        assert!(said.out.lines().any(|told| told.contains(line)), "no {line:?} in {said:#?}");
    }
}

/// Sets something for every session that connects to this database from now on.
async fn set_for_all(pool: &PgPool, setting: &str) {
    let sql =
        format!("DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET {setting}', current_database()); END $$");
    pool.execute(sql.as_str()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sound_deployment_is_called_so_and_its_replicas_are_counted() {
    let app = TestApp::without_redis().await;
    let peer = Peer::start(&app.database.url, None, &[]).await;
    // One that streams has its session.
    let streams = [Stream::open(&app.client, "").await, Stream::open(&peer.client, "").await];
    let said = doctor(&app.database.url, &[("HOLDFAST_DB_MAX_CONNECTIONS", "10000")]).await;
    assert_says(
        &said,
        &[
            "ok      Postgres: version",
            "ok      schema: ",
            "ok      Postgres: sessions are as asked for, with isolation read committed",
            "ok      clocks: this host, Postgres agree",
            "warning Postgres: 2 replicas may open 20006 connections, and there is room for",
        ],
    );
    drop(streams);
    peer.finish().await;
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_fault_of_a_database_is_named_with_what_to_do_about_it() {
    let database = TestDatabase::fresh().await;
    let mut conn = database.pool.acquire().await.unwrap();
    for sql in [
        "CREATE TABLE dead (n) WITH (autovacuum_enabled = off) AS SELECT generate_series(1, 20000)",
        "DELETE FROM dead",
        "CREATE TABLE bloated AS SELECT n, repeat('x', 200) AS filler FROM generate_series(1, 60000) AS n",
        "DELETE FROM bloated WHERE n % 100 <> 0",
        "VACUUM (ANALYZE, TRUNCATE off) bloated",
        "SELECT pg_stat_force_next_flush()",
    ] {
        conn.execute(sql).await.unwrap();
    }
    drop(conn);
    set_for_all(&database.pool, "synchronous_commit = off").await;
    set_for_all(&database.pool, "default_transaction_read_only = on").await;
    let said = doctor(&database.url, &[]).await;
    assert!(!said.succeeded);
    assert_says(
        &said,
        &[
            "ERROR   Postgres: synchronous_commit is off: an acknowledged order can be lost; set it to on",
            "ERROR   Postgres: default_transaction_read_only is on: nothing can be written",
            "warning Postgres: autovacuum is off for table dead",
            "warning Postgres: table dead has 20000 dead rows beside 0 live ones",
            "warning Postgres: table bloated takes",
        ],
    );
    database.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schema_of_another_build_is_told_apart_from_an_old_and_a_broken_one() {
    let database = TestDatabase::fresh().await;
    let newest = "(SELECT max(version) FROM _sqlx_migrations)";
    let insert = "INSERT INTO _sqlx_migrations SELECT 9999, 'later', installed_on, true, checksum, 0
                  FROM _sqlx_migrations ORDER BY version LIMIT 1";
    database.pool.execute(insert).await.unwrap();
    let newer = doctor(&database.url, &[]).await;
    assert_says(&newer, &["warning schema: migration 9999 is of a newer program"]);
    for (change, line) in [
        ("checksum = '\\x00'", "is not the one that this program knows"),
        ("success = false", "ERROR   schema: migration 9999 broke off"),
    ] {
        let at = if change.starts_with("checksum") { "1" } else { newest };
        let sql = format!("UPDATE _sqlx_migrations SET {change} WHERE version = {at}");
        assert_eq!(database.pool.execute(sql.as_str()).await.unwrap().rows_affected(), 1);
        let said = doctor(&database.url, &[]).await;
        assert!(!said.succeeded);
        assert_says(&said, &[line]);
    }
    database.close().await;
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_is_wrong_is_told_beside_those_that_it_differs_from() {
    let (database, redis) = (TestDatabase::fresh().await, crate::support::ClockedRedis::start().await);
    // However slow the machine is.
    let settings = [("REDIS_URL", &*redis.url()), ("HOLDFAST_REDIS_TIMEOUT_MS", "1000")];
    redis.set_ahead(3_600);
    let said = doctor(&database.url, &settings).await;
    assert_says(
        &said,
        &[
            "ok      Redis: can be written",
            "ok      Redis: version",
            "s ahead of that of this host",
            "s ahead of that of Postgres",
        ],
    );
    database.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_throws_keys_away_is_told_of() {
    let database = TestDatabase::fresh().await;
    let redis = Private::redis_with(&[("maxmemory-policy", "allkeys-lru".to_owned())]).await;
    let patient = ("HOLDFAST_REDIS_TIMEOUT_MS", "1000");
    let said = doctor(&database.url, &[("REDIS_URL", &redis.url()), patient]).await;
    assert_says(&said, &["warning Redis: maxmemory-policy allkeys-lru can evict locks; set noeviction"]);
    database.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_does_not_tell_whether_it_evicts_is_told_of() {
    let (database, redis) = (TestDatabase::fresh().await, Private::redis().await);
    let stranger = Stranger::at(&redis.url()).await;
    let made: String =
        stranger.ask(&["ACL", "SETUSER", "plain", "on", ">secret", "~*", "&*", "+@all", "-config"]).await;
    assert_eq!(made, "OK");
    let url = format!("{}?user=plain&pass=secret", redis.url());
    let patient = ("HOLDFAST_REDIS_TIMEOUT_MS", "1000");
    let said = doctor(&database.url, &[("REDIS_URL", &url), patient]).await;
    assert_says(
        &said,
        &["ok      Redis: can be written", "warning Redis: maxmemory-policy could not be read"],
    );
    database.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_found_is_told_whatever_fails_after_it() {
    let database = TestDatabase::fresh().await;
    database.pool.execute("ALTER TABLE audits RENAME TO elsewhere").await.unwrap();
    let said = doctor(&database.url, &[]).await;
    assert!(!said.succeeded);
    assert_says(
        &said,
        &[
            "ok      Postgres: version",
            "ERROR   Postgres: what waits: ",
            "ok      clocks: this host, Postgres agree",
        ],
    );
    database.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_postgres_that_hangs_is_told_of_and_keeps_nobody() {
    let mut postgres = Private::postgres().await;
    let url = postgres.url();
    postgres.pause();
    let said = doctor(&url, &[]).await;
    postgres.resume();
    assert!(!said.succeeded);
    assert_says(
        &said,
        &["ERROR   Postgres: can't connect: no answer within", "ok      Redis: not configured"],
    );
}
