//! Brings the schema up to date.
//!
//! What must stay true: a migration never stands in line for a table for as long as those behind it would wait.

use std::time::Duration;

use anyhow::Context;
use sqlx::migrate::MigrateError;
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions, Connection};

use crate::locks::timing::ROW_LOCK_TIMEOUT;

/// How a migration waits for a table that others use. All who come after it wait behind it meanwhile, even those who only
/// read: so it waits for less than they may, and lets them go first before it tries again.
#[derive(Debug, Clone, Copy)]
pub struct MigrationWaits {
    /// For a lock, each time.
    pub lock: Duration,
    /// Between two tries.
    pub pause: Duration,
}

impl Default for MigrationWaits {
    fn default() -> Self {
        Self { lock: ROW_LOCK_TIMEOUT / 2, pause: ROW_LOCK_TIMEOUT / 2 }
    }
}

/// Brings the schema of the database at `url` up to date. Waits for whoever else is migrating, and for tables that others
/// use.
///
/// # Errors
/// If the database can't be reached or a migration fails.
pub async fn migrate(url: &str) -> anyhow::Result<()> {
    migrate_waiting(url, MigrationWaits::default()).await.map(drop)
}

/// The same, waiting as it is said. Gives how often it gave a lock up.
///
/// # Errors
/// As [`migrate`].
pub async fn migrate_waiting(url: &str, waits: MigrationWaits) -> anyhow::Result<u32> {
    let options: PgConnectOptions = url.parse().context("DATABASE_URL can't be read")?;
    let options = options
        .application_name("holdfast migrate")
        .options([("lock_timeout", waits.lock.as_millis().to_string())]);
    let mut given_up = 0;
    loop {
        let mut conn = options.connect().await.context("can't connect to Postgres")?;
        let migrated = sqlx::migrate!().run_direct(&mut conn).await;
        // With it ends its lock on migrating. That it can't be told goodbye says nothing of what it did.
        let _gone = conn.close().await;
        match migrated {
            Err(error) if found_locked(&error) => {
                given_up += 1;
                tracing::warn!(%error, "a migration waits for a table that others use, or for another migration; \
                    it lets them go first and tries again. `SELECT * FROM pg_stat_activity` shows who lasts");
                tokio::time::sleep(waits.pause).await;
            }
            migrated => return migrated.map(|()| given_up).context("a migration failed"),
        }
    }
}

/// Whether it waited for a lock in vain.
fn found_locked(error: &MigrateError) -> bool {
    let (MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _)) = error else {
        return false;
    };
    error.as_database_error().is_some_and(|error| error.code().as_deref() == Some("55P03"))
}
