//! Clients that hang up at any moment.
//!
//! A future that is dropped while it talks to Postgres can leave the session inside a transaction, and the pool
//! hands it on: with sqlx 0.8.6 or 0.9.0 and the work done in the handler's own future, 192 of 193 later answers
//! of 200 were never committed (transact-rs/sqlx #4385). Dropped while it talks to Redis, it leaves a lock that
//! nobody owns. So the work runs in a task of its own, and sqlx is pinned.

use std::time::Duration;

use holdfast::db::Db;
use holdfast::ids::random_byte;
use serde_json::json;
use sqlx::Executor;
use uuid::Uuid;

use super::SOON;
use crate::support::campaign::{amount, report};
use crate::support::client::order_body;
use crate::support::proxy::port_of;
use crate::support::{Client, Private, Proxy, Stranger, TestApp, TestDatabase, eventually, unique, wire};

const CLIENTS: usize = 12;
/// Of each client in a round.
const HANG_UPS: usize = 200;
/// A hundred thousand hang-ups in the long campaign.
const ROUNDS_LONG: usize = 42;
/// Sales in each round that are waited for.
const POLITE: i64 = 200;
/// As over a real network, each way.
const TO_POSTGRES: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(3));
const TO_REDIS: (Duration, Duration) = (Duration::from_micros(200), Duration::from_millis(1));

fn up_to(limit: Duration) -> Duration {
    limit * u32::from(u16::from_be_bytes([random_byte(), random_byte()])) / u32::from(u16::MAX)
}

#[tokio::test(flavor = "multi_thread")]
async fn after_thousands_of_hang_ups_every_acknowledged_write_is_there_and_nothing_is_left_behind() {
    let (postgres, redis) = tokio::join!(Private::postgres_on_tcp(), Private::redis_on_tcp());
    let to_postgres = Proxy::before(port_of(&postgres.url()), TO_POSTGRES).await;
    let to_redis = Proxy::before(port_of(&redis.url()), TO_REDIS).await;
    let mut database = TestDatabase::on(&postgres.url()).await;
    database.url = to_postgres.instead_of(&database.url);
    let app = TestApp::with(database, Some(&to_redis.instead_of(&redis.url())), &[]).await;
    let stranger = Stranger::at(&redis.url()).await;
    let mut variants = Vec::new();
    for _ in 0..24 {
        variants.push(app.client.variant(1_000_000).await);
    }
    let rounds = amount(1, ROUNDS_LONG);
    for _ in 0..rounds {
        let rude: Vec<_> =
            (0..CLIENTS).map(|_| tokio::spawn(hang_up(app.client.clone(), variants.clone()))).collect();
        for client in rude {
            client.await.unwrap();
        }
        eventually(SOON, "what was begun has ended", async || app.app.tasks.is_empty()).await;
        let polite = app.client.variant(POLITE).await;
        sell_out(&app.client, polite).await;
        // Through a connection that the service never had.
        assert_eq!(movements(&app, polite).await, 1 + POLITE, "acknowledged and not committed");
        assert_eq!(sessions_in_transaction(&app).await, 0);
        for left in ["inventory_lock:*", "lock:*", "holdfast:line:*", "holdfast:waiter:*"] {
            assert_eq!(stranger.keys(left).await, [""; 0], "left behind");
        }
    }
    report(&format!(
        "{} hang-ups, {} sales acknowledged between them: none of these was not committed, no lease was left, and \
         no session in a transaction",
        rounds * CLIENTS * HANG_UPS,
        rounds as i64 * POLITE,
    ));
    app.finish().await;
}

async fn hang_up(client: Client, variants: Vec<Uuid>) {
    for n in 0..HANG_UPS {
        let draw = || variants[usize::from(random_byte()) % variants.len()];
        let (path, body) = if n % 4 == 0 {
            ("/orders".to_owned(), order_body("ann", &[(draw(), 1), (draw(), 1)]))
        } else {
            (format!("/inventory/{}/decrement", draw()), json!({"quantity": 1}))
        };
        let key = (n % 2 == 0).then(|| unique("key"));
        let sent = wire::send(&client, &path, &body, key.as_deref()).await.unwrap();
        tokio::time::sleep(up_to(Duration::from_millis(30))).await;
        drop(sent);
    }
}

async fn sell_out(client: &Client, variant: Uuid) {
    let sales: Vec<_> = (0..4)
        .map(|_| {
            let client = client.clone();
            tokio::spawn(async move {
                for _ in 0..POLITE / 4 {
                    client.decrement(variant, 1).await.expect(200);
                }
            })
        })
        .collect();
    for sale in sales {
        sale.await.unwrap();
    }
}

async fn movements(app: &TestApp, variant: Uuid) -> i64 {
    sqlx::query_scalar("SELECT count(*) FROM stock_movements WHERE variant_id = $1")
        .bind(variant)
        .fetch_one(&app.database.pool)
        .await
        .unwrap()
}

async fn sessions_in_transaction(app: &TestApp) -> i64 {
    sqlx::query_scalar("SELECT count(*) FROM pg_stat_activity WHERE state LIKE 'idle in transaction%'")
        .fetch_one(&app.database.pool)
        .await
        .unwrap()
}

#[tokio::test]
async fn a_begin_that_is_given_up_at_any_moment_leaves_no_session_in_a_transaction() {
    let postgres = Private::postgres_on_tcp().await;
    let proxy = Proxy::before(port_of(&postgres.url()), TO_POSTGRES).await;
    let db = Db::new(&proxy.instead_of(&postgres.url()), 1).unwrap();
    drop(db.begin().await.unwrap());
    let mut given_up = 0;
    for n in 0..300 {
        let patience = up_to(Duration::from_millis(25));
        given_up += usize::from(tokio::time::timeout(patience, db.begin()).await.is_err());
        let mut next = db.read().await.unwrap();
        // One simple query: outside of a transaction it is its own, and begins when it does.
        let row = next.fetch_one(sqlx::raw_sql("SELECT now() = statement_timestamp()")).await.unwrap();
        let outside: bool = sqlx::Row::get(&row, 0);
        assert!(outside, "after {n} the pool handed out a session in an open transaction");
    }
    assert!((30..295).contains(&given_up), "{given_up} of 300 were given up: the moments are not random");
}
