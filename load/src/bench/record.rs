//! What a picture of the run is drawn from: all latencies of each stream, and what happened when, over all rounds.

use std::time::Instant;

use crate::measure::{Latency, Timeline};
use crate::picture::{Curve, Line, Mark, Scene};

/// The curves and timelines of a run, each under the name of its stream.
#[derive(Debug)]
pub struct Record {
    began: Instant,
    pub curves: Vec<(String, Latency)>,
    pub timelines: Vec<(String, Timeline)>,
    /// What was done at which second since the beginning.
    pub marks: Vec<(f64, String)>,
}

impl Record {
    /// An empty record from this moment on.
    pub fn new(began: Instant) -> Self {
        Self { began, curves: Vec::new(), timelines: Vec::new(), marks: Vec::new() }
    }

    /// Adds a window's latencies to the curve of this name.
    pub fn add(&mut self, name: &str, latency: &Latency) -> anyhow::Result<()> {
        if let Some((_, kept)) = self.curves.iter_mut().find(|(known, _)| known == name) {
            return kept.add(latency);
        }
        let mut kept = Latency::new()?;
        kept.add(latency)?;
        self.curves.push((name.to_owned(), kept));
        Ok(())
    }

    /// The place of the timeline of this name, made if it is not there.
    pub fn line(&mut self, name: &str) -> usize {
        if let Some(place) = self.timelines.iter().position(|(known, _)| known == name) {
            return place;
        }
        self.timelines.push((name.to_owned(), Timeline::new(self.began)));
        self.timelines.len() - 1
    }

    /// All of it, as reports show it.
    pub fn scene(&self) -> Scene {
        let curve =
            |(name, latency): &(String, Latency)| Curve { name: name.clone(), points: latency.curve() };
        let line =
            |(name, timeline): &(String, Timeline)| Line { name: name.clone(), moments: timeline.moments() };
        let mark = |(at, name): &(f64, String)| Mark { at: *at, name: name.clone() };
        Scene {
            curves: self.curves.iter().map(curve).collect(),
            lines: self.timelines.iter().map(line).collect(),
            marks: self.marks.iter().map(mark).collect(),
        }
    }

    /// Something was done now.
    pub fn mark(&mut self, words: &str) {
        self.marks.push((self.began.elapsed().as_secs_f64(), words.to_owned()));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn rounds_of_one_name_come_together() -> anyhow::Result<()> {
        let mut record = Record::new(Instant::now());
        let mut latency = Latency::new()?;
        latency.record(Duration::from_millis(3));
        for name in ["a", "b", "a"] {
            record.add(name, &latency)?;
        }
        let counts: Vec<_> =
            record.curves.iter().map(|(name, curve)| (name.as_str(), curve.summary().count)).collect();
        assert_eq!(counts, [("a", 2), ("b", 1)]);
        assert_eq!((record.line("a"), record.line("b"), record.line("a")), (0, 1, 0));
        Ok(())
    }
}
