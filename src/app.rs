//! What an operation may touch.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use secrecy::ExposeSecret;
use tokio::sync::{Mutex, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::Config;
use crate::counts::records::turns::Turns;
use crate::db::{ACQUIRE_TIMEOUT, Db};
use crate::endpoints::{metrics::EndpointMetrics, post::Post};
use crate::events::{self, places::Places, publish::Copies, relay::Relay};
use crate::http::auth::Keyring;
use crate::http::metrics::HttpMetrics;
use crate::http::turnstile::Turnstile;
use crate::leases::Leases;
use crate::locks::Locks;
use crate::locks::timing::STATEMENT_TIMEOUT;
use crate::operations::backlog::{self, BacklogMetrics};
use crate::operations::lock_status::Lookout;
use crate::operations::metrics::Metrics;
use crate::operations::pulse::Pulse;
use crate::section::share::Sections;
use crate::telemetry::export::Exporter;
use crate::telemetry::seldom::Seldom;
use crate::telemetry::trace::Tracer;
use crate::test_endpoints::TestHolds;
use crate::webhooks::metrics::WebhookMetrics;
use crate::webhooks::signature::Secrets;

/// The running service: shared by all requests.
#[derive(Debug)]
pub struct App {
    /// Postgres.
    pub db: Db,
    /// The two-layer locks.
    pub locks: Locks,
    /// The sections that requests share.
    pub sections: Sections,
    /// Claims that outlive a transaction.
    pub leases: Leases,
    /// What has happened, told to whoever listens.
    pub events: Relay,
    /// When that is published on Redis too.
    pub copies: Copies,
    /// What became of webhooks that are sent.
    pub endpoints: EndpointMetrics,
    /// Sends them.
    pub post: Post,
    /// Places for those who listen.
    pub readers: Arc<Places>,
    /// Turns for those of them that come from far behind.
    pub catching_up: Semaphore,
    /// What is counted and timed.
    pub metrics: Metrics,
    /// What was answered in the last minute.
    pub pulse: Pulse,
    /// What is counted about requests.
    pub http: HttpMetrics,
    /// Lets requests begin.
    pub turnstile: Turnstile,
    /// Those that were told that it is too much.
    pub turned_away: Seldom,
    /// Begins traces.
    pub tracer: Tracer,
    /// Tells them, once somebody lets it.
    exporter: std::sync::Mutex<Option<Exporter>>,
    /// What waits in the database, as it was seen last.
    pub backlog: BacklogMetrics,
    /// Shared by all who look at that.
    pub backlog_lookout: backlog::Lookout,
    /// What became of webhooks.
    pub webhooks: WebhookMetrics,
    /// Shared by all who look at the locks.
    pub lookout: Lookout,
    /// The locks that the test endpoints hold; `None` where there are no test endpoints.
    pub test_holds: Option<TestHolds>,
    /// Who may call.
    pub keys: Keyring,
    /// What webhooks are signed with.
    pub webhook_secrets: Secrets,
    /// Turns of batches of count records.
    pub batches: Turns,
    /// Batches of count records that a user may send in a minute.
    pub sync_batches_per_minute: i32,
    /// Whether every session of counts is blind.
    pub blind_counts: bool,
    /// Every request and every release in the background runs in a task counted here; shutting down waits
    /// for them.
    pub tasks: TaskTracker,
    /// Cancelled when the service stops: ends the background work.
    pub stopping: CancellationToken,
    /// How long a caller waits for any answer: a lock, a connection and one statement at their limits. It ends
    /// the wait for a Postgres that neither answers nor closes, on which the server's own limits can't act. What it waited
    /// for is given up later: see [`Db::transaction_max`].
    pub answer_max: Duration,
    /// Held by the audit that runs.
    pub auditing: Mutex<()>,
    draining: CancellationToken,
}

impl App {
    /// Puts the service together. Nothing is connected yet.
    ///
    /// # Errors
    /// If a URL can't be read.
    pub fn new(config: &Config) -> anyhow::Result<Self> {
        let tasks = TaskTracker::new();
        let timing = config.timing.clone();
        let locks = match &config.redis_url {
            None => Locks::database_only(timing, tasks.clone()),
            Some(url) => Locks::two_layer(url.expose_secret(), timing, tasks.clone())
                .map_err(|error| anyhow::anyhow!("REDIS_URL: {error}"))?,
        };
        let (events, endpoints) = (Relay::default(), EndpointMetrics::default());
        let (leases, webhooks) = (Leases::new(locks.clone()), WebhookMetrics::default());
        let (sections, http, backlog) =
            (Sections::new(config.queue_max), HttpMetrics::default(), BacklogMetrics::default());
        let db = Db::new(config.database_url.expose_secret(), config.db_max_connections)?;
        let (tracer, spans) = Tracer::new(config.traces.as_ref());
        let exporter = spans
            .zip(config.traces.as_ref())
            .map(|(spans, settings)| Exporter::new(spans, settings, tracer.metrics()));
        let metrics = Metrics::new(|registry| {
            tracer.metrics().register(registry);
            http.register(registry);
            locks.register_metrics(registry);
            sections.metrics.register(registry);
            db.metrics.register(registry);
            leases.metrics().register(registry);
            webhooks.register(registry);
            events.metrics.register(registry);
            endpoints.register(registry);
            backlog.register(registry);
        });
        Ok(Self {
            metrics,
            pulse: Pulse::default(),
            http,
            turnstile: Turnstile::default(),
            turned_away: Seldom::default(),
            tracer,
            exporter: std::sync::Mutex::new(exporter),
            backlog,
            backlog_lookout: backlog::Lookout::default(),
            events,
            copies: config.redis_copies,
            endpoints,
            post: Post::new(config.webhook_allow_private, &config.webhook_authorities),
            readers: Arc::default(),
            catching_up: events::turns(),
            webhooks,
            leases,
            sections,
            lookout: Lookout::default(),
            test_holds: config.test_endpoints.then(TestHolds::default),
            db,
            locks,
            keys: Keyring::new(config.admin_key.as_ref()),
            batches: Turns::new(config.db_max_connections),
            sync_batches_per_minute: config.sync_batches_per_minute,
            blind_counts: config.blind_counts,
            webhook_secrets: config.webhook_secrets.clone(),
            tasks,
            stopping: CancellationToken::new(),
            answer_max: config.timing.wait + ACQUIRE_TIMEOUT + STATEMENT_TIMEOUT,
            auditing: Mutex::default(),
            draining: CancellationToken::new(),
        })
    }

    /// Tells the traces until the service stops; at once over if there are none.
    pub async fn tell_traces(self: Arc<Self>) {
        let exporter = self.exporter.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(exporter) = exporter {
            exporter.keep(self.stopping.clone()).await;
        }
    }

    /// From now on the service is not ready for new work.
    pub fn drain(&self) {
        self.draining.cancel();
    }

    /// Whether the service is shutting down.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.draining.is_cancelled()
    }

    /// Waits until the service shuts down: what never ends by itself ends then.
    pub async fn draining(&self) {
        self.draining.cancelled().await;
    }
}
