//! What the judge makes of outcomes.

use std::time::{Duration, Instant};

use hyper::header::HeaderMap;
use rust_decimal::Decimal;
use serde_json::json;

use super::*;
use crate::connection::Broken;
use crate::shop::SaleLine;
use crate::verdict::{ShelfItem, Span};

const LINES: [SaleLine; 2] = [SaleLine { item: 0, quantity: 2 }, SaleLine { item: 0, quantity: 3 }];

fn judge() -> anyhow::Result<Judge> {
    Judge::new(Rc::new(Opening::new(vec![ShelfItem {
        variant_id: Uuid::from_u128(1),
        sku: "r-mug".into(),
        price: Decimal::ONE,
        on_hand: 10,
    }])))
}

fn settled(status: u16, body: &serde_json::Value, replayed: bool) -> anyhow::Result<Settled> {
    let mut headers = HeaderMap::new();
    if replayed {
        headers.insert("idempotent-replayed", "true".parse()?);
    }
    let body = serde_json::to_vec(body)?.into();
    let answer = Answer::new(StatusCode::from_u16(status)?, &headers, body);
    Ok(Settled { answer: Some(answer), causes: Vec::new() })
}

fn told(settled: Settled) -> Told {
    let now = Instant::now();
    let when = Span { asked: now, answered: now };
    Told { settled, when, latency: Duration::from_millis(1), had_twin: false }
}

fn order_body(order_id: u128) -> serde_json::Value {
    let line = |id: u128, quantity: i64| {
        json!({"line_id": Uuid::from_u128(id), "variant_id": Uuid::from_u128(1), "sku": "r-mug",
            "quantity": quantity, "unit_price": "1.00", "line_total": quantity.to_string(),
            "cancelled_quantity": 0})
    };
    json!({"order_id": Uuid::from_u128(order_id), "user_id": "u", "status": "placed", "currency": "GBP",
        "total": "5.00",
        "lines": [line(11, 2), line(12, 3)]})
}

fn sent(key: &str) -> SentOrder<'_> {
    SentOrder { key, user_id: "u", lines: &LINES, may_be_born_cancelled: false }
}

#[test]
fn a_placed_order_takes_its_units_off_the_tally() -> anyhow::Result<()> {
    let mut judge = judge()?;
    assert!(judge.order(&sent("1"), &told(settled(201, &order_body(9), false)?)).is_some());
    assert_eq!(judge.tallies()[0].expected(), 5);
    assert!(judge.faults().is_empty());
    Ok(())
}

#[test]
fn an_honest_refusal_takes_nothing_and_is_no_fault() -> anyhow::Result<()> {
    let mut judge = judge()?;
    let refusal = json!({"code": "insufficient_stock", "errors": [
        {"variant_id": Uuid::from_u128(1), "requested": 5, "available": 4}]});
    assert!(judge.order(&sent("1"), &told(settled(409, &refusal, false)?)).is_none());
    assert_eq!(judge.tallies()[0].expected(), 10);
    assert!(judge.faults().is_empty());
    assert_eq!(judge.calls()[&CallKind::Order].answers["409 insufficient_stock"], 1);
    Ok(())
}

#[test]
fn any_other_refusal_is_a_fault() -> anyhow::Result<()> {
    let mut judge = judge()?;
    judge.order(&sent("1"), &told(settled(409, &json!({"code": "total_changed"}), false)?));
    judge.order(&sent("2"), &told(settled(422, &json!({"code": "validation"}), false)?));
    judge.order(&sent("3"), &told(settled(200, &order_body(9), false)?));
    assert_eq!(judge.faults().count(FaultKind::UnexpectedAnswer), 3);
    Ok(())
}

#[test]
fn one_order_id_for_two_keys_is_a_fault() -> anyhow::Result<()> {
    let mut judge = judge()?;
    judge.order(&sent("1"), &told(settled(201, &order_body(9), false)?));
    judge.order(&sent("2"), &told(settled(201, &order_body(9), false)?));
    assert_eq!(judge.faults().count(FaultKind::OrderIdTwice), 1);
    Ok(())
}

#[test]
fn silence_is_a_doubt_and_a_fault() -> anyhow::Result<()> {
    let mut judge = judge()?;
    let silence = Settled { answer: None, causes: vec![Cause::Broken(Broken::Lost)] };
    judge.order(&sent("1"), &told(silence));
    assert_eq!(judge.faults().count(FaultKind::Unresolved), 1);
    assert_eq!(judge.tallies()[0].contradicts(5), None);
    assert_eq!(judge.tallies()[0].contradicts(10), None);
    assert!(judge.tallies()[0].contradicts(11).is_some());
    Ok(())
}

#[test]
fn two_answers_for_a_key_are_the_same_bytes_and_one_is_the_first() -> anyhow::Result<()> {
    let (one, other) = (order_body(9), order_body(8));
    let pairs = [
        (settled(201, &one, false)?, settled(201, &one, true)?, None),
        (settled(201, &one, true)?, settled(201, &one, false)?, None),
        (settled(409, &one, false)?, settled(409, &one, true)?, None),
        (settled(422, &one, false)?, settled(422, &other, false)?, None),
        (settled(201, &one, false)?, settled(201, &other, true)?, Some(FaultKind::RepeatDiffers)),
        (settled(201, &one, false)?, settled(200, &one, true)?, Some(FaultKind::RepeatDiffers)),
        (settled(201, &one, false)?, settled(201, &one, false)?, Some(FaultKind::RepeatMark)),
        (settled(201, &one, true)?, settled(201, &one, true)?, Some(FaultKind::RepeatMark)),
    ];
    for (first, second, fault) in pairs {
        let mut judge = judge()?;
        judge.repeat("1", RepeatWhen::Alongside, &first, &second);
        let found: Vec<_> = judge.faults().report().into_keys().collect();
        assert_eq!(found, Vec::from_iter(fault));
    }
    Ok(())
}

#[test]
fn a_first_request_is_no_replay() -> anyhow::Result<()> {
    let mut judge = judge()?;
    judge.order(&sent("1"), &told(settled(201, &order_body(9), true)?));
    assert_eq!(judge.faults().count(FaultKind::RepeatMark), 1);
    let twin = Told { had_twin: true, ..told(settled(201, &order_body(8), true)?) };
    judge.order(&sent("2"), &twin);
    let mut doubted = settled(201, &order_body(7), true)?;
    doubted.causes.push(Cause::Broken(Broken::Lost));
    judge.order(&sent("3"), &told(doubted));
    assert_eq!(judge.faults().count(FaultKind::RepeatMark), 1);
    Ok(())
}

#[test]
fn both_may_be_replays_when_an_earlier_answer_was_lost() -> anyhow::Result<()> {
    let mut judge = judge()?;
    let mut first = settled(201, &order_body(9), true)?;
    let second = settled(201, &order_body(9), true)?;
    first.causes.push(Cause::NotNow("429 lock_timeout".into()));
    judge.repeat("1", RepeatWhen::StraightAfter, &first, &second);
    assert_eq!(judge.faults().count(FaultKind::RepeatMark), 1);
    first.causes.push(Cause::Broken(Broken::Lost));
    judge.repeat("1", RepeatWhen::StraightAfter, &first, &second);
    assert_eq!(judge.faults().count(FaultKind::RepeatMark), 1);
    assert_eq!(judge.repeats().identical, 1);
    Ok(())
}

#[test]
fn a_return_puts_units_back_once_it_is_answered() -> anyhow::Result<()> {
    let mut judge = judge()?;
    let sent = SentMovement { key: "k", item: 0, delta: 4 };
    let body = json!({"variant_id": Uuid::from_u128(1), "version": 2, "delta": 4, "kind": "return",
        "previous_quantity": 10, "new_quantity": 14});
    judge.movement(CallKind::Increment, &sent, &told(settled(200, &body, false)?));
    assert_eq!(judge.tallies()[0].expected(), 14);
    let short = json!({"code": "insufficient_stock"});
    judge.movement(CallKind::Increment, &sent, &told(settled(409, &short, false)?));
    assert_eq!(judge.faults().count(FaultKind::UnexpectedAnswer), 1);
    Ok(())
}
