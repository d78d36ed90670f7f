//! What waits for somebody or something, as the database knows it: told with the metrics, and by `holdfast doctor`.
//!
//! What must stay true: looking costs the same however much waits, and however often one looks: whoever asks within a
//! second of another is told the same; and a database that is away or hangs keeps nobody waiting for long.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};
use sqlx::PgConnection;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

use super::store;
use crate::app::App;
use crate::db::DbError;
use crate::inventory::verdict::{self, Verdict};

/// How long what was seen is told again.
const BELIEVED_FOR: Duration = Duration::from_secs(1);
/// How long Postgres may take before it counts as away.
const LOOK_MAX: Duration = Duration::from_millis(1_500);
/// How long whoever asks waits for it; then what was seen before is told once more.
const PATIENCE: Duration = Duration::from_millis(100);

/// What waits.
#[derive(Debug, Clone)]
pub struct Backlog {
    /// How old the oldest event is of which no delivery was written yet, in seconds, where there are endpoints.
    pub unpublished_age: Option<f64>,
    /// How old the oldest delivery is that is still to be made, in seconds.
    pub oldest_pending_age: Option<f64>,
    /// Deliveries that are still to be made; 10,000 if there are more.
    pub pending: i64,
    /// Deliveries that were given up; 10,000 if there are more.
    pub dead: i64,
    /// Endpoints that are left alone for a while because they failed.
    pub paused: i64,
    /// Endpoints that said they want nothing any more.
    pub gone: i64,
    /// Entries of the inbox that were refused; 10,000 if there are more.
    pub refused: i64,
    /// Conflicts of counting that nobody has resolved; 10,000 if there are more.
    pub conflicts: i64,
    /// Invoices that look like others, and nobody has decided; 10,000 if there are more.
    pub flagged: i64,
}

/// When somebody last looked; locked while somebody does.
#[derive(Debug, Default)]
pub struct Lookout(Arc<Mutex<Option<Instant>>>);

impl Lookout {
    /// Brings the metrics up to date, unless somebody does or just did.
    pub async fn look(&self, app: &Arc<App>) {
        let Ok(mut last) = self.0.clone().try_lock_owned() else { return };
        if last.is_some_and(|last| last.elapsed() < BELIEVED_FOR) {
            return;
        }
        *last = Some(Instant::now());
        // A query that takes long is not dropped, and it is told when it ends after all.
        let looking = app.tasks.spawn({
            let app = app.clone();
            async move {
                see(&app).await;
                drop(last);
            }
        });
        let watching = app.tasks.spawn({
            let app = app.clone();
            async move {
                if timeout(LOOK_MAX, looking).await.is_err() {
                    app.db.metrics.up.set(0);
                }
            }
        });
        let _late = timeout(PATIENCE, watching).await;
    }
}

async fn see(app: &App) {
    let looking = async { look(&mut *app.db.look_on().await?).await };
    let seen = app.db.in_time(looking).await.flatten();
    app.db.metrics.up.set(i64::from(seen.is_ok()));
    match seen {
        Ok((backlog, verdict)) => app.backlog.set(&backlog, verdict.as_ref()),
        Err(error) => tracing::debug!(%error, "what waits in the database can't be told now"),
    }
}

/// Looks.
///
/// # Errors
/// [`DbError`].
pub async fn look(conn: &mut PgConnection) -> Result<(Backlog, Option<Verdict>), DbError> {
    Ok((store::find_backlog(conn).await?, verdict::find_last(conn).await?))
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByInvariant {
    invariant: String,
}

type Seconds = Gauge<f64, AtomicU64>;

/// The backlog's metrics. Clones are the same metrics.
#[derive(Debug, Clone)]
pub struct BacklogMetrics {
    unpublished_age: Seconds,
    oldest_pending_age: Seconds,
    pending: Gauge,
    dead: Gauge,
    paused: Gauge,
    gone: Gauge,
    refused: Gauge,
    conflicts: Gauge,
    flagged: Gauge,
    audit_ok: Seconds,
    audited_at: Seconds,
    violations: Family<ByInvariant, Gauge>,
}

impl Default for BacklogMetrics {
    /// What is not known is no number.
    fn default() -> Self {
        let unknown = || {
            let gauge = Seconds::default();
            gauge.set(f64::NAN);
            gauge
        };
        Self {
            unpublished_age: Seconds::default(),
            oldest_pending_age: Seconds::default(),
            pending: Gauge::default(),
            dead: Gauge::default(),
            paused: Gauge::default(),
            gone: Gauge::default(),
            refused: Gauge::default(),
            conflicts: Gauge::default(),
            flagged: Gauge::default(),
            audit_ok: unknown(),
            audited_at: unknown(),
            violations: Family::default(),
        }
    }
}

impl BacklogMetrics {
    fn set(&self, seen: &Backlog, verdict: Option<&Verdict>) {
        self.unpublished_age.set(seen.unpublished_age.unwrap_or_default());
        self.oldest_pending_age.set(seen.oldest_pending_age.unwrap_or_default());
        for (gauge, count) in [
            (&self.pending, seen.pending),
            (&self.dead, seen.dead),
            (&self.paused, seen.paused),
            (&self.gone, seen.gone),
            (&self.refused, seen.refused),
            (&self.conflicts, seen.conflicts),
            (&self.flagged, seen.flagged),
        ] {
            gauge.set(count);
        }
        let none = BTreeMap::new();
        let broken = verdict.map_or(&none, |verdict| &verdict.violations);
        self.audit_ok.set(verdict.map_or(f64::NAN, |verdict| f64::from(verdict.violations.is_empty())));
        let at = |verdict: &Verdict| verdict.audited_at.timestamp_millis() as f64 / 1_000.0;
        self.audited_at.set(verdict.map_or(f64::NAN, at));
        self.violations.clear();
        for (invariant, count) in broken {
            self.violations.get_or_create(&ByInvariant { invariant: invariant.clone() }).set(*count);
        }
    }

    /// Adds them to `registry`.
    pub fn register(&self, registry: &mut Registry) {
        let help = "Age of the oldest event of which no delivery is written yet";
        let events = registry.sub_registry_with_prefix("event");
        events.register_with_unit("unpublished", help, Unit::Seconds, self.unpublished_age.clone());
        let endpoints = registry.sub_registry_with_prefix("endpoint");
        let help = "Age of the oldest delivery that is still to be made";
        endpoints.register_with_unit("oldest_pending", help, Unit::Seconds, self.oldest_pending_age.clone());
        endpoints.register("pending", "Deliveries still to be made, up to 10,000", self.pending.clone());
        endpoints.register("dead", "Deliveries that were given up, up to 10,000", self.dead.clone());
        endpoints.register("paused", "Endpoints left alone because they failed", self.paused.clone());
        endpoints.register("gone", "Endpoints that want nothing any more", self.gone.clone());
        let help = "Webhooks that were refused and wait for somebody, up to 10,000";
        registry.register("webhook_inbox_refused", help, self.refused.clone());
        let help = "Conflicts of counting that nobody has resolved, up to 10,000";
        registry.register("count_conflicts_open", help, self.conflicts.clone());
        let help = "Invoices that look like others and nobody has decided, up to 10,000";
        registry.register("invoices_flagged", help, self.flagged.clone());
        let audit = registry.sub_registry_with_prefix("audit");
        audit.register("ok", "1 if the last audit found nothing, 0 if it did", self.audit_ok.clone());
        let help = "When the last audit was made, since 1970";
        audit.register_with_unit("timestamp", help, Unit::Seconds, self.audited_at.clone());
        let help = "What the last audit found, by invariant; at most 100 of each are listed";
        audit.register("violations", help, self.violations.clone());
    }
}
