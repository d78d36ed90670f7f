//! A database for each test.

use std::sync::OnceLock;

use holdfast::{db, ids};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{ConnectOptions, Connection, Executor, PgConnection, PgPool, Row};
use tokio::sync::Mutex;

const PREFIX: &str = "holdfast_test_";
/// The advisory lock under which databases that nobody uses are dropped.
const SWEEPING: i64 = 4_853_202_611;

/// A migrated database that only one test uses. [`TestDatabase::close`] drops it; one that a failed test
/// left is dropped by the next run.
pub struct TestDatabase {
    pub url: String,
    pub pool: PgPool,
    name: String,
    server: String,
    /// Shows sweepers that the database is in use.
    keep: PgConnection,
}

impl TestDatabase {
    /// On the server that `make test` started.
    pub async fn fresh() -> Self {
        let server =
            std::env::var("DATABASE_URL").expect("DATABASE_URL is not set: run the tests with `make test`");
        sweep_once(&server).await;
        Self::on(&server).await
    }

    /// On another server.
    pub async fn on(server: &str) -> Self {
        let name = format!("{PREFIX}{}", ids::token());
        let url = with_database(server, &name);
        let mut admin = connect(server).await;
        // No sweeper, of this or another run, sees it before it is in use.
        admin.execute(format!("SELECT pg_advisory_lock_shared({SWEEPING})").as_str()).await.unwrap();
        admin.execute(format!("CREATE DATABASE {name}").as_str()).await.unwrap();
        let keep = connect(&url).await;
        admin.close().await.unwrap();
        let options: PgConnectOptions = server.parse().unwrap();
        db::migrate(&url).await.unwrap();
        let pool = PgPoolOptions::new().max_connections(4).connect_lazy_with(options.database(&name));
        Self { url, pool, name, server: server.to_owned(), keep }
    }

    /// Drops the database.
    pub async fn close(self) {
        self.pool.close().await;
        // Whether or not its server lived through the test.
        drop(self.keep);
        let mut admin = connect(&self.server).await;
        admin.execute(format!("DROP DATABASE {} WITH (FORCE)", self.name).as_str()).await.unwrap();
    }
}

async fn connect(url: &str) -> PgConnection {
    url.parse::<PgConnectOptions>().unwrap().connect().await.unwrap()
}

/// The same server, another database.
fn with_database(server: &str, name: &str) -> String {
    let (base, query) = server.split_once('?').map_or((server, None), |(base, query)| (base, Some(query)));
    let (authority, _) = base.rsplit_once('/').unwrap();
    query.map_or_else(|| format!("{authority}/{name}"), |query| format!("{authority}/{name}?{query}"))
}

/// Drops what earlier runs left: databases of ours that nobody is connected to.
async fn sweep_once(server: &str) {
    static SWEPT: OnceLock<Mutex<bool>> = OnceLock::new();
    let mut swept = SWEPT.get_or_init(Mutex::default).lock().await;
    if std::mem::replace(&mut *swept, true) {
        return;
    }
    let mut admin = connect(server).await;
    admin.execute(format!("SELECT pg_advisory_lock({SWEEPING})").as_str()).await.unwrap();
    let left = sqlx::query(
        "SELECT datname FROM pg_database d WHERE starts_with(datname, $1)
         AND NOT EXISTS (SELECT 1 FROM pg_stat_activity a WHERE a.datname = d.datname)",
    )
    .bind(PREFIX)
    .fetch_all(&mut admin)
    .await
    .unwrap();
    for row in left {
        let name: String = row.get(0);
        admin.execute(format!("DROP DATABASE IF EXISTS {name}").as_str()).await.unwrap();
    }
}
