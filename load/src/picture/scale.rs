//! From figures to places on paper, with round figures to stand at the axis.

/// One axis: from the figures it spans to the places between which they lie.
#[derive(Clone, Copy, Debug)]
pub struct Scale {
    least: f64,
    most: f64,
    start: f64,
    end: f64,
    is_log: bool,
}

/// A figure at an axis.
#[derive(Clone, Debug, PartialEq)]
pub struct Tick {
    pub place: f64,
    pub words: String,
}

/// About how many figures stand at a linear axis.
const TICKS: f64 = 5.0;

impl Scale {
    /// From 0 to at least `most`, evenly.
    pub fn linear(most: f64, (start, end): (f64, f64)) -> Self {
        let most = if most > 0.0 { most } else { 1.0 };
        Self { least: 0.0, most, start, end, is_log: false }
    }

    /// By powers of ten, from at most `least` to at least `most`, both widened to a figure that stands at the axis.
    pub fn log(least: f64, most: f64, (start, end): (f64, f64)) -> Self {
        let least = if least > 0.0 { least } else { 1.0 };
        let (least, most) = (floor_log(least), ceil_log(most.max(least * 1.01)));
        Self { least, most, start, end, is_log: true }
    }

    /// Where a figure lies; what is beyond the axis lies at its end.
    pub fn place(&self, figure: f64) -> f64 {
        let share = if self.is_log {
            (figure.max(self.least) / self.least).ln() / (self.most / self.least).ln()
        } else {
            (figure - self.least) / (self.most - self.least)
        };
        self.start + (self.end - self.start) * share.clamp(0.0, 1.0)
    }

    /// The round figures of the axis.
    pub fn ticks(&self) -> Vec<Tick> {
        let tick = |figure: f64| Tick { place: self.place(figure), words: short(figure) };
        if self.is_log {
            let all: Vec<f64> = round_figures(self.least, self.most, &[1.0, 2.0, 5.0]);
            // Over many powers of ten only these themselves have room.
            let few = if all.len() > 10 { round_figures(self.least, self.most, &[1.0]) } else { all };
            return few.into_iter().map(tick).collect();
        }
        let step = round_step(self.most / TICKS);
        let count = (self.most / step + 1e-9) as u32;
        (0..=count).map(|number| tick(f64::from(number) * step)).collect()
    }
}

/// 1, 2 or 5 times a power of ten, at least as much as `raw`.
fn round_step(raw: f64) -> f64 {
    let power = 10_f64.powf(raw.log10().floor());
    let times = [1.0, 2.0, 5.0, 10.0].into_iter().find(|times| times * power >= raw * (1.0 - 1e-9));
    times.unwrap_or(10.0) * power
}

fn round_figures(least: f64, most: f64, leading: &[f64]) -> Vec<f64> {
    let (first, last) = (least.log10().floor() as i32, most.log10().ceil() as i32);
    let powers = (first..=last).flat_map(|power| leading.iter().map(move |times| times * 10_f64.powi(power)));
    powers.filter(|figure| (least * 0.999..=most * 1.001).contains(figure)).collect()
}

fn floor_log(figure: f64) -> f64 {
    let power = 10_f64.powf(figure.log10().floor());
    let times = [5.0, 2.0, 1.0].into_iter().find(|times| times * power <= figure * (1.0 + 1e-9));
    times.unwrap_or(1.0) * power
}

fn ceil_log(figure: f64) -> f64 {
    round_step(figure)
}

/// 12000 as `12k`, 0.05 as `0.05`.
fn short(figure: f64) -> String {
    let (figure, unit) = match figure {
        1e6.. => (figure / 1e6, "M"),
        1e4.. => (figure / 1e3, "k"),
        _ => (figure, ""),
    };
    let text = format!("{figure:.3}");
    format!("{}{unit}", text.trim_end_matches('0').trim_end_matches('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(scale: Scale) -> Vec<String> {
        scale.ticks().into_iter().map(|tick| tick.words).collect()
    }

    #[test]
    fn round_figures_stand_at_an_axis() {
        assert_eq!(words(Scale::linear(9_300.0, (0.0, 1.0))), ["0", "2000", "4000", "6000", "8000"]);
        assert_eq!(words(Scale::linear(61_000.0, (0.0, 1.0))), ["0", "20k", "40k", "60k"]);
        assert_eq!(words(Scale::log(0.7, 8.0, (0.0, 1.0))), ["0.5", "1", "2", "5", "10"]);
        assert_eq!(words(Scale::log(0.07, 9_000.0, (0.0, 1.0))), ["0.1", "1", "10", "100", "1000", "10k"]);
    }

    #[test]
    fn figures_lie_where_they_belong_and_never_beyond_the_axis() {
        let scale = Scale::linear(10.0, (100.0, 0.0));
        assert_eq!([0.0, 5.0, 10.0, 20.0].map(|figure| scale.place(figure)), [100.0, 50.0, 0.0, 0.0]);
        let scale = Scale::log(1.0, 100.0, (0.0, 10.0));
        assert!((scale.place(10.0) - 5.0).abs() < 1e-9 && scale.place(0.0).abs() < 1e-9);
    }

    #[test]
    fn an_axis_of_nothing_is_one_all_the_same() {
        for scale in [Scale::linear(0.0, (0.0, 1.0)), Scale::log(0.0, 0.0, (0.0, 1.0))] {
            assert!(!scale.ticks().is_empty() && scale.ticks().iter().all(|tick| tick.place.is_finite()));
            assert!(scale.place(0.0).is_finite());
        }
    }
}
