//! A row of stock held by a transaction of the test's own: whatever needs it waits there, in the middle of its
//! section, for as long as the test likes.

use std::time::Duration;

use sqlx::{Connection, PgConnection, PgPool};
use uuid::Uuid;

use super::{TestDatabase, eventually};

const SOON: Duration = Duration::from_secs(15);

/// `SELECT … FOR UPDATE`, not yet ended.
pub struct HeldRow {
    conn: PgConnection,
    pid: i32,
}

impl HeldRow {
    pub async fn of(database: &TestDatabase, variant_id: Uuid) -> Self {
        Self::at(&database.url, variant_id).await
    }

    /// The same, known by the database's URL.
    pub async fn at(database: &str, variant_id: Uuid) -> Self {
        let mut conn = PgConnection::connect(database).await.unwrap();
        sqlx::query("BEGIN").execute(&mut conn).await.unwrap();
        let held = sqlx::query("SELECT 1 FROM stock WHERE variant_id = $1 FOR UPDATE")
            .bind(variant_id)
            .fetch_all(&mut conn)
            .await
            .unwrap();
        assert_eq!(held.len(), 1);
        let pid = sqlx::query_scalar("SELECT pg_backend_pid()").fetch_one(&mut conn).await.unwrap();
        Self { conn, pid }
    }

    /// Waits until so many stand at this very row, one behind the other.
    pub async fn until_wanted_by(&self, requests: i64, pool: &PgPool) {
        eventually(SOON, "requests stand at the row", async || {
            sqlx::query_scalar::<_, i64>(
                "WITH RECURSIVE waiting (pid) AS (
                    SELECT $1
                    UNION
                    SELECT session.pid FROM waiting JOIN pg_stat_activity session
                        ON session.datname = current_database() AND session.wait_event_type = 'Lock'
                       AND waiting.pid = ANY (pg_blocking_pids(session.pid))
                 ) SELECT count(*) - 1 FROM waiting",
            )
            .bind(self.pid)
            .fetch_one(pool)
            .await
            .unwrap()
                == requests
        })
        .await;
    }

    pub async fn let_go(mut self) {
        sqlx::query("ROLLBACK").execute(&mut self.conn).await.unwrap();
        self.conn.close().await.unwrap();
    }
}

/// The sessions of the service that wait for a row, as their process numbers.
pub async fn sessions_at_a_row(pool: &PgPool) -> Vec<i32> {
    sqlx::query_scalar(
        "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'holdfast'
           AND wait_event_type = 'Lock' AND cardinality(pg_blocking_pids(pid)) > 0",
    )
    .fetch_all(pool)
    .await
    .unwrap()
}

/// Waits until so many requests stand at rows that others hold.
pub async fn until_at_a_row(pool: &PgPool, requests: usize) {
    eventually(SOON, "requests wait at the row", async || sessions_at_a_row(pool).await.len() == requests)
        .await;
}
