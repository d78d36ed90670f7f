//! Redis as the service sees it: over a connection of the locks, by the calls that its user is allowed.

use tokio_util::task::TaskTracker;

use super::Finding;
use super::clocks::{Ahead, compared};
use crate::config::Config;
use crate::locks::{BreakerState, Locks};

/// The oldest major version that is supported.
const REDIS_MIN: u32 = 7;

/// What there is to say, and its clock if it tells.
///
/// # Errors
/// If the URL can't be read.
pub(super) async fn look(url: &str, config: &Config) -> anyhow::Result<(Vec<Finding>, Option<Ahead>)> {
    let locks = Locks::two_layer(url, config.timing.clone(), TaskTracker::new())
        .map_err(|error| anyhow::anyhow!("REDIS_URL: {error}"))?;
    locks.look_once().await;
    if let Some(breaker) = locks.breaker().filter(|breaker| breaker.state() != BreakerState::Closed) {
        let why = breaker.history().last().map_or_else(String::new, |change| format!(" ({})", change.why));
        let text = format!(
            "Redis: can't be written{why}; locks will be database-only until it can (correct, but slower under a crowd)"
        );
        return Ok((vec![Finding::warning(text)], None));
    }
    let mut findings = vec![Finding::good("Redis: can be written")];
    findings.extend(locks.redis_version().await.map(|version| look_at_version(&version)));
    findings.extend(match locks.evicts().await {
        Ok(None) => None,
        Ok(Some(policy)) => Some(format!("Redis: maxmemory-policy {policy} can evict locks; set noeviction")),
        Err(fault) => Some(format!(
            "Redis: maxmemory-policy could not be read ({}): see to it that it is noeviction, or locks may be evicted; the user \
             needs +config|get",
            fault.describe()
        )),
    }.map(Finding::warning));
    let clock = compared(async { locks.redis_time().await.ok_or(()) }).await.ok();
    Ok((findings, clock))
}

fn look_at_version(version: &str) -> Finding {
    let major = version.split('.').next().and_then(|major| major.parse::<u32>().ok());
    if major.is_some_and(|major| major < REDIS_MIN) {
        let text = format!("Redis: version {version} is too old; {REDIS_MIN} or newer is what is tested");
        Finding::warning(text)
    } else {
        Finding::good(format!("Redis: version {version}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::doctor::Grade;

    #[test]
    fn an_old_redis_is_told_of_and_a_new_one_is_not() {
        assert_eq!(look_at_version("6.2.14").0, Grade::Warning);
        assert_eq!(look_at_version("7.0.15").0, Grade::Good);
        assert_eq!(look_at_version("10.0.0").0, Grade::Good);
    }
}
