//! The arguments of `invoices`.

use std::path::PathBuf;

use clap::Args;

use crate::invoices::Settings;

#[derive(Debug, Args)]
pub struct InvoicesArgs {
    /// The same seed, the same invoices
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How many accounts there are
    #[arg(long, default_value_t = 20, value_parser = super::connections)]
    accounts: usize,
    /// How many vendors each has, at most 700
    #[arg(long, default_value_t = 60, value_parser = super::connections)]
    vendors: usize,
    /// Draw precision and recall into this file, as SVG
    #[arg(long, value_name = "FILE")]
    pub report: Option<PathBuf>,
}

impl InvoicesArgs {
    /// The settings these arguments ask for.
    pub fn settings(&self) -> Settings {
        Settings { seed: self.seed, accounts: self.accounts, vendors: self.vendors }
    }
}
