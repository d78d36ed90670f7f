//! `holdfast audit`: recomputes every balance and order; exit 1 on any violated invariant.

use std::process::ExitCode;

use secrecy::ExposeSecret;

use crate::config::Config;
use crate::db::Db;
use crate::inventory::audits;

/// Runs the command.
///
/// # Errors
/// If the database can't be reached.
pub async fn run() -> anyhow::Result<ExitCode> {
    let config = Config::from_env()?;
    let db = Db::new(config.database_url.expose_secret(), 1)?;
    let found = audits::run_on_record(&db, "holdfast audit").await?;
    db.close().await;
    super::show(&serde_json::to_string_pretty(&found)?);
    Ok(if found.ok { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
