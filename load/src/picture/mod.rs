//! The picture of a run: latency by percentile, throughput and p99 over time, and the lock mode as a strip.
//!
//! In reading order: a [`Scene`] is what is drawn; [`scale`] maps figures to places; [`charts`] draws the panels;
//! [`page`] makes a file of them, SVG or HTML.
//!
//! What must stay true: a file stands alone. It loads nothing, from no host; it is readable on light and on dark.

mod charts;
mod page;
mod scale;

use serde::Serialize;

use crate::measure::Moment;

pub use page::write;

/// All that a picture shows of a run.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Scene {
    pub curves: Vec<Curve>,
    pub lines: Vec<Line>,
    pub marks: Vec<Mark>,
}

/// The latencies of one stream: pairs of the share left out and milliseconds.
#[derive(Clone, Debug, Serialize)]
pub struct Curve {
    pub name: String,
    pub points: Vec<(f64, f64)>,
}

/// What happened to one stream when.
#[derive(Clone, Debug, Serialize)]
pub struct Line {
    pub name: String,
    pub moments: Vec<Moment>,
}

/// Something that was done at a second of the run.
#[derive(Clone, Debug, Serialize)]
pub struct Mark {
    pub at: f64,
    pub name: String,
}

/// A scene with what is to be read beside it.
#[derive(Debug)]
pub struct Picture<'a> {
    pub title: String,
    pub facts: Vec<(String, String)>,
    pub verdict: String,
    pub is_good: bool,
    pub scene: &'a Scene,
}
