//! Settings, all from the environment.
//!
//! | variable | default | meaning |
//! | --- | --- | --- |
//! | `DATABASE_URL` | required | Postgres 15 or newer |
//! | `REDIS_URL` | unset: database-only by choice | Redis or Valkey 7 or newer: a server, its sentinels or a cluster, see [`topology`](crate::locks::topology) |
//! | `HOLDFAST_LISTEN` | `127.0.0.1:8080` | address to serve on; port 0 takes a free one |
//! | `HOLDFAST_ADMIN_KEY` | unset | a key with every scope, at least 32 characters |
//! | `HOLDFAST_WEBHOOK_SECRETS` | unset: no webhooks | `whsec_<base64>`, several with commas between them |
//! | `HOLDFAST_WEBHOOK_ALLOW_PRIVATE` | `false` | `true` lets webhooks be sent to addresses of private networks |
//! | `HOLDFAST_WEBHOOK_CA_FILE` | unset | a file in PEM of certificate authorities that webhooks by https trust besides the system's |
//! | `HOLDFAST_REDIS_COPIES` | `auto` | when events are published on Redis: `auto`, while somebody may listen; `always`; `never` |
//! | `HOLDFAST_TEST_ENDPOINTS` | `false` | `true` serves the test endpoints, for load tests |
//! | `HOLDFAST_DB_MAX_CONNECTIONS` | 4 a core, 8 to 32 | size of the Postgres pool |
//! | `HOLDFAST_QUEUE_MAX_MS` | 1000 | how much work may stand before a request that comes; it is 503 `overloaded` if that is more |
//! | `HOLDFAST_INVENTORY_LOCK_TTL_MS` | 30000 | TTL of an inventory lock |
//! | `HOLDFAST_ORDER_LOCK_TTL_MS` | 60000, or the former if that is longer | TTL of an order lock |
//! | `HOLDFAST_LOCK_WAIT_MS` | 5000 | how long a request waits for its locks |
//! | `HOLDFAST_LOCK_RETRY_MS` | 100 | pause between two looks at a busy lock, at a key in hand, and at who stands behind a row |
//! | `HOLDFAST_REDIS_TIMEOUT_MS` | 250 | what Redis may cost a request, and the budget of any other call |
//! | `HOLDFAST_BREAKER_FAILURES` | 5 | Redis failures in a row that open the breaker |
//! | `HOLDFAST_BREAKER_PROBE_MS` | 1000 | pause between two probes of an open breaker |
//! | `HOLDFAST_BLIND_COUNTS` | false | whether no counter sees what is expected of its own count before that is posted |
//! | `HOLDFAST_SYNC_BATCHES_PER_MINUTE` | 10 | batches of count records a user may send in a minute |
//! | `TOKIO_WORKER_THREADS` | as many as cores | threads that serve |
//! | `OTEL_…` | no traces | where traces are told: [`TraceSettings`] |
//! | `HOLDFAST_LOG` | `info` | log filter, as in `info,holdfast=debug` |
//! | `HOLDFAST_LOG_FORMAT` | `text` | `text` or `json` |
//!
//! A variable that is set but empty counts as unset. Secrets are kept in [`SecretString`], whose `Debug`
//! shows nothing.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};

use crate::endpoints::post::Authorities;
use crate::events::publish::Copies;
use crate::locks::timing::{self, LEASE_MARGIN, RENEWALS_A_TTL, STATEMENT_TIMEOUT, Timing};
use crate::telemetry::settings::TraceSettings;
use crate::webhooks::signature::Secrets;

/// The shortest admin key that is accepted.
const ADMIN_KEY_MIN_CHARS: usize = 32;
/// Defaults that are not limits of the locks.
const LISTEN: &str = "127.0.0.1:8080";
const SYNC_BATCHES_PER_MINUTE: i32 = 10;
const QUEUE_MAX: Duration = Duration::from_secs(1);
const DB_CONNECTIONS_A_CORE: u32 = 4;
const DB_MAX_CONNECTIONS_DEFAULT: RangeInclusive<u32> = 8..=32;

/// Limits that are compared with each other.
const INVENTORY_TTL: &str = "HOLDFAST_INVENTORY_LOCK_TTL_MS";
const ORDER_TTL: &str = "HOLDFAST_ORDER_LOCK_TTL_MS";
const WAIT: &str = "HOLDFAST_LOCK_WAIT_MS";
const REDIS_TIMEOUT: &str = "HOLDFAST_REDIS_TIMEOUT_MS";

/// How the logs are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For a person at a terminal.
    Text,
    /// One JSON object a line.
    Json,
}

/// Everything that can be set.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where Postgres is.
    pub database_url: SecretString,
    /// Where Redis is, if there is one.
    pub redis_url: Option<SecretString>,
    /// Address to serve on.
    pub listen: String,
    /// A key with every scope.
    pub admin_key: Option<SecretString>,
    /// What webhooks are signed with.
    pub webhook_secrets: Secrets,
    /// Whether webhooks are sent to private addresses too.
    pub webhook_allow_private: bool,
    /// Whom webhooks by https trust besides whom the system trusts.
    pub webhook_authorities: Authorities,
    /// When events are published on Redis too.
    pub redis_copies: Copies,
    /// Whether the test endpoints are served.
    pub test_endpoints: bool,
    /// Size of the Postgres pool.
    pub db_max_connections: u32,
    /// How much work may stand before a request that comes, at the pace at which it is done.
    pub queue_max: Duration,
    /// Batches of count records that a user may send in a minute.
    pub sync_batches_per_minute: i32,
    /// Whether every session of counts is blind.
    pub blind_counts: bool,
    /// Where traces are told, if they are.
    pub traces: Option<TraceSettings>,
    /// The limits of the locks.
    pub timing: Timing,
}

/// A setting that can't be used. One line that names it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{name}: {why}")]
pub struct ConfigError {
    name: &'static str,
    why: String,
}

impl Config {
    /// Reads the environment.
    ///
    /// # Errors
    /// [`ConfigError`] for the first variable that is wrong or missing.
    pub fn from_env() -> Result<Self, ConfigError> {
        Self::read(&|name| std::env::var(name).ok())
    }

    /// Reads settings from `env`, which answers for a variable of the environment.
    ///
    /// # Errors
    /// [`ConfigError`] for the first variable that is wrong or missing.
    pub fn read(env: &dyn Fn(&'static str) -> Option<String>) -> Result<Self, ConfigError> {
        let set = |name| env(name).filter(|value| !value.trim().is_empty());
        let database_url = set("DATABASE_URL").ok_or_else(|| {
            wrong(
                "DATABASE_URL",
                "not set; give a Postgres URL, or start with `holdfast dev`, which needs none",
            )
        })?;
        let config = Self {
            database_url: database_url.into(),
            redis_url: set("REDIS_URL").map(Into::into),
            listen: set("HOLDFAST_LISTEN").unwrap_or_else(|| LISTEN.to_owned()),
            admin_key: set("HOLDFAST_ADMIN_KEY").map(|key| key.trim().into()),
            webhook_secrets: Secrets::read(set("HOLDFAST_WEBHOOK_SECRETS").as_deref())
                .map_err(|why| wrong("HOLDFAST_WEBHOOK_SECRETS", why))?,
            webhook_allow_private: flag(&set, "HOLDFAST_WEBHOOK_ALLOW_PRIVATE")?,
            webhook_authorities: set("HOLDFAST_WEBHOOK_CA_FILE")
                .map_or_else(|| Ok(Authorities::default()), |path| Authorities::read(path.trim()))
                .map_err(|why| wrong("HOLDFAST_WEBHOOK_CA_FILE", why))?,
            redis_copies: copies(&set)?,
            test_endpoints: flag(&set, "HOLDFAST_TEST_ENDPOINTS")?,
            db_max_connections: number(
                &set,
                "HOLDFAST_DB_MAX_CONNECTIONS",
                default_connections(),
                1..=10_000,
            )?,
            queue_max: span(&set, "HOLDFAST_QUEUE_MAX_MS", QUEUE_MAX, 1..=60_000)?,
            blind_counts: flag(&set, "HOLDFAST_BLIND_COUNTS")?,
            sync_batches_per_minute: number(
                &set,
                "HOLDFAST_SYNC_BATCHES_PER_MINUTE",
                SYNC_BATCHES_PER_MINUTE,
                1..=1_000_000,
            )?,
            traces: TraceSettings::read(&set)?,
            timing: read_timing(&set)?,
        };
        config.check()?;
        Ok(config)
    }

    fn check(&self) -> Result<(), ConfigError> {
        let url = self.database_url.expose_secret();
        if !(url.starts_with("postgres://") || url.starts_with("postgresql://")) {
            return Err(wrong("DATABASE_URL", "must begin with postgres://"));
        }
        if let Some(key) = &self.admin_key {
            let key = key.expose_secret();
            if key.len() < ADMIN_KEY_MIN_CHARS || !key.bytes().all(|byte| byte.is_ascii_graphic()) {
                let why =
                    format!("must have at least {ADMIN_KEY_MIN_CHARS} characters, all of them visible ASCII");
                return Err(wrong("HOLDFAST_ADMIN_KEY", why));
            }
        }
        if self.listen.rsplit_once(':').is_none_or(|(_, port)| port.parse::<u16>().is_err()) {
            return Err(wrong("HOLDFAST_LISTEN", "must be HOST:PORT, as in 127.0.0.1:8080"));
        }
        Ok(())
    }
}

fn read_timing(set: &Env<'_>) -> Result<Timing, ConfigError> {
    let shortest_ttl = millis_of(STATEMENT_TIMEOUT + LEASE_MARGIN);
    let ttl = |name, default| {
        let ttl = number(set, name, millis_of(default), 1..=3_600_000)?;
        if ttl < shortest_ttl {
            let statement = millis_of(STATEMENT_TIMEOUT);
            let why =
                format!("must be at least {shortest_ttl}: a lease outlives a statement ({statement} ms)");
            return Err(wrong(name, why));
        }
        Ok(Duration::from_millis(ttl))
    };
    let inventory_ttl = ttl(INVENTORY_TTL, timing::INVENTORY_TTL)?;
    let timing = Timing {
        inventory_ttl,
        order_ttl: ttl(ORDER_TTL, timing::ORDER_TTL.max(inventory_ttl))?,
        wait: span(set, WAIT, timing::WAIT, 1..=60_000)?,
        retry: span(set, "HOLDFAST_LOCK_RETRY_MS", timing::RETRY, 1..=10_000)?,
        redis_timeout: span(set, REDIS_TIMEOUT, timing::REDIS_TIMEOUT, 1..=10_000)?,
        breaker_failures: number(set, "HOLDFAST_BREAKER_FAILURES", timing::BREAKER_FAILURES, 1..=1_000)?,
        breaker_probe: span(set, "HOLDFAST_BREAKER_PROBE_MS", timing::BREAKER_PROBE, 10..=60_000)?,
    };
    check_order(&timing, set(REDIS_TIMEOUT).is_some())?;
    Ok(timing)
}

/// Limits that were set stand in the order that [`timing`] asserts of the defaults. A budget for Redis that was not
/// set may be longer than a short wait: what a call needs on a busy machine does not shrink with it.
fn check_order(timing: &Timing, redis_timeout_is_set: bool) -> Result<(), ConfigError> {
    if timing.order_ttl < timing.inventory_ttl {
        return Err(wrong(ORDER_TTL, format!("must not be below {INVENTORY_TTL}")));
    }
    // Those of orders are no shorter.
    if timing.wait >= timing.inventory_ttl {
        return Err(wrong(
            WAIT,
            format!("must be below {INVENTORY_TTL}: whoever waits gives up before a lease ends"),
        ));
    }
    if redis_timeout_is_set && timing.redis_timeout >= timing.wait {
        return Err(wrong(REDIS_TIMEOUT, format!("must be below {WAIT}")));
    }
    if 2 * timing.redis_timeout >= timing.inventory_ttl / RENEWALS_A_TTL {
        let why = format!(
            "must be below a sixth of {INVENTORY_TTL}: a renewal that failed is tried again before the lease ends"
        );
        return Err(wrong(REDIS_TIMEOUT, why));
    }
    Ok(())
}

/// The log filter and format: read first, so that everything after can be logged.
///
/// # Errors
/// [`ConfigError`] if `HOLDFAST_LOG_FORMAT` is neither `text` nor `json`.
pub fn log_settings() -> Result<(String, LogFormat), ConfigError> {
    let filter = std::env::var("HOLDFAST_LOG").ok().filter(|filter| !filter.is_empty());
    let format = match std::env::var("HOLDFAST_LOG_FORMAT").unwrap_or_default().as_str() {
        "" | "text" => LogFormat::Text,
        "json" => LogFormat::Json,
        _ => return Err(wrong("HOLDFAST_LOG_FORMAT", "must be text or json")),
    };
    Ok((filter.unwrap_or_else(|| "info".to_owned()), format))
}

/// The threads that serve: as many as cores, unless `TOKIO_WORKER_THREADS` says otherwise. While one sends the answers of
/// a section, another goes on with the next section (measured: `docs/decisions/0007-shared-sections.md`).
///
/// # Errors
/// [`ConfigError`] if the variable is not a number of threads.
pub fn threads() -> Result<usize, ConfigError> {
    let set = |name: &'static str| std::env::var(name).ok().filter(|value| !value.trim().is_empty());
    number(&set, "TOKIO_WORKER_THREADS", cores(), 1..=1_024)
}

/// The cores this process may use.
fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// More connections than a machine can work on at once only make each other wait, in Postgres.
fn default_connections() -> u32 {
    u32::try_from(cores())
        .unwrap_or(1)
        .saturating_mul(DB_CONNECTIONS_A_CORE)
        .clamp(*DB_MAX_CONNECTIONS_DEFAULT.start(), *DB_MAX_CONNECTIONS_DEFAULT.end())
}

/// What is said of a log filter that can't be read.
pub(crate) fn wrong_log_filter() -> ConfigError {
    wrong("HOLDFAST_LOG", "must be a filter such as info or info,holdfast=debug")
}

type Env<'a> = dyn Fn(&'static str) -> Option<String> + 'a;

/// `true` or `false`; unset is `false`.
fn flag(set: &Env<'_>, name: &'static str) -> Result<bool, ConfigError> {
    match set(name).as_deref().map(str::trim) {
        None | Some("false") => Ok(false),
        Some("true") => Ok(true),
        Some(_) => Err(wrong(name, "must be true or false")),
    }
}

fn span(
    set: &Env<'_>,
    name: &'static str,
    default: Duration,
    millis: RangeInclusive<u64>,
) -> Result<Duration, ConfigError> {
    Ok(Duration::from_millis(number(set, name, millis_of(default), millis)?))
}

fn copies(set: &Env<'_>) -> Result<Copies, ConfigError> {
    let name = "HOLDFAST_REDIS_COPIES";
    match set(name).as_deref().map(str::trim) {
        None | Some("auto") => Ok(Copies::Asked),
        Some("always") => Ok(Copies::Always),
        Some("never") => Ok(Copies::Never),
        Some(_) => Err(wrong(name, "must be auto, always or never")),
    }
}

fn number<T>(
    set: &Env<'_>,
    name: &'static str,
    default: T,
    range: RangeInclusive<T>,
) -> Result<T, ConfigError>
where
    T: FromStr + PartialOrd + Display + Copy,
{
    let Some(text) = set(name) else { return Ok(default) };
    text.trim().parse().ok().filter(|number| range.contains(number)).ok_or_else(|| {
        wrong(name, format!("must be a whole number from {} to {}", range.start(), range.end()))
    })
}

/// What is said of a setting that can't be used.
pub(crate) fn wrong(name: &'static str, why: impl Into<String>) -> ConfigError {
    ConfigError { name, why: why.into() }
}

fn millis_of(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&'static str, &str)]) -> Result<Config, ConfigError> {
        Config::read(&|name| {
            let given = pairs.iter().find(|(given, _)| *given == name).map(|(_, value)| (*value).to_owned());
            given.or_else(|| (name == "DATABASE_URL").then(|| "postgres://h/d".to_owned()))
        })
    }

    #[test]
    fn nothing_but_the_database_needs_to_be_set_and_empty_means_unset() {
        let config = read(&[("REDIS_URL", ""), ("HOLDFAST_LOCK_WAIT_MS", " ")]).unwrap();
        assert!(config.redis_url.is_none());
        assert_eq!(config.timing.wait, timing::WAIT);
        assert_eq!(config.listen, "127.0.0.1:8080");
    }

    #[test]
    fn a_wrong_value_is_one_line_that_names_the_variable() {
        for (name, value) in [
            ("DATABASE_URL", "mysql://h/d"),
            ("HOLDFAST_LISTEN", "localhost"),
            ("HOLDFAST_LISTEN", "127.0.0.1:99999"),
            ("HOLDFAST_ADMIN_KEY", "short"),
            ("HOLDFAST_WEBHOOK_SECRETS", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"),
            ("HOLDFAST_DB_MAX_CONNECTIONS", "-3"),
            ("HOLDFAST_TEST_ENDPOINTS", "yes"),
            ("HOLDFAST_REDIS_COPIES", "sometimes"),
            ("HOLDFAST_WEBHOOK_CA_FILE", "/nowhere/authority.pem"),
            ("HOLDFAST_WEBHOOK_CA_FILE", "Cargo.toml"),
            ("HOLDFAST_LOCK_WAIT_MS", "soon"),
            ("HOLDFAST_INVENTORY_LOCK_TTL_MS", "14999"),
            ("HOLDFAST_BREAKER_PROBE_MS", "-1"),
            ("HOLDFAST_QUEUE_MAX_MS", "soon"),
        ] {
            let message = read(&[(name, value)]).unwrap_err().to_string();
            assert!(message.starts_with(&format!("{name}: ")), "{message}");
            assert!(!message.contains('\n') && !message.contains(value), "{message}");
        }
    }

    #[test]
    fn limits_are_compared_with_each_other_and_the_one_that_was_set_wrong_is_named() {
        let refused: [(&str, &[(&'static str, &str)]); 7] = [
            (REDIS_TIMEOUT, &[(REDIS_TIMEOUT, "5000")]),
            (REDIS_TIMEOUT, &[(WAIT, "100"), (REDIS_TIMEOUT, "100")]),
            (REDIS_TIMEOUT, &[(INVENTORY_TTL, "15000"), (REDIS_TIMEOUT, "2500")]),
            (WAIT, &[(WAIT, "30000")]),
            (WAIT, &[(WAIT, "15000"), (INVENTORY_TTL, "15000")]),
            (ORDER_TTL, &[(ORDER_TTL, "29999")]),
            (ORDER_TTL, &[(ORDER_TTL, "60000"), (INVENTORY_TTL, "60001")]),
        ];
        for (name, pairs) in refused {
            let message = read(pairs).unwrap_err().to_string();
            assert!(message.starts_with(&format!("{name}: must ")) && !message.contains('\n'), "{message}");
        }
        let accepted: [&[(&'static str, &str)]; 5] = [
            &[(REDIS_TIMEOUT, "4999")],
            &[(WAIT, "100"), (REDIS_TIMEOUT, "99")],
            &[(INVENTORY_TTL, "15000"), (REDIS_TIMEOUT, "2499")],
            &[(WAIT, "29999")],
            &[(ORDER_TTL, "30000")],
        ];
        for pairs in accepted {
            read(pairs).unwrap();
        }
    }

    #[test]
    fn what_was_not_set_gives_way_to_what_was() {
        let timing = read(&[(INVENTORY_TTL, "120000")]).unwrap().timing;
        assert_eq!(timing.order_ttl, timing.inventory_ttl);
        let timing = read(&[(WAIT, "50")]).unwrap().timing;
        assert_eq!(timing.redis_timeout, timing::REDIS_TIMEOUT);
    }

    #[test]
    fn secrets_are_not_shown_by_debug() {
        let key = "0123456789abcdef0123456789abcdef";
        let secret = "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
        let secrets = format!("whsec_{secret}");
        let set = [("HOLDFAST_ADMIN_KEY", key), ("REDIS_URL", "redis://:hunter2@h")];
        let config = read(&[&set[..], &[("HOLDFAST_WEBHOOK_SECRETS", &secrets)]].concat()).unwrap();
        let shown = format!("{config:?}");
        assert!([key, "hunter2", secret].iter().all(|secret| !shown.contains(secret)), "{shown}");
    }
}
