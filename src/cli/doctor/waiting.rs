//! What waits for somebody, or for something that does not come.

use sqlx::PgConnection;

use super::Finding;
use crate::inventory::verdict::Verdict;
use crate::operations::backlog::Backlog;

/// Deliveries that wait for longer, in seconds, are late; events of which none is written are stuck after the second.
const LATE: f64 = 900.0;
const UNPUBLISHED: f64 = 60.0;
/// An audit that is older, in seconds, says little of today.
const AUDIT_OLD: f64 = 2.0 * 24.0 * 3_600.0;

pub(super) fn look_at_backlog(seen: &Backlog) -> Vec<Finding> {
    let older = |age: Option<f64>, than: f64| age.is_some_and(|age| age > than);
    let all = [
        (
            older(seen.unpublished_age, UNPUBLISHED),
            "events: nobody writes the deliveries of webhooks; is a replica running?".to_owned(),
        ),
        (
            older(seen.oldest_pending_age, LATE),
            "webhooks: a delivery waits for over a quarter of an hour; `GET /webhook-endpoints` says of which endpoint"
                .to_owned(),
        ),
        (seen.dead > 0, format!("webhooks: {} deliveries were given up; mend the receiver and replay them", seen.dead)),
        (
            seen.gone > 0,
            format!("webhooks: {} endpoints answered 410 and are sent nothing any more; delete them, or replay a delivery to open one", seen.gone),
        ),
        (
            seen.refused > 0,
            format!("inbox: {} webhooks were refused; see `GET /webhooks/inbox?state=refused`", seen.refused),
        ),
    ];
    all.into_iter().filter(|(is_so, _)| *is_so).map(|(_, text)| Finding::warning(text)).collect()
}

pub(super) fn look_at_audit(verdict: Option<&Verdict>) -> Finding {
    match verdict {
        None => Finding::warning("audit: none was made; run `holdfast audit`, each night"),
        Some(last) if !last.violations.is_empty() => Finding::warning(
            "audit: the last one found that the books do not agree; run `holdfast audit` and see",
        ),
        Some(last) if last.age > AUDIT_OLD => Finding::warning(
            "audit: the last one was made over two days ago; run `holdfast audit`, each night",
        ),
        Some(_) => Finding::good("audit: the last one found nothing"),
    }
}

/// Transactions that write and do not end: the stream of events waits for them, and so does cleaning up.
pub(super) async fn look_at_long_writers(conn: &mut PgConnection) -> sqlx::Result<Vec<Finding>> {
    let sessions: Vec<String> = sqlx::query_scalar(
        "SELECT 'session ' || pid || ' (' || coalesce(nullif(application_name, ''), 'unnamed') || ')'
         FROM pg_stat_activity
         WHERE backend_xid IS NOT NULL AND xact_start < clock_timestamp() - interval '10 seconds'
         UNION ALL
         SELECT 'prepared transaction ' || gid FROM pg_prepared_xacts
         WHERE prepared < clock_timestamp() - interval '10 seconds' LIMIT 10",
    )
    .fetch_all(conn)
    .await?;
    let told =
        |who| format!("Postgres: {who} writes for over 10 s and does not end: events wait for it; end it");
    Ok(sessions.into_iter().map(|who| Finding::warning(told(who))).collect())
}
