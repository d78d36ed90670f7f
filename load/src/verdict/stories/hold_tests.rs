//! Holds that ended as they may, and holds that did not.

use serde_json::json;

use super::*;

const TTL: Duration = Duration::from_secs(10);

/// Between so many seconds after the beginning.
fn between(asked: u64, answered: u64) -> Span {
    // One moment for all spans of a test.
    static BEGAN: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    let began = *BEGAN.get_or_init(Instant::now) + Duration::from_secs(100);
    Span { asked: began + Duration::from_secs(asked), answered: began + Duration::from_secs(answered) }
}

/// A hold of three units of item 0 that was asked for at 0 and answered at 1, so it is over between 10 and 11.
fn story(attempts: Vec<Attempt>) -> HoldStory {
    HoldStory {
        hold_id: Uuid::from_u128(1),
        user_id: "u".into(),
        lines: vec![HeldLine { line_id: Uuid::from_u128(11), item: 0, quantity: 3 }],
        held: between(0, 1),
        ttl: TTL,
        attempts,
    }
}

fn capture(key: &str, units: i64, when: Span, outcome: Outcome) -> Attempt {
    Attempt { key: key.into(), end: End::Capture(vec![(0, units)]), when, outcome }
}

fn release(when: Span, outcome: Outcome) -> Attempt {
    Attempt { key: "r".into(), end: End::Release, when, outcome }
}

fn order(id: u128) -> Outcome {
    Outcome::Done(Some(Uuid::from_u128(id)))
}

fn kinds(attempts: Vec<Attempt>) -> Vec<FaultKind> {
    story(attempts).contradictions().into_iter().map(|(kind, _)| kind).collect()
}

#[test]
fn a_hold_that_ended_once_in_its_time_is_right() {
    let captured_then_refused = vec![
        capture("a", 3, between(2, 3), order(7)),
        capture("b", 3, between(2, 3), Outcome::Refused(HoldState::Captured)),
        release(between(4, 5), Outcome::Refused(HoldState::Captured)),
    ];
    let late = || capture("a", 3, between(10, 12), Outcome::Refused(HoldState::Expired));
    let just_in_time = capture("a", 3, between(10, 12), order(7));
    for right in [
        vec![],
        captured_then_refused,
        vec![release(between(2, 3), Outcome::Done(None))],
        vec![late()],
        vec![just_in_time],
    ] {
        assert_eq!(kinds(right), []);
    }
}

#[test]
fn a_hold_that_was_captured_twice_is_found() {
    let twice = vec![capture("a", 3, between(2, 3), order(7)), capture("b", 3, between(2, 3), order(8))];
    assert_eq!(kinds(twice), [FaultKind::HoldEndedTwice]);
    let both = vec![capture("a", 3, between(2, 3), order(7)), release(between(2, 3), Outcome::Done(None))];
    assert_eq!(kinds(both), [FaultKind::HoldEndedTwice]);
}

#[test]
fn a_capture_after_the_holds_time_is_found() {
    assert_eq!(kinds(vec![capture("a", 3, between(12, 13), order(7))]), [FaultKind::EndedAfterItsTime]);
    let released = release(between(12, 13), Outcome::Done(None));
    assert_eq!(kinds(vec![released]), [FaultKind::EndedAfterItsTime]);
}

#[test]
fn a_hold_that_is_told_to_be_over_too_soon_is_found() {
    let over = |when| vec![capture("a", 3, when, Outcome::Refused(HoldState::Expired))];
    assert_eq!(kinds(over(between(2, 3))), [FaultKind::RefusalUnfounded]);
    assert_eq!(kinds(over(between(2, 10))), []);
}

#[test]
fn a_refusal_must_be_borne_out_by_another_answer() {
    for state in [HoldState::Captured, HoldState::Released, HoldState::Held] {
        let refused = vec![capture("a", 3, between(2, 3), Outcome::Refused(state))];
        assert_eq!(kinds(refused), [FaultKind::RefusalUnfounded], "{state:?}");
    }
    // Captured only later.
    let early = vec![
        capture("a", 3, between(2, 3), Outcome::Refused(HoldState::Captured)),
        capture("b", 3, between(4, 5), order(7)),
    ];
    assert_eq!(kinds(early), [FaultKind::RefusalUnfounded]);
    // Expired, and captured all the same.
    let revived = vec![
        capture("a", 3, between(10, 11), Outcome::Refused(HoldState::Expired)),
        capture("b", 3, between(10, 11), order(7)),
    ];
    assert_eq!(kinds(revived), [FaultKind::RefusalUnfounded]);
}

#[test]
fn a_hold_takes_when_it_was_answered_and_gives_back_when_its_end_was_first_possible() {
    let moves = |attempts| {
        let began = between(0, 0).asked;
        let moves = story(attempts).moves().into_iter();
        moves
            .map(|(_, moment, delta)| ((moment - began).as_secs_f64().round() as u64, delta))
            .collect::<Vec<_>>()
    };
    assert_eq!(moves(vec![]), [(1, -3), (10, 3)]);
    assert_eq!(moves(vec![capture("a", 2, between(4, 5), order(7))]), [(1, -3), (4, 1)]);
    assert_eq!(moves(vec![capture("a", 3, between(4, 5), order(7))]), [(1, -3), (4, 0)]);
    assert_eq!(moves(vec![release(between(4, 5), Outcome::Done(None))]), [(1, -3), (4, 3)]);
    assert_eq!(moves(vec![release(between(4, 5), Outcome::Unknown)]), [(1, -3), (4, 3)]);
}

fn record(state: &str, order_id: Option<u128>) -> HoldAnswer {
    let line =
        json!({"line_id": Uuid::from_u128(11), "variant_id": Uuid::nil(), "quantity": 3, "unit_price": "1"});
    serde_json::from_value(
        json!({"hold_id": Uuid::from_u128(1), "user_id": "u", "state": state, "total": "3",
        "lines": [line], "order_id": order_id.map(Uuid::from_u128)}),
    )
    .unwrap()
}

#[test]
fn what_is_written_down_must_be_what_was_told() {
    let captured = || story(vec![capture("a", 3, between(2, 3), order(7))]);
    let released = || story(vec![release(between(2, 3), Outcome::Done(None))]);
    let lapsed = || story(vec![]);
    for (story, state, order_id, differences) in [
        (captured(), "captured", Some(7), 0),
        (captured(), "captured", Some(8), 1),
        (captured(), "held", None, 1),
        (released(), "released", None, 0),
        (released(), "expired", None, 1),
        (lapsed(), "expired", None, 0),
        (lapsed(), "held", None, 1),
        (lapsed(), "captured", Some(7), 1),
    ] {
        let found = story.record_differences(Some(&record(state, order_id)));
        assert_eq!(found.len(), differences, "{state} {order_id:?}: {found:?}");
    }
    assert_eq!(lapsed().record_differences(None), ["it is not there"]);
    let mut other = record("expired", None);
    other.lines[0].quantity = 2;
    assert_eq!(lapsed().record_differences(Some(&other)).len(), 1);
    other = record("expired", None);
    other.user_id = "v".into();
    assert_eq!(lapsed().record_differences(Some(&other)).len(), 1);
}
