//! The command line.

mod scenarios;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use clap::{Args, Parser, Subcommand};
use rust_decimal::Decimal;
use uuid::Uuid;

use crate::bench::Kind;
use crate::connection::Target;
use crate::measure::Rate;
use crate::shop::Naming;
use crate::{bench, replay};

pub use scenarios::{CancelStormArgs, CheckoutArgs, MixedArgs};

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
    Hot(BenchArgs),
    /// Place orders of three lines
    Orders(OrdersArgs),
    /// Hold, pay and capture, with customers who fail to pay, pay late or never come back
    Checkout(CheckoutArgs),
    /// Place orders and cancel them by API and webhook, several times each, before, while and after they are made
    CancelStorm(CancelStormArgs),
    /// Look, take, give back, order, check out and cancel, all at once
    Mixed(MixedArgs),
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
}

#[derive(Debug, Args)]
pub struct ReplayArgs {
    /// The file
    file: PathBuf,
    /// The share of each item's demand that is in stock at the start, rounded down
    #[arg(long, default_value = "0.9", value_parser = cover)]
    cover: Decimal,
    /// How many invoices may be under way at once
    #[arg(long, default_value_t = 32, value_parser = connections)]
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

#[derive(Debug, Args)]
pub struct BenchArgs {
    /// How many keep-alive connections there are, each with one request at a time
    #[arg(long, default_value_t = 32, value_parser = connections)]
    connections: usize,
    /// Requests per second, sent when they are due; latency counts from then
    #[arg(long, conflicts_with = "limit")]
    rate: Option<Rate>,
    /// How long to measure
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    seconds: u64,
    /// How long to send before measuring
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u64).range(0..=3_600))]
    warmup: u64,
    /// Measure the same transaction with pgbench on this server, before and after, in a schema of its own
    #[arg(long, value_name = "DATABASE_URL")]
    limit: Option<String>,
    /// How many clients pgbench has [default: as many as there are connections]
    #[arg(long, value_name = "N", requires = "limit", value_parser = connections)]
    limit_clients: Option<usize>,
    #[command(flatten)]
    pub service: ServiceArgs,
}

#[derive(Debug, Args)]
pub struct SpreadArgs {
    /// Over how many items
    #[arg(long, default_value_t = 10_000, value_parser = items)]
    items: usize,
    #[command(flatten)]
    pub bench: BenchArgs,
}

#[derive(Debug, Args)]
pub struct OrdersArgs {
    /// Over how many items
    #[arg(long, default_value_t = 10_000, value_parser = items)]
    items: usize,
    /// Make one line of every order the same item
    #[arg(long)]
    hot_line: bool,
    #[command(flatten)]
    pub bench: BenchArgs,
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

impl Command {
    /// The settings of a benchmark, with where to write its report; none for what is none.
    pub fn bench(&self) -> anyhow::Result<Option<(bench::Settings, Option<PathBuf>)>> {
        let (kind, items, args) = match self {
            Self::Replay(_) | Self::Checkout(_) | Self::CancelStorm(_) | Self::Mixed(_) => return Ok(None),
            Self::Spread(args) => (Kind::Spread, args.items, &args.bench),
            Self::Hot(args) => (Kind::Hot, 1, args),
            Self::Orders(args) => (Kind::Orders { hot_line: args.hot_line }, args.items, &args.bench),
        };
        let settings = bench::Settings {
            kind,
            targets: args.service.targets.clone(),
            bearer: args.service.bearer()?,
            run: args.service.run()?,
            connections: args.connections,
            items: kind.items(items),
            rate: args.rate,
            warmup: Duration::from_secs(args.warmup),
            length: Duration::from_secs(args.seconds),
            limit: args.limit.clone(),
            limit_clients: args.limit_clients,
        };
        Ok(Some((settings, args.service.json.clone())))
    }
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
    fn a_limit_makes_sense_in_a_closed_loop_only() {
        let words = ["holdfast-load", "hot", "--rate", "5", "--limit", "postgres:///x"];
        assert!(Cli::try_parse_from(words).is_err());
    }
}
