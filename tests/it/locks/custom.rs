//! Locks on names: what has no row is guarded all the same, in both modes and between them.

use std::sync::Arc;

use axum::http::StatusCode;
use holdfast::app::App;
use holdfast::db::DbError;
use holdfast::http::auth::{Caller, Principal};
use holdfast::http::preference::Patience;
use holdfast::inventory::StockError;
use holdfast::inventory::model::Witness;
use holdfast::locks::{LockError, LockKey, LockKeys, lock_names_in_tx};
use holdfast::section::{Section, Verb};
use holdfast::telemetry::trace::Trace;
use sqlx::{Connection, PgConnection};
use tokio_util::sync::CancellationToken;

use super::PATIENT;
use crate::support::row::until_at_a_row;
use crate::support::{Peer, Stranger, TestApp, TestDatabase, at_once, shared_redis, unique};

/// Adds one to a number in a table without row locks: reads, decides and writes in statements of their own.
struct CountOne;

impl Verb for CountOne {
    type Done = i64;
    type Error = StockError;

    async fn in_tx(&self, conn: &mut PgConnection, _: Witness<'_>) -> Result<i64, StockError> {
        let count: i64 = sqlx::query_scalar("SELECT n FROM counted").fetch_one(&mut *conn).await.unwrap();
        sqlx::query("UPDATE counted SET n = $1").bind(count + 1).execute(conn).await.unwrap();
        Ok(count + 1)
    }
}

/// Counts one under the locks of these names, as any verb would.
async fn count_one(app: &App, names: &[&str]) -> Result<(), StockError> {
    let principal = Principal { subject: "test".into(), scopes: Vec::new() };
    let gone = CancellationToken::new();
    let (principal, patience) = (Arc::new(principal), Patience::default());
    let caller = Caller { principal, request_id: "test".into(), gone, patience, trace: Trace::default() };
    let section = Section { app, caller: &caller, claim: None, success: StatusCode::OK };
    section.run(&keys(names), &CountOne).await.map(drop)
}

fn keys(names: &[&str]) -> LockKeys {
    LockKeys::new(names.iter().map(|name| LockKey::custom(name).unwrap()).collect()).unwrap()
}

async fn counting(redis: Option<&str>, settings: &[(&str, &str)]) -> TestApp {
    let app = TestApp::with(TestDatabase::fresh().await, redis, settings).await;
    sqlx::raw_sql("CREATE TABLE counted (n bigint); INSERT INTO counted VALUES (0)")
        .execute(&app.database.pool)
        .await
        .unwrap();
    app
}

async fn counted(app: &TestApp) -> i64 {
    sqlx::query_scalar("SELECT n FROM counted").fetch_one(&app.database.pool).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn two_processes_lose_no_update_under_a_name_whichever_of_them_has_redis() {
    const AT_ONCE: usize = 60;
    // However slow the machine is.
    let settings = &[("HOLDFAST_LOCK_WAIT_MS", "14000"), ("HOLDFAST_REDIS_TIMEOUT_MS", "1000")];
    let redis = shared_redis();
    for (here, there) in [(Some(&*redis), Some(&*redis)), (None, None), (Some(&*redis), None)] {
        let app = counting(here, settings).await;
        let peer = Peer::start(&app.database.url, there, settings).await;
        let (one, two) = (unique("one"), unique("two"));
        let apps = [app.app.clone(), peer.app.clone()];
        let counts = at_once(AT_ONCE, |n| {
            let (app, one, two) = (apps[n % 2].clone(), one.clone(), two.clone());
            // Named in either order, they are taken in one.
            async move { count_one(&app, &if n % 3 == 0 { [&*one, &*two] } else { [&*two, &*one] }).await }
        })
        .await;
        counts.into_iter().for_each(|count| count.unwrap());
        assert_eq!(counted(&app).await, AT_ONCE as i64, "{here:?} {there:?}");
        peer.finish().await;
        app.finish().await;
    }
}

#[tokio::test]
async fn a_stranger_who_has_the_published_key_is_waited_for() {
    let app = counting(Some(&shared_redis()), PATIENT).await;
    let (redis, name) = (Stranger::at(&shared_redis()).await, unique("name"));
    let key = format!("lock:{name}");
    assert!(redis.take(&key, "a stranger").await);
    let busy = count_one(&app.app, &[&name]).await.unwrap_err();
    assert!(
        matches!(&busy, StockError::Lock(LockError::Busy { key: k, .. }) if k.to_string() == key),
        "{busy:?}"
    );
    assert_eq!(counted(&app).await, 0);
    redis.delete(&key).await;
    count_one(&app.app, &[&name]).await.unwrap();
    assert_eq!((counted(&app).await, redis.holder(&key).await), (1, None));
    app.finish().await;
}

#[tokio::test]
async fn without_redis_a_name_is_waited_for_in_postgres_where_an_onlooker_sees_it_and_not_for_ever() {
    let app = counting(None, &[]).await;
    let mut holder = PgConnection::connect(&app.database.url).await.unwrap();
    sqlx::query("BEGIN").execute(&mut holder).await.unwrap();
    lock_names_in_tx(&mut holder, &keys(&["a", "b"])).await.unwrap();
    let waiting = app.app.clone();
    let count = tokio::spawn(async move { count_one(&waiting, &["b", "c"]).await });
    until_at_a_row(&app.database.pool, 1).await;
    let status = app.client.get("/locks/status").await.expect(200).json();
    assert_eq!(status["database_waits"][0]["waiting_for"], "advisory", "{status}");
    // Another name is free all the while.
    count_one(&app.app, &["c2"]).await.unwrap();
    let refused = count.await.unwrap().unwrap_err();
    assert!(matches!(refused, StockError::Db(DbError::RowLocked(_))), "{refused:?}");
    sqlx::query("ROLLBACK").execute(&mut holder).await.unwrap();
    count_one(&app.app, &["b", "c"]).await.unwrap();
    assert_eq!(counted(&app).await, 2);
    holder.close().await.unwrap();
    app.finish().await;
}

#[test]
fn names_of_other_families_and_names_without_bounds_are_refused() {
    let longest = "x".repeat(200);
    for name in ["a", "close-of-day", "order_creation", "invoice", "a:{b}/c", &longest] {
        assert_eq!(LockKey::custom(name).unwrap().to_string(), format!("lock:{name}"));
    }
    let long = "x".repeat(201);
    for name in
        ["", "a b", "a\n", "\u{e9}", "order_creation_ann_k", "invoice_lock_SI1", "invoice_check:a:b", &long]
    {
        assert!(LockKey::custom(name).is_err(), "{name:?}");
    }
}
