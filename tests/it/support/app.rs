//! The service inside the test's process, on a port of its own.

use std::sync::Arc;
use std::time::Duration;

use holdfast::app::App;
use holdfast::config::Config;
use holdfast::events::{self, Limits};
use holdfast::http;
use holdfast::inventory::audit;
use holdfast::locks::{Lease, LockKeys};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::sender::WEBHOOKS;
use super::{ADMIN_KEY, Client, TestDatabase, eventually, invariants, shared_redis};

/// Well before the server itself would end a transaction that idles.
const ROLLED_BACK_WITHIN: Duration = Duration::from_secs(5);

/// A machine full of tests does little in a second: nothing is turned away because of that.
pub const QUEUES: (&str, &str) = ("HOLDFAST_QUEUE_MAX_MS", "5000");

/// A running service with a database of its own.
pub struct TestApp {
    pub app: Arc<App>,
    pub client: Client,
    pub database: TestDatabase,
    stopping: CancellationToken,
    tasks: Vec<JoinHandle<()>>,
}

impl TestApp {
    /// With the shared Redis.
    pub async fn start() -> Self {
        Self::with(TestDatabase::fresh().await, Some(&shared_redis()), &[]).await
    }

    /// Database-only by choice.
    pub async fn without_redis() -> Self {
        Self::with(TestDatabase::fresh().await, None, &[]).await
    }

    /// With these settings over the defaults.
    pub async fn with(database: TestDatabase, redis: Option<&str>, settings: &[(&str, &str)]) -> Self {
        Self::begun(Self::only_serving(database, redis, settings).await)
    }

    /// Database-only, with other limits for the relay and the streams. It may send to this machine.
    pub async fn limited(database: TestDatabase, limits: Limits) -> Self {
        let settings = [("HOLDFAST_WEBHOOK_ALLOW_PRIVATE", "true")];
        Self::begun(Self::serving(database, None, &settings, |app| app.events.limits = limits).await)
    }

    /// Database-only, with something changed that is no setting.
    pub async fn changed(database: TestDatabase, change: impl FnOnce(&mut App)) -> Self {
        Self::begun(Self::serving(database, None, &[], change).await)
    }

    /// Which soon gives up a Postgres that has fallen silent, with nothing that goes on besides requests.
    pub async fn impatient(
        database: TestDatabase,
        redis: Option<&str>,
        (transaction_max, answer_max): (Duration, Duration),
    ) -> Self {
        Self::serving(database, redis, &[], |app| {
            (app.db.transaction_max, app.answer_max) = (transaction_max, answer_max);
        })
        .await
    }

    fn begun(mut started: Self) -> Self {
        let app = &started.app;
        let others = [
            tokio::spawn(app.locks.clone().keep(app.stopping.clone())),
            tokio::spawn(app.clone().tell_traces()),
            tokio::spawn(events::relay::keep(app.clone())),
            tokio::spawn(events::publish::keep(app.clone())),
            tokio::spawn(events::modes::keep(app.clone())),
        ];
        started.tasks.splice(0..0, others);
        started
    }

    /// With nothing that goes on besides requests, for tests that count: to end it after it began is not enough, since
    /// Postgres may come to a statement long after whoever sent it has gone.
    pub async fn only_serving(
        database: TestDatabase,
        redis: Option<&str>,
        settings: &[(&str, &str)],
    ) -> Self {
        Self::serving(database, redis, settings, |_| {}).await
    }

    async fn serving(
        database: TestDatabase,
        redis: Option<&str>,
        settings: &[(&str, &str)],
        change: impl FnOnce(&mut App),
    ) -> Self {
        let config = Config::read(&|name| match name {
            "DATABASE_URL" => Some(database.url.clone()),
            "REDIS_URL" => redis.map(str::to_owned),
            "HOLDFAST_ADMIN_KEY" => Some(ADMIN_KEY.to_owned()),
            "HOLDFAST_LISTEN" => Some("127.0.0.1:0".to_owned()),
            _ => settings
                .iter()
                .chain([&WEBHOOKS, &QUEUES])
                .find(|(set, _)| *set == name)
                .map(|(_, value)| (*value).to_owned()),
        })
        .unwrap();
        let mut app = App::new(&config).unwrap();
        change(&mut app);
        let app = Arc::new(app);
        let (listener, address) = http::server::bind(&config.listen).await.unwrap();
        let stopping = CancellationToken::new();
        app.locks.look_once().await;
        let tasks = vec![tokio::spawn(http::server::serve(listener, http::router(&app), stopping.clone()))];
        Self { client: Client::admin(address), app, database, stopping, tasks }
    }

    /// The lease of a variant, until it is released: whoever wants it waits in line.
    pub async fn lease(&self, variant: Uuid) -> Lease {
        self.app.locks.acquire(LockKeys::variant(variant), &CancellationToken::new()).await.unwrap()
    }

    /// Ends whatever goes on besides requests.
    pub async fn quiet(&mut self) {
        self.app.stopping.cancel();
        let serving = self.tasks.pop();
        for task in std::mem::replace(&mut self.tasks, serving.into_iter().collect()) {
            task.await.unwrap();
        }
    }

    /// Ends the service as SIGTERM would, and checks that its books agree and nothing is left open.
    pub async fn finish(self) {
        self.app.tasks.close();
        self.app.tasks.wait().await;
        let found = audit::run(&self.app.db).await.unwrap();
        assert!(found.ok, "the books do not agree: {:?}", found.violations);
        invariants::hold(&self.database.pool).await;
        // One that was dropped is rolled back a moment after its request was answered.
        let idle_in_tx = "SELECT count(*) FROM pg_stat_activity
             WHERE datname = current_database() AND state LIKE 'idle in transaction%'";
        eventually(ROLLED_BACK_WITHIN, "no session is left in a transaction", async || {
            sqlx::query_scalar::<_, i64>(idle_in_tx).fetch_one(&self.database.pool).await.unwrap() == 0
        })
        .await;
        self.stopping.cancel();
        self.app.stopping.cancel();
        for task in self.tasks {
            task.await.unwrap();
        }
        self.app.db.close().await;
        self.database.close().await;
    }
}
