//! What happened when: answers, their lock modes and their latencies, in even slices of time.
//!
//! What must stay true: it needs to know neither how long a run lasts nor how fast it is. There are never more than
//! [`MOST_SLICES`]; when a run outgrows them, two and two become one, twice as wide.

use std::time::{Duration, Instant};

use anyhow::Context;
use hdrhistogram::Histogram;
use serde::Serialize;

use crate::connection::LockMode;

/// As many as a picture can show, and an even number.
pub const MOST_SLICES: usize = 240;
const FIRST_WIDTH: Duration = Duration::from_millis(100);
/// Enough for a line in a picture.
const SIGNIFICANT_DIGITS: u8 = 2;

/// How a request ended, for the line of its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// As was asked for.
    Done,
    /// Answered otherwise.
    Refused,
    /// Without an answer.
    Broken,
}

/// What happened in one slice of time.
#[derive(Clone, Debug, Default)]
struct Slice {
    done: u64,
    refused: u64,
    broken: u64,
    lock_modes: [u64; LockMode::ALL.len()],
    /// Whether requests were sent: then nothing means that nothing was answered.
    was_busy: bool,
    micros: Option<Histogram<u64>>,
}

/// Slices of time from a beginning on.
#[derive(Clone, Debug)]
pub struct Timeline {
    began: Instant,
    width: Duration,
    slices: Vec<Slice>,
}

/// One slice, as reports show it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Moment {
    /// Its beginning, in seconds since that of the run.
    pub at: f64,
    pub seconds: f64,
    pub done_per_second: f64,
    pub refused_per_second: f64,
    pub broken_per_second: f64,
    pub two_layer: u64,
    pub database_only: u64,
    /// None where nothing was answered.
    pub p50_ms: Option<f64>,
    pub p99_ms: Option<f64>,
}

impl Timeline {
    /// An empty timeline from this moment on.
    pub fn new(began: Instant) -> Self {
        Self { began, width: FIRST_WIDTH, slices: Vec::new() }
    }

    /// Something ended at `at`.
    pub fn take(
        &mut self,
        at: Instant,
        ending: Ending,
        lock_mode: Option<LockMode>,
        latency: Duration,
    ) -> anyhow::Result<()> {
        let place = self.place(at)?;
        let slice = &mut self.slices[place];
        *match ending {
            Ending::Done => &mut slice.done,
            Ending::Refused => &mut slice.refused,
            Ending::Broken => &mut slice.broken,
        } += 1;
        if let Some(known) = LockMode::ALL.iter().position(|mode| Some(*mode) == lock_mode) {
            slice.lock_modes[known] += 1;
        }
        let micros = match &mut slice.micros {
            Some(micros) => micros,
            none => none.insert(Histogram::new(SIGNIFICANT_DIGITS).context("a histogram")?),
        };
        // It grows by itself, so nothing is out of bounds.
        micros
            .record(u64::try_from(latency.as_micros()).unwrap_or(u64::MAX / 4).max(1))
            .context("a latency in its histogram")
    }

    /// Requests were sent from one moment to another.
    pub fn was_busy(&mut self, from: Instant, to: Instant) -> anyhow::Result<()> {
        // The later one first: it may widen the slices.
        let last = self.place(to)?;
        let first = self.place(from)?;
        self.slices[first..=last].iter_mut().for_each(|slice| slice.was_busy = true);
        Ok(())
    }

    /// The slice that a moment falls into.
    fn place(&mut self, at: Instant) -> anyhow::Result<usize> {
        let elapsed = at.saturating_duration_since(self.began);
        let place = loop {
            let place = usize::try_from(elapsed.as_nanos() / self.width.as_nanos()).unwrap_or(usize::MAX);
            if place < MOST_SLICES {
                break place;
            }
            self.widen()?;
        };
        if self.slices.len() <= place {
            self.slices.resize(place + 1, Slice::default());
        }
        Ok(place)
    }

    fn widen(&mut self) -> anyhow::Result<()> {
        let mut wider = Vec::with_capacity(MOST_SLICES);
        for pair in self.slices.chunks(2) {
            let mut slice = pair[0].clone();
            if let Some(second) = pair.get(1) {
                slice.add(second)?;
            }
            wider.push(slice);
        }
        (self.slices, self.width) = (wider, self.width * 2);
        Ok(())
    }

    /// The slices in which anything happened, or should have.
    pub fn moments(&self) -> Vec<Moment> {
        let busy = self.slices.iter().enumerate().filter(|(_, slice)| slice.was_busy || slice.all() > 0);
        busy.map(|(place, slice)| self.moment(place, slice)).collect()
    }

    fn moment(&self, place: usize, slice: &Slice) -> Moment {
        let seconds = self.width.as_secs_f64();
        let mode = |wanted| {
            let place = LockMode::ALL.iter().position(|mode| *mode == wanted);
            place.map_or(0, |place| slice.lock_modes[place])
        };
        let quantile =
            |share| slice.micros.as_ref().map(|micros| micros.value_at_quantile(share) as f64 / 1_000.0);
        Moment {
            at: place as f64 * seconds,
            seconds,
            done_per_second: slice.done as f64 / seconds,
            refused_per_second: slice.refused as f64 / seconds,
            broken_per_second: slice.broken as f64 / seconds,
            two_layer: mode(LockMode::TwoLayer),
            database_only: mode(LockMode::DatabaseOnly),
            p50_ms: quantile(0.5),
            p99_ms: quantile(0.99),
        }
    }
}

impl Slice {
    fn all(&self) -> u64 {
        self.done + self.refused + self.broken
    }

    fn add(&mut self, other: &Self) -> anyhow::Result<()> {
        self.done += other.done;
        self.refused += other.refused;
        self.broken += other.broken;
        self.was_busy |= other.was_busy;
        self.lock_modes.iter_mut().zip(other.lock_modes).for_each(|(sum, more)| *sum += more);
        match (&mut self.micros, &other.micros) {
            (Some(micros), Some(more)) => micros.add(more).context("two histograms")?,
            (none @ None, Some(more)) => *none = Some(more.clone()),
            (_, None) => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MILLI: Duration = Duration::from_millis(1);

    fn done(timeline: &mut Timeline, at: Duration, latency: Duration) -> anyhow::Result<()> {
        let at = timeline.began + at;
        timeline.take(at, Ending::Done, Some(LockMode::TwoLayer), latency)
    }

    #[test]
    fn what_ends_is_counted_in_its_slice() -> anyhow::Result<()> {
        let mut timeline = Timeline::new(Instant::now());
        done(&mut timeline, MILLI, MILLI)?;
        let late = timeline.began + 240 * MILLI;
        timeline.take(late, Ending::Refused, None, 8 * MILLI)?;
        timeline.take(late, Ending::Broken, Some(LockMode::DatabaseOnly), 9 * MILLI)?;
        let moments = timeline.moments();
        let seen: Vec<_> = moments.iter().map(|moment| (moment.at, moment.two_layer)).collect();
        assert_eq!(seen, [(0.0, 1), (0.2, 0)]);
        assert_eq!((moments[0].done_per_second, moments[1].refused_per_second), (10.0, 10.0));
        assert_eq!((moments[1].broken_per_second, moments[1].database_only), (10.0, 1));
        assert!(moments[1].p99_ms.is_some_and(|p99| (8.9..9.2).contains(&p99)), "{moments:?}");
        Ok(())
    }

    #[test]
    fn a_stall_shows_as_nothing_and_a_pause_not_at_all() -> anyhow::Result<()> {
        let mut timeline = Timeline::new(Instant::now());
        done(&mut timeline, MILLI, MILLI)?;
        done(&mut timeline, 950 * MILLI, MILLI)?;
        assert_eq!(timeline.moments().len(), 2);
        timeline.was_busy(timeline.began, timeline.began + 450 * MILLI)?;
        let rates: Vec<_> = timeline.moments().iter().map(|moment| moment.done_per_second).collect();
        assert_eq!(rates, [10.0, 0.0, 0.0, 0.0, 0.0, 10.0]);
        Ok(())
    }

    #[test]
    fn a_long_run_loses_nothing_but_detail() -> anyhow::Result<()> {
        let mut timeline = Timeline::new(Instant::now());
        for second in 0..1_000 {
            done(&mut timeline, second * 1_000 * MILLI, (1 + second) * MILLI)?;
        }
        let moments = timeline.moments();
        assert!(moments.len() <= MOST_SLICES && moments.len() > MOST_SLICES / 3, "{}", moments.len());
        let all: f64 = moments.iter().map(|moment| moment.done_per_second * moment.seconds).sum();
        assert!((all - 1_000.0).abs() < 1e-6, "{all}");
        assert_eq!(moments.iter().map(|moment| moment.two_layer).sum::<u64>(), 1_000);
        Ok(())
    }
}
