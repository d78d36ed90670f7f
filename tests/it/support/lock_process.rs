//! The locks of one process, without a service around them.

use holdfast::locks::{Lease, LockKeys, LockMode, Locks, Timing};
use holdfast::operations::metrics::{Form, Metrics};
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
        let metrics = Metrics::new(|registry| locks.register_metrics(registry));
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
        self.locks.update_metrics();
        let text = self.metrics.render(Form::Open).unwrap();
        let start = format!("holdfast_lock_{name}_total{{");
        let values = text.lines().filter(|line| line.starts_with(&start));
        values.map(|line| line.rsplit_once(' ').unwrap().1.parse::<u64>().unwrap()).sum()
    }

    pub async fn stop(self) {
        self.stopped.cancel();
        self.keeper.await.unwrap();
    }
}
