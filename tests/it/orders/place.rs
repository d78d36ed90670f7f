//! Placing orders.

use hyper::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::client::order_body;
use crate::support::{Client, Reply, TestApp, at_once, unique};

async fn place(client: &Client, body: &Value) -> Reply {
    client.post_keyed("/orders", body, &unique("key")).await
}

/// The order body, with one more field.
fn with(mut body: Value, field: &str, value: Value) -> Value {
    body[field] = value;
    body
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_is_answered_with_its_lines_prices_and_lock_and_takes_the_stock() {
    for (app, mode) in
        [(TestApp::start().await, "two_layer"), (TestApp::without_redis().await, "database_only")]
    {
        let tea = app.client.priced_variant(10, "12.5", "EUR").await;
        let cup = app.client.priced_variant(3, "0.333", "EUR").await;
        let reply = app.client.order("ann", &unique("basket-1"), &[(tea, 2), (cup, 3)]).await.expect(201);
        let order = reply.json();
        let line = |index: usize, variant: Uuid, quantity: i64, price: &str, total: &str| {
            let given = &order["lines"][index];
            json!({"line_id": given["line_id"], "variant_id": variant, "sku": given["sku"], "quantity": quantity,
                   "unit_price": price, "line_total": total, "cancelled_quantity": 0})
        };
        let wait = &order["lock"]["wait_ms"];
        assert_eq!(
            order,
            json!({"order_id": order["order_id"], "user_id": "ann", "status": "placed", "currency": "EUR",
                   "total": "25.999", "lines": [line(0, tea, 2, "12.50", "25.00"), line(1, cup, 3, "0.333", "0.999")],
                   "placed_at": order["placed_at"], "lock": {"mode": mode, "wait_ms": wait}})
        );
        let wait = wait.as_u64().unwrap().to_string();
        assert_eq!(
            (reply.header("lock-mode"), reply.header("lock-wait-ms")),
            (Some(mode), Some(wait.as_str()))
        );
        assert!(reply.header("server-timing").is_some());
        assert_eq!((app.client.on_hand(tea).await, app.client.on_hand(cup).await), (8, 0));
        let sale =
            app.client.get(&format!("/inventory/{tea}/movements?limit=1")).await.json()["items"][0].clone();
        assert_eq!(
            (&sale["kind"], &sale["delta"], &sale["reference"]),
            (&json!("sale"), &json!(-2), &order["order_id"])
        );
        app.finish().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_price_of_nothing_is_a_price() {
    let app = TestApp::start().await;
    let free = app.client.priced_variant(2, "0", "EUR").await;
    let order = app.client.order("ann", &unique("k"), &[(free, 2)]).await.expect(201).json();
    assert_eq!((&order["total"], &order["lines"][0]["line_total"]), (&json!("0.00"), &json!("0.00")));
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_of_one_variant_stay_apart_in_the_answer_and_count_together_in_the_check() {
    let app = TestApp::start().await;
    let id = app.client.variant(5).await;
    let refused = app.client.order("ann", &unique("too-many"), &[(id, 3), (id, 3)]).await.expect(409);
    assert_eq!(refused.json()["detail"], "Insufficient stock. Available: 5, Requested: 6");
    let order = app.client.order("ann", &unique("all"), &[(id, 3), (id, 2)]).await.expect(201).json();
    let quantities: Vec<_> =
        order["lines"].as_array().unwrap().iter().map(|line| line["quantity"].clone()).collect();
    assert_eq!(quantities, [3, 2]);
    assert_eq!((order["total"].as_str(), app.client.on_hand(id).await), (Some("62.50"), 0));
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_that_can_not_be_filled_names_every_short_line_and_takes_nothing() {
    let app = TestApp::start().await;
    let (enough, short, none) =
        (app.client.variant(10).await, app.client.variant(3).await, app.client.variant(0).await);
    let before = app.count("stock_movements").await;
    let reply = app
        .client
        .order("ann", &unique("k"), &[(enough, 1), (short, 2), (none, 1), (short, 2)])
        .await
        .expect(409);
    assert_eq!(reply.code(), "insufficient_stock");
    let entry = |line: usize, variant: Uuid, requested: i64, available: i64| {
        json!({"field": format!("lines[{line}].quantity"), "variant_id": variant, "requested": requested,
               "available": available,
               "message": format!("Insufficient stock. Available: {available}, Requested: {requested}")})
    };
    assert_eq!(
        reply.json()["errors"],
        json!([entry(1, short, 4, 3), entry(2, none, 1, 0), entry(3, short, 4, 3)])
    );
    assert_eq!(reply.json()["detail"], "Insufficient stock. Available: 3, Requested: 4");
    assert_eq!((app.count("orders").await, app.count("stock_movements").await), (0, before));
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_line_that_names_no_variant_is_named() {
    let app = TestApp::start().await;
    let (known, unknown, other) = (app.client.variant(1).await, Uuid::now_v7(), Uuid::now_v7());
    let reply =
        app.client.order("ann", &unique("k"), &[(unknown, 1), (known, 1), (other, 1)]).await.expect(404);
    assert_eq!(reply.code(), "variant_not_found");
    let named: Vec<_> = reply.json()["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|error| (error["field"].clone(), error["variant_id"].clone()))
        .collect();
    assert_eq!(
        named,
        [(json!("lines[0].variant_id"), json!(unknown)), (json!("lines[2].variant_id"), json!(other))]
    );
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expected_total_is_compared_by_its_value() {
    let app = TestApp::start().await;
    let id = app.client.variant(10).await;
    for expected in ["25.00", "25", "25.0", "025.0000"] {
        let body = with(order_body("ann", &[(id, 2)]), "expected_total", json!(expected));
        place(&app.client, &body).await.expect(201);
    }
    for expected in ["25.01", "24.9999", "0"] {
        let body = with(order_body("ann", &[(id, 2)]), "expected_total", json!(expected));
        let reply = place(&app.client, &body).await.expect(409);
        assert_eq!(reply.code(), "total_changed");
        let error = &reply.json()["errors"][0];
        assert_eq!(error["field"], "expected_total");
        assert!(matches!(error["actual"].as_str(), Some("25" | "25.0" | "25.00")), "{error}");
    }
    assert_eq!(app.client.on_hand(id).await, 2);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_lines_share_one_currency_which_is_the_one_asked_for() {
    let app = TestApp::start().await;
    let euro = app.client.priced_variant(10, "1", "EUR").await;
    let yen = app.client.priced_variant(10, "100", "JPY").await;
    let asked =
        |currency: &str, lines: &[(Uuid, i64)]| with(order_body("ann", lines), "currency", json!(currency));
    place(&app.client, &asked("EUR", &[(euro, 1)])).await.expect(201);
    let order = place(&app.client, &order_body("ann", &[(yen, 2)])).await.expect(201).json();
    assert_eq!((&order["currency"], &order["total"]), (&json!("JPY"), &json!("200")));
    for (body, lines) in [
        (asked("USD", &[(euro, 1)]), vec!["lines[0].variant_id"]),
        (asked("JPY", &[(euro, 1), (yen, 1)]), vec!["lines[0].variant_id"]),
        (
            order_body("ann", &[(euro, 1), (yen, 1), (yen, 1)]),
            vec!["lines[1].variant_id", "lines[2].variant_id"],
        ),
    ] {
        let reply = place(&app.client, &body).await.expect(422);
        assert_eq!(reply.code(), "currency_mismatch");
        let errors = reply.json()["errors"].clone();
        let named: Vec<_> =
            errors.as_array().unwrap().iter().map(|error| error["field"].as_str().unwrap()).collect();
        assert_eq!(named, lines);
    }
    assert_eq!((app.client.on_hand(euro).await, app.client.on_hand(yen).await), (9, 8));
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_may_have_two_thousand_lines_and_not_one_more_or_none() {
    for app in [TestApp::start().await, TestApp::without_redis().await] {
        let variants = app.variants(2001, 2).await;
        let lines: Vec<_> = variants.iter().map(|variant| (*variant, 2)).collect();
        for refused in [&lines[..], &[]] {
            let reply = app.client.order("ann", &unique("k"), refused).await.expect(422);
            assert_eq!(
                (reply.code().as_str(), &reply.json()["errors"][0]["field"]),
                ("validation_failed", &json!("lines"))
            );
        }
        let order = app.client.order("ann", &unique("k"), &lines[..2000]).await.expect(201).json();
        assert_eq!((order["lines"].as_array().unwrap().len(), &order["total"]), (2000, &json!("6000.00")));
        let in_order =
            order["lines"].as_array().unwrap().iter().map(|line| line["variant_id"].as_str().unwrap());
        assert!(
            in_order.eq(variants.iter().take(2000).map(Uuid::to_string)),
            "lines keep the order they came in"
        );
        assert_eq!(app.count("stock WHERE on_hand = 0").await, 2000);

        let path = format!("/orders/{}", order["order_id"].as_str().unwrap());
        assert_eq!(app.client.get(&path).await.expect(200).json(), order);
        app.client.post(&format!("{path}/cancel"), &json!({})).await.expect(200);
        assert_eq!(app.count("stock WHERE on_hand = 2").await, 2001);
        app.finish().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_total_beyond_exactness_is_refused() {
    let app = TestApp::without_redis().await;
    let dear = app.client.priced_variant(9_000_000_000_000, "9999999999999.9999", "EUR").await;
    let order = app.client.order("ann", &unique("one"), &[(dear, 1_000_000_000)]).await.expect(201).json();
    assert_eq!(order["total"], "9999999999999999900000.00");
    let reply = app.client.order("ann", &unique("many"), &vec![(dear, 1_000_000_000); 101]).await.expect(422);
    assert_eq!(reply.code(), "limit_exceeded");
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn metadata_is_kept_as_it_was_given() {
    let app = TestApp::start().await;
    let id = app.client.variant(10).await;
    let metadata = json!({"channel": "app", "gift": true, "note": "für Änne 🎁 \\u0000 \"quoted\"", "weights": [1, 2.5, null],
                          "nested": {"a": {"b": {}}}, "": "empty name"});
    let order = place(&app.client, &with(order_body("ann", &[(id, 1)]), "metadata", metadata.clone()))
        .await
        .expect(201)
        .json();
    assert_eq!(order["metadata"], metadata);
    let rounded = json!({"reference": [123_456_789_012_345_678_901_f64]});
    let rounded = with(order_body("ann", &[(id, 1)]), "metadata", rounded);
    let refused = app.client.post_keyed("/orders", &rounded, &unique("key")).await.expect(422).json();
    assert_eq!(refused["errors"][0]["field"], "metadata");
    let read =
        app.client.get(&format!("/orders/{}", order["order_id"].as_str().unwrap())).await.expect(200).json();
    assert_eq!(read, order);
    let without = place(&app.client, &with(order_body("ann", &[(id, 1)]), "metadata", Value::Null))
        .await
        .expect(201)
        .json();
    assert!(without.get("metadata").is_none());
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn metadata_that_can_not_be_kept_is_refused() {
    let app = TestApp::without_redis().await;
    let id = app.client.variant(10).await;
    let before = app.everything().await;
    for metadata in [
        json!({"note": "x".repeat(16 * 1024)}),
        json!({"note": "a\0b"}),
        json!({"a\0b": 1}),
        json!({"deep": [[["\0"]]]}),
        json!("text"),
        json!(["list"]),
        json!(7),
    ] {
        let reply =
            place(&app.client, &with(order_body("ann", &[(id, 1)]), "metadata", metadata)).await.expect(422);
        assert_eq!(
            (reply.code().as_str(), &reply.json()["errors"][0]["field"]),
            ("validation_failed", &json!("metadata"))
        );
    }
    let fits = json!({"n": "x".repeat(16 * 1024 - r#"{"n":""}"#.len())});
    assert_eq!(app.everything().await, before);
    place(&app.client, &with(order_body("ann", &[(id, 1)]), "metadata", fits)).await.expect(201);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_price_from_the_caller_is_no_field_of_an_order() {
    let app = TestApp::without_redis().await;
    let id = app.client.variant(1).await;
    let mut body = order_body("ann", &[(id, 1)]);
    body["lines"][0]["unit_price"] = json!("0.01");
    body["status"] = json!("cancelled");
    let reply = place(&app.client, &body).await.expect(422);
    let errors = reply.json()["errors"].clone();
    let mut named: Vec<_> =
        errors.as_array().unwrap().iter().map(|error| error["field"].as_str().unwrap()).collect();
    named.sort_unstable();
    assert_eq!(named, ["lines[0].unit_price", "status"]);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn metadata_that_means_two_things_or_nests_without_end_is_refused() {
    let app = TestApp::without_redis().await;
    let id = app.client.variant(10).await;
    let before = app.everything().await;
    let deep = format!("{}1{}", "{\"a\":".repeat(40), "}".repeat(40));
    let reserved = r#"{"$serde_json::private::RawValue": "[[[[]]]]"}"#;
    for metadata in [r#"{"a": 1, "a": 2}"#, r#"{"a": {"b": 1, "b": 1}}"#, reserved, &deep] {
        let line = format!(r#"{{"variant_id": "{id}", "quantity": 1}}"#);
        let body = format!(r#"{{"user_id": "ann", "lines": [{line}], "metadata": {metadata}}}"#);
        let headers = [("content-type", "application/json"), ("idempotency-key", &unique("k"))];
        let reply =
            app.client.send(Method::POST, "/api/v1/orders", &headers, body).await.unwrap().expect(422);
        assert_eq!(reply.code(), "validation_failed", "{metadata}");
    }
    assert_eq!(app.everything().await, before);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_held_for_others_is_not_sold_by_any_call() {
    let app = TestApp::start().await;
    let id = app.client.variant(5).await;
    let held = |units: i64| format!("UPDATE stock SET held = {units}");
    sqlx::query(&held(3)).execute(&app.database.pool).await.unwrap();
    let level = app.client.get(&format!("/inventory/{id}")).await.expect(200).json();
    assert_eq!((&level["on_hand"], &level["held"], &level["available"]), (&json!(5), &json!(3), &json!(2)));
    let checked = app.client.get(&format!("/inventory/check-stock/{id}?quantity=3")).await.expect(200).json();
    assert_eq!((&checked["available"], &checked["in_stock"]), (&json!(2), &json!(false)));
    let refused = app.client.order("ann", &unique("k"), &[(id, 3)]).await.expect(409);
    assert_eq!(refused.json()["detail"], "Insufficient stock. Available: 2, Requested: 3");
    assert_eq!(app.client.decrement(id, 3).await.expect(409).code(), "insufficient_stock");
    app.client.order("ann", &unique("k"), &[(id, 1)]).await.expect(201);
    app.client.decrement(id, 1).await.expect(200);
    assert_eq!(app.client.decrement(id, 1).await.expect(409).code(), "insufficient_stock");
    sqlx::query(&held(0)).execute(&app.database.pool).await.unwrap();
    app.client.decrement(id, 3).await.expect(200);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_orders_for_the_last_units_as_many_are_placed_as_there_are_units() {
    for app in [TestApp::start().await, TestApp::without_redis().await] {
        let (scarce, plenty) = (app.client.variant(5).await, app.client.variant(1000).await);
        let replies = at_once(20, |buyer| {
            let client = app.client.clone();
            // Half of them name the variants the other way round.
            let mut lines = vec![(scarce, 1), (plenty, 2)];
            if buyer % 2 == 0 {
                lines.reverse();
            }
            async move { client.order(&format!("user-{buyer}"), &unique("k"), &lines).await }
        })
        .await;
        let placed = replies.iter().filter(|reply| reply.status == 201).count();
        let refused = replies.iter().filter(|reply| reply.code() == "insufficient_stock").count();
        assert_eq!((placed, refused), (5, 15));
        assert_eq!((app.client.on_hand(scarce).await, app.client.on_hand(plenty).await), (0, 990));
        assert_eq!(app.count("orders").await, 5);
        app.finish().await;
    }
}
