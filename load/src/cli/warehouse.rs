//! The arguments of `warehouse`.

use std::time::Duration;

use clap::Args;

use super::{ServiceArgs, connections, within};
use crate::warehouse::Settings;

#[derive(Debug, Args)]
pub struct WarehouseArgs {
    /// How many devices count at once; the service must take their batches: HOLDFAST_SYNC_BATCHES_PER_MINUTE
    #[arg(long, default_value_t = 200, value_parser = devices)]
    devices: usize,
    /// How many racks there are
    #[arg(long, default_value_t = 2_000, value_parser = connections)]
    racks: usize,
    /// How many positions each rack has
    #[arg(long, default_value_t = 20, value_parser = positions)]
    positions: usize,
    /// How many sales are under way at once
    #[arg(long, default_value_t = 8, value_parser = connections)]
    sellers: usize,
    /// How long a device takes to count what is in a position; one in 16 is fifteen times as fast
    #[arg(long, value_name = "MS", default_value_t = 100, value_parser = clap::value_parser!(u64).range(0..=60_000))]
    pace: u64,
    /// For how long a device is out of the network at most
    #[arg(long, value_name = "MS", default_value_t = 2_000, value_parser = clap::value_parser!(u64).range(0..=600_000))]
    gap: u64,
    /// What happens depends on this and on time
    #[arg(long, default_value_t = 1)]
    seed: u64,
    #[command(flatten)]
    pub service: ServiceArgs,
}

impl WarehouseArgs {
    /// The settings these arguments ask for.
    pub fn settings(&self) -> anyhow::Result<Settings> {
        Ok(Settings {
            targets: self.service.targets.clone(),
            bearer: self.service.bearer()?,
            run: self.service.run()?,
            devices: self.devices,
            racks: self.racks,
            positions: self.positions,
            sellers: self.sellers,
            pace: Duration::from_millis(self.pace),
            gap: Duration::from_millis(self.gap),
            seed: self.seed,
        })
    }
}

fn devices(text: &str) -> anyhow::Result<usize> {
    within(text, 1, 501)
}

fn positions(text: &str) -> anyhow::Result<usize> {
    within(text, 1, 1_000)
}
