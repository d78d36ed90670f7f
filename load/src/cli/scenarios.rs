//! The arguments of scenarios.

use std::time::Duration;

use anyhow::Context;
use clap::Args;

use super::{ServiceArgs, connections, items, share};
use crate::measure::Rate;
use crate::scenario::{Baskets, Checkout, Mixed, Pauses, Settings, Weights};
use crate::service::Signer;

/// Where the secret is looked for if no option gives it: where the service looks too.
const SECRETS: &str = "HOLDFAST_WEBHOOK_SECRETS";

/// What every scenario takes.
#[derive(Debug, Args)]
pub struct ScenarioArgs {
    /// How many buyers are served at once
    #[arg(long, visible_alias = "connections", default_value_t = 32, value_parser = connections)]
    clients: usize,
    /// For how long buyers come
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    seconds: u64,
    /// The most buyers, whatever the time
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    buyers: Option<u64>,
    /// Buyers per second, who come when they are due; latency counts from then
    #[arg(long)]
    rate: Option<Rate>,
    /// What buyers decide depends on this and their number alone
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How many items there are
    #[arg(long, default_value_t = 50, value_parser = items)]
    items: usize,
    /// How many units of each
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(i64).range(1..=1_000_000_000))]
    stock: i64,
    /// The share of choices that fall on one and the same item, 0 to 1
    #[arg(long, default_value_t = 0.2, value_parser = share)]
    hot_share: f64,
    #[command(flatten)]
    pub service: ServiceArgs,
}

/// Which customers something happens to.
#[derive(Debug, Args)]
pub struct CustomerArgs {
    /// The share of customers whose payment fails
    #[arg(long, default_value_t = 0.1, value_parser = share)]
    failing: f64,
    /// The share that never comes back, so that the hold lapses
    #[arg(long, default_value_t = 0.1, value_parser = share)]
    vanishing: f64,
    /// The share that pays when the hold may be over
    #[arg(long, default_value_t = 0.1, value_parser = share)]
    late: f64,
    /// The share of which part is captured
    #[arg(long, default_value_t = 0.2, value_parser = share)]
    partial: f64,
    /// The share that pays twice at once
    #[arg(long, default_value_t = 0.1, value_parser = share)]
    double: f64,
    /// How long a payment takes at least
    #[arg(long, value_name = "MS", default_value_t = 20, value_parser = clap::value_parser!(u64).range(0..=60_000))]
    payment_least: u64,
    /// How long a payment takes at most
    #[arg(long, value_name = "MS", default_value_t = 200, value_parser = clap::value_parser!(u64).range(0..=60_000))]
    payment_most: u64,
}

/// Who signs webhooks.
#[derive(Debug, Args)]
pub struct SignerArgs {
    /// A secret that the service knows, whsec_… [env: HOLDFAST_WEBHOOK_SECRETS, the first of them]
    #[arg(long, value_name = "SECRET")]
    webhook_secret: Option<String>,
}

#[derive(Debug, Args)]
pub struct CheckoutArgs {
    #[command(flatten)]
    customers: CustomerArgs,
    #[command(flatten)]
    pub all: ScenarioArgs,
}

#[derive(Debug, Args)]
pub struct CancelStormArgs {
    #[command(flatten)]
    signer: SignerArgs,
    #[command(flatten)]
    pub all: ScenarioArgs,
}

#[derive(Debug, Args)]
pub struct MixedArgs {
    /// How often each errand comes up, in relation to the others
    #[arg(long, default_value = "look=4,take=3,give=1,order=2,checkout=3,cancel=2")]
    weights: Weights,
    #[command(flatten)]
    customers: CustomerArgs,
    #[command(flatten)]
    signer: SignerArgs,
    #[command(flatten)]
    pub all: ScenarioArgs,
}

impl ScenarioArgs {
    fn settings(&self, signer: Option<Signer>) -> anyhow::Result<Settings> {
        Ok(Settings {
            targets: self.service.targets.clone(),
            bearer: self.service.bearer()?,
            run: self.service.run()?,
            clients: self.clients,
            length: Duration::from_secs(self.seconds),
            buyers: self.buyers,
            rate: self.rate,
            seed: self.seed,
            baskets: Baskets { items: self.items, hot_share: self.hot_share },
            stock: self.stock,
            signer,
        })
    }
}

impl CustomerArgs {
    fn checkout(&self) -> anyhow::Result<Checkout> {
        let millis = Duration::from_millis;
        let payment = Pauses::new(millis(self.payment_least), millis(self.payment_most))
            .context("--payment-least, --payment-most")?;
        let checkout = Checkout {
            failing: self.failing,
            vanishing: self.vanishing,
            late: self.late,
            partial: self.partial,
            double: self.double,
            payment,
        };
        checkout.check()?;
        Ok(checkout)
    }
}

impl SignerArgs {
    fn signer(&self) -> anyhow::Result<Signer> {
        let from_environment = || std::env::var(SECRETS).ok().filter(|secrets| !secrets.is_empty());
        let secrets = self.webhook_secret.clone().or_else(from_environment);
        Signer::new(
            &secrets.with_context(|| format!("webhooks need a secret: {SECRETS}, or --webhook-secret"))?,
        )
    }
}

impl CheckoutArgs {
    /// The settings these arguments ask for.
    pub fn settings(&self) -> anyhow::Result<(Settings, Checkout)> {
        Ok((self.all.settings(None)?, self.customers.checkout()?))
    }
}

impl CancelStormArgs {
    /// The settings these arguments ask for.
    pub fn settings(&self) -> anyhow::Result<Settings> {
        self.all.settings(Some(self.signer.signer()?))
    }
}

impl MixedArgs {
    /// The settings these arguments ask for.
    pub fn settings(&self) -> anyhow::Result<(Settings, Mixed)> {
        let mixed = Mixed { weights: self.weights, checkout: self.customers.checkout()? };
        Ok((self.all.settings(Some(self.signer.signer()?))?, mixed))
    }
}
