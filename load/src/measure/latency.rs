//! Latencies in a histogram of high dynamic range: microseconds, three significant digits.

use std::time::Duration;

use anyhow::Context;
use hdrhistogram::Histogram;
use serde::Serialize;

const LONGEST_MICROS: u64 = 3_600_000_000;
const SIGNIFICANT_DIGITS: u8 = 3;
/// Points of a curve for each power of ten.
const CURVE_STEPS: f64 = 20.0;

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

    /// Takes in what another one holds.
    pub fn add(&mut self, other: &Self) -> anyhow::Result<()> {
        self.0.add(&other.0).context("two histograms of the same bounds")
    }

    /// Whether nothing was recorded.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The latency in milliseconds that this share of all (0 to 1) did not exceed.
    pub fn quantile_ms(&self, share: f64) -> f64 {
        self.0.value_at_quantile(share) as f64 / 1_000.0
    }

    /// The percentile curve, evenly spaced by what is left out: a half, a tenth, a hundredth, until nothing is. Pairs of
    /// the share left out and milliseconds.
    pub fn curve(&self) -> Vec<(f64, f64)> {
        if self.is_empty() {
            return Vec::new();
        }
        let last = 1.0 / self.0.len() as f64;
        let lefts =
            (0..).map(|step| 10_f64.powf(-f64::from(step) / CURVE_STEPS)).take_while(|left| *left > last);
        lefts.chain([last]).map(|left| (left, self.quantile_ms(1.0 - left))).collect()
    }

    /// The figures so far.
    pub fn summary(&self) -> LatencySummary {
        LatencySummary {
            count: self.0.len(),
            mean_ms: self.0.mean().round() / 1_000.0,
            p50_ms: self.quantile_ms(0.5),
            p90_ms: self.quantile_ms(0.9),
            p99_ms: self.quantile_ms(0.99),
            p999_ms: self.quantile_ms(0.999),
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
    fn a_curve_goes_from_the_least_to_the_longest_and_never_falls() -> anyhow::Result<()> {
        let mut latency = Latency::new()?;
        assert!(latency.curve().is_empty());
        for millis in 1..=1_000 {
            latency.record(Duration::from_millis(millis));
        }
        let curve = latency.curve();
        assert!(curve.is_sorted_by(|one, next| one.0 > next.0 && one.1 <= next.1), "{curve:?}");
        let (left, longest) = curve.last().copied().unwrap_or_default();
        assert!((left - 0.001).abs() < 1e-12 && (longest - 999.0).abs() < 2.0, "{left}, {longest}");
        Ok(())
    }

    #[test]
    fn two_histograms_together_hold_what_both_held() -> anyhow::Result<()> {
        let (mut one, mut other) = (Latency::new()?, Latency::new()?);
        one.record(Duration::from_millis(1));
        other.record(Duration::from_millis(9));
        one.add(&other)?;
        assert_eq!((one.summary().count, one.summary().max_ms > 8.9), (2, true));
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
