//! Properties of the pure rules, over random histories.

#![expect(clippy::unwrap_used, reason = "a test that can not go on ends")]

mod csv;

use holdfast::counts::sessions::rules::{Counted, settle};
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

/// What happens to a shelf and to its books.
#[derive(Debug, Clone, Copy)]
enum Happening {
    Sold(i64),
    CameBack(i64),
    LostUnseen(i64),
    /// It is counted in so many parts, one after the other.
    Counted,
    Posted,
}

fn happening() -> impl Strategy<Value = Happening> {
    prop_oneof![
        4 => (1..6_i64).prop_map(Happening::Sold),
        2 => (1..6_i64).prop_map(Happening::CameBack),
        1 => (1..4_i64).prop_map(Happening::LostUnseen),
        2 => Just(Happening::Counted),
        2 => Just(Happening::Posted),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]

    /// Sales, returns, losses, counts and postings in any order: a posted count makes the books the shelf, but for what was
    /// lost after it was counted; it never makes them negative.
    #[test]
    fn a_posted_count_makes_the_books_the_shelf(opening in 0..40_i64, happenings in proptest::collection::vec(happening(), 0..60)) {
        let (mut shelf, mut books) = (opening, opening);
        // Units counted, what moved since, what was lost since.
        let mut open: Option<(i64, i64, i64)> = None;
        for happening in happenings {
            match happening {
                Happening::Sold(units) if units <= shelf.min(books) => {
                    (shelf, books) = (shelf - units, books - units);
                    if let Some(open) = &mut open { open.1 -= units; }
                }
                Happening::Sold(_) => {}
                Happening::CameBack(units) => {
                    (shelf, books) = (shelf + units, books + units);
                    if let Some(open) = &mut open { open.1 += units; }
                }
                Happening::LostUnseen(units) => {
                    let lost = units.min(shelf);
                    shelf -= lost;
                    if let Some(open) = &mut open { open.2 += lost; }
                }
                Happening::Counted => open = Some((shelf, 0, 0)),
                Happening::Posted => {
                    let Some((units, moved_after, lost)) = open.take() else { continue };
                    let settled = settle(Counted { units, damaged: 0, damaged_before: 0, went_out: 0, moved_after }, books).unwrap();
                    prop_assert_eq!(settled.units, shelf + lost);
                    prop_assert_eq!(settled.units - books, settled.variance);
                    prop_assert_eq!((settled.shortfall, settled.damaged), (0, 0));
                    books = settled.units;
                }
            }
            prop_assert!(books >= 0 && shelf >= 0);
        }
    }

    /// Whatever is counted and moved: stock is not negative, no more is damaged than there is, and what is short is what
    /// went out beyond what was there.
    #[test]
    fn no_count_makes_stock_negative(
        units in 0..1_000_i64, damaged in 0..1_000_i64, damaged_before in 0..1_000_i64, went_out in -1_500..=0_i64, moved_after in -1_500..1_500_i64, on_hand in 0..2_000_i64,
    ) {
        let damaged = damaged.min(units);
        let counted = Counted { units, damaged, damaged_before, went_out, moved_after };
        let settled = settle(counted, on_hand).unwrap();
        let target = units + went_out + moved_after;
        prop_assert!((0..=settled.units).contains(&settled.damaged) && settled.damaged <= damaged);
        // What is sound stays, whatever of the rest is news.
        prop_assert_eq!(settled.units - settled.damaged, (target - damaged).max(0));
        prop_assert_eq!(settled.shortfall, (-target).max(0));
        prop_assert_eq!(units - settled.expected, settled.variance);
    }
}
