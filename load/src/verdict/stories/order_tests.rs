//! Orders that were cancelled as they may be, and orders that were not.

use std::time::Duration;

use rust_decimal::Decimal;
use serde_json::json;

use super::*;
use crate::verdict::ShelfItem;

const LINE: Uuid = Uuid::from_u128(11);

fn between(asked: u64, answered: u64) -> Span {
    static BEGAN: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    let began = *BEGAN.get_or_init(Instant::now);
    Span { asked: began + Duration::from_secs(asked), answered: began + Duration::from_secs(answered) }
}

/// An order of four units of item 0, placed between 10 and 11.
fn story(born_cancelled: bool, blows: Vec<Blow>) -> OrderStory {
    let lines = vec![PlacedLine { line_id: LINE, item: 0, quantity: 4 }];
    let order_id = Uuid::from_u128(7);
    let placed = Placed { order_id, born_cancelled, was_held: false, lines, when: between(10, 11) };
    OrderStory { user_id: "u".into(), placed: Some(placed), refused: None, blows }
}

fn event(name: &str, when: Span, result: EventResult) -> Blow {
    let outcome = BlowOutcome::Told(result);
    Blow { name: name.into(), lines: None, when, outcome }
}

fn by_api(when: Span) -> Blow {
    Blow { name: "api".into(), lines: None, when, outcome: BlowOutcome::Done }
}

fn by_line(name: &str, quantity: i64, outcome: BlowOutcome) -> Blow {
    let lines = Some(vec![CancelLine { line_id: LINE, quantity }]);
    Blow { name: name.into(), lines, when: between(12, 13), outcome }
}

fn kinds(born_cancelled: bool, blows: Vec<Blow>) -> Vec<FaultKind> {
    story(born_cancelled, blows).contradictions().into_iter().map(|(kind, _)| kind).collect()
}

use EventResult::{AlreadyCancelled, Cancelled, WaitingForOrder};

#[test]
fn an_order_that_was_cancelled_once_by_whoever_came_first_is_right() {
    let at_once = between(12, 13);
    for (born, blows, back) in [
        (false, vec![], 0),
        (false, vec![by_api(at_once)], 4),
        (false, vec![event("a", at_once, Cancelled), event("b", at_once, AlreadyCancelled)], 4),
        (false, vec![event("a", at_once, Cancelled), by_api(at_once)], 4),
        (false, vec![by_line("a", 1, BlowOutcome::Done), by_line("b", 2, BlowOutcome::Done)], 3),
        (false, vec![by_line("a", 3, BlowOutcome::Done), by_line("b", 2, BlowOutcome::Refused)], 3),
        (false, vec![by_line("a", 3, BlowOutcome::Done), event("b", at_once, Cancelled)], 4),
        (false, vec![by_line("a", 4, BlowOutcome::Done), event("b", at_once, AlreadyCancelled)], 4),
        (false, vec![by_line("a", 1, BlowOutcome::Refused), by_api(at_once)], 4),
        (true, vec![event("a", between(1, 2), WaitingForOrder), by_api(at_once)], 0),
        (true, vec![event("a", between(10, 11), WaitingForOrder), event("b", at_once, AlreadyCancelled)], 0),
    ] {
        let story = story(born, blows);
        assert_eq!(story.contradictions(), [], "{story:?}");
        assert_eq!(story.returned().into_iter().map(|(_, back)| back).sum::<i64>(), back, "{story:?}");
    }
}

#[test]
fn an_order_that_two_events_say_they_cancelled_is_found() {
    let (one, two) = (event("a", between(12, 13), Cancelled), event("b", between(12, 13), Cancelled));
    assert_eq!(kinds(false, vec![one, two]), [FaultKind::CancelledTwice]);
}

#[test]
fn an_event_that_cancels_what_was_cancelled_before_is_found() {
    let before = vec![by_api(between(12, 13)), event("a", between(14, 15), Cancelled)];
    assert_eq!(kinds(false, before), [FaultKind::CancelledTwice]);
    let born = vec![event("a", between(1, 2), WaitingForOrder), event("b", between(12, 13), Cancelled)];
    assert!(kinds(true, born).contains(&FaultKind::CancelledTwice));
}

#[test]
fn a_line_that_was_cancelled_beyond_what_was_ordered_is_found() {
    let beyond = vec![by_line("a", 3, BlowOutcome::Done), by_line("b", 2, BlowOutcome::Done)];
    assert_eq!(kinds(false, beyond), [FaultKind::CancelledTwice]);
}

#[test]
fn an_order_is_born_cancelled_exactly_if_a_cancellation_waited_for_it() {
    assert_eq!(kinds(true, vec![by_api(between(12, 13))]), [FaultKind::BirthDiffers]);
    let waited = event("a", between(1, 2), WaitingForOrder);
    assert_eq!(kinds(false, vec![waited]), [FaultKind::BirthDiffers]);
}

#[test]
fn an_order_whose_cancellation_waited_is_never_refused() {
    let refused = |when| OrderStory {
        refused: Some(when),
        blows: vec![event("a", between(1, 2), WaitingForOrder)],
        ..OrderStory::default()
    };
    let kinds =
        |story: OrderStory| -> Vec<_> { story.contradictions().into_iter().map(|(kind, _)| kind).collect() };
    assert_eq!(kinds(refused(between(3, 4))), [FaultKind::BirthDiffers]);
    assert_eq!(kinds(refused(between(1, 4))), []);
}

#[test]
fn what_is_not_there_can_not_be_cancelled_but_in_advance() {
    let blows = vec![event("a", between(1, 2), Cancelled)];
    let story = OrderStory { blows, ..OrderStory::default() };
    assert_eq!(story.contradictions().len(), 1);
}

#[test]
fn a_refusal_or_an_idle_event_must_be_borne_out_by_the_others() {
    let refused = vec![by_line("a", 2, BlowOutcome::Done), by_line("b", 2, BlowOutcome::Refused)];
    assert_eq!(kinds(false, refused), [FaultKind::CancelDiffers]);
    let idle = vec![by_line("a", 3, BlowOutcome::Done), event("b", between(12, 13), AlreadyCancelled)];
    assert_eq!(kinds(false, idle), [FaultKind::CancelDiffers]);
}

#[test]
fn an_order_takes_when_it_was_answered_and_gives_back_when_that_was_first_asked_for() {
    let seconds = |story: OrderStory| {
        let began = between(0, 0).asked;
        let moves = story.moves().into_iter();
        moves.map(|(_, moment, delta)| ((moment - began).as_secs(), delta)).collect::<Vec<_>>()
    };
    let cancelled = vec![by_api(between(14, 15)), event("a", between(12, 16), Cancelled)];
    assert_eq!(seconds(story(false, cancelled)), [(11, -4), (12, 4)]);
    assert_eq!(seconds(story(true, vec![event("a", between(1, 2), WaitingForOrder)])), []);
    let mut held = story(false, vec![]);
    held.placed.iter_mut().for_each(|placed| placed.was_held = true);
    assert_eq!(seconds(held), []);
}

fn opening() -> Opening {
    let (sku, price) = ("r-0".into(), Decimal::ONE);
    Opening::new(vec![ShelfItem { variant_id: Uuid::from_u128(1), sku, price, on_hand: 10 }])
}

fn record(status: &str, cancelled: i64) -> OrderAnswer {
    let line = json!({"line_id": LINE, "variant_id": Uuid::from_u128(1), "sku": "r-0", "quantity": 4,
        "unit_price": "1", "line_total": "4", "cancelled_quantity": cancelled});
    serde_json::from_value(json!({"order_id": Uuid::from_u128(7), "user_id": "u", "status": status,
        "currency": "GBP", "total": "4", "lines": [line]}))
    .unwrap()
}

fn moves(sold: i64, returned: i64) -> Moves {
    let units = |units: i64| if units == 0 { BTreeMap::new() } else { BTreeMap::from([(0, units)]) };
    Moves { sold: units(sold), returned: units(returned) }
}

fn differences(story: &OrderStory, record: &OrderAnswer, moves: &Moves) -> usize {
    story.record_differences(Some(record), Some(moves), &opening()).len()
}

#[test]
fn an_order_must_be_there_as_it_was_told() {
    let story = story(false, vec![by_line("a", 3, BlowOutcome::Done)]);
    let right = record("partly_cancelled", 3);
    assert_eq!(differences(&story, &right, &moves(4, 3)), 0);
    assert_eq!(differences(&story, &record("partly_cancelled", 2), &moves(4, 3)), 1);
    assert_eq!(differences(&story, &record("placed", 3), &moves(4, 3)), 1);
    let mut other = record("partly_cancelled", 3);
    other.user_id = "v".into();
    assert_eq!(differences(&story, &other, &moves(4, 3)), 1);
    assert_eq!(story.record_differences(None, None, &opening()), ["it is not there"]);
}

#[test]
fn a_return_that_is_lost_or_doubled_is_found_in_the_orders_own_movements() {
    let story = story(false, vec![by_api(between(12, 13))]);
    let cancelled = record("cancelled", 4);
    assert_eq!(differences(&story, &cancelled, &moves(4, 4)), 0);
    assert_eq!(differences(&story, &cancelled, &moves(4, 0)), 1, "lost");
    assert_eq!(differences(&story, &cancelled, &moves(4, 8)), 1, "doubled");
    assert_eq!(differences(&story, &cancelled, &moves(8, 4)), 1, "sold twice");
    assert_eq!(story.record_differences(Some(&cancelled), None, &opening()).len(), 2);
}

#[test]
fn an_order_that_was_born_cancelled_has_no_movements() {
    let story = story(true, vec![event("a", between(1, 2), WaitingForOrder)]);
    assert_eq!(differences(&story, &record("cancelled", 4), &moves(0, 0)), 0);
    assert_eq!(differences(&story, &record("cancelled", 4), &moves(4, 4)), 2);
}
