//! A database for each test.

use holdfast::{db, ids};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{ConnectOptions, Connection, Executor, PgConnection, PgPool};
use tokio::sync::Mutex;

const PREFIX: &str = "holdfast_test_";
/// The advisory lock under which databases that nobody uses are dropped.
const SWEEPING: i64 = 4_853_202_611;
/// The class of the advisory locks that show a template to be in use: nobody may be connected to one that is copied.
const TEMPLATES: i32 = 1_130_312;

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
        let template = template(&server).await;
        Self::copy_of(&template, &server).await
    }

    /// On another server.
    pub async fn on(server: &str) -> Self {
        let database = Self::copy_of("template1", server).await;
        db::migrate(&database.url).await.unwrap();
        database
    }

    async fn copy_of(template: &str, server: &str) -> Self {
        let name = format!("{PREFIX}{}", ids::token());
        let url = with_database(server, &name);
        let mut admin = connect(server).await;
        // No sweeper, of this or another run, sees it before it is in use.
        admin.execute(format!("SELECT pg_advisory_lock_shared({SWEEPING})").as_str()).await.unwrap();
        admin.execute(format!("CREATE DATABASE {name} TEMPLATE {template}").as_str()).await.unwrap();
        let keep = connect(&url).await;
        admin.close().await.unwrap();
        let options: PgConnectOptions = server.parse().unwrap();
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

/// A migrated database that each test gets a copy of: made by the first that asks, dropped by the next run.
async fn template(server: &str) -> String {
    static MADE: Mutex<Option<(String, PgConnection)>> = Mutex::const_new(None);
    let mut made = MADE.lock().await;
    if let Some((name, _in_use)) = &*made {
        return name.clone();
    }
    let mut admin = connect(server).await;
    sweep(&mut admin).await;
    let name = format!("{PREFIX}{}", ids::token());
    admin.execute(format!("SELECT {}", in_use(&name)).as_str()).await.unwrap();
    admin.execute(format!("CREATE DATABASE {name}").as_str()).await.unwrap();
    db::migrate(&with_database(server, &name)).await.unwrap();
    *made = Some((name.clone(), admin));
    name
}

/// Asks for the lock that shows a template to be in use.
fn in_use(template: &str) -> String {
    format!("pg_try_advisory_lock({TEMPLATES}, hashtext('{template}'))")
}

/// Drops what earlier runs left: databases of ours that nobody is connected to, nor copies.
async fn sweep(admin: &mut PgConnection) {
    admin.execute(format!("SELECT pg_advisory_lock({SWEEPING})").as_str()).await.unwrap();
    let left = sqlx::query_scalar::<_, String>(
        "SELECT datname::text FROM pg_database d WHERE starts_with(datname, $1)
         AND NOT EXISTS (SELECT 1 FROM pg_stat_activity a WHERE a.datname = d.datname)",
    )
    .bind(PREFIX)
    .fetch_all(&mut *admin)
    .await
    .unwrap();
    for name in left {
        let is_left = format!("SELECT {}", in_use(&name));
        if sqlx::query_scalar(&is_left).fetch_one(&mut *admin).await.unwrap() {
            admin.execute(format!("DROP DATABASE IF EXISTS {name}").as_str()).await.unwrap();
        }
    }
    admin.execute(format!("SELECT pg_advisory_unlock({SWEEPING})").as_str()).await.unwrap();
}
