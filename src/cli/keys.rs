//! `holdfast keys create`: makes an API key and shows it once.

use clap::{Args, Subcommand};
use secrecy::ExposeSecret;

use crate::config::Config;
use crate::db::Db;
use crate::http::auth::{NewKey, Scope, create_key};
use crate::text::{Name, UserId};

/// `holdfast keys`
#[derive(Debug, Args)]
pub struct KeysArgs {
    #[command(subcommand)]
    command: KeysCommand,
}

#[derive(Debug, Subcommand)]
enum KeysCommand {
    /// Make a key; it is shown now and never again
    Create {
        /// What people call it
        #[arg(long, value_parser = |text: &str| Name::try_from(text.to_owned()).map_err(|error| error.to_string()))]
        name: Name,
        /// Whom it speaks for, as in the name of the shop
        #[arg(long, value_parser = |text: &str| UserId::try_from(text.to_owned()).map_err(|error| error.to_string()))]
        subject: UserId,
        /// What it allows: storefront, warehouse, finance, operator
        #[arg(long, required = true, value_delimiter = ',', value_parser = scope)]
        scope: Vec<Scope>,
    },
}

fn scope(name: &str) -> Result<Scope, String> {
    Scope::named(name).ok_or_else(|| "must be storefront, warehouse, finance or operator".to_owned())
}

/// Runs the command.
///
/// # Errors
/// If the database can't be reached.
pub async fn run(args: KeysArgs) -> anyhow::Result<()> {
    let KeysCommand::Create { name, subject, scope } = args.command;
    let config = Config::from_env()?;
    let db = Db::new(config.database_url.expose_secret(), 1)?;
    let new = NewKey { name: name.as_str(), subject: subject.as_str(), scopes: &scope };
    let key = create_key(&db, &new).await?;
    super::show(key.expose_secret());
    db.close().await;
    Ok(())
}
