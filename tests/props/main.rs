//! Properties of the pure rules, over random histories.

#![expect(clippy::unwrap_used, reason = "a test that can not go on ends")]

use holdfast::inventory::model::{Delta, Level, ON_HAND_MAX, OnHand, Quantity};
use holdfast::inventory::rules::{Change, Refusal, decide};
use proptest::prelude::*;
use uuid::Uuid;

fn change() -> impl Strategy<Value = Change> {
    let quantity = || (1..=40_i64).prop_map(|units| Quantity::try_from(units).unwrap());
    let delta = (-40..=40_i64).prop_filter_map("a correction is not 0", |units| Delta::try_from(units).ok());
    let believed = proptest::option::of((0..=60_i64).prop_map(|units| OnHand::try_from(units).unwrap()));
    prop_oneof![
        quantity().prop_map(Change::Sell),
        quantity().prop_map(Change::Return),
        (delta, believed).prop_map(|(delta, believed)| Change::Adjust { delta, believed }),
    ]
}

proptest! {
    /// Whatever is asked in whatever order: stock is the sum of what was granted, versions count the grants,
    /// nothing goes below what is held for a sale or below nothing at all, and a refusal changes nothing.
    #[test]
    fn a_level_is_the_sum_of_what_was_granted(
        opening in 0..=50_i64,
        held in 0..=50_i64,
        changes in proptest::collection::vec(change(), 0..200),
    ) {
        let mut level = Level { variant_id: Uuid::nil(), on_hand: opening, held: held.min(opening), version: 0 };
        let (mut sum, mut granted) = (opening, 0);
        for change in changes {
            match decide(&level, change) {
                Ok(step) => {
                    prop_assert_eq!(step.after.on_hand, level.on_hand + step.delta);
                    prop_assert!(!matches!(change, Change::Sell(_)) || step.after.on_hand >= level.held);
                    level = step.after;
                    sum += step.delta;
                    granted += 1;
                }
                Err(Refusal::Insufficient { requested, available, .. }) => {
                    prop_assert_eq!(available, level.available());
                    prop_assert!(requested > available || level.on_hand < requested);
                }
                Err(Refusal::Stale { actual, .. }) => prop_assert_eq!(actual, level.on_hand),
                Err(other) => prop_assert!(false, "{other}"),
            }
            prop_assert!((0..=ON_HAND_MAX).contains(&level.on_hand));
            prop_assert_eq!((level.on_hand, level.version), (sum, granted));
        }
    }

    /// Near the limit of what may be in stock, nothing passes it and nothing overflows.
    #[test]
    fn stock_near_its_limit_stays_within_it(below in 0..=50_i64, changes in proptest::collection::vec(change(), 0..100)) {
        let mut level = Level { variant_id: Uuid::nil(), on_hand: ON_HAND_MAX - below, held: 0, version: 0 };
        for change in changes {
            if let Ok(step) = decide(&level, change) {
                level = step.after;
            }
            prop_assert!((0..=ON_HAND_MAX).contains(&level.on_hand));
        }
    }
}
