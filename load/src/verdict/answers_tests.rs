//! Answers that fit what was sent, and answers that do not.

use serde_json::{Value, json};

use super::*;
use crate::service::MovementKind;
use crate::verdict::ShelfItem;

const MUG: Uuid = Uuid::from_u128(1);
const LAMP: Uuid = Uuid::from_u128(2);
const LINES: [SaleLine; 3] =
    [SaleLine { item: 0, quantity: 2 }, SaleLine { item: 1, quantity: 1 }, SaleLine { item: 0, quantity: 3 }];

fn opening() -> Opening {
    let shelf = |variant_id, sku: &str, price| ShelfItem {
        variant_id,
        sku: sku.into(),
        price: Decimal::new(price, 2),
        on_hand: 10,
    };
    Opening::new(vec![shelf(MUG, "r-mug", 255), shelf(LAMP, "r-lamp", 0)])
}

fn answer() -> Value {
    let line = |id: u128, variant: Uuid, sku: &str, quantity: i64, price: &str, total: &str| {
        json!({"line_id": Uuid::from_u128(id), "variant_id": variant, "sku": sku, "quantity": quantity,
            "unit_price": price, "line_total": total, "cancelled_quantity": 0})
    };
    json!({"order_id": Uuid::from_u128(9), "user_id": "r-17850", "currency": "GBP", "total": "12.75",
    "status": "placed", "lines": [
        line(11, MUG, "r-mug", 2, "2.55", "5.10"),
        line(12, LAMP, "r-lamp", 1, "0.00", "0.00"),
        line(13, MUG, "r-mug", 3, "2.55", "7.65"),
    ]})
}

fn judged(answer: Value) -> anyhow::Result<Vec<String>> {
    let sent = SentOrder { key: "r-1", user_id: "r-17850", lines: &LINES, may_be_born_cancelled: false };
    Ok(order_differences(&sent, &serde_json::from_value(answer)?, &opening()))
}

#[test]
fn an_order_told_as_it_was_sent_is_right() -> anyhow::Result<()> {
    assert!(judged(answer())?.is_empty());
    Ok(())
}

#[test]
fn the_order_of_lines_is_the_services_own_affair() -> anyhow::Result<()> {
    let mut turned = answer();
    if let Some(lines) = turned["lines"].as_array_mut() {
        lines.reverse();
    }
    assert!(judged(turned)?.is_empty());
    Ok(())
}

#[test]
fn every_kind_of_difference_is_found() -> anyhow::Result<()> {
    let changes: [(&str, Value, &str); 9] = [
        ("/user_id", json!("r-1"), "user"),
        ("/currency", json!("EUR"), "currency"),
        ("/total", json!("12.76"), "the total is 12.76"),
        ("/lines/0/quantity", json!(1), "other lines"),
        ("/lines/0/line_id", json!(Uuid::from_u128(13)), "one id"),
        ("/lines/0/unit_price", json!("2.54"), "at 2.54"),
        ("/lines/0/line_total", json!("5.11"), "is not 5.11"),
        ("/lines/0/cancelled_quantity", json!(1), "cancelled"),
        ("/lines/0/variant_id", json!(Uuid::from_u128(3)), "not of this run"),
    ];
    for (place, value, words) in changes {
        let mut changed = answer();
        if let Some(cell) = changed.pointer_mut(place) {
            *cell = value;
        }
        let found = judged(changed)?;
        assert!(found.iter().any(|one| one.contains(words)), "{place}: {found:?}");
    }
    Ok(())
}

#[test]
fn a_line_left_out_is_found() -> anyhow::Result<()> {
    let mut short = answer();
    if let Some(lines) = short["lines"].as_array_mut() {
        lines.pop();
    }
    assert_eq!(
        judged(short)?,
        ["3 lines became 2 other lines", "the lines add up to 5.10, the total is 12.75"]
    );
    Ok(())
}

#[test]
fn a_cancellation_must_show_what_was_taken_back_so_far() -> anyhow::Result<()> {
    let mut told = answer();
    told["lines"][0]["cancelled_quantity"] = json!(2);
    let told: OrderAnswer = serde_json::from_value(told)?;
    let sent = |lines_after| SentCancel {
        key: "k",
        order_id: Uuid::from_u128(9),
        lines_after,
        returned: vec![(0, 2)],
    };
    let (first, second) = (Uuid::from_u128(11), Uuid::from_u128(12));
    assert!(cancel_differences(&sent(vec![(first, 2), (second, 0)]), &told).is_empty());
    assert_eq!(cancel_differences(&sent(vec![(first, 1)]), &told).len(), 1);
    assert_eq!(cancel_differences(&sent(vec![(Uuid::nil(), 1)]), &told).len(), 1);
    Ok(())
}

#[test]
fn a_movement_must_be_the_one_asked_for_and_add_up() {
    let sent = SentMovement { key: "k", item: 0, delta: -2 };
    let movement = |delta, new_quantity| Movement {
        variant_id: MUG,
        version: 2,
        kind: MovementKind::Sale,
        reference: None,
        delta,
        previous_quantity: 10,
        new_quantity,
    };
    assert!(movement_differences(&sent, &movement(-2, 8), &opening()).is_empty());
    assert_eq!(movement_differences(&sent, &movement(-2, 9), &opening()), ["10 -2 is not 9"]);
    assert_eq!(movement_differences(&sent, &movement(-1, 9), &opening()), ["-2 became -1"]);
}

#[test]
fn a_refusal_must_name_an_item_of_which_there_is_too_little() -> anyhow::Result<()> {
    let judged = |errors: Value| -> anyhow::Result<usize> {
        let refusal: Shortages = serde_json::from_value(json!({"errors": errors}))?;
        Ok(refusal_differences(&wanted(&LINES), &refusal, &opening()).len())
    };
    let short = |variant: Uuid, requested: i64, available: i64| json!([{"variant_id": variant, "requested": requested, "available": available}]);
    assert_eq!(judged(short(MUG, 5, 4))?, 0);
    assert_eq!(judged(short(MUG, 5, 5))?, 1);
    assert_eq!(judged(short(MUG, 6, 4))?, 1);
    assert_eq!(judged(short(Uuid::nil(), 5, 4))?, 1);
    assert_eq!(judged(json!([]))?, 1);
    assert_eq!(judged(json!([{"field": "lines"}]))?, 1);
    Ok(())
}
