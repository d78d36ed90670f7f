//! `holdfast doctor`: looks at Postgres and Redis as the service would, and says what is wrong and what to
//! do. A setting that would let an acknowledged write be lost is an error, and so is what lets nothing be written; one that
//! only slows is a warning, and so is whatever waits for somebody: a container that asks this for its health is not to be
//! ended for it.

mod clocks;
mod connections;
mod postgres;
mod redis;
mod schema;
mod tables;
mod waiting;

use std::process::ExitCode;

use secrecy::ExposeSecret;

use crate::config::Config;
use crate::locks::Timing;

/// How grave a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Grade {
    Good,
    Warning,
    Error,
}

#[derive(Debug)]
struct Finding(Grade, String);

impl Finding {
    fn good(text: impl Into<String>) -> Self {
        Self(Grade::Good, text.into())
    }

    fn warning(text: impl Into<String>) -> Self {
        Self(Grade::Warning, text.into())
    }

    fn error(text: impl Into<String>) -> Self {
        Self(Grade::Error, text.into())
    }
}

/// Runs the command.
///
/// # Errors
/// If the settings can't be read.
pub async fn run() -> anyhow::Result<ExitCode> {
    let config = Config::from_env()?;
    let (mut findings, postgres) = postgres::look(&config).await;
    let redis = match &config.redis_url {
        None => {
            findings.push(Finding::good("Redis: not configured; locks are database-only by choice"));
            None
        }
        Some(url) => {
            let (seen, clock) = redis::look(url.expose_secret(), &config).await?;
            findings.extend(seen);
            clock
        }
    };
    findings.extend(clocks::compare(postgres.as_ref(), redis.as_ref()));
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

/// Not an error: some want to know how often a call is missed.
fn look_at_polls(timing: &Timing) -> Option<Finding> {
    let text = format!(
        "HOLDFAST_LOCK_RETRY_MS is not below HOLDFAST_LOCK_WAIT_MS: whoever misses its call is refused, and a waiter \
         that died keeps its place for {} s",
        timing.linger().as_secs()
    );
    (timing.retry >= timing.wait).then(|| Finding::warning(text))
}
