//! The labelled set: for each account all that comes in over two years, in its order.

use super::names::names;
use super::noise::again;
use super::vendor::issued;
use super::{Settings, Upload};
use crate::chance::Chance;

/// The share of invoices that come in once more.
const AGAIN: f64 = 0.12;

/// What comes in, account by account.
pub fn accounts(settings: Settings) -> impl Iterator<Item = Vec<Upload>> {
    (0..settings.accounts).map(move |account| {
        let mut chance = Chance::of(&format!("{} {account}", settings.seed));
        let vendors = names(&mut chance, settings.vendors);
        let mut all = Vec::new();
        for (partner, vendor) in vendors.iter().enumerate() {
            for first in issued(&mut chance, (partner, vendor)) {
                if chance.falls_within(AGAIN) {
                    all.push(again(&mut chance, &first));
                }
                all.push(first);
            }
        }
        // On one day the first one comes in first.
        all.sort_by_key(|upload| (upload.comes_in, upload.again.is_some()));
        all
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_set_and_what_comes_again_comes_later() {
        let settings = Settings { seed: 1, accounts: 1, vendors: 20 };
        let told = |uploads: &[Upload]| format!("{uploads:?}");
        let (one, two): (Vec<_>, Vec<_>) = (accounts(settings).collect(), accounts(settings).collect());
        assert_eq!(told(&one[0]), told(&two[0]));
        let share =
            one[0].iter().filter(|upload| upload.again.is_some()).count() as f64 / one[0].len() as f64;
        assert!((0.05..0.2).contains(&share), "{share}");
    }
}
