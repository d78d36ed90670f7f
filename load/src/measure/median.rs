//! The middle of several runs, with the least and the most of them.

use serde::Serialize;

/// What several runs came to.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Median {
    pub median: f64,
    pub least: f64,
    pub most: f64,
    pub runs: usize,
}

impl Median {
    /// The median of these values; none if there are none, or one of them is no number.
    pub fn of(values: &[f64]) -> Option<Self> {
        if values.is_empty() || values.iter().any(|value| !value.is_finite()) {
            return None;
        }
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let runs = sorted.len();
        let median = f64::midpoint(sorted[(runs - 1) / 2], sorted[runs / 2]);
        Some(Self { median, least: sorted[0], most: sorted[runs - 1], runs })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_or_between_the_two() {
        let of = |values: &[f64]| Median::of(values).map(|found| (found.median, found.least, found.most));
        assert_eq!(of(&[3.0, 1.0, 9.0]), Some((3.0, 1.0, 9.0)));
        assert_eq!(of(&[4.0, 1.0, 2.0, 100.0]), Some((3.0, 1.0, 100.0)));
        assert_eq!(of(&[7.0]), Some((7.0, 7.0, 7.0)));
    }

    #[test]
    fn nothing_has_no_median_and_neither_has_what_is_no_number() {
        assert_eq!(Median::of(&[]), None);
        assert_eq!(Median::of(&[1.0, f64::NAN]), None);
        assert_eq!(Median::of(&[1.0, f64::INFINITY]), None);
    }
}
