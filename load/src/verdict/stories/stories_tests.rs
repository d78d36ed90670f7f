//! Whole runs as the judge hears them, with something planted that cannot be.

use std::rc::Rc;
use std::time::{Duration, Instant};

use hyper::StatusCode;
use hyper::header::HeaderMap;
use rust_decimal::Decimal;
use serde_json::{Value, json};

use super::*;
use crate::connection::{Answer, Settled};
use crate::service::{CancelLine, HoldAnswer, Movement, OrderAnswer};
use crate::shop::SaleLine;
use crate::verdict::{CallKind, Judge, SentHold, SentMovement, SentOrder, ShelfItem, Told};

const MUG: Uuid = Uuid::from_u128(1);
const TTL: Duration = Duration::from_secs(10);
const THREE: [SaleLine; 1] = [SaleLine { item: 0, quantity: 3 }];

/// A judge of four mugs, and the clock of what it is told.
struct Bench {
    judge: Judge,
    began: Instant,
}

impl Bench {
    fn new() -> Self {
        let mug = ShelfItem { variant_id: MUG, sku: "r-mug".into(), price: Decimal::ONE, on_hand: 4 };
        let judge = Judge::new(Rc::new(Opening::new(vec![mug]))).unwrap();
        Self { judge, began: Instant::now() + Duration::from_secs(3_600) }
    }

    /// An answer that was asked for at `second` and came half a second later.
    fn told(&self, second: u64, status: u16, body: &Value) -> Told {
        let body = serde_json::to_vec(body).unwrap().into();
        let answer = Answer::new(StatusCode::from_u16(status).unwrap(), &HeaderMap::new(), body);
        let asked = self.began + Duration::from_secs(second);
        let when = Span { asked, answered: asked + Duration::from_millis(500) };
        let settled = Settled { answer: Some(answer), causes: Vec::new() };
        Told { settled, when, latency: Duration::from_millis(500), had_twin: false }
    }

    fn hold(&mut self, second: u64, id: u128, user: &str) -> HoldAnswer {
        let told = self.told(second, 201, &held(id, user, "held", None));
        let key = format!("{user}-hold");
        let sent = SentHold { key: &key, user_id: user, lines: &THREE, ttl: TTL };
        self.judge.hold(&sent, &told).unwrap()
    }

    fn capture(&mut self, second: u64, hold: &HoldAnswer, key: &str, order_id: u128) {
        let user = hold.user_id.clone();
        let told = self.told(second, 201, &order(order_id, &user, "placed", 0));
        let sent = SentOrder { key, user_id: &user, lines: &THREE, may_be_born_cancelled: false };
        self.judge.capture(hold, &sent, &told);
    }

    fn place(&mut self, second: u64, user: &str, order_id: u128) {
        let told = self.told(second, 201, &order(order_id, user, "placed", 0));
        let key = format!("{user}-order");
        let sent = SentOrder { key: &key, user_id: user, lines: &THREE, may_be_born_cancelled: true };
        self.judge.place(&sent, &told).unwrap();
    }

    fn cancel(&mut self, second: u64, user: &str, order_id: u128) {
        let told = self.told(second, 200, &order(order_id, user, "cancelled", 3));
        let key = format!("{user}-order");
        let sent = SentBlow { name: "c", by: By::Api, lines: None };
        self.judge.blow((user, &key), &sent, &[told]);
    }

    /// The verdict on what was told alone: faults, and what must be on hand.
    fn settled(mut self) -> (Vec<FaultKind>, i64) {
        self.judge.settle();
        (self.judge.faults().report().into_keys().collect(), self.judge.tallies()[0].expected())
    }

    /// The verdict on what the service has besides.
    fn compared(mut self, record: &Record) -> Vec<FaultKind> {
        self.judge.settle();
        self.judge.compare(record);
        self.judge.faults().report().into_keys().collect()
    }
}

fn held(id: u128, user: &str, state: &str, order_id: Option<u128>) -> Value {
    let line = json!({"line_id": Uuid::from_u128(11), "variant_id": MUG, "quantity": 3, "unit_price": "1"});
    json!({"hold_id": Uuid::from_u128(id), "user_id": user, "state": state, "total": "3", "lines": [line],
        "order_id": order_id.map(Uuid::from_u128)})
}

fn order(id: u128, user: &str, status: &str, cancelled: i64) -> Value {
    let line = json!({"line_id": Uuid::from_u128(12), "variant_id": MUG, "sku": "r-mug", "quantity": 3,
        "unit_price": "1", "line_total": "3", "cancelled_quantity": cancelled});
    json!({"order_id": Uuid::from_u128(id), "user_id": user, "status": status, "currency": "GBP", "total": "3",
        "lines": [line]})
}

/// What the service has: orders, holds, and movements as `(kind, delta, reference)`.
fn record(orders: &[Value], holds: &[Value], moves: &[(&str, i64, String)]) -> Record {
    let mut record = Record::default();
    for value in orders {
        let order: OrderAnswer = serde_json::from_value(value.clone()).unwrap();
        record.orders.insert(order.order_id, order);
    }
    for value in holds {
        let hold: HoldAnswer = serde_json::from_value(value.clone()).unwrap();
        record.holds.insert(hold.hold_id, hold);
    }
    for (place, (kind, delta, reference)) in moves.iter().enumerate() {
        let movement = json!({"variant_id": MUG, "version": place + 2, "kind": kind, "reference": reference,
            "delta": delta, "previous_quantity": 0, "new_quantity": delta});
        record.note(0, &[serde_json::from_value::<Movement>(movement).unwrap()]);
    }
    record
}

fn id(number: u128) -> String {
    Uuid::from_u128(number).to_string()
}

#[test]
fn a_hold_that_is_captured_sells_once() {
    let mut bench = Bench::new();
    let hold = bench.hold(0, 5, "ann");
    bench.capture(2, &hold, "k", 7);
    assert_eq!(bench.settled(), (vec![], 1));
}

#[test]
fn a_double_capture_is_found() {
    let mut bench = Bench::new();
    let hold = bench.hold(0, 5, "ann");
    bench.capture(2, &hold, "k", 7);
    bench.capture(2, &hold, "l", 8);
    assert_eq!(bench.settled().0, [FaultKind::HoldEndedTwice]);
}

#[test]
fn a_double_capture_of_which_only_one_was_told_is_found_in_the_records() {
    let run = || {
        let mut bench = Bench::new();
        let hold = bench.hold(0, 5, "ann");
        bench.capture(2, &hold, "k", 7);
        bench
    };
    let hold = held(5, "ann", "captured", Some(7));
    let one = [("sale", -3, id(7))];
    assert_eq!(
        run().compared(&record(&[order(7, "ann", "placed", 0)], std::slice::from_ref(&hold), &one)),
        []
    );
    let two = [order(7, "ann", "placed", 0), order(8, "ann", "placed", 0)];
    assert_eq!(run().compared(&record(&two, std::slice::from_ref(&hold), &one)), [FaultKind::NobodyWasTold]);
    let sold_twice = [("sale", -3, id(7)), ("sale", -3, id(8))];
    let found = run().compared(&record(&two[..1], &[hold], &sold_twice));
    assert_eq!(found, [FaultKind::NobodyWasTold]);
}

#[test]
fn a_capture_after_the_holds_time_is_found() {
    let mut bench = Bench::new();
    let hold = bench.hold(0, 5, "ann");
    bench.capture(11, &hold, "k", 7);
    assert_eq!(bench.settled().0, [FaultKind::EndedAfterItsTime]);
}

#[test]
fn holds_of_more_than_there_is_are_found_though_all_of_them_lapse() {
    let mut bench = Bench::new();
    bench.hold(0, 5, "ann");
    bench.hold(11, 6, "bob");
    assert_eq!(bench.settled(), (vec![], 4));
    let mut bench = Bench::new();
    bench.hold(0, 5, "ann");
    bench.hold(3, 6, "bob");
    assert_eq!(bench.settled(), (vec![FaultKind::Oversold], 4));
}

#[test]
fn an_oversell_is_found() {
    let mut bench = Bench::new();
    bench.place(0, "ann", 7);
    bench.place(1, "bob", 8);
    assert_eq!(bench.settled(), (vec![FaultKind::Oversold], -2));
    let mut bench = Bench::new();
    bench.place(0, "ann", 7);
    bench.cancel(1, "ann", 7);
    bench.place(2, "bob", 8);
    assert_eq!(bench.settled(), (vec![], 1));
}

#[test]
fn one_hold_or_order_for_two_is_found() {
    let mut bench = Bench::new();
    bench.hold(0, 5, "ann");
    bench.hold(11, 5, "bob");
    assert_eq!(bench.settled().0, [FaultKind::HoldDiffers]);
}

#[test]
fn a_lost_return_and_a_double_one_are_found_though_together_they_add_up() {
    let mut bench = Bench::new();
    for (second, user, order_id) in [(0, "ann", 7), (2, "bob", 8)] {
        bench.place(second, user, order_id);
        bench.cancel(second + 1, user, order_id);
    }
    let orders = [order(7, "ann", "cancelled", 3), order(8, "bob", "cancelled", 3)];
    let moves = [("sale", -3, id(7)), ("return", 3, id(7)), ("return", 3, id(7)), ("sale", -3, id(8))];
    assert_eq!(bench.compared(&record(&orders, &[], &moves)), [FaultKind::OrderRecordDiffers]);
}

#[test]
fn a_lost_order_and_a_hold_that_is_told_and_not_there_are_found() {
    let mut bench = Bench::new();
    bench.hold(0, 5, "ann");
    bench.place(11, "bob", 7);
    let found = bench.compared(&record(&[], &[], &[]));
    assert_eq!(found, [FaultKind::OrderRecordDiffers, FaultKind::HoldRecordDiffers]);
}

#[test]
fn a_leaked_hold_is_found() {
    let run = || {
        let mut bench = Bench::new();
        bench.hold(0, 5, "ann");
        bench
    };
    let lapsed = held(5, "ann", "expired", None);
    assert_eq!(run().compared(&record(&[], std::slice::from_ref(&lapsed), &[])), []);
    let leaked = held(5, "ann", "held", None);
    assert_eq!(run().compared(&record(&[], &[leaked], &[])), [FaultKind::HoldRecordDiffers]);
    let strange = held(6, "ann", "held", None);
    assert_eq!(run().compared(&record(&[], &[lapsed, strange], &[])), [FaultKind::NobodyWasTold]);
}

#[test]
fn a_change_of_one_item_is_carried_out_once_or_found() {
    let run = || {
        let mut bench = Bench::new();
        let body = json!({"variant_id": MUG, "version": 2, "kind": "sale", "reference": "k", "delta": -2,
            "previous_quantity": 4, "new_quantity": 2});
        let told = bench.told(0, 200, &body);
        let sent = SentMovement { key: "k", item: 0, delta: -2 };
        assert!(bench.judge.change(CallKind::Decrement, &sent, &told));
        bench
    };
    let moves = |moves: &[(&str, i64, String)]| record(&[], &[], moves);
    let once = ("sale", -2, "k".to_owned());
    assert_eq!(run().settled(), (vec![], 2));
    assert_eq!(run().compared(&moves(std::slice::from_ref(&once))), []);
    assert_eq!(run().compared(&moves(&[once.clone(), once.clone()])), [FaultKind::MovementDiffers]);
    assert_eq!(run().compared(&moves(&[])), [FaultKind::MovementDiffers]);
    let other = ("sale", -1, "l".to_owned());
    assert_eq!(run().compared(&moves(&[once, other])), [FaultKind::NobodyWasTold]);
}

#[test]
fn a_capture_that_is_refused_for_want_of_stock_or_a_level_that_does_not_add_up_is_found() {
    let mut bench = Bench::new();
    let hold = bench.hold(0, 5, "ann");
    let told = bench.told(1, 409, &json!({"code": "insufficient_stock"}));
    let sent = SentOrder { key: "k", user_id: "ann", lines: &THREE, may_be_born_cancelled: false };
    assert!(bench.judge.capture(&hold, &sent, &told).is_none());
    let level = |held: i64, available: i64| json!({"variant_id": MUG, "on_hand": 4, "held": held, "available": available});
    bench.judge.level(0, &bench.told(2, 200, &level(3, 1)));
    assert_eq!(bench.judge.faults().count(FaultKind::LevelDiffers), 0);
    bench.judge.level(0, &bench.told(2, 200, &level(3, 4)));
    bench.judge.level(0, &bench.told(2, 200, &level(-1, 5)));
    assert_eq!(bench.judge.faults().count(FaultKind::LevelDiffers), 2);
    assert_eq!(bench.settled().0, [FaultKind::UnexpectedAnswer, FaultKind::LevelDiffers]);
}

#[test]
fn a_cancellation_that_leaves_something_is_found() {
    let mut bench = Bench::new();
    bench.place(0, "ann", 7);
    let told = [bench.told(1, 200, &order(7, "ann", "placed", 0))];
    let line = [CancelLine { line_id: Uuid::from_u128(12), quantity: 2 }];
    for lines in [None, Some(&line[..])] {
        let sent = SentBlow { name: "c", by: By::Api, lines };
        bench.judge.blow(("ann", "ann-order"), &sent, &told);
    }
    assert_eq!(bench.judge.faults().count(FaultKind::CancelDiffers), 2);
}

#[test]
fn an_outcome_that_is_never_known_fails_the_run_and_widens_what_may_be_there() {
    let mut bench = Bench::new();
    bench.place(0, "ann", 7);
    let mut silent = bench.told(1, 200, &Value::Null);
    silent.settled.answer = None;
    let sent = SentBlow { name: "c", by: By::Api, lines: None };
    bench.judge.blow(("ann", "ann-order"), &sent, &[silent]);
    bench.judge.settle();
    let tally = bench.judge.tallies()[0];
    assert_eq!((tally.expected(), tally.doubted_in), (1, 3));
    assert_eq!(bench.judge.faults().count(FaultKind::Unresolved), 1);
}
