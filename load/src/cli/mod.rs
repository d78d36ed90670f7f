//! The command line.

mod benches;
mod books;
mod invoices;
mod scenarios;
mod warehouse;

use std::path::PathBuf;

use anyhow::{Context, bail, ensure};
use clap::{Args, Parser, Subcommand};
use rust_decimal::Decimal;
use uuid::Uuid;

use crate::connection::Target;
use crate::measure::Rate;
use crate::replay;
use crate::shop::Naming;

pub use benches::{
    BulkArgs, ChecksArgs, HotArgs, OrdersArgs, OutageArgs, OverloadArgs, SpreadArgs, StormArgs, ZipfArgs,
};
pub use books::{FillArgs, TableArgs};
pub use invoices::InvoicesArgs;
pub use scenarios::{CancelStormArgs, CheckoutArgs, MixedArgs};
pub use warehouse::WarehouseArgs;

/// The load generator of Holdfast: replays a shop's orders, drives hot and spread traffic, and checks that
/// not one unit went astray.
#[derive(Debug, Parser)]
#[command(version)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Send a shop's history (CSV, plain or gzipped) through the service and check every unit
    Replay(ReplayArgs),
    /// Take single units of many items
    Spread(SpreadArgs),
    /// Take single units of one item
    Hot(HotArgs),
    /// Take single units of many items, some of them far more often than others
    Zipf(ZipfArgs),
    /// Place orders of three lines
    Orders(OrdersArgs),
    /// Let others buy, and then a crowd come to one item: what do the others notice?
    Storm(StormArgs),
    /// Place an order of many lines alone, and many of them at once beside small ones
    Bulk(BulkArgs),
    /// Take Redis away in the middle and bring it back
    Outage(OutageArgs),
    /// Find what the service can do, and offer it several times as much
    Overload(OverloadArgs),
    /// Ask what invoices would be judged as, beside very many others
    Checks(ChecksArgs),
    /// Fill a database with variants, stock and movements, or with invoices, to measure how the service grows
    Fill(FillArgs),
    /// Hold what several runs wrote with --json against what is aimed at, as a table
    Table(TableArgs),
    /// Let invoices come in that are labelled, and count how often rules tell those that came in before
    Invoices(InvoicesArgs),
    /// Hold, pay and capture, with customers who fail to pay, pay late or never come back
    Checkout(CheckoutArgs),
    /// Place orders and cancel them by API and webhook, several times each, before, while and after they are made
    CancelStorm(CancelStormArgs),
    /// Look, take, give back, order, check out and cancel, all at once
    Mixed(MixedArgs),
    /// Count a warehouse with many devices while its shop sells, and hold the ledger against the shelves
    Warehouse(WarehouseArgs),
}

/// Where the service is and how to speak to it.
#[derive(Debug, Args)]
pub struct ServiceArgs {
    /// A replica's address; several times for several replicas
    #[arg(
        long = "target",
        visible_alias = "url",
        value_name = "URL",
        default_value = "http://127.0.0.1:8080"
    )]
    targets: Vec<Target>,
    /// The bearer key, with every scope [env: HOLDFAST_ADMIN_KEY, else HOLDFAST_KEY]
    #[arg(long)]
    key: Option<String>,
    /// What every sku, user and key begins with [default: 8 random characters]
    #[arg(long, value_name = "NAME")]
    run: Option<String>,
    /// Write the report to this file as JSON too
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Draw the run into this file, .svg or .html
    #[arg(long, value_name = "FILE", value_parser = picture)]
    pub report: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct ReplayArgs {
    /// The file
    file: PathBuf,
    /// The share of each item's demand that is in stock at the start, rounded down
    #[arg(long, default_value = "0.9", value_parser = cover)]
    cover: Decimal,
    /// How many invoices may be under way at once
    #[arg(long, visible_alias = "connections", default_value_t = 32, value_parser = connections)]
    concurrency: usize,
    /// Orders per second, sent when they are due whether or not earlier ones are answered
    #[arg(long)]
    rate: Option<Rate>,
    /// The share of requests that are sent twice, 0 to 1
    #[arg(long, default_value_t = 0.0, value_parser = share)]
    retry_share: f64,
    /// Take only the first so many invoices of the file
    #[arg(long, value_name = "N")]
    limit_invoices: Option<usize>,
    #[command(flatten)]
    pub service: ServiceArgs,
}

impl ServiceArgs {
    fn bearer(&self) -> anyhow::Result<String> {
        let from = |name| std::env::var(name).ok().filter(|key: &String| !key.is_empty());
        self.key
            .clone()
            .or_else(|| from("HOLDFAST_ADMIN_KEY"))
            .or_else(|| from("HOLDFAST_KEY"))
            .context("a key is needed: --key, HOLDFAST_ADMIN_KEY or HOLDFAST_KEY")
    }

    fn run(&self) -> anyhow::Result<String> {
        let run = self.run.clone().unwrap_or_else(|| {
            let fresh = Uuid::new_v4().simple().to_string();
            fresh.chars().take(8).collect()
        });
        Naming::check_run(&run)?;
        Ok(run)
    }
}

impl ReplayArgs {
    /// The settings these arguments ask for.
    pub fn settings(&self) -> anyhow::Result<replay::Settings> {
        Ok(replay::Settings {
            file: self.file.clone(),
            targets: self.service.targets.clone(),
            bearer: self.service.bearer()?,
            run: self.service.run()?,
            cover: self.cover,
            concurrency: self.concurrency,
            rate: self.rate,
            retry_share: self.retry_share,
            limit_invoices: self.limit_invoices,
        })
    }
}

fn picture(text: &str) -> anyhow::Result<PathBuf> {
    let file = PathBuf::from(text);
    let ending = file.extension().and_then(|ending| ending.to_str());
    ensure!(matches!(ending, Some("svg" | "html")), "a file that ends in .svg or .html");
    Ok(file)
}

fn cover(text: &str) -> anyhow::Result<Decimal> {
    let cover: Decimal = text.parse()?;
    ensure!((Decimal::ZERO..=Decimal::ONE_THOUSAND).contains(&cover), "between 0 and 1000");
    Ok(cover)
}

fn share(text: &str) -> anyhow::Result<f64> {
    let share: f64 = text.parse()?;
    ensure!((0.0..=1.0).contains(&share), "between 0 and 1");
    Ok(share)
}

fn connections(text: &str) -> anyhow::Result<usize> {
    within(text, 1, 10_000)
}

fn items(text: &str) -> anyhow::Result<usize> {
    within(text, 1, 1_000_000)
}

fn within(text: &str, least: usize, most: usize) -> anyhow::Result<usize> {
    let number: usize = text.parse()?;
    if !(least..=most).contains(&number) {
        bail!("between {least} and {most}");
    }
    Ok(number)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_run_stands_beside_the_limit_or_other_replicas_and_not_both() {
        let words = ["holdfast-load", "hot", "--limit", "postgres:///x", "--against", "http://127.0.0.1:1"];
        assert!(Cli::try_parse_from(words).is_err());
    }

    #[test]
    fn a_picture_is_svg_or_html() {
        let parses = |file| Cli::try_parse_from(["holdfast-load", "hot", "--report", file]).is_ok();
        assert!(parses("a.svg") && parses("a.html") && !parses("a.png"));
    }

    #[test]
    fn a_limit_makes_sense_in_a_closed_loop_only() {
        let words = ["holdfast-load", "hot", "--rate", "5", "--limit", "postgres:///x"];
        assert!(Cli::try_parse_from(words).is_err());
    }
}
