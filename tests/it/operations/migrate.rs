//! A migration beside a shop that goes on.

use std::time::Duration;

use holdfast::db::{MigrationWaits, migrate_waiting};
use sqlx::Executor;

use super::SOON;
use crate::support::{TestDatabase, eventually};

#[tokio::test(flavor = "multi_thread")]
async fn a_migration_that_finds_a_table_in_use_lets_others_go_first_and_is_done_in_the_end() {
    let database = TestDatabase::fresh().await;
    // As it was before one of them.
    let before = "DELETE FROM _sqlx_migrations WHERE version = 40; DROP INDEX waiting_entries";
    sqlx::raw_sql(before).execute(&database.pool).await.unwrap();
    let write = "LOCK TABLE webhook_inbox IN ROW EXCLUSIVE MODE";
    let mut writer = database.pool.begin().await.unwrap();
    writer.execute(write).await.unwrap();
    let waits = MigrationWaits { lock: Duration::from_millis(100), pause: Duration::from_millis(100) };
    let url = database.url.clone();
    let migrating = tokio::spawn(async move { migrate_waiting(&url, waits).await });
    let wants = "SELECT EXISTS (SELECT FROM pg_locks JOIN pg_stat_activity USING (pid)
        WHERE relation = 'webhook_inbox'::regclass AND NOT granted AND application_name = 'holdfast migrate')";
    // It wants the table, in vain, and twice: so it has let go of it in between.
    for wanted in [true, false, true] {
        eventually(SOON, "it waits, or lets others go first", async || {
            sqlx::query_scalar::<_, bool>(wants).fetch_one(&database.pool).await.unwrap() == wanted
        })
        .await;
        // Another writer who comes now would stand behind it for ever.
        let mut other = database.pool.begin().await.unwrap();
        other.execute(write).await.unwrap();
        other.rollback().await.unwrap();
    }
    writer.rollback().await.unwrap();
    assert!(migrating.await.unwrap().unwrap() >= 1);
    let there: bool = sqlx::query_scalar("SELECT to_regclass('waiting_entries') IS NOT NULL")
        .fetch_one(&database.pool)
        .await
        .unwrap();
    assert!(there);
    database.close().await;
}
