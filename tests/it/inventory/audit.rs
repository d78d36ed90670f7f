//! The audit, from the API and from the command line.

use holdfast::purge::{Purged, purge};
use serde_json::{Value, json};

use crate::support::{Sender, TestApp, at_once, holdfast, unique};

#[tokio::test(flavor = "multi_thread")]
async fn an_audit_of_true_books_counts_what_it_saw_and_finds_nothing() {
    let app = TestApp::start().await;
    let id = app.client.variant(10).await;
    app.client.variant(0).await;
    app.client.decrement(id, 1).await.expect(200);
    app.client.order("ann", &unique("k"), &[(id, 2)]).await.expect(201);
    let found = app.client.get("/inventory/audit").await.expect(200).json();
    assert_eq!(
        found,
        json!({"ok": true, "variants_checked": 2, "movements_checked": 3, "orders_checked": 1, "violations": []})
    );
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tampered_balance_is_found_and_its_variant_named_by_api_and_command() {
    let app = TestApp::start().await;
    let (tampered, _other) = (app.client.variant(10).await, app.client.variant(10).await);
    assert!(holdfast(&app.database.url, &["audit"], &[]).await.succeeded);

    let tamper =
        |by: i64| format!("UPDATE stock SET on_hand = on_hand + {by} WHERE variant_id = '{tampered}'");
    sqlx::query(&tamper(1)).execute(&app.database.pool).await.unwrap();
    let found = app.client.get("/inventory/audit").await.expect(200).json();
    assert_eq!(found["ok"], false);
    let violations = found["violations"].as_array().unwrap();
    assert_eq!(violations.len(), 1);
    assert_eq!(violations[0]["subject_id"], json!(tampered));
    assert_eq!(violations[0]["invariant"], "balance_is_the_sum_of_movements");

    let said = holdfast(&app.database.url, &["audit"], &[]).await;
    assert!(!said.succeeded);
    assert_eq!(serde_json::from_str::<Value>(&said.out).unwrap(), found);

    sqlx::query(&tamper(-1)).execute(&app.database.pool).await.unwrap();
    let said = holdfast(&app.database.url, &["audit"], &[]).await;
    assert!(said.succeeded && said.err.is_empty(), "{said:?}");
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_done_to_an_order_behind_the_services_back_is_found() {
    let app = TestApp::without_redis().await;
    let id = app.client.variant(10).await;
    let order = app.client.order("ann", &unique("k"), &[(id, 2)]).await.expect(201).json();
    for (harm, cure, invariant) in [
        (
            "UPDATE orders SET total = total + 1",
            "UPDATE orders SET total = total - 1",
            "orders_agree_with_their_lines",
        ),
        (
            "UPDATE orders SET status = 'cancelled'",
            "UPDATE orders SET status = 'placed'",
            "orders_agree_with_their_lines",
        ),
        (
            "UPDATE order_lines SET quantity = 3, line_total = unit_price * 3",
            "UPDATE order_lines SET quantity = 2, line_total = unit_price * 2",
            "lines_are_sold_and_returned_once",
        ),
        (
            "UPDATE stock SET version = version + 1",
            "UPDATE stock SET version = version - 1",
            "balance_is_the_sum_of_movements",
        ),
    ] {
        assert_found(&app, harm, cure, invariant).await;
    }
    assert_eq!(
        app.client.get(&format!("/orders/{}", order["order_id"].as_str().unwrap())).await.json(),
        order
    );
    app.finish().await;
}

/// Does harm, finds it, and makes up for it.
async fn assert_found(app: &TestApp, harm: &str, cure: &str, invariant: &str) {
    assert_eq!(sqlx::query(harm).execute(&app.database.pool).await.unwrap().rows_affected(), 1, "{harm}");
    let found = app.client.get("/inventory/audit").await.expect(200).json();
    let named = found["violations"].as_array().unwrap().iter().map(|v| v["invariant"].as_str().unwrap());
    assert!(named.into_iter().any(|named| named == invariant), "{harm}: {found}");
    sqlx::query(cure).execute(&app.database.pool).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_done_to_cancellations_behind_the_services_back_is_found() {
    let app = TestApp::without_redis().await;
    let (sender, id) = (Sender::to(&app.client), app.client.variant(10).await);
    let key = |user: &str| json!({"user_id": user, "idempotency_key": "k"});
    sender.cancel("early", &key("bob")).await.expect(200);
    for user in ["ann", "bob"] {
        app.client.order(user, "k", &[(id, 2)]).await.expect(201);
    }
    sender.cancel("late", &key("ann")).await.expect(200);
    let bobs = "WHERE order_id = (SELECT order_id FROM orders WHERE user_id = 'bob')";
    for (harm, cure, invariant) in [
        (
            "UPDATE webhook_inbox SET order_id = gen_random_uuid() WHERE event_id = 'late'",
            "UPDATE webhook_inbox SET order_id = (SELECT order_id FROM orders WHERE user_id = 'ann')
             WHERE event_id = 'late'",
            "deliveries_have_their_effect",
        ),
        (
            "UPDATE webhook_inbox SET user_id = 'eve' WHERE event_id = 'early'",
            "UPDATE webhook_inbox SET user_id = 'bob' WHERE event_id = 'early'",
            "deliveries_have_their_effect",
        ),
        (
            "UPDATE orders SET status = 'placed' WHERE user_id = 'bob'",
            "UPDATE orders SET status = 'cancelled' WHERE user_id = 'bob'",
            "early_cancellations_hold",
        ),
        (
            &format!("UPDATE order_lines SET cancelled_quantity = 1 {bobs}"),
            &format!("UPDATE order_lines SET cancelled_quantity = 2 {bobs}"),
            "lines_are_sold_and_returned_once",
        ),
    ] {
        assert_found(&app, harm, cure, invariant).await;
    }
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_audit_finds_nothing_while_the_shop_goes_on() {
    for app in [TestApp::start().await, TestApp::without_redis().await] {
        let (a, b) = (app.client.variant(100).await, app.client.variant(100).await);
        let replies = at_once(24, |runner| {
            let client = app.client.clone();
            async move {
                if runner % 3 == 0 {
                    return client.get("/inventory/audit").await.expect(200).json()["ok"].clone();
                }
                let order =
                    client.order("ann", &unique("k"), &[(a, 2), (b, 1), (a, 1)]).await.expect(201).json();
                let cancel = format!("/orders/{}/cancel", order["order_id"].as_str().unwrap());
                client.post(&cancel, &json!({})).await.expect(200);
                json!(true)
            }
        })
        .await;
        assert!(replies.iter().all(|ok| *ok == json!(true)));
        assert_eq!((app.client.on_hand(a).await, app.client.on_hand(b).await), (100, 100));
        app.finish().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn history_can_not_be_rewritten_even_by_hand() {
    let app = TestApp::without_redis().await;
    app.client.variant(10).await;
    for harm in [
        "UPDATE stock_movements SET delta = 11",
        "DELETE FROM stock_movements",
        "TRUNCATE stock_movements",
        "DELETE FROM stock",
        "UPDATE stock SET on_hand = -1",
        "INSERT INTO stock_movements SELECT * FROM stock_movements",
    ] {
        assert!(sqlx::query(harm).execute(&app.database.pool).await.is_err(), "{harm}");
    }
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_verdict_is_kept_whoever_asked_and_told_newest_first() {
    let app = TestApp::without_redis().await;
    let variant = app.client.variant(10).await;
    let none = app.client.get("/inventory/audits").await.expect(200).json();
    assert_eq!(none, json!({"items": [], "next_cursor": null}));
    app.client.get("/inventory/audit").await.expect(200);
    sqlx::query("UPDATE stock SET on_hand = on_hand + 1").execute(&app.database.pool).await.unwrap();
    assert!(!holdfast(&app.database.url, &["audit"], &[]).await.succeeded);
    let first = app.client.get("/inventory/audits?limit=1").await.expect(200).json();
    let newest = &first["items"][0];
    assert_eq!((&newest["ok"], &newest["run_by"]), (&json!(false), &json!("holdfast audit")));
    assert_eq!(newest["violations"][0]["subject_id"], json!(variant));
    let cursor = first["next_cursor"].as_str().unwrap();
    let second = app.client.get(&format!("/inventory/audits?cursor={cursor}")).await.expect(200).json();
    let oldest = &second["items"][0];
    assert_eq!((&oldest["ok"], &oldest["run_by"]), (&json!(true), &json!("admin")));
    assert_eq!((&oldest["variants_checked"], &oldest["violations"]), (&json!(1), &json!([])));
    assert_eq!(second["next_cursor"], json!(null));

    assert_eq!(purge(&app.app.db).await.unwrap(), Purged::default());
    sqlx::query("UPDATE audits SET ended_at = ended_at - interval '401 days' WHERE run_by = 'admin'")
        .execute(&app.database.pool)
        .await
        .unwrap();
    assert_eq!(purge(&app.app.db).await.unwrap(), Purged { audits: 1, ..Purged::default() });
    assert_eq!(app.count("audits").await, 1);
    sqlx::query("UPDATE stock SET on_hand = on_hand - 1").execute(&app.database.pool).await.unwrap();
    app.finish().await;
}
