//! The panels, drawn one below the other: percentiles, throughput, p99 and lock modes.

use std::fmt::Write as _;

use super::scale::{Scale, Tick};
use super::{Line, Scene};
use crate::measure::Moment;

/// The width of everything, and the room left and right of the panels.
pub const WIDTH: f64 = 960.0;
const LEFT: f64 = 64.0;
const RIGHT: f64 = 24.0;
/// A panel's title above it, and its axis below.
const TITLE: f64 = 30.0;
const AXIS: f64 = 34.0;
const TALL: f64 = 250.0;
const LOW: f64 = 150.0;
const STRIP: f64 = 18.0;
const LEGEND_ROW: f64 = 20.0;

/// Readable on light and on dark.
const COLOURS: [&str; 10] = [
    "#3d7eea", "#e07b2c", "#26a269", "#b35fd0", "#d9484f", "#1b9aa0", "#a68a00", "#8a8f98", "#6a6fe0",
    "#7f9c1f",
];
const TWO_LAYER: &str = "#7fa6cc";
const DATABASE_ONLY: &str = "#f0b132";

/// What has been drawn so far, and how far down.
#[derive(Debug)]
struct Paper<'a> {
    scene: &'a Scene,
    names: Vec<&'a str>,
    seconds: f64,
    down: f64,
    ink: String,
}

/// Draws a scene from a height on; hands back the drawing and where it ends.
pub fn draw(scene: &Scene, from: f64) -> (String, f64) {
    let mut names: Vec<&str> = Vec::new();
    let all = scene.lines.iter().map(|line| &line.name).chain(scene.curves.iter().map(|curve| &curve.name));
    for name in all {
        if !names.contains(&name.as_str()) {
            names.push(name);
        }
    }
    let end = |moment: &Moment| moment.at + moment.seconds;
    let seconds = scene.lines.iter().flat_map(|line| line.moments.last()).map(end).fold(0.0, f64::max);
    let mut paper = Paper { scene, names, seconds, down: from, ink: String::new() };
    paper.legend();
    paper.percentiles();
    paper.throughput();
    paper.p99();
    paper.lock_modes();
    (paper.ink, paper.down)
}

/// Text that is no markup.
pub fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

impl Paper<'_> {
    fn put(&mut self, words: &str) {
        self.ink.push_str(words);
        self.ink.push('\n');
    }

    fn colour(&self, name: &str) -> &'static str {
        let place = self.names.iter().position(|known| *known == name).unwrap_or_default();
        COLOURS[place % COLOURS.len()]
    }

    fn text(&mut self, (x, y): (f64, f64), class: &str, words: &str) {
        let words = escaped(words);
        self.put(&format!(r#"<text x="{x:.1}" y="{y:.1}" class="{class}">{words}</text>"#));
    }

    fn rule(&mut self, (x1, y1): (f64, f64), (x2, y2): (f64, f64), class: &str) {
        self.put(&format!(r#"<line x1="{x1:.1}" y1="{y1:.1}" x2="{x2:.1}" y2="{y2:.1}" class="{class}"/>"#));
    }

    fn legend(&mut self) {
        let (mut x, names) = (LEFT, self.names.clone());
        self.down += LEGEND_ROW;
        for name in names {
            let width = 44.0 + name.chars().count() as f64 * 7.2;
            if x + width > WIDTH - RIGHT {
                (x, self.down) = (LEFT, self.down + LEGEND_ROW);
            }
            let (colour, y) = (self.colour(name), self.down - 9.0);
            self.put(&format!(
                r#"<rect x="{x:.1}" y="{y:.1}" width="14" height="9" rx="2" fill="{colour}"/>"#
            ));
            self.text((x + 20.0, self.down), "ink", name);
            x += width;
        }
        self.down += 8.0;
    }

    /// The frame of a panel with its title, and its figures at the left. Hands back where its top and bottom are.
    fn frame(&mut self, title: &str, height: f64) -> (f64, f64) {
        self.text((LEFT, self.down + TITLE - 9.0), "title", title);
        let (top, bottom) = (self.down + TITLE, self.down + TITLE + height);
        self.rule((LEFT, bottom), (WIDTH - RIGHT, bottom), "axis");
        self.down = bottom + AXIS;
        (top, bottom)
    }

    fn upright(&mut self, scale: &Scale) {
        for Tick { place, words } in scale.ticks() {
            self.rule((LEFT, place), (WIDTH - RIGHT, place), "grid");
            self.text((LEFT - 8.0, place + 4.0), "left", &words);
        }
    }

    /// The seconds below a panel, and what was done at which of them.
    fn time(&mut self, top: f64, bottom: f64) -> Scale {
        let scale = Scale::linear(self.seconds, (LEFT, WIDTH - RIGHT));
        for Tick { place, words } in scale.ticks() {
            self.rule((place, bottom), (place, bottom + 4.0), "axis");
            self.text((place, bottom + 17.0), "below", &format!("{words} s"));
        }
        for mark in &self.scene.marks {
            let x = scale.place(mark.at);
            self.rule((x, top), (x, bottom), "mark");
            self.text((x + 4.0, top + 11.0), "note", &mark.name);
        }
        scale
    }

    fn percentiles(&mut self) {
        let (top, bottom) = self.frame("Latency by percentile, ms", TALL);
        let points = || self.scene.curves.iter().flat_map(|curve| &curve.points);
        let least = points().map(|(_, ms)| *ms).fold(f64::INFINITY, f64::min);
        let most = points().map(|(_, ms)| *ms).fold(0.0, f64::max);
        let last = points().map(|(left, _)| *left).fold(0.1, f64::min);
        let up = Scale::log(if least.is_finite() { least } else { 0.0 }, most, (bottom, top));
        // From everything left out to the least share of any curve, which lies at the right.
        let along = Scale::log(last, 1.0, (WIDTH - RIGHT, LEFT));
        self.upright(&up);
        for (left, words) in [(1.0, "0%"), (0.5, "50%"), (0.1, "90%"), (0.01, "99%"), (0.001, "99.9%")]
            .into_iter()
            .chain([(1e-4, "99.99%"), (1e-5, "99.999%")])
            .filter(|(left, _)| *left >= last)
        {
            let x = along.place(left);
            self.rule((x, top), (x, bottom + 4.0), "grid");
            self.text((x, bottom + 17.0), "below", words);
        }
        for curve in &self.scene.curves {
            let places = curve.points.iter().map(|(left, ms)| (along.place(*left), up.place(*ms)));
            self.path(&[places.collect()], self.colour(&curve.name), "line");
        }
    }

    fn throughput(&mut self) {
        let refuses = self.scene.lines.iter().flat_map(|line| &line.moments).any(|moment| lost(moment) > 0.0);
        let title =
            if refuses { "Answered a second; dashed: refused or broken" } else { "Answered a second" };
        let (top, bottom) = self.frame(title, LOW);
        let all = self.scene.lines.iter().flat_map(|line| &line.moments);
        let most = all.map(|moment| moment.done_per_second.max(lost(moment))).fold(0.0, f64::max);
        let up = Scale::linear(most * 1.05, (bottom, top));
        self.upright(&up);
        let along = self.time(top, bottom);
        for line in &self.scene.lines {
            let colour = self.colour(&line.name);
            self.path(&steps(line, &along, &up, |moment| Some(moment.done_per_second)), colour, "line");
            if line.moments.iter().any(|moment| lost(moment) > 0.0) {
                self.path(&steps(line, &along, &up, |moment| Some(lost(moment))), colour, "line dashed");
            }
        }
    }

    fn p99(&mut self) {
        let (top, bottom) = self.frame("p99 of what ended, ms", LOW);
        let all = self.scene.lines.iter().flat_map(|line| &line.moments).filter_map(|moment| moment.p99_ms);
        let (least, most) =
            all.fold((f64::INFINITY, 0.0_f64), |(least, most), ms| (least.min(ms), most.max(ms)));
        let up = Scale::log(if least.is_finite() { least } else { 0.0 }, most, (bottom, top));
        self.upright(&up);
        let along = self.time(top, bottom);
        for line in &self.scene.lines {
            self.path(&steps(line, &along, &up, |moment| moment.p99_ms), self.colour(&line.name), "line");
        }
    }

    fn lock_modes(&mut self) {
        let lines: Vec<&Line> =
            self.scene.lines.iter().filter(|line| line.moments.iter().any(has_mode)).collect();
        if lines.is_empty() {
            return;
        }
        let rows = lines.len() as f64;
        let (top, bottom) = self.frame("Lock mode", rows * (STRIP + 4.0));
        for (place, (words, colour)) in
            [("two_layer", TWO_LAYER), ("database_only", DATABASE_ONLY)].into_iter().enumerate()
        {
            let (x, y) = (LEFT + 110.0 + place as f64 * 110.0, top - 18.0);
            self.put(&format!(
                r#"<rect x="{x:.1}" y="{y:.1}" width="14" height="9" rx="2" fill="{colour}"/>"#
            ));
            self.text((x + 20.0, y + 9.0), "ink", words);
        }
        let along = self.time(top, bottom);
        for (row, line) in lines.into_iter().enumerate() {
            let y = top + row as f64 * (STRIP + 4.0);
            let colour = self.colour(&line.name);
            self.put(&format!(
                r#"<rect x="{:.1}" y="{y:.1}" width="4" height="{STRIP}" fill="{colour}"/>"#,
                LEFT - 8.0
            ));
            for (from, to, two_layer) in stretches(&line.moments) {
                let (x, end) = (along.place(from), along.place(to));
                let mut part = |share: f64, above: f64, colour: &str| {
                    if share > 0.0 {
                        let (y, width, height) = (y + above * STRIP, (end - x).max(0.5), share * STRIP);
                        let _ = writeln!(
                            self.ink,
                            r#"<rect x="{x:.1}" y="{y:.1}" width="{width:.1}" height="{height:.1}" fill="{colour}"/>"#
                        );
                    }
                };
                part(two_layer, 0.0, TWO_LAYER);
                part(1.0 - two_layer, two_layer, DATABASE_ONLY);
            }
        }
    }

    fn path(&mut self, pieces: &[Vec<(f64, f64)>], colour: &str, class: &str) {
        let mut way = String::new();
        for piece in pieces {
            for (place, (x, y)) in piece.iter().enumerate() {
                let command = if place == 0 { 'M' } else { 'L' };
                // Writing to a String cannot fail.
                let _ = write!(way, "{command}{x:.1} {y:.1}");
            }
        }
        if !way.is_empty() {
            self.put(&format!(r#"<path d="{way}" class="{class}" stroke="{colour}"/>"#));
        }
    }
}

/// What was asked for in vain, per second.
fn lost(moment: &Moment) -> f64 {
    moment.refused_per_second + moment.broken_per_second
}

fn has_mode(moment: &Moment) -> bool {
    moment.two_layer + moment.database_only > 0
}

/// A line in time as steps, in pieces: where nothing was sent, or nothing can be told, there is no line.
fn steps(
    line: &Line,
    along: &Scale,
    up: &Scale,
    figure: impl Fn(&Moment) -> Option<f64>,
) -> Vec<Vec<(f64, f64)>> {
    let mut pieces: Vec<Vec<(f64, f64)>> = Vec::new();
    let mut until = f64::NEG_INFINITY;
    for moment in &line.moments {
        let Some(figure) = figure(moment) else {
            continue;
        };
        if moment.at > until + moment.seconds * 0.01 || pieces.is_empty() {
            pieces.push(Vec::new());
        }
        until = moment.at + moment.seconds;
        if let Some(piece) = pieces.last_mut() {
            let y = up.place(figure);
            piece.extend([(along.place(moment.at), y), (along.place(until), y)]);
        }
    }
    pieces
}

/// From when to when which share of answers came on two layers; like stretches that touch are one.
fn stretches(moments: &[Moment]) -> Vec<(f64, f64, f64)> {
    let mut found: Vec<(f64, f64, f64)> = Vec::new();
    for moment in moments.iter().filter(|moment| has_mode(moment)) {
        let two_layer = moment.two_layer as f64 / (moment.two_layer + moment.database_only) as f64;
        let end = moment.at + moment.seconds;
        match found.last_mut() {
            Some(last)
                if (last.2 - two_layer).abs() < 1e-9 && moment.at <= last.1 + moment.seconds * 0.01 =>
            {
                last.1 = end;
            }
            _ => found.push((moment.at, end, two_layer)),
        }
    }
    found
}
