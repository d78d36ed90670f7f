//! The arguments of what sends nothing.

use std::path::PathBuf;

use clap::Args;

use super::within;
use crate::shop::Naming;
use crate::{fill, table};

#[derive(Debug, Args)]
pub struct FillArgs {
    /// The migrated database [env: DATABASE_URL]
    #[arg(long, value_name = "DATABASE_URL")]
    database: Option<String>,
    /// How many variants
    #[arg(long, default_value_t = 1_000_000, value_parser = number)]
    variants: usize,
    /// How many movements of each, its opening stock among them
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = depth)]
    movements_each: usize,
    /// Fill with so many invoices of suppliers instead
    #[arg(long, value_name = "N", value_parser = number, conflicts_with_all = ["variants", "movements_each"])]
    invoices: Option<usize>,
    /// What every sku, or account, begins with; a name works once per database
    #[arg(long, value_name = "NAME", default_value = "fill")]
    run: String,
}

#[derive(Debug, Args)]
pub struct TableArgs {
    /// What is aimed at: CSV with the columns what, file, figure, aim (`>=8`, `<=5`)
    #[arg(long, value_name = "FILE")]
    aims: PathBuf,
    /// Where the runs wrote their files, each as FILE.json
    folder: PathBuf,
}

impl FillArgs {
    /// The settings these arguments ask for.
    pub fn settings(&self) -> anyhow::Result<fill::Settings> {
        Naming::check_run(&self.run)?;
        Ok(fill::Settings {
            database: fill::database(self.database.as_deref())?,
            variants: self.variants,
            movements_each: self.movements_each,
            invoices: self.invoices,
            run: self.run.clone(),
        })
    }
}

impl TableArgs {
    /// The settings these arguments ask for.
    pub fn settings(&self) -> table::Settings {
        table::Settings { aims: self.aims.clone(), folder: self.folder.clone() }
    }
}

fn number(text: &str) -> anyhow::Result<usize> {
    within(text, 1, 100_000_000)
}

fn depth(text: &str) -> anyhow::Result<usize> {
    within(text, 1, 1_000)
}
