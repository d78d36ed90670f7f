//! Latencies in a histogram of high dynamic range: microseconds, three significant digits.

use std::time::Duration;

use anyhow::Context;
use hdrhistogram::Histogram;
use serde::Serialize;

const LONGEST_MICROS: u64 = 3_600_000_000;
const SIGNIFICANT_DIGITS: u8 = 3;

/// Latencies of one kind.
#[derive(Debug)]
pub struct Latency(Histogram<u64>);

/// The figures a report shows, in milliseconds.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LatencySummary {
    pub count: u64,
    pub mean_ms: f64,
    pub p50_ms: f64,
    pub p90_ms: f64,
    pub p99_ms: f64,
    pub p999_ms: f64,
    pub max_ms: f64,
}

impl Latency {
    /// An empty histogram.
    pub fn new() -> anyhow::Result<Self> {
        Histogram::new_with_bounds(1, LONGEST_MICROS, SIGNIFICANT_DIGITS).map(Self).context("a histogram")
    }

    /// Takes one latency in; beyond the bounds, the nearest bound stands for it.
    pub fn record(&mut self, latency: Duration) {
        self.0.saturating_record(u64::try_from(latency.as_micros()).unwrap_or(LONGEST_MICROS).max(1));
    }

    /// The figures so far.
    pub fn summary(&self) -> LatencySummary {
        let quantile = |q: f64| self.0.value_at_quantile(q) as f64 / 1_000.0;
        LatencySummary {
            count: self.0.len(),
            mean_ms: self.0.mean().round() / 1_000.0,
            p50_ms: quantile(0.5),
            p90_ms: quantile(0.9),
            p99_ms: quantile(0.99),
            p999_ms: quantile(0.999),
            max_ms: self.0.max() as f64 / 1_000.0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_those_of_what_was_recorded() -> anyhow::Result<()> {
        let mut latency = Latency::new()?;
        for millis in 1..=1_000 {
            latency.record(Duration::from_millis(millis));
        }
        let summary = latency.summary();
        assert_eq!(summary.count, 1_000);
        for (measured, expected) in [
            (summary.p50_ms, 500.0),
            (summary.p99_ms, 990.0),
            (summary.p999_ms, 999.0),
            (summary.max_ms, 1e3),
        ] {
            assert!((measured - expected).abs() / expected < 0.002, "{measured} is not about {expected}");
        }
        Ok(())
    }

    #[test]
    fn a_latency_of_nothing_counts() -> anyhow::Result<()> {
        let mut latency = Latency::new()?;
        latency.record(Duration::ZERO);
        assert_eq!(latency.summary().count, 1);
        Ok(())
    }
}
