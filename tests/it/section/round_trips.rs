//! How often an operation goes to Postgres and to Redis, counted there, beside what the documentation says.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::{Value, json};
use sqlx::PgPool;
use uuid::Uuid;

use crate::support::client::order_body;
use crate::support::{Private, TestApp, TestDatabase, unique};

const DOCUMENTATION: &str = include_str!("../../../docs/ARCHITECTURE.md");
const TITLE: &str = "## What an operation costs";

/// What goes to Redis as one command: scripts (what they call is counted by its own names), and what a connection may be
/// asked besides.
const TRIPS: [&str; 8] = ["eval", "evalsha", "ping", "echo", "hello", "auth", "select", "script|load"];

/// Statements and commands so far.
async fn counted(pool: &PgPool, redis: &mut redis::aio::MultiplexedConnection) -> (i64, i64) {
    let statements = sqlx::query_scalar(
        "SELECT coalesce(sum(calls), 0)::bigint FROM pg_stat_statements
         WHERE dbid = (SELECT oid FROM pg_database WHERE datname = current_database())
           AND query NOT LIKE '%pg_stat_statements%'",
    );
    let stats: String = redis::cmd("INFO").arg("commandstats").query_async(redis).await.unwrap();
    let calls = |line: &str| line.split_once("calls=")?.1.split(',').next()?.parse::<i64>().ok();
    let command = |line: &&str| Some(line.strip_prefix("cmdstat_")?.split_once(':')?.0.to_owned());
    let is_trip = |line: &&str| command(line).is_some_and(|command| TRIPS.contains(&command.as_str()));
    let trips = stats.lines().filter(is_trip).filter_map(calls).sum();
    (statements.fetch_one(pool).await.unwrap(), trips)
}

/// The table of the documentation: by operation, statements and scripts.
fn documented() -> BTreeMap<String, (i64, i64)> {
    let section = DOCUMENTATION.split_once(TITLE).expect("the documentation has the section").1;
    let section = section.split("\n## ").next().unwrap_or_default();
    let row = |line: &str| {
        let cells: Vec<_> = line.split('|').map(str::trim).collect();
        Some(((*cells.get(1)?).to_owned(), (cells.get(2)?.parse().ok()?, cells.get(3)?.parse().ok()?)))
    };
    section.lines().filter_map(row).collect()
}

struct Shop {
    app: TestApp,
    variants: [Uuid; 3],
    /// Others, for holds.
    held: [Uuid; 3],
    /// What is counted.
    sku: Value,
}

impl Shop {
    fn lines(&self) -> Vec<(Uuid, i64)> {
        self.variants.iter().map(|variant| (*variant, 1)).collect()
    }

    async fn post(&self, path: &str, body: &Value, key: Option<&str>) -> Value {
        let reply = self.app.client.try_post(path, body, key).await.unwrap();
        assert!(reply.status.is_success(), "{path}: {}", String::from_utf8_lossy(&reply.bytes));
        reply.json()
    }

    async fn order(&self, key: &str) -> String {
        let order = self.post("/orders", &order_body("ann", &self.lines()), Some(key)).await;
        format!("/orders/{}", order["order_id"].as_str().unwrap())
    }

    async fn hold(&self) -> String {
        let lines: Vec<_> =
            self.held.iter().map(|variant| json!({"variant_id": variant, "quantity": 1})).collect();
        let body = json!({"user_id": "ann", "lines": lines});
        let hold = self.post("/holds", &body, Some(&unique("hold"))).await;
        format!("/holds/{}", hold["hold_id"].as_str().unwrap())
    }

    /// A session with a rack of its own: the rack, the session and its fence.
    async fn claimed(&self) -> (String, Value) {
        let rack = unique("rack");
        self.post("/racks", &json!({"rack_id": rack, "floor": "1"}), None).await;
        let claim = self.post(&format!("/racks/{rack}/claim"), &json!({}), None).await;
        (rack, claim)
    }

    async fn batch(&self, records: usize) -> Value {
        let (rack, claim) = self.claimed().await;
        let record = |n: usize| {
            json!({"client_record_id": n.to_string(), "session_id": claim["session_id"], "rack_id": rack,
                   "fence": claim["fence"], "item_code": self.sku, "verified_qty": 1, "serial_numbers": [format!("{rack} {n}")],
                   "created_at": "2026-01-01T10:00:00Z", "updated_at": "2026-01-01T10:00:00Z"})
        };
        json!({"records": (0..records).map(record).collect::<Vec<_>>()})
    }

    /// A lease is let go after its answer.
    async fn until_all_is_over(&self) {
        self.app.app.tasks.close();
        self.app.app.tasks.wait().await;
        self.app.app.tasks.reopen();
    }

    /// What an operation needs before it, and then, counted, the operation.
    async fn count(&self, redis: &mut redis::aio::MultiplexedConnection, operation: &str) -> (i64, i64) {
        let hot = self.variants[0];
        let (path, body, key) = match operation {
            "decrement" => (format!("/inventory/{hot}/decrement"), json!({"quantity": 1}), None),
            "decrement with a key" => {
                (format!("/inventory/{hot}/decrement"), json!({"quantity": 1}), Some(unique("key")))
            }
            "order of 3 lines" => {
                ("/orders".to_owned(), order_body("ann", &self.lines()), Some(unique("key")))
            }
            "cancel an order" => (format!("{}/cancel", self.order(&unique("key")).await), json!({}), None),
            "hold 3 lines" => {
                let lines: Vec<_> =
                    self.held.iter().map(|id| json!({"variant_id": id, "quantity": 1})).collect();
                ("/holds".to_owned(), json!({"user_id": "ann", "lines": lines}), Some(unique("key")))
            }
            "capture a hold" => (format!("{}/capture", self.hold().await), json!({}), Some(unique("key"))),
            "release a hold" => (format!("{}/release", self.hold().await), json!({}), None),
            "claim a rack" => {
                let rack = unique("rack");
                self.post("/racks", &json!({"rack_id": rack, "floor": "1"}), None).await;
                (format!("/racks/{rack}/claim"), json!({}), None)
            }
            "heartbeat" => {
                let (rack, claim) = self.claimed().await;
                let session = claim["session_id"].as_str().unwrap();
                (format!("/sync/heartbeat?session_id={session}&rack_id={rack}"), json!({}), None)
            }
            "batch of 1 record" => ("/sync/batch".to_owned(), self.batch(1).await, None),
            "batch of 100 records" => ("/sync/batch".to_owned(), self.batch(100).await, None),
            "batch of 1,000 records" => ("/sync/batch".to_owned(), self.batch(1_000).await, None),
            "look at stock" => (format!("/inventory/{hot}"), Value::Null, None),
            unknown => panic!("the documentation names an operation that nobody counts: {unknown}"),
        };
        let pool = &self.app.database.pool;
        self.until_all_is_over().await;
        sqlx::query("SELECT pg_stat_statements_reset()").execute(pool).await.unwrap();
        let before = counted(pool, redis).await;
        let answer = match body {
            Value::Null => self.app.client.get(&path).await.expect(200).json(),
            body => self.post(&path, &body, key.as_deref()).await,
        };
        self.until_all_is_over().await;
        let after = counted(pool, redis).await;
        // To look what of a level is held no more costs a statement, which the next is not to find there.
        if answer["state"] == "held" {
            let path = format!("/holds/{}/release", answer["hold_id"].as_str().unwrap());
            self.post(&path, &json!({}), None).await;
        }
        (after.0 - before.0, after.1 - before.1)
    }
}

async fn three(app: &TestApp) -> [Uuid; 3] {
    [app.client.variant(1_000).await, app.client.variant(1_000).await, app.client.variant(1_000).await]
}

#[tokio::test]
async fn an_operation_goes_to_postgres_and_redis_as_often_as_is_written_down() {
    let postgres = Private::postgres_with("shared_preload_libraries", "pg_stat_statements").await;
    let redis = Private::redis().await;
    let database = TestDatabase::on(&postgres.url()).await;
    let app = TestApp::only_serving(database, Some(&redis.url()), &[]).await;
    sqlx::query("CREATE EXTENSION pg_stat_statements").execute(&app.database.pool).await.unwrap();
    let mut looking =
        redis::Client::open(redis.url()).unwrap().get_multiplexed_async_connection().await.unwrap();
    let (variants, held) = (three(&app).await, three(&app).await);
    let sku = app.client.get(&format!("/variants/{}", variants[0])).await.expect(200).json()["sku"].clone();
    let shop = Shop { app, variants, held, sku };
    let written = documented();
    assert!(written.len() >= 8, "the table is read: {written:?}");
    let mut differences = String::new();
    for (operation, says) in &written {
        // Once to warm up: statements are prepared, scripts loaded.
        shop.count(&mut looking, operation).await;
        let counted = shop.count(&mut looking, operation).await;
        if counted != *says {
            let _ = writeln!(differences, "{operation}: counted {counted:?}, written down {says:?}");
            let statements = "SELECT calls || ' x ' || query FROM pg_stat_statements ORDER BY query";
            let statements: Vec<String> =
                sqlx::query_scalar(statements).fetch_all(&shop.app.database.pool).await.unwrap();
            let _ = writeln!(differences, "{}", statements.join("\n"));
        }
    }
    assert!(differences.is_empty(), "{differences}");
    shop.app.finish().await;
}
