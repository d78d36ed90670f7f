//! What a run is compared by: figures and ratios, one value a round, of which the median stands.

use std::collections::BTreeMap;

use serde::Serialize;

use super::plan::{AWAY, BACK, BEFORE};
use super::{Plan, Round, StreamReport};
use crate::measure::Median;

/// One figure or ratio over all rounds.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Comparison {
    pub values: Vec<f64>,
    /// None if some round has no value.
    pub found: Option<Median>,
}

/// What is known of the run besides its rounds.
#[derive(Clone, Copy, Debug, Default)]
pub struct Besides {
    /// Whether the rounds stand beside pgbench, and not beside other replicas.
    pub is_limit: bool,
    pub redis_trip_ms: Option<f64>,
    pub resident_mib: Option<f64>,
}

/// All comparisons of a run, by name.
pub fn comparisons(plan: &Plan, rounds: &[Round], besides: Besides) -> BTreeMap<&'static str, Comparison> {
    let mut all: BTreeMap<&'static str, Vec<f64>> = BTreeMap::new();
    for round in rounds {
        for (name, value) in of_round(plan, round, besides) {
            all.entry(name).or_default().push(value);
        }
    }
    all.extend(besides.resident_mib.map(|resident| ("resident MiB", vec![resident])));
    let compared = |values: Vec<f64>| Comparison { found: Median::of(&values), values };
    all.into_iter().map(|(name, values)| (name, compared(values))).collect()
}

fn of_round(plan: &Plan, round: &Round, besides: Besides) -> Vec<(&'static str, f64)> {
    let stream =
        |phase: usize, place: usize| round.phases.get(phase).and_then(|phase| phase.streams.get(place));
    match plan {
        Plan::Steady(_) => stream(0, 0).map_or_else(Vec::new, |stream| steady(stream, round, besides)),
        Plan::Storm { .. } => match (stream(0, 0), stream(1, 0)) {
            (Some(calm), Some(storm)) => vec![
                ("others' p99, storm to calm", p99(storm) / p99(calm)),
                ("others' median, storm to calm", median(storm) / median(calm)),
            ],
            _ => Vec::new(),
        },
        Plan::Bulk { .. } => match (stream(0, 0), stream(1, 0), stream(2, 0), stream(2, 1)) {
            (Some(one), Some(alone), Some(beside), Some(large)) => vec![
                ("a large order alone, ms", median(one)),
                ("large orders at once, median ms", median(large)),
                ("large orders at once, longest ms", told(large, large.window.latency.max_ms)),
                ("small orders' p99, beside to alone", p99(beside) / p99(alone)),
            ],
            _ => Vec::new(),
        },
        Plan::Outage { .. } => stream(0, 0).map_or_else(Vec::new, outage),
        Plan::Overload { .. } => match (stream(0, 0), stream(1, 0)) {
            (Some(peak), Some(over)) => {
                let refused = over.window.refusals.values().map(|latency| latency.p99_ms).reduce(f64::max);
                let goodput = ("goodput to peak", over.window.per_second / peak.window.per_second);
                let answered = ("answered in, p99 ms", over.window.answering.p99_ms);
                let refused = refused.map(|p99| ("refused in, p99 ms", p99));
                [goodput, answered].into_iter().chain(refused).collect()
            }
            _ => Vec::new(),
        },
    }
}

fn steady(stream: &StreamReport, round: &Round, besides: Besides) -> Vec<(&'static str, f64)> {
    let rate = stream.window.per_second;
    let mut found = vec![
        ("rate a second", rate),
        ("median ms", median(stream)),
        ("p99 ms", p99(stream)),
        ("p99 to median", p99(stream) / median(stream)),
    ];
    if let Some((before, after)) = round.beside {
        let beside = f64::midpoint(before.per_second, after.per_second);
        let name = if besides.is_limit { "rate to pgbench's" } else { "rate to the other's" };
        found.push((name, rate / beside));
        if let Some(trip) = besides.redis_trip_ms.filter(|_| besides.is_limit) {
            let floor = f64::midpoint(before.mean_ms, after.mean_ms) + 2.0 * trip;
            found.push((
                "latency to pgbench's and two of Redis",
                told(stream, stream.window.latency.mean_ms) / floor,
            ));
        }
    }
    found
}

/// A latency of a stream; where nothing was due in the window there is none, and no 0 stands for it.
fn told(stream: &StreamReport, millis: f64) -> f64 {
    if stream.window.latency.count > 0 { millis } else { f64::NAN }
}

fn median(stream: &StreamReport) -> f64 {
    told(stream, stream.window.latency.p50_ms)
}

fn p99(stream: &StreamReport) -> f64 {
    told(stream, stream.window.latency.p99_ms)
}

fn outage(stream: &StreamReport) -> Vec<(&'static str, f64)> {
    let rate = |name| stream.parts.iter().find(|part| part.name == name).map(|part| part.window.per_second);
    let (Some(with), Some(away), Some(back)) = (rate(BEFORE), rate(AWAY), rate(BACK)) else {
        return Vec::new();
    };
    vec![("rate, away to with", away / with), ("rate, back to with", back / with)]
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use hyper::StatusCode;

    use super::*;
    use crate::bench::figures::{Figures, Window};
    use crate::bench::limit::Measured;
    use crate::bench::{Kind, PhaseReport, Stream};

    fn stream(per_second: f64, p50_ms: f64, p99_ms: f64, mean_ms: f64) -> anyhow::Result<StreamReport> {
        let now = Instant::now();
        let window = Window { from: now, to: now + Duration::from_secs(1) };
        let mut window = Figures::new(window, StatusCode::OK)?.report(false);
        window.per_second = per_second;
        window.latency.count = u64::from(per_second > 0.0);
        (window.latency.p50_ms, window.latency.p99_ms, window.latency.mean_ms) = (p50_ms, p99_ms, mean_ms);
        let (who, kind) = ("us", "hot");
        Ok(StreamReport { who, kind, connections: 1, rate: None, window, parts: Vec::new() })
    }

    fn phase(stream: StreamReport) -> PhaseReport {
        PhaseReport { name: "", streams: vec![stream], trouble: Vec::new() }
    }

    fn us() -> Stream {
        Stream { who: "us", kind: Kind::Hot, connections: 1, rate: None }
    }

    fn found(all: &BTreeMap<&str, Comparison>, name: &str) -> Option<f64> {
        all.get(name).and_then(|compared| compared.found).map(|found| found.median)
    }

    #[test]
    fn a_ratio_is_taken_round_by_round_and_the_median_of_them_stands() -> anyhow::Result<()> {
        let measured = |per_second, mean_ms| Measured { per_second, mean_ms };
        let mut rounds = Vec::new();
        for (ours, before, after) in [(300.0, 100.0, 200.0), (900.0, 100.0, 100.0), (100.0, 100.0, 100.0)] {
            let beside = Some((measured(before, 2.0), measured(after, 2.0)));
            rounds.push(Round { phases: vec![phase(stream(ours, 2.0, 8.0, 3.0)?)], beside });
        }
        let besides = Besides { is_limit: true, redis_trip_ms: Some(0.5), resident_mib: Some(40.0) };
        let all = comparisons(&Plan::Steady(us()), &rounds, besides);
        assert_eq!(all["rate to pgbench's"].values, [2.0, 9.0, 1.0]);
        assert_eq!(found(&all, "rate to pgbench's"), Some(2.0));
        assert_eq!(found(&all, "latency to pgbench's and two of Redis"), Some(1.0));
        assert_eq!(found(&all, "p99 to median"), Some(4.0));
        assert_eq!(found(&all, "resident MiB"), Some(40.0));
        assert_eq!(found(&all, "rate to the other's"), None);
        Ok(())
    }

    #[test]
    fn a_round_that_came_to_nothing_leaves_no_ratio() -> anyhow::Result<()> {
        let plan = Plan::Storm { others: us(), crowd: us() };
        let round = |calm, storm| anyhow::Ok(Round { phases: vec![phase(calm), phase(storm)], beside: None });
        let good = round(stream(1.0, 1.0, 2.0, 1.0)?, stream(1.0, 1.0, 5.0, 1.0)?)?;
        let empty = round(stream(0.0, 0.0, 0.0, 0.0)?, stream(0.0, 0.0, 0.0, 0.0)?)?;
        let nothing = stream(0.0, 0.0, 0.0, 0.0)?;
        let stalled = round(stream(1.0, 1.0, 2.0, 1.0)?, nothing)?;
        let name = "others' p99, storm to calm";
        assert_eq!(found(&comparisons(&plan, &[stalled], Besides::default()), name), None);
        assert_eq!(
            found(&comparisons(&plan, std::slice::from_ref(&good), Besides::default()), name),
            Some(2.5)
        );
        assert_eq!(found(&comparisons(&plan, &[good, empty], Besides::default()), name), None);
        Ok(())
    }

    #[test]
    fn a_phase_that_was_never_reached_is_compared_with_nothing() -> anyhow::Result<()> {
        let plan = Plan::Overload { stream: us(), times: 4.0, at_once: 10 };
        let round = Round { phases: vec![phase(stream(1.0, 1.0, 2.0, 1.0)?)], beside: None };
        assert!(comparisons(&plan, &[round], Besides::default()).is_empty());
        Ok(())
    }
}
