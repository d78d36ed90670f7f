//! What the tests look up in, and do to, their own database behind the service's back.

use holdfast::http::auth::{NewKey, Scope, create_key};
use secrecy::ExposeSecret;
use serde_json::Value;
use sqlx::{PgConnection, PgPool, Row};
use uuid::Uuid;

use super::{Client, TestApp};

impl TestApp {
    /// Rows of a table.
    pub async fn count(&self, table: &str) -> i64 {
        sqlx::query_scalar(&format!("SELECT count(*) FROM {table}"))
            .fetch_one(&self.database.pool)
            .await
            .unwrap()
    }

    /// How many movements, orders, variants, kept answers and so on there are: what a refused request must not change.
    pub async fn everything(&self) -> [i64; 9] {
        let row = sqlx::query(
            "SELECT (SELECT count(*) FROM stock_movements), (SELECT count(*) FROM orders),
                    (SELECT count(*) FROM variants), (SELECT count(*) FROM order_cancellations),
                    (SELECT count(*) FROM idempotency_keys), (SELECT count(*) FROM webhook_inbox),
                    (SELECT count(*) FROM early_cancellations), (SELECT count(*) FROM webhook_replays),
                    (SELECT count(*) FROM holds)",
        )
        .fetch_one(&self.database.pool)
        .await
        .unwrap();
        std::array::from_fn(|column| row.get(column))
    }

    /// A client whose key has these scopes and speaks for `subject`.
    pub async fn client_of(&self, subject: &str, scopes: &[Scope]) -> Client {
        let new = NewKey { name: "a test's key", subject, scopes };
        let key = create_key(&self.app.db, &new).await.unwrap();
        self.client.with_key(key.expose_secret())
    }

    /// Many variants at once, each with so many on hand at 1.50 EUR.
    pub async fn variants(&self, n: i64, on_hand: i64) -> Vec<Uuid> {
        sqlx::query_scalar(
            "WITH made AS (
                INSERT INTO variants (variant_id, sku, name, price, currency)
                SELECT gen_random_uuid(), 'many-' || gen_random_uuid(), 'One of many', 1.50, 'EUR'
                FROM generate_series(1, $1) RETURNING variant_id
             ), moved AS (
                INSERT INTO stock_movements (movement_id, variant_id, version, kind, delta, on_hand_after, subject,
                    request_id, lock_mode, lock_wait_ms)
                SELECT gen_random_uuid(), variant_id, 1, 'adjustment', $2, $2, 'test', 'test', 'database_only', 0
                FROM made
             )
             INSERT INTO stock (variant_id, on_hand, version) SELECT variant_id, $2, 1 FROM made RETURNING variant_id",
        )
        .bind(n)
        .bind(on_hand)
        .fetch_all(&self.database.pool)
        .await
        .unwrap()
    }

    /// Makes every kept answer older than the 24 hours it is kept for.
    pub async fn age_answers(&self) {
        sqlx::query("UPDATE idempotency_keys SET first_seen = first_seen - interval '24 hours 1 second'")
            .execute(&self.database.pool)
            .await
            .unwrap();
    }

    /// Returns once a session of the service waits for a row that somebody holds.
    pub async fn until_somebody_waits_for_a_row(&self) {
        let waits = "SELECT EXISTS (SELECT 1 FROM pg_stat_activity WHERE datname = current_database()
                     AND application_name = 'holdfast' AND wait_event_type = 'Lock')";
        while !sqlx::query_scalar::<_, bool>(waits).fetch_one(&self.database.pool).await.unwrap() {
            tokio::task::yield_now().await;
        }
    }
}

/// Claims a key as a request that has not ended would: until the transaction of `conn` ends.
pub async fn claim(conn: &mut PgConnection, scope: &str, key: &str) {
    sqlx::query("INSERT INTO idempotency_keys (scope, key, request_hash) VALUES ($1, $2, 'x')")
        .bind(scope)
        .bind(key)
        .execute(conn)
        .await
        .unwrap();
}

/// Sets the time at which a hold ends, to an expression of SQL.
pub async fn end_hold_at(pool: &PgPool, hold: &Value, time: &str) {
    let id: Uuid = hold["hold_id"].as_str().unwrap().parse().unwrap();
    let set = format!(
        "WITH hold AS (UPDATE holds SET expires_at = {time} WHERE hold_id = $1 RETURNING hold_id, expires_at)
         UPDATE hold_lines SET expires_at = hold.expires_at FROM hold WHERE hold_lines.hold_id = hold.hold_id"
    );
    sqlx::query(&set).bind(id).execute(pool).await.unwrap();
}
