//! The program's commands.

use std::path::PathBuf;

use hyper::Method;
use serde_json::json;
use uuid::Uuid;

use crate::support::row::until_at_a_row;
use crate::support::stranger::inventory_lock;
use crate::support::{
    ADMIN_KEY, HeldRow, Private, Replica, TestApp, TestDatabase, holdfast, shared_redis, unique,
};

/// A file that is gone when the test is over.
struct TempFile(PathBuf);

impl TempFile {
    fn holding(text: &[u8]) -> Self {
        let path = std::env::temp_dir().join(unique("holdfast"));
        std::fs::write(&path, text).unwrap();
        Self(path)
    }

    fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for TempFile {
    fn drop(&mut self) {
        std::fs::remove_file(&self.0).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_shown_once_and_opens_what_its_scopes_open() {
    let app = TestApp::without_redis().await;
    let id = app.client.variant(5).await;
    let args =
        ["keys", "create", "--name", "The shop", "--subject", "shop-1", "--scope", "storefront,warehouse"];
    let said = holdfast(&app.database.url, &args, &[]).await;
    assert!(said.succeeded && said.err.is_empty(), "{said:?}");
    let key = said.out.trim_end();
    assert!(key.starts_with("hf_") && !key.contains(char::is_whitespace), "{key}");
    let shop = app.client.with_key(key);
    shop.decrement(id, 1).await.expect(200);
    shop.post(&format!("/inventory/{id}/adjust"), &json!({"delta": 1, "reason": "r"})).await.expect(200);
    assert_eq!(shop.get("/inventory/audit").await.expect(403).code(), "forbidden");
    assert_eq!(app.count("stock_movements WHERE subject = 'shop-1'").await, 2);
    let again = holdfast(&app.database.url, &args, &[]).await;
    assert_ne!(again.out, said.out, "each key is a new one");
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_for_nobody_or_for_nothing_is_not_made() {
    let app = TestApp::without_redis().await;
    for (name, subject, scope) in [
        ("", "shop", "storefront"),
        ("n", "", "storefront"),
        ("n", "two words", "storefront"),
        ("n", "shop", ""),
        ("n", "shop", "everything"),
        ("n", "shop", "storefront,,finance"),
        ("a\nb", "shop", "storefront"),
    ] {
        let args = ["keys", "create", "--name", name, "--subject", subject, "--scope", scope];
        let said = holdfast(&app.database.url, &args, &[]).await;
        assert!(!said.succeeded && said.out.is_empty() && !said.err.is_empty(), "{said:?}");
    }
    assert_eq!(app.count("api_keys").await, 0);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_imported_row_by_row_and_a_second_time_changes_nothing() {
    let app = TestApp::without_redis().await;
    let rows = "sku,name,price,currency,on_hand\n\
                tea,Tea,12.50,EUR,7\n\
                \"a, b\",\"Quoted \"\"name\"\"\",0,EUR,\n\
                yen,In yen,100,JPY,0\n";
    let file = TempFile::holding(rows.as_bytes());
    let said = holdfast(&app.database.url, &["import", file.path()], &[]).await;
    assert!(said.succeeded, "{said:?}");
    assert_eq!(said.out, "3 added, 0 there already, 0 wrong\n");
    let tea = app.client.get("/variants?sku=tea").await.json()["items"][0].clone();
    assert_eq!(
        tea,
        json!({"variant_id": tea["variant_id"], "sku": "tea", "name": "Tea", "price": "12.50", "currency": "EUR", "on_hand": 7})
    );
    let quoted = app.client.get("/variants?sku=a,%20b").await.json()["items"][0].clone();
    assert_eq!((&quoted["name"], &quoted["on_hand"]), (&json!("Quoted \"name\""), &json!(0)));
    let before = app.everything().await;
    let again = holdfast(&app.database.url, &["import", file.path()], &[]).await;
    assert!(again.succeeded);
    assert_eq!(again.out, "0 added, 3 there already, 0 wrong\n");
    assert_eq!(app.everything().await, before);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_row_is_named_by_its_line_and_the_others_are_imported() {
    let app = TestApp::without_redis().await;
    let rows = b"on_hand, sku ,currency,price,name\n\
                 1,good-1,EUR,1.00,Good\n\
                 1,,EUR,1.00,No SKU\n\
                 1,bad-price,EUR,1e5,Bad price\n\
                 1,bad-currency,eur,1,Bad currency\n\
                 -1,bad-stock,EUR,1,Bad stock\n\
                 many,bad-stock,EUR,1,Bad stock\n\
                 1,bad-name,EUR,1,\n\
                 1,short-row,EUR\n\
                 1,not-utf8,EUR,1,\xff\n\
                 1,\"two\nlines\",EUR,1,Two lines\n\
                 1,good-2,EUR,1,Good\n";
    let file = TempFile::holding(rows);
    for added in [2, 0] {
        let said = holdfast(&app.database.url, &["import", file.path()], &[]).await;
        assert!(!said.succeeded, "rows were wrong");
        let lines: Vec<_> = said.out.lines().collect();
        for (line, field) in [
            (3, "sku"),
            (4, "price"),
            (5, "currency"),
            (6, "on_hand"),
            (7, "on_hand"),
            (8, "name"),
            (9, ""),
            (10, ""),
            (11, "sku"),
        ] {
            let prefix = format!("line {line}: {field}");
            assert!(lines.iter().any(|said| said.starts_with(&prefix)), "{prefix} is not in\n{}", said.out);
        }
        assert_eq!(
            lines.last(),
            Some(&format!("{added} added, {} there already, 9 wrong", 2 - added).as_str())
        );
        assert_eq!(app.count("variants").await, 2);
    }
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_no_catalogue_is_refused_whole() {
    let app = TestApp::without_redis().await;
    for rows in ["", "sku,name,price\na,b,1\n", "a;b\n"] {
        let file = TempFile::holding(rows.as_bytes());
        let said = holdfast(&app.database.url, &["import", file.path()], &[]).await;
        assert!(!said.succeeded && said.out.is_empty() && said.err.lines().count() == 1, "{said:?}");
    }
    let said = holdfast(&app.database.url, &["import", "/no/such/file.csv"], &[]).await;
    assert!(!said.succeeded && said.err.contains("/no/such/file.csv"), "{said:?}");
    assert_eq!(app.count("variants").await, 0);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_doctor_finds_what_would_lose_a_write_and_what_only_slows() {
    let database = TestDatabase::fresh().await;
    let fsync: String = sqlx::query_scalar("SHOW fsync").fetch_one(&database.pool).await.unwrap();
    let redis = shared_redis();
    let said = holdfast(&database.url, &["doctor"], &[("REDIS_URL", &redis)]).await;
    // The tests' own server may run without fsync, which the doctor must not let pass.
    assert_eq!(said.succeeded, fsync == "on", "{said:?}");
    assert_eq!(said.out.contains("ERROR   Postgres: fsync is off"), fsync == "off", "{said:?}");
    assert!(said.out.contains("ok      Postgres: synchronous_commit is on"), "{said:?}");
    assert!(
        said.out.contains("migrations applied") && said.out.contains("Redis: can be written"),
        "{said:?}"
    );

    assert!(said.out.contains("warning audit: none was made"), "{said:?}");
    sqlx::query(
        "INSERT INTO audits (audit_id, run_by, took_ms, variants_checked, movements_checked, orders_checked, violations)
         VALUES (gen_random_uuid(), 'test', 1, 0, 0, 0, '[{\"invariant\": \"ledger\"}]')",
    )
    .execute(&database.pool)
    .await
    .unwrap();

    let without = holdfast(&database.url, &["doctor"], &[]).await;
    assert!(
        without.out.contains("warning audit: the last one found that the books do not agree"),
        "{without:?}"
    );
    assert!(without.out.contains("ok      Redis: not configured"), "{without:?}");
    assert!(!without.out.contains("HOLDFAST_LOCK_RETRY_MS"), "{without:?}");
    let unpolled = holdfast(&database.url, &["doctor"], &[("HOLDFAST_LOCK_RETRY_MS", "5000")]).await;
    assert!(unpolled.out.contains("warning HOLDFAST_LOCK_RETRY_MS is not below"), "{unpolled:?}");
    let away = holdfast(&database.url, &["doctor"], &[("REDIS_URL", "redis+unix:///no/such.sock")]).await;
    assert!(away.out.contains("warning Redis: can't be written"), "{away:?}");
    database.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_doctor_sees_a_missing_schema_and_a_missing_server() {
    let database = TestDatabase::fresh().await;
    sqlx::query("DELETE FROM _sqlx_migrations WHERE version = (SELECT max(version) FROM _sqlx_migrations)")
        .execute(&database.pool)
        .await
        .unwrap();
    let said = holdfast(&database.url, &["doctor"], &[]).await;
    assert!(!said.succeeded && said.out.contains("ERROR   schema: "), "{said:?}");
    assert!(said.out.contains("run `holdfast migrate`"), "{said:?}");
    database.close().await;

    let said = holdfast("postgres://holdfast@localhost/none?host=/no/such/folder", &["doctor"], &[]).await;
    assert!(!said.succeeded && said.out.contains("ERROR   Postgres: can't connect"), "{said:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn migrating_twice_changes_nothing() {
    let database = TestDatabase::fresh().await;
    let applied = "SELECT count(*) FROM _sqlx_migrations";
    let before: i64 = sqlx::query_scalar(applied).fetch_one(&database.pool).await.unwrap();
    let said = holdfast(&database.url, &["migrate"], &[]).await;
    assert!(said.succeeded && said.err.is_empty(), "{said:?}");
    let after: i64 = sqlx::query_scalar(applied).fetch_one(&database.pool).await.unwrap();
    assert_eq!(before, after);
    database.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_setting_stops_the_start_with_one_line_that_names_it() {
    let url = "postgres://holdfast@localhost/none";
    for (name, value) in [
        ("DATABASE_URL", "mysql://sesame@host/d"),
        ("DATABASE_URL", ""),
        ("REDIS_URL", "sesame"),
        ("REDIS_URL", "http://sesame"),
        ("REDIS_URL", "redis://:sesame@host:port"),
        ("REDIS_URL", "redis+sentinel://:sesame@host"),
        ("REDIS_URL", "redis+cluster://:sesame@host/1"),
        ("HOLDFAST_LISTEN", "sesame"),
        ("HOLDFAST_LISTEN", "127.0.0.1:99999"),
        ("HOLDFAST_LISTEN", "203.0.113.7:0"),
        ("HOLDFAST_ADMIN_KEY", "sesame"),
        ("HOLDFAST_DB_MAX_CONNECTIONS", "0"),
        ("HOLDFAST_TEST_ENDPOINTS", "sesame"),
        ("HOLDFAST_INVENTORY_LOCK_TTL_MS", "100"),
        ("HOLDFAST_ORDER_LOCK_TTL_MS", "sesame"),
        ("HOLDFAST_LOCK_WAIT_MS", "-5"),
        ("HOLDFAST_LOCK_RETRY_MS", "0"),
        ("HOLDFAST_REDIS_TIMEOUT_MS", "1.5"),
        ("HOLDFAST_BREAKER_FAILURES", "sesame"),
        ("HOLDFAST_BREAKER_PROBE_MS", "99999999999999999999"),
        ("HOLDFAST_LOG_FORMAT", "sesame"),
    ] {
        let said = holdfast(url, &["serve"], &[("HOLDFAST_LISTEN", "127.0.0.1:0"), (name, value)]).await;
        assert!(!said.succeeded && said.out.is_empty(), "{name}={value}: {said:?}");
        assert!(said.err.lines().count() == 1 && said.err.contains(name), "{name}={value}: {said:?}");
        assert!(name == "HOLDFAST_LISTEN" || !said.err.contains("sesame"), "{name}={value}: {said:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_serves_says_where_and_ends_well_when_asked() {
    let database = TestDatabase::fresh().await;
    let replica = Replica::start(&database.url, Some(&shared_redis()), &[]).await;
    let id: Uuid = replica.client.variant(3).await;
    replica.client.decrement(id, 1).await.expect(200);
    let ready = replica.client.send(Method::GET, "/health/ready", &[], "").await.unwrap().expect(200);
    assert_eq!(ready.json()["lock_mode"], "two_layer");
    assert!(replica.terminate().await);
    let said = holdfast(&database.url, &["audit"], &[("HOLDFAST_ADMIN_KEY", ADMIN_KEY)]).await;
    assert!(said.succeeded, "{said:?}");
    database.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_locks_of_all_replicas_are_shown_as_a_table_and_as_json() {
    let redis = Private::redis().await;
    let app = TestApp::with(TestDatabase::fresh().await, Some(&redis.url()), &[]).await;
    let variant = app.client.variant(5).await;
    let key = inventory_lock(variant);
    let row = HeldRow::of(&app.database, variant).await;
    let client = app.client.clone();
    let sale = tokio::spawn(async move { client.decrement(variant, 1).await });
    until_at_a_row(&app.database.pool, 1).await;
    let seen = app.client.get("/locks/status").await.json();
    let owner = seen["locks"][0]["owner"].as_str().unwrap();

    let url = redis.url();
    let said = holdfast(&app.database.url, &["locks"], &[("REDIS_URL", &url)]).await;
    assert!(said.succeeded && said.err.is_empty(), "{said:?}");
    let lines: Vec<_> = said.out.lines().collect();
    assert!(
        lines[0].ends_with("Redis is used; locks held: 1, of variants: 1; requests that wait: 0"),
        "{}",
        said.out
    );
    let line = lines.iter().find(|line| line.starts_with(&key)).expect("the lock has a line");
    assert!(line.contains(owner) && line.contains(" s "), "{line}");
    let pid = seen["database_waits"][0]["pid"].to_string();
    assert!(
        lines.iter().any(|line| line.starts_with(&pid) && line.contains("FROM stock")),
        "who waits in Postgres has a line: {}",
        said.out
    );

    let said = holdfast(&app.database.url, &["locks", "--json"], &[("REDIS_URL", &url)]).await;
    let told: serde_json::Value = serde_json::from_str(&said.out).unwrap();
    let names = |status: &serde_json::Value| status.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&told), names(&seen), "as GET /locks/status");
    assert_eq!((&told["locks"][0]["key"], &told["locks"][0]["owner"]), (&json!(key), &json!(owner)));
    assert_eq!(told["total_active_locks"], 1);

    row.let_go().await;
    sale.await.unwrap().expect(200);
    let said = holdfast(&app.database.url, &["locks"], &[("REDIS_URL", &url)]).await;
    assert!(said.out.contains("locks held: 0") && !said.out.contains(&key), "{}", said.out);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_locks_are_shown_without_redis_and_without_postgres() {
    let database = TestDatabase::fresh().await;
    let said = holdfast(&database.url, &["locks"], &[]).await;
    assert!(said.succeeded && said.out.contains("Redis can't be used: locks are database-only"), "{said:?}");
    let away = [("REDIS_URL", "redis+unix:///no/such.sock")];
    let said = holdfast(&database.url, &["locks", "--json"], &away).await;
    let told: serde_json::Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!((&told["lock_service_available"], &told["database_available"]), (&json!(false), &json!(true)));
    database.close().await;

    let redis = shared_redis();
    let nowhere = "postgres://holdfast@localhost/none?host=/no/such/folder";
    let said = holdfast(nowhere, &["locks"], &[("REDIS_URL", &redis)]).await;
    assert!(!said.succeeded && said.out.contains("Postgres can't be asked who waits in it."), "{said:?}");
    assert!(said.out.contains("Redis is used"), "{said:?}");
}
