//! Draws precision and recall over the thresholds, and beside them where the rivals stand. The file stands alone.

use std::fmt::Write as _;

use holdfast::invoices::intake::rules::THRESHOLD;

use super::judge::Report;

/// Readable on light and on dark.
const OURS: [(&str, &str); 2] = [("precision", "#3d7eea"), ("recall", "#e07b2c")];
const RIVALS: [&str; 3] = ["#26a269", "#b35fd0", "#d9484f"];
const TOP: f64 = 50.0;
const BOTTOM: f64 = 330.0;
/// Where both panels begin and end.
const PANELS: [(f64, f64); 2] = [(60.0, 460.0), (540.0, 940.0)];
const STYLE: &str = "text{font:12px sans-serif;fill:#777}.t{font-weight:bold}.e{text-anchor:end}.m{text-anchor:middle}\
                     .g{stroke:#8886}.u{stroke:#888;stroke-dasharray:4 4}";

/// The whole picture as SVG.
pub fn svg(report: &Report) -> String {
    let mut ink = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 960 400\" role=\"img\" aria-label=\"Precision and recall of \
         the rules that tell duplicate invoices\"><style>{STYLE}</style>\n"
    );
    thresholds(&mut ink, report);
    plane(&mut ink, report);
    ink.push_str("</svg>\n");
    ink
}

fn put(ink: &mut String, line: &str) {
    ink.push_str(line);
    ink.push('\n');
}

fn text(ink: &mut String, (x, y): (f64, f64), class: &str, words: &str) {
    put(ink, &format!(r#"<text x="{x:.1}" y="{y:.1}" class="{class}">{words}</text>"#));
}

fn rule(ink: &mut String, (x1, y1): (f64, f64), (x2, y2): (f64, f64), class: &str) {
    put(ink, &format!(r#"<line x1="{x1:.1}" y1="{y1:.1}" x2="{x2:.1}" y2="{y2:.1}" class="{class}"/>"#));
}

fn share(along: f64, (start, end): (f64, f64)) -> f64 {
    start + (end - start) * along.clamp(0.0, 1.0)
}

/// A panel's title, and its grid of tenths.
fn frame(ink: &mut String, (left, right): (f64, f64), title: &str) {
    text(ink, (left, TOP - 20.0), "t", title);
    for tenths in (0..=10).step_by(2) {
        let y = share(f64::from(tenths) / 10.0, (BOTTOM, TOP));
        rule(ink, (left, y), (right, y), "g");
        text(ink, (left - 8.0, y + 4.0), "e", &format!("{:.1}", f64::from(tenths) / 10.0));
    }
}

fn thresholds(ink: &mut String, report: &Report) {
    let panel = PANELS[0];
    frame(ink, panel, "Precision and recall by threshold");
    let (Some(first), Some(last)) = (report.thresholds.keys().next(), report.thresholds.keys().last()) else {
        return;
    };
    let (first, last) = (f64::from(*first), f64::from(*last));
    let across = |threshold: u16| share((f64::from(threshold) - first) / (last - first), panel);
    for threshold in report.thresholds.keys().filter(|threshold| *threshold % 10 == 0) {
        text(ink, (across(*threshold), BOTTOM + 18.0), "m", &threshold.to_string());
    }
    let usual = across(THRESHOLD);
    rule(ink, (usual, TOP), (usual, BOTTOM), "u");
    text(ink, (usual, TOP - 5.0), "m", &format!("usual: {THRESHOLD}"));
    for (place, (name, colour)) in OURS.iter().enumerate() {
        let mut points = String::new();
        for (threshold, count) in &report.thresholds {
            let found = if place == 0 { count.precision() } else { count.recall() };
            let _ = write!(points, "{:.1},{:.1} ", across(*threshold), share(found, (BOTTOM, TOP)));
        }
        put(ink, &format!(r#"<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>"#));
        let x = panel.0 + 110.0 * place as f64;
        put(ink, &format!(r#"<rect x="{x:.1}" y="362" width="14" height="9" fill="{colour}"/>"#));
        text(ink, (x + 20.0, 371.0), "", name);
    }
}

/// Precision by recall: each threshold is a point, and so is each rival.
fn plane(ink: &mut String, report: &Report) {
    let panel = PANELS[1];
    frame(ink, panel, "Precision by recall, beside others");
    for tenths in (0..=10).step_by(2) {
        let along = f64::from(tenths) / 10.0;
        text(ink, (share(along, panel), BOTTOM + 18.0), "m", &format!("{along:.1}"));
    }
    let dot = |ink: &mut String, recall: f64, precision: f64, radius: f64, colour: &str| {
        let (x, y) = (share(recall, panel), share(precision, (BOTTOM, TOP)));
        put(ink, &format!(r#"<circle cx="{x:.1}" cy="{y:.1}" r="{radius}" fill="{colour}"/>"#));
    };
    for (threshold, count) in &report.thresholds {
        let radius = if *threshold == THRESHOLD { 6.0 } else { 2.5 };
        dot(ink, count.recall(), count.precision(), radius, OURS[0].1);
    }
    put(ink, &format!(r#"<circle cx="{:.1}" cy="367" r="5" fill="{}"/>"#, panel.0 + 4.0, OURS[0].1));
    text(ink, (panel.0 + 14.0, 371.0), "", "Holdfast");
    for (place, (name, count)) in report.rivals.iter().enumerate() {
        let colour = RIVALS[place % RIVALS.len()];
        dot(ink, count.recall(), count.precision(), 6.0, colour);
        let x = panel.0 + 85.0 + 95.0 * place as f64;
        put(ink, &format!(r#"<circle cx="{x:.1}" cy="367" r="5" fill="{colour}"/>"#));
        text(ink, (x + 10.0, 371.0), "", name);
    }
}
