//! A skewed choice: the item of rank k comes up in proportion to 1 / k^skew, as pgbench's `random_zipfian` has it.

use std::rc::Rc;

use crate::chance::Chance;

/// How often each rank comes up. Clones share the table.
#[derive(Clone, Debug)]
pub struct Zipf {
    /// The share of all choices that fall on a rank or one before it; the last is 1.
    up_to: Rc<[f64]>,
}

impl Zipf {
    /// Over so many ranks; a skew of 0 favours none.
    pub fn new(ranks: usize, skew: f64) -> Self {
        let mut sum = 0.0;
        let mut up_to: Vec<f64> = (1..=ranks)
            .map(|rank| {
                sum += (rank as f64).powf(-skew);
                sum
            })
            .collect();
        up_to.iter_mut().for_each(|share| *share /= sum);
        Self { up_to: up_to.into() }
    }

    /// A rank, the commonest of which is 0.
    pub fn draw(&self, chance: &mut Chance) -> usize {
        let point = chance.fraction();
        // A point is below 1, which the last rank reaches; rounding cannot carry it beyond.
        self.up_to.partition_point(|share| *share <= point).min(self.up_to.len().saturating_sub(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(ranks: usize, skew: f64, times: usize) -> Vec<f64> {
        let (zipf, mut chance) = (Zipf::new(ranks, skew), Chance::seeded(7));
        let mut counts = vec![0.0; ranks];
        (0..times).for_each(|_| counts[zipf.draw(&mut chance)] += 1.0);
        counts.iter().map(|count| count / times as f64).collect()
    }

    #[test]
    fn ranks_come_up_as_often_as_their_law_says() {
        for skew in [0.5, 1.0, 1.1, 2.0] {
            let shares = drawn(100, skew, 200_000);
            let whole: f64 = (1..=100).map(|rank| f64::from(rank).powf(-skew)).sum();
            for rank in [1, 2, 3, 10] {
                let (share, law) = (shares[rank - 1], (rank as f64).powf(-skew) / whole);
                assert!(
                    (share - law).abs() < 0.05 * law + 0.001,
                    "rank {rank}, skew {skew}: {share}, not {law}"
                );
            }
        }
    }

    #[test]
    fn without_skew_all_are_alike_and_each_is_reached() {
        let shares = drawn(10, 0.0, 20_000);
        assert!(shares.iter().all(|share| (0.09..0.11).contains(share)), "{shares:?}");
        assert_eq!(drawn(1, 1.1, 10), [1.0]);
    }

    #[test]
    fn the_same_seed_chooses_the_same() {
        assert_eq!(drawn(1_000, 1.1, 1_000), drawn(1_000, 1.1, 1_000));
    }
}
