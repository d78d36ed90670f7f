//! `holdfast doctor`: looks at Postgres and Redis as the service would, and says what is wrong and what to
//! do. A setting that would let an acknowledged write be lost is an error; one that only slows is a warning, and so is
//! whatever waits for somebody: a container that asks this for its health is not to be ended for it.

use std::process::ExitCode;

use anyhow::Context;
use secrecy::ExposeSecret;
use sqlx::{ConnectOptions, Connection, PgConnection, postgres::PgConnectOptions};
use tokio_util::task::TaskTracker;

use crate::config::Config;
use crate::inventory::verdict::Verdict;
use crate::locks::{BreakerState, Locks, Timing};
use crate::operations::backlog::{self, Backlog};

/// The oldest Postgres that is supported.
const POSTGRES_MIN: i32 = 150_000;

/// Deliveries that wait for longer, in seconds, are late; events of which none is written are stuck after the second.
const LATE: f64 = 900.0;
const UNPUBLISHED: f64 = 60.0;
/// An audit that is older, in seconds, says little of today.
const AUDIT_OLD: f64 = 2.0 * 24.0 * 3_600.0;

/// How grave a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Grade {
    Good,
    Warning,
    Error,
}

struct Finding(Grade, String);

/// Runs the command.
///
/// # Errors
/// If the settings can't be read.
pub async fn run() -> anyhow::Result<ExitCode> {
    let config = Config::from_env()?;
    let mut findings = match look_at_postgres(config.database_url.expose_secret()).await {
        Ok(findings) => findings,
        Err(error) => vec![Finding(Grade::Error, format!("Postgres: {error:#}"))],
    };
    findings.push(look_at_redis(&config).await?);
    findings.extend(look_at_polls(&config.timing));
    for Finding(grade, text) in &findings {
        let mark = match grade {
            Grade::Good => "ok     ",
            Grade::Warning => "warning",
            Grade::Error => "ERROR  ",
        };
        super::show(&format!("{mark} {text}"));
    }
    let healthy = findings.iter().all(|Finding(grade, _)| *grade != Grade::Error);
    Ok(if healthy { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn look_at_postgres(url: &str) -> anyhow::Result<Vec<Finding>> {
    let options: PgConnectOptions = url.parse().context("DATABASE_URL can't be read")?;
    let mut conn =
        options.connect().await.context("can't connect; is it running, and is DATABASE_URL right?")?;
    let schema = look_at_schema(&mut conn).await?;
    let is_current = schema.0 == Grade::Good;
    let mut findings = vec![look_at_version(&mut conn).await?, schema];
    // What a lost write would look like: the answer was sent and the disk has nothing.
    for setting in ["fsync", "synchronous_commit", "full_page_writes"] {
        let value: String =
            sqlx::query_scalar("SELECT current_setting($1)").bind(setting).fetch_one(&mut conn).await?;
        findings.push(if value == "off" {
            Finding(
                Grade::Error,
                format!("Postgres: {setting} is off: an acknowledged order can be lost; set it to on"),
            )
        } else {
            Finding(Grade::Good, format!("Postgres: {setting} is {value}"))
        });
    }
    let reads_only: bool = sqlx::query_scalar("SELECT pg_is_in_recovery()").fetch_one(&mut conn).await?;
    if reads_only {
        let text = "Postgres: this is a standby, which only reads; point DATABASE_URL at the primary";
        findings.push(Finding(Grade::Error, text.to_owned()));
    }
    if is_current {
        let (backlog, verdict) = backlog::look(&mut conn).await?;
        findings.extend(look_at_backlog(&backlog));
        findings.push(look_at_audit(verdict.as_ref()));
    }
    findings.extend(look_at_long_writers(&mut conn).await?);
    conn.close().await?;
    Ok(findings)
}

/// What waits for somebody, or for something that does not come.
fn look_at_backlog(seen: &Backlog) -> Vec<Finding> {
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
            seen.refused > 0,
            format!("inbox: {} webhooks were refused; see `GET /webhooks/inbox?state=refused`", seen.refused),
        ),
    ];
    all.into_iter().filter(|(is_so, _)| *is_so).map(|(_, text)| Finding(Grade::Warning, text)).collect()
}

fn look_at_audit(verdict: Option<&Verdict>) -> Finding {
    let (grade, text) = match verdict {
        None => (Grade::Warning, "audit: none was made; run `holdfast audit`, each night"),
        Some(last) if !last.violations.is_empty() => (
            Grade::Warning,
            "audit: the last one found that the books do not agree; run `holdfast audit` and see",
        ),
        Some(last) if last.age > AUDIT_OLD => (
            Grade::Warning,
            "audit: the last one was made over two days ago; run `holdfast audit`, each night",
        ),
        Some(_) => (Grade::Good, "audit: the last one found nothing"),
    };
    Finding(grade, text.to_owned())
}

/// Transactions that write and do not end: the stream of events waits for them, and so does cleaning up.
async fn look_at_long_writers(conn: &mut PgConnection) -> anyhow::Result<Vec<Finding>> {
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
    Ok(sessions.into_iter().map(|who| Finding(Grade::Warning, told(who))).collect())
}

async fn look_at_version(conn: &mut PgConnection) -> anyhow::Result<Finding> {
    let version: i32 =
        sqlx::query_scalar("SELECT current_setting('server_version_num')::int").fetch_one(conn).await?;
    let shown = format!("{}.{}", version / 10_000, version % 10_000);
    Ok(if version < POSTGRES_MIN {
        Finding(Grade::Error, format!("Postgres: version {shown} is too old; 15 or newer is needed"))
    } else {
        Finding(Grade::Good, format!("Postgres: version {shown}"))
    })
}

async fn look_at_schema(conn: &mut PgConnection) -> anyhow::Result<Finding> {
    let wanted =
        sqlx::migrate!().iter().filter(|migration| !migration.migration_type.is_down_migration()).count();
    let table: Option<String> =
        sqlx::query_scalar("SELECT to_regclass('_sqlx_migrations')::text").fetch_one(&mut *conn).await?;
    let applied: i64 = match table {
        Some(_) => {
            sqlx::query_scalar("SELECT count(*) FROM _sqlx_migrations WHERE success").fetch_one(conn).await?
        }
        None => 0,
    };
    Ok(if applied < wanted as i64 {
        Finding(
            Grade::Error,
            format!("schema: {applied} of {wanted} migrations applied; run `holdfast migrate`"),
        )
    } else {
        Finding(Grade::Good, format!("schema: {applied} migrations applied"))
    })
}

/// Not an error: some want to know how often a call is missed.
fn look_at_polls(timing: &Timing) -> Option<Finding> {
    let text = format!(
        "HOLDFAST_LOCK_RETRY_MS is not below HOLDFAST_LOCK_WAIT_MS: whoever misses its call is refused, and a waiter \
         that died keeps its place for {} s",
        timing.linger().as_secs()
    );
    (timing.retry >= timing.wait).then_some(Finding(Grade::Warning, text))
}

async fn look_at_redis(config: &Config) -> anyhow::Result<Finding> {
    let Some(url) = &config.redis_url else {
        return Ok(Finding(
            Grade::Good,
            "Redis: not configured; locks are database-only by choice".to_owned(),
        ));
    };
    let locks = Locks::two_layer(url.expose_secret(), config.timing.clone(), TaskTracker::new())
        .map_err(|error| anyhow::anyhow!("REDIS_URL: {error}"))?;
    locks.look_once().await;
    let up = locks.breaker().is_some_and(|breaker| breaker.state() == BreakerState::Closed);
    if !up {
        let text = "Redis: can't be written; locks will be database-only until it can (correct, but slower under a crowd)";
        return Ok(Finding(Grade::Warning, text.to_owned()));
    }
    Ok(match locks.evicts().await {
        Some(policy) => Finding(
            Grade::Warning,
            format!("Redis: maxmemory-policy {policy} can evict locks; set noeviction"),
        ),
        None => Finding(Grade::Good, "Redis: can be written".to_owned()),
    })
}
