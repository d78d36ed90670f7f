//! The locks of one process, without a service around them.

use holdfast::endpoints::metrics::EndpointMetrics;
use holdfast::events::metrics::EventMetrics;
use holdfast::leases::Leases;
use holdfast::locks::{Lease, LockKeys, LockMode, Locks, Timing};
use holdfast::operations::metrics::Metrics;
use holdfast::webhooks::metrics::WebhookMetrics;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub struct LockProcess {
    pub locks: Locks,
    pub tasks: TaskTracker,
    metrics: Metrics,
    stopped: CancellationToken,
    keeper: JoinHandle<()>,
}

impl LockProcess {
    pub fn start(redis_url: &str, timing: Timing) -> Self {
        let tasks = TaskTracker::new();
        let locks = Locks::two_layer(redis_url, timing, tasks.clone()).unwrap();
        let stopped = CancellationToken::new();
        let keeper = tokio::spawn(locks.clone().keep(stopped.clone()));
        let metrics = Metrics::new(
            &locks,
            &Leases::new(locks.clone()),
            &WebhookMetrics::default(),
            &EventMetrics::default(),
            &EndpointMetrics::default(),
        );
        Self { metrics, locks, tasks, stopped, keeper }
    }

    /// Under both layers.
    pub async fn lease(&self, keys: LockKeys) -> Lease {
        let lease = self.locks.acquire(keys, &CancellationToken::new()).await.unwrap();
        assert_eq!(lease.evidence().mode, LockMode::TwoLayer);
        lease
    }

    /// A counter's value, all labels together.
    pub fn counted(&self, name: &str) -> u64 {
        let text = self.metrics.render(&self.locks).unwrap();
        let start = format!("holdfast_lock_{name}_total{{");
        let values = text.lines().filter(|line| line.starts_with(&start));
        values.map(|line| line.rsplit_once(' ').unwrap().1.parse::<u64>().unwrap()).sum()
    }

    pub async fn stop(self) {
        self.stopped.cancel();
        self.keeper.await.unwrap();
    }
}
