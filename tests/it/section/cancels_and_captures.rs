//! Cancellations and captures in a section with others: each on what the one before it left.

use serde_json::{Value, json};
use uuid::Uuid;

use super::SOON;
use super::shared::{behind_a_sale, sale, transactions};
use crate::support::{Sender, TestApp, eventually};

type Call = (String, Value, Option<String>);

fn cancel(order: &Value, lines: &Value) -> Call {
    let path = format!("/orders/{}/cancel", order["order_id"].as_str().unwrap());
    (path, if lines.is_null() { json!({}) } else { json!({ "lines": lines }) }, None)
}

fn capture(hold: &Value, key: &str, body: Value) -> Call {
    (format!("/holds/{}/capture", hold["hold_id"].as_str().unwrap()), body, Some(key.to_owned()))
}

async fn held(app: &TestApp, variant: Uuid, units: i64) -> Value {
    let lines = json!([{"variant_id": variant, "quantity": units}]);
    let body = json!({"user_id": "ann", "lines": lines});
    app.client.post_keyed("/holds", &body, &format!("hold-{units}")).await.expect(201).json()
}

#[tokio::test]
async fn those_who_cancel_one_order_share_a_section_and_what_is_left_of_it() {
    for app in [TestApp::start().await, TestApp::without_redis().await] {
        let variant = app.client.variant(10).await;
        let order = app.client.order("ann", "key-1", &[(variant, 5)]).await.expect(201).json();
        let another = app.client.order("ann", "key-2", &[(variant, 1)]).await.expect(201).json();
        let some = |units| json!([{"line_id": order["lines"][0]["line_id"], "quantity": units}]);
        let calls = vec![
            cancel(&order, &some(1)),
            cancel(&order, &some(2)),
            cancel(&order, &some(3)),
            cancel(&another, &Value::Null),
            cancel(&order, &Value::Null),
            sale(variant, 9),
            cancel(&order, &Value::Null),
        ];
        let replies = behind_a_sale(&app, variant, calls).await;
        let statuses: Vec<_> = replies.iter().map(|reply| reply.status.as_u16()).collect();
        assert_eq!(statuses, [200, 200, 409, 200, 200, 200, 200]);
        assert_eq!(replies[2].code(), "cancel_exceeds_ordered");
        let cancelled = |place: usize| {
            let order = replies[place].json();
            (order["status"].clone(), order["lines"][0]["cancelled_quantity"].clone())
        };
        assert_eq!(cancelled(0), (json!("partly_cancelled"), json!(1)));
        assert_eq!(cancelled(1), (json!("partly_cancelled"), json!(3)));
        assert_eq!(
            [cancelled(4), cancelled(6)],
            [(json!("cancelled"), json!(5)), (json!("cancelled"), json!(5))]
        );
        assert_eq!(app.client.on_hand(variant).await, 10 - 1 - 9, "all that was ordered is back, and sold");
        assert_eq!(transactions(&app, variant, 5).await, 1, "one commit for all who waited");
        let kept: Vec<i64> = sqlx::query_scalar(
            "SELECT quantity FROM order_cancellations WHERE order_id = $1::uuid ORDER BY quantity",
        )
        .bind(Uuid::parse_str(order["order_id"].as_str().unwrap()).unwrap())
        .fetch_all(&app.database.pool)
        .await
        .unwrap();
        assert_eq!(kept, [1, 2, 2]);
        app.finish().await;
    }
}

#[tokio::test]
async fn those_who_capture_share_a_section_and_what_they_leave_is_sold_in_it() {
    for app in [TestApp::start().await, TestApp::without_redis().await] {
        let variant = app.client.variant(10).await;
        let (first, second) = (held(&app, variant, 3).await, held(&app, variant, 2).await);
        let one = json!({"lines": [{"line_id": first["lines"][0]["line_id"], "quantity": 1}]});
        let calls = vec![
            capture(&first, "key-1", one),
            // Four are free, and two more of what the first held.
            sale(variant, 6),
            capture(&first, "key-2", json!({})),
            sale(variant, 1),
            capture(&second, "key-3", json!({})),
        ];
        let replies = behind_a_sale(&app, variant, calls).await;
        let statuses: Vec<_> = replies.iter().map(|reply| reply.status.as_u16()).collect();
        assert_eq!(statuses, [201, 200, 409, 409, 201]);
        assert_eq!(replies[2].code(), "hold_captured");
        assert_eq!(replies[3].json()["detail"], "Insufficient stock. Available: 0, Requested: 1");
        let level = app.client.get(&format!("/inventory/{variant}")).await.expect(200).json();
        assert_eq!([&level["on_hand"], &level["held"]], [0, 0]);
        assert_eq!(transactions(&app, variant, 3).await, 1, "one commit for all who waited");
        for (reply, units) in [(&replies[0], 1), (&replies[4], 2)] {
            let order = reply.json();
            let path = format!("/orders/{}", order["order_id"].as_str().unwrap());
            let read = app.client.get(&path).await.expect(200).json();
            assert_eq!(
                (&read["lines"], read["lines"][0]["quantity"].clone()),
                (&order["lines"], json!(units))
            );
        }
        app.finish().await;
    }
}

#[tokio::test]
async fn a_hold_that_is_over_keeps_its_buyer_out_and_nobody_else() {
    let app = TestApp::start().await;
    let variant = app.client.variant(10).await;
    let hold = held(&app, variant, 3).await;
    crate::support::books::end_hold_at(&app.database.pool, &hold, "'2026-01-01'").await;
    let calls = vec![sale(variant, 2), capture(&hold, "key-1", json!({})), sale(variant, 7)];
    let replies = behind_a_sale(&app, variant, calls).await;
    let statuses: Vec<_> = replies.iter().map(|reply| reply.status.as_u16()).collect();
    assert_eq!(statuses, [200, 409, 200]);
    assert_eq!(replies[1].code(), "hold_expired");
    assert_eq!(app.client.on_hand(variant).await, 0);
    app.finish().await;
}

#[tokio::test]
async fn a_capture_that_was_cancelled_before_it_came_leaves_its_units_to_its_section_and_a_used_key_takes_none()
 {
    for app in [TestApp::start().await, TestApp::without_redis().await] {
        let variant = app.client.variant(10).await;
        app.client.order("ann", "used", &[(variant, 1)]).await.expect(201);
        let (first, second) = (held(&app, variant, 3).await, held(&app, variant, 2).await);
        let early = json!({"user_id": "ann", "idempotency_key": "early"});
        Sender::to(&app.client).cancel("event-1", &early).await.expect(200);
        let calls = vec![
            capture(&first, "early", json!({})),
            capture(&second, "used", json!({})),
            // Three are free, and the three that are not sold to whoever cancelled.
            sale(variant, 6),
            capture(&second, "fresh", json!({})),
            sale(variant, 1),
        ];
        let replies = behind_a_sale(&app, variant, calls).await;
        let statuses: Vec<_> = replies.iter().map(|reply| reply.status.as_u16()).collect();
        assert_eq!(statuses, [201, 422, 200, 201, 409]);
        assert_eq!(replies[1].code(), "idempotency_key_reused");
        let born = replies[0].json();
        assert_eq!(
            (&born["status"], &born["lines"][0]["cancelled_quantity"]),
            (&json!("cancelled"), &json!(3))
        );
        assert_eq!(replies[3].json()["status"], "placed");
        let level = app.client.get(&format!("/inventory/{variant}")).await.expect(200).json();
        assert_eq!([&level["on_hand"], &level["held"]], [0, 0]);
        assert_eq!(transactions(&app, variant, 4).await, 1, "one commit for all who shared");
        app.finish().await;
    }
}

#[tokio::test]
async fn an_order_or_a_hold_that_another_transaction_has_locked_holds_up_nobody_who_does_not_want_it() {
    for app in [TestApp::start().await, TestApp::without_redis().await] {
        let variant = app.client.variant(10).await;
        let busy = app.client.order("ann", "key-1", &[(variant, 2)]).await.expect(201).json();
        let free = app.client.order("ann", "key-2", &[(variant, 1)]).await.expect(201).json();
        let hold = held(&app, variant, 3).await;
        let mut other = app.database.pool.begin().await.unwrap();
        for (lock, of) in [
            ("SELECT 1 FROM orders WHERE order_id = $1::uuid FOR UPDATE", &busy["order_id"]),
            ("SELECT 1 FROM holds WHERE hold_id = $1::uuid FOR UPDATE", &hold["hold_id"]),
        ] {
            let of: Uuid = of.as_str().unwrap().parse().unwrap();
            sqlx::query(lock).bind(of).execute(&mut *other).await.unwrap();
        }
        let calls = vec![
            cancel(&busy, &Value::Null),
            capture(&hold, "key-3", json!({})),
            sale(variant, 2),
            cancel(&free, &Value::Null),
        ];
        let meanwhile = async {
            eventually(SOON, "the others are served", async || app.client.on_hand(variant).await == 5).await;
            other.rollback().await.unwrap();
        };
        let (replies, ()) = tokio::join!(behind_a_sale(&app, variant, calls), meanwhile);
        let statuses: Vec<_> = replies.iter().map(|reply| reply.status.as_u16()).collect();
        assert_eq!(statuses, [200, 201, 200, 200]);
        assert_eq!(app.client.on_hand(variant).await, 5 + 2 - 3);
        app.finish().await;
    }
}
