//! Choices that look random and are the same in every run: a SplitMix64 sequence.

/// A sequence of numbers.
#[derive(Clone, Debug)]
pub struct Chance(u64);

const GOLDEN_GAMMA: u64 = 0x9E37_79B9_7F4A_7C15;

impl Chance {
    /// The sequence that belongs to `seed`.
    pub fn seeded(seed: u64) -> Self {
        Self(seed)
    }

    /// The sequence that belongs to a text: the same text, the same choices.
    pub fn of(text: &str) -> Self {
        // FNV-1a, to turn the text into a seed.
        Self(text.bytes().fold(0xCBF2_9CE4_8422_2325, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01B3)
        }))
    }

    /// The next number.
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(GOLDEN_GAMMA);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`, which must be above 0.
    pub fn below(&mut self, bound: usize) -> usize {
        let scaled = (u128::from(self.next()) * bound as u128) >> 64;
        usize::try_from(scaled).unwrap_or_default()
    }

    /// A number from 0 up to, and without, 1.
    pub fn fraction(&mut self) -> f64 {
        // 53 bits fill the whole of a float's precision.
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// True in a share of all cases.
    pub fn falls_within(&mut self, share: f64) -> bool {
        self.fraction() < share
    }

    /// Puts things in any order.
    pub fn shuffle<T>(&mut self, things: &mut [T]) {
        for place in (1..things.len()).rev() {
            things.swap(place, self.below(place + 1));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_choices() {
        let (mut one, mut two) = (Chance::of("536365"), Chance::of("536365"));
        assert!((0..100).all(|_| one.next() == two.next()));
        assert_ne!(Chance::of("536365").next(), Chance::of("536366").next());
    }

    #[test]
    fn numbers_stay_below_their_bound_and_reach_it() {
        let mut chance = Chance::seeded(1);
        let mut seen = [false; 7];
        (0..1_000).for_each(|_| seen[chance.below(7)] = true);
        assert_eq!(seen, [true; 7]);
    }

    #[test]
    fn shuffled_things_are_the_same_things_in_any_order() {
        let (mut chance, mut firsts) = (Chance::seeded(9), [0; 3]);
        for _ in 0..300 {
            let mut things = [0, 1, 2];
            chance.shuffle(&mut things);
            firsts[things[0]] += 1;
            things.sort_unstable();
            assert_eq!(things, [0, 1, 2]);
        }
        assert!(firsts.iter().all(|times| *times > 60), "{firsts:?}");
    }

    #[test]
    fn a_share_is_met() {
        let mut chance = Chance::seeded(2);
        let hits = (0..10_000).filter(|_| chance.falls_within(0.2)).count();
        assert!((1_800..2_200).contains(&hits), "{hits} of 10,000");
        assert!((0..1_000).all(|_| chance.falls_within(1.0)));
        assert!(!(0..1_000).any(|_| chance.falls_within(0.0)));
    }
}
