//! A picture as a file that stands alone.

use std::path::Path;

use anyhow::{Context, bail};

use super::Picture;
use super::charts::{WIDTH, draw, escaped};

/// How everything looks, on light and on dark.
const LOOK: &str = r"
svg { font: 13px system-ui, 'DejaVu Sans', sans-serif; }
.paper { fill: #ffffff; } .ink, .below, .left, .note, .fact { fill: #333a44; } .title, .head { fill: #14181f; }
.title { font-weight: 600; } .head { font-size: 19px; font-weight: 600; }
.below { text-anchor: middle; font-size: 11px; } .left { text-anchor: end; font-size: 11px; }
.note { font-size: 11px; } .good { fill: #1c8050; } .bad { fill: #c22f37; font-weight: 600; }
.line { fill: none; stroke-width: 1.8; stroke-linejoin: round; } .dashed { stroke-dasharray: 5 4; stroke-width: 1.3; }
.grid { stroke: #e3e6ea; } .axis { stroke: #7b838f; } .mark { stroke: #7b838f; stroke-dasharray: 2 3; }
@media (prefers-color-scheme: dark) {
  .paper { fill: #14171c; } .ink, .below, .left, .note, .fact { fill: #c3c9d2; } .title, .head { fill: #f0f3f7; }
  .good { fill: #4cc38a; } .bad { fill: #ff7b81; } .grid { stroke: #2a2f37; }
}
";
const MARGIN: f64 = 24.0;
const FACT_ROW: f64 = 18.0;

/// Writes a picture; the file's ending says whether as SVG or as HTML.
pub fn write(picture: &Picture<'_>, file: &Path) -> anyhow::Result<()> {
    let drawing = drawing(picture);
    let text = match file.extension().and_then(|ending| ending.to_str()) {
        Some("svg") => drawing,
        Some("html") => page(picture, &drawing),
        _ => bail!("{} must end in .svg or .html", file.display()),
    };
    std::fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))
}

/// Everything as one SVG: title, verdict, panels, figures.
fn drawing(picture: &Picture<'_>) -> String {
    let class = if picture.is_good { "good" } else { "bad" };
    let text = |x: f64, y: f64, class: &str, words: &str| {
        format!("<text x=\"{x:.1}\" y=\"{y:.1}\" class=\"{class}\">{}</text>\n", escaped(words))
    };
    let mut body = text(MARGIN, 36.0, "head", &picture.title);
    body += &text(MARGIN, 58.0, class, &picture.verdict);
    let (panels, mut down) = draw(picture.scene, 66.0);
    body += &panels;
    down += 14.0;
    for (row, (name, words)) in picture.facts.iter().enumerate() {
        let y = down + row as f64 * FACT_ROW;
        body += &text(MARGIN, y, "fact", name);
        body += &text(MARGIN + 300.0, y, "fact", words);
    }
    let height = down + picture.facts.len() as f64 * FACT_ROW + 10.0;
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height:.0}\" role=\"img\" \
         aria-label=\"{}\">\n<style>{LOOK}</style>\n<rect class=\"paper\" width=\"{WIDTH}\" height=\"{height:.0}\"/>\n{body}</svg>\n",
        escaped(&picture.title)
    )
}

fn page(picture: &Picture<'_>, drawing: &str) -> String {
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width\">\n<meta name=\"color-scheme\" content=\"light dark\">\n\
         <title>{}</title>\n<style>\nbody {{ margin: 0; background: #ffffff; }}\n\
         svg {{ display: block; max-width: 1100px; margin: 0 auto; }}\n\
         @media (prefers-color-scheme: dark) {{ body {{ background: #14171c; }} }}\n</style>\n</head>\n<body>\n\
         {drawing}</body>\n</html>\n",
        escaped(&picture.title)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::Moment;
    use crate::picture::{Curve, Line, Mark, Scene};

    fn moment(at: f64, done: f64, two_layer: u64, database_only: u64) -> Moment {
        Moment {
            at,
            seconds: 0.1,
            done_per_second: done,
            refused_per_second: 1.0,
            broken_per_second: 0.0,
            two_layer,
            database_only,
            p50_ms: Some(1.0),
            p99_ms: (done > 0.0).then_some(3.0),
        }
    }

    fn scene() -> Scene {
        let moments = vec![moment(0.0, 50.0, 5, 0), moment(0.1, 0.0, 0, 0), moment(0.2, 40.0, 1, 3)];
        Scene {
            curves: vec![Curve {
                name: "hot & <odd>".into(),
                points: vec![(1.0, 1.0), (0.1, 2.0), (0.01, 9.0)],
            }],
            lines: vec![Line { name: "hot".into(), moments }],
            marks: vec![Mark { at: 0.1, name: "away".into() }],
        }
    }

    fn picture(scene: &Scene) -> Picture<'_> {
        let facts = vec![("p99 to median".into(), "2.00".into())];
        Picture { title: "hot · r".into(), facts, verdict: "ok".into(), is_good: true, scene }
    }

    #[test]
    fn a_picture_shows_every_name_every_panel_and_both_lock_modes() {
        let scene = scene();
        let drawing = drawing(&picture(&scene));
        for name in ["hot & <odd>", "hot", "away"] {
            assert!(drawing.contains(&format!(">{}</text>", escaped(name))), "{name} is not shown");
        }
        for panel in ["Latency by percentile", "Answered a second; dashed", "p99 of what ended", "Lock mode"]
        {
            assert!(drawing.contains(panel), "{panel} is not shown");
        }
        assert!(
            drawing.contains("two_layer") && drawing.contains("database_only") && drawing.contains("2.00")
        );
        // One curve, one line of answers, one of refusals, one of p99.
        assert_eq!(drawing.matches("<path").count(), 4);
        assert!(!drawing.contains("NaN") && !drawing.contains("inf"), "{drawing}");
    }

    #[test]
    fn a_picture_of_nothing_is_one_all_the_same() {
        let scene = Scene::default();
        let drawing = drawing(&picture(&scene));
        assert!(drawing.ends_with("</svg>\n") && !drawing.contains("NaN") && !drawing.contains("inf"));
    }

    #[test]
    fn a_file_stands_alone() -> anyhow::Result<()> {
        let scene = scene();
        for ending in ["svg", "html"] {
            let file = std::env::temp_dir().join(format!("holdfast-load-{}.{ending}", uuid::Uuid::new_v4()));
            write(&picture(&scene), &file)?;
            let text = std::fs::read_to_string(&file)?;
            std::fs::remove_file(&file)?;
            assert!(text.contains("<path"), "{ending} shows nothing");
            let without_namespace = text.replace("xmlns=\"http://www.w3.org/2000/svg\"", "");
            for word in ["http", "url(", "<script", "@import", "<link", " src="] {
                assert!(!without_namespace.contains(word), "{ending} has {word}");
            }
        }
        assert!(write(&picture(&scene), Path::new("x.png")).is_err());
        Ok(())
    }
}
