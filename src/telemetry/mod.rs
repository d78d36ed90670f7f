//! Logs, to standard error, as text or as JSON; and [traces](trace), to a collector.
//!
//! Field names are dotted by what they speak of, with units: `http.status`, `lock.wait_ms`,
//! `breaker.state`. Never logged: keys, tokens, URLs with passwords, bodies, and header values.

pub mod export;
pub mod metrics;
pub mod seldom;
pub mod settings;
pub mod trace;
mod traceparent;

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

use crate::config::{self, ConfigError, LogFormat, log_settings};

/// Starts logging as `HOLDFAST_LOG` and `HOLDFAST_LOG_FORMAT` say.
///
/// # Errors
/// [`ConfigError`] if either can't be read.
pub fn start() -> Result<(), ConfigError> {
    let (filter, format) = log_settings()?;
    let filter = EnvFilter::builder().parse(filter).map_err(|_| config::wrong_log_filter())?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    // Fails only when logging was started before, which then goes on.
    let _already = match format {
        LogFormat::Text => builder.with_target(false).try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
    Ok(())
}
