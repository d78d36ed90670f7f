//! What buyers want: any items alike, but for a share that wants the same one as everybody else.

use crate::chance::Chance;
use crate::shop::SaleLine;

/// The first item is the hot one.
const HOT: usize = 0;

/// How baskets are filled.
#[derive(Clone, Copy, Debug)]
pub struct Baskets {
    pub items: usize,
    /// The share of choices that fall on the hot item.
    pub hot_share: f64,
}

impl Baskets {
    /// One item.
    pub fn item(&self, chance: &mut Chance) -> usize {
        if chance.falls_within(self.hot_share) { HOT } else { chance.below(self.items) }
    }

    /// Up to so many lines of different items, of up to so many units each.
    pub fn lines(&self, most_lines: usize, most_units: usize, chance: &mut Chance) -> Vec<SaleLine> {
        let mut lines: Vec<SaleLine> = Vec::new();
        for _ in 0..=chance.below(most_lines) {
            let (item, quantity) = (self.item(chance), 1 + chance.below(most_units) as i64);
            if !lines.iter().any(|line| line.item == item) {
                lines.push(SaleLine { item, quantity });
            }
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_basket_has_different_items_and_each_size_comes_up() {
        let (baskets, mut chance) = (Baskets { items: 5, hot_share: 0.0 }, Chance::seeded(1));
        let mut sizes = [0; 4];
        for _ in 0..1_000 {
            let lines = baskets.lines(3, 2, &mut chance);
            sizes[lines.len()] += 1;
            for (position, line) in lines.iter().enumerate() {
                assert!(line.item < 5 && (1..=2).contains(&line.quantity));
                assert!(lines[..position].iter().all(|other| other.item != line.item));
            }
        }
        assert!(sizes[0] == 0 && sizes[1..].iter().all(|count| *count > 100), "{sizes:?}");
    }

    #[test]
    fn the_hot_item_gets_its_share() {
        let hot = |hot_share| {
            let (baskets, mut chance) = (Baskets { items: 100, hot_share }, Chance::seeded(2));
            (0..10_000).filter(|_| baskets.item(&mut chance) == HOT).count()
        };
        assert!((50..200).contains(&hot(0.0)) && (2_900..3_300).contains(&hot(0.3)));
        assert_eq!(hot(1.0), 10_000);
    }
}
