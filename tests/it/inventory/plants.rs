//! Each violation of each invariant, planted: the audit finds it, and so does what the tests themselves look with.
//!
//! A plant is made in a transaction that is rolled back. What the database itself refuses is planted with its triggers
//! off and the constraint gone.

use holdfast::inventory::audit::violations_in_tx;
use hyper::Method;
use serde_json::json;
use sqlx::{Connection, Executor};
use uuid::Uuid;

use crate::support::invariants::{self, INVARIANTS};
use crate::support::{Sender, TestApp, unique};

/// What is done to the tables, what the tests find broken then, and what the audit finds; the audit does not look into
/// answers, prices of holds and who cancelled.
const PLANTS: &[(&str, &str, &str)] = &[
    (
        "ALTER TABLE stock DROP CONSTRAINT on_hand_stays_in_range; UPDATE stock SET on_hand = -1",
        "I-1",
        "balance_is_the_sum_of_movements",
    ),
    ("UPDATE stock SET on_hand = on_hand + 1", "I-2", "balance_is_the_sum_of_movements"),
    ("DELETE FROM stock_movements WHERE version = 2", "I-3", "movements_form_a_chain"),
    ("UPDATE stock SET version = version + 1", "I-3", "balance_is_the_sum_of_movements"),
    (
        "UPDATE stock_movements SET on_hand_after = on_hand_after + 1 WHERE version = 1",
        "I-4",
        "movements_form_a_chain",
    ),
    ("UPDATE stock_movements SET created_at = created_at + interval '1 hour' WHERE version = 1", "I-4", ""),
    ("DROP TRIGGER movements_are_append_only ON stock_movements", "I-5", "history_is_append_only"),
    ("ALTER TABLE stock DISABLE TRIGGER stock_rows_are_kept", "I-5", "history_is_append_only"),
    ("UPDATE orders SET total = total + 1", "I-6", "orders_agree_with_their_lines"),
    (
        "INSERT INTO orders SELECT gen_random_uuid(), 'eve', 'k', request_hash, 'placed', 'EUR', 1, \
         NULL, '', '', lock_mode, 0 FROM orders WHERE idempotency_key = 'k' AND user_id = 'ann'",
        "I-6",
        "orders_agree_with_their_lines",
    ),
    ("UPDATE orders SET status = 'placed'", "I-6", "orders_agree_with_their_lines"),
    (
        "UPDATE stock_movements SET source_id = NULL WHERE kind = 'sale'",
        "I-6: each line",
        "lines_are_sold_and_returned_once",
    ),
    (
        "UPDATE order_lines SET line_id = gen_random_uuid() WHERE cancelled_quantity = 0",
        "I-6: an order's movement",
        "movements_have_their_order",
    ),
    (
        "INSERT INTO stock_movements SELECT gen_random_uuid(), variant_id, version + 90, kind, delta, \
         on_hand_after + delta, reason, reference, order_id, gen_random_uuid(), subject, request_id, \
         lock_mode, 0 FROM stock_movements WHERE kind = 'return'",
        "I-6: an order's movement",
        "movements_have_their_order",
    ),
    (
        "UPDATE stock_movements SET source_id = (SELECT order_id FROM orders LIMIT 1) WHERE kind = \
         'return'",
        "I-10",
        "lines_are_sold_and_returned_once",
    ),
    (
        "ALTER TABLE orders DROP CONSTRAINT key_places_one_order; UPDATE orders SET user_id = 'eve', \
         idempotency_key = 'k'",
        "I-7",
        "",
    ),
    ("UPDATE orders SET request_hash = 'x' WHERE user_id = 'ann'", "I-8", "keys_keep_their_request"),
    ("UPDATE orders SET user_id = 'eve' WHERE user_id = 'ann'", "I-9", ""),
    ("UPDATE stock_movements SET movement_id = gen_random_uuid() WHERE order_id IS NULL", "I-9", ""),
    (
        "INSERT INTO idempotency_keys SELECT scope, 'another', request_hash, status, body FROM \
         idempotency_keys WHERE key = 'sale'",
        "I-9",
        "",
    ),
    ("UPDATE order_cancellations SET quantity = quantity + 1", "I-10", "lines_are_sold_and_returned_once"),
    (
        "DROP INDEX cancellation_returns_stock_once; UPDATE stock_movements SET kind = 'return', \
         source_id = (SELECT cancellation_id FROM order_cancellations) WHERE kind = 'adjustment' AND \
         order_id IS NULL",
        "I-10",
        "lines_are_sold_and_returned_once",
    ),
    (
        "UPDATE order_lines SET cancelled_quantity = cancelled_quantity + 1 WHERE cancelled_quantity \
         = 1",
        "I-10",
        "lines_are_sold_and_returned_once",
    ),
    (
        "UPDATE webhook_inbox SET order_id = gen_random_uuid() WHERE event_id = 'late'",
        "I-11: a delivery",
        "deliveries_have_their_effect",
    ),
    ("DELETE FROM early_cancellations", "I-11: a delivery", "deliveries_have_their_effect"),
    ("DELETE FROM webhook_inbox WHERE event_id = 'late'", "I-11: what a webhook did", ""),
    ("DELETE FROM webhook_inbox WHERE event_id = 'early'", "I-11: what a webhook did", ""),
    (
        "UPDATE orders SET status = 'placed' WHERE user_id = 'bob'",
        "I-11: what a webhook did",
        "early_cancellations_hold",
    ),
    (
        "INSERT INTO webhook_endpoints (endpoint_id, url, types, secret, subject, position)
         VALUES (gen_random_uuid(), 'https://example.com', '{}', 's', 's', 0);
         INSERT INTO webhook_deliveries (delivery_id, endpoint_id, position, event_id, type, aggregate, body, is_behind)
         SELECT gen_random_uuid(), endpoint_id, 1, gen_random_uuid(), 'stock.low', 'variant:1', '{}', true
         FROM webhook_endpoints",
        "I-11: what is put aside",
        "",
    ),
    ("UPDATE stock_movements SET position = -position", "I-12: a variant's", ""),
    ("DELETE FROM events WHERE kind = 'order.cancelled'", "I-12: what was", ""),
    ("DELETE FROM events WHERE kind = 'hold.created'", "I-12: what was", ""),
    ("UPDATE idempotency_keys SET status = NULL, body = NULL", "I-13", "claims_have_their_answer"),
    (
        "DROP INDEX invoice_number_is_in_once; UPDATE invoices SET number_key = '1'",
        "I-14: a vendor's number",
        "numbers_are_in_once",
    ),
    (
        "INSERT INTO vendor_aliases VALUES ('acc', 'a', 'b', 'ann'), ('acc', 'b', 'a', 'ann')",
        "I-14: a vendor's name",
        "names_stand_for_one_vendor",
    ),
    (
        "UPDATE invoice_lines SET received_quantity = 1 WHERE received_quantity = 0",
        "I-14: what came",
        "receipts_are_what_came_in",
    ),
    (
        "UPDATE stock_movements SET source_id = NULL WHERE kind = 'receipt'",
        "I-14: what came",
        "receipts_are_what_came_in",
    ),
    (
        "UPDATE pos_invoices SET state = 'draft', submitted_at = NULL",
        "I-14: a till's invoice",
        "till_items_are_sold_and_returned_once",
    ),
    (
        "DROP INDEX till_sells_an_item_once; INSERT INTO stock_movements SELECT gen_random_uuid(), variant_id, \
         version + 90, kind, delta, on_hand_after, reason, reference, order_id, source_id, subject, request_id, \
         lock_mode, 0 FROM stock_movements WHERE kind = 'sale' AND source_id IN (SELECT item_id FROM pos_invoice_items)",
        "I-14: a till's invoice",
        "till_items_are_sold_and_returned_once",
    ),
    ("UPDATE pos_invoices SET version = version + 1", "I-14: a till's versions", "till_versions_are_dense"),
    ("DROP TRIGGER invoice_matches_are_append_only ON invoice_matches", "I-5", "history_is_append_only"),
    ("UPDATE count_lines SET movement_id = gen_random_uuid()", "I-15: a posted line", ""),
    ("DELETE FROM count_lines", "I-15: a session that is posted", ""),
    ("UPDATE count_serials SET client_record_id = 'another'", "I-15: a serial number", ""),
    ("UPDATE count_records SET fence = fence + 1", "I-15: a record's fence", ""),
    ("UPDATE stock SET held = held + 1", "holds: what is held", "held_is_the_sum_of_open_holds"),
    ("UPDATE hold_lines SET open = NOT open", "holds: what is held", "holds_agree_with_their_lines"),
    ("UPDATE hold_lines SET unit_price = 1, line_total = quantity", "holds: an order has no more", ""),
    (
        "UPDATE order_lines SET quantity = 9, line_total = unit_price * 9",
        "holds: an order has no more",
        "lines_are_sold_and_returned_once",
    ),
];

#[tokio::test(flavor = "multi_thread")]
async fn every_violation_that_can_be_planted_is_found_and_every_invariant_is_one_that_can_break() {
    let app = TestApp::without_redis().await;
    let (sender, id) = (Sender::to(&app.client), app.client.variant(20).await);
    let order = app.client.order("ann", "k", &[(id, 2), (id, 1)]).await.expect(201).json();
    let line = json!([{"line_id": order["lines"][0]["line_id"], "quantity": 1}]);
    sender.cancel("late", &json!({"order_id": order["order_id"], "lines": line})).await.expect(200);
    sender.cancel("early", &json!({"user_id": "bob", "idempotency_key": "k"})).await.expect(200);
    app.client.order("bob", "k", &[(id, 2)]).await.expect(201);
    app.client
        .post_keyed(&format!("/inventory/{id}/decrement"), &json!({"quantity": 1}), "sale")
        .await
        .expect(200);
    let hold = json!({"user_id": "ann", "lines": [{"variant_id": id, "quantity": 3}]});
    app.client.post_keyed("/holds", &hold, "kept").await.expect(201);
    let taken = app.client.post_keyed("/holds", &hold, "taken").await.expect(201).json();
    let capture = format!("/holds/{}/capture", taken["hold_id"].as_str().unwrap());
    app.client.post_keyed(&capture, &json!({}), &unique("capture")).await.expect(201);
    invoices(&app, id).await;
    count(&app, id).await;

    let mut conn = app.database.pool.acquire().await.unwrap();
    for (plant, broken, audited) in PLANTS {
        let mut tx = conn.begin().await.unwrap();
        assert_eq!(invariants::broken(&mut tx).await, []);
        tx.execute("SET session_replication_role = replica").await.unwrap();
        tx.execute(sqlx::raw_sql(plant)).await.unwrap();
        let found = invariants::broken(&mut tx).await;
        assert!(found.iter().any(|(name, _)| name.starts_with(broken)), "{plant}: {found:#?}");
        let violations = violations_in_tx(&mut tx).await.unwrap();
        let named = violations.iter().any(|violation| violation.invariant == *audited);
        assert!(named || audited.is_empty(), "{plant}: {violations:#?}");
        tx.rollback().await.unwrap();
    }
    for (name, _) in INVARIANTS {
        assert!(PLANTS.iter().any(|(_, broken, _)| name.starts_with(broken)), "nothing breaks {name}");
    }
    drop(conn);
    app.finish().await;
}

/// One that a till has sold, and two of a supplier, of which one came in.
async fn invoices(app: &TestApp, variant: Uuid) {
    let draft = json!({"version": 0, "items": [{"variant_id": variant, "quantity": 1}]}).to_string();
    let json_type = [("content-type", "application/json")];
    app.client.send(Method::PUT, "/api/v1/pos/invoices/SI-1", &json_type, draft).await.unwrap().expect(201);
    app.client.post("/pos/invoices/SI-1/submit", &json!({})).await.expect(200);
    let sku = app.client.get(&format!("/variants/{variant}")).await.json()["sku"].clone();
    for number in ["7", "8"] {
        let line = json!({"sku": sku, "description": "Bolts", "quantity": 2, "unit_price": "1"});
        let invoice = json!({
            "account_id": "acc", "vendor_name": "Acme", "invoice_number": number, "invoice_date": "2026-03-02",
            "total": "2", "currency": "EUR", "lines": [line],
        });
        let taken = app.client.post("/invoices", &invoice).await.expect(201).json();
        if number == "7" {
            let receive = format!("/invoices/{}/receive", taken["invoice_id"].as_str().unwrap());
            app.client.post(&receive, &json!({})).await.expect(200);
        }
    }
}

/// A rack that was counted and posted, one of its units damaged.
async fn count(app: &TestApp, variant: Uuid) {
    let sku = app.client.get(&format!("/variants/{variant}")).await.json()["sku"].clone();
    let claim = app.client.post("/racks/R-1/claim", &json!({"floor": "Ground"})).await.expect(200).json();
    let now = "2026-01-01T10:00:00Z";
    let record = json!({"client_record_id": "1", "session_id": claim["session_id"], "rack_id": "R-1",
                        "fence": claim["fence"], "item_code": sku, "verified_qty": 12, "damage_qty": 1,
                        "serial_numbers": ["A"], "created_at": now, "updated_at": now});
    let synced = app.client.post("/sync/batch", &json!({"records": [record]})).await.expect(200).json();
    assert_eq!(synced["ok"], json!(["1"]), "{synced}");
    let post = format!("/sessions/{}/post", claim["session_id"].as_str().unwrap());
    app.client.post(&post, &json!({})).await.expect(200);
}
