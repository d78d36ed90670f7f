//! One more replica in the test's process, on the database of a [`TestApp`](super::TestApp).

use std::sync::Arc;

use holdfast::app::App;
use holdfast::config::Config;
use holdfast::events;
use holdfast::http;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::sender::WEBHOOKS;
use super::{ADMIN_KEY, Client, QUEUES};

/// A replica beside another one. It is the other one's `finish` that looks into the books.
pub struct Peer {
    pub app: Arc<App>,
    pub client: Client,
    stopping: CancellationToken,
    tasks: Vec<JoinHandle<()>>,
}

impl Peer {
    pub async fn start(database_url: &str, redis: Option<&str>, settings: &[(&str, &str)]) -> Self {
        let config = Config::read(&|name| match name {
            "DATABASE_URL" => Some(database_url.to_owned()),
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
        let app = Arc::new(App::new(&config).unwrap());
        let (listener, address) = http::server::bind(&config.listen).await.unwrap();
        let stopping = CancellationToken::new();
        app.locks.look_once().await;
        let tasks = vec![
            tokio::spawn(app.locks.clone().keep(app.stopping.clone())),
            tokio::spawn(app.clone().tell_traces()),
            tokio::spawn(events::relay::keep(app.clone())),
            tokio::spawn(events::publish::keep(app.clone())),
            tokio::spawn(events::modes::keep(app.clone())),
            tokio::spawn(http::server::serve(listener, http::router(&app), stopping.clone())),
        ];
        Self { client: Client::admin(address), app, stopping, tasks }
    }

    /// Ends it as SIGTERM would.
    pub async fn finish(self) {
        self.stopping.cancel();
        self.app.tasks.close();
        self.app.tasks.wait().await;
        self.app.stopping.cancel();
        for task in self.tasks {
            task.await.unwrap();
        }
        self.app.db.close().await;
    }
}
