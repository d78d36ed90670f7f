//! Adding to the catalogue.

use serde_json::{Value, json};

use crate::support::{TestApp, at_once, unique};

fn variant(sku: &str) -> Value {
    json!({"sku": sku, "name": "A thing", "price": "12.50", "currency": "EUR", "on_hand": 7})
}

#[tokio::test(flavor = "multi_thread")]
async fn a_variant_is_made_with_its_opening_stock_as_its_first_movement() {
    let app = TestApp::start().await;
    let reply = app.client.post("/variants", &variant("tea-1")).await.expect(201);
    let made = reply.json();
    let id = made["variant_id"].as_str().unwrap();
    assert_eq!(
        made,
        json!({"variant_id": id, "sku": "tea-1", "name": "A thing", "price": "12.50", "currency": "EUR", "on_hand": 7})
    );
    assert_eq!(reply.header("lock-mode"), Some("two_layer"));
    let movements = app.client.get(&format!("/inventory/{id}/movements")).await.expect(200).json();
    let first = &movements["items"][0];
    assert_eq!(movements["items"].as_array().unwrap().len(), 1);
    assert_eq!(
        (
            &first["version"],
            &first["kind"],
            &first["delta"],
            &first["previous_quantity"],
            &first["new_quantity"]
        ),
        (&json!(1), &json!("adjustment"), &json!(7), &json!(0), &json!(7))
    );
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_variant_without_opening_stock_has_no_movement_yet() {
    let app = TestApp::without_redis().await;
    let body = json!({"sku": "empty", "name": "Nothing yet", "price": "0", "currency": "JPY"});
    let made = app.client.post("/variants", &body).await.expect(201).json();
    assert_eq!((&made["on_hand"], &made["price"]), (&json!(0), &json!("0")));
    let level = app.client.get(&format!("/inventory/{}", made["variant_id"].as_str().unwrap())).await.json();
    assert_eq!((&level["version"], &level["on_hand"]), (&json!(0), &json!(0)));
    assert_eq!(app.count("stock_movements").await, 0);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn prices_keep_every_decimal_and_have_those_of_their_currency() {
    let app = TestApp::without_redis().await;
    for (price, currency, written) in [
        ("0", "EUR", "0.00"),
        ("1", "USD", "1.00"),
        ("12.5", "EUR", "12.50"),
        ("0.0001", "USD", "0.0001"),
        ("9999999999999.9999", "EUR", "9999999999999.9999"),
        ("100", "JPY", "100"),
        ("1.5", "KWD", "1.500"),
    ] {
        let body = json!({"sku": unique("priced"), "name": "n", "price": price, "currency": currency});
        let made = app.client.post("/variants", &body).await.expect(201).json();
        assert_eq!(made["price"], written, "{price} {currency}");
        let read =
            app.client.get(&format!("/variants/{}", made["variant_id"].as_str().unwrap())).await.json();
        assert_eq!(read, made);
    }
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn names_and_skus_may_be_as_long_and_as_foreign_as_the_contract_says() {
    let app = TestApp::without_redis().await;
    for (sku, name, on_hand) in [
        ("a".to_owned(), "b".to_owned(), 0_i64),
        ("é".repeat(64), "ß".repeat(255), 1),
        ("15056BL set of 3 🎁".to_owned(), "日本語の名前".to_owned(), 9_000_000_000_000),
        ("%_\\' \"; DROP TABLE stock;--".to_owned(), "<b>&amp;</b>".to_owned(), 3),
    ] {
        let body = json!({"sku": sku, "name": name, "price": "1", "currency": "EUR", "on_hand": on_hand});
        let made = app.client.post("/variants", &body).await.expect(201).json();
        assert_eq!((&made["sku"], &made["name"]), (&json!(sku), &json!(name)));
        assert_eq!(made["on_hand"], on_hand);
    }
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sku_is_taken_once_and_its_case_counts() {
    let app = TestApp::start().await;
    app.client.post("/variants", &variant("Tea")).await.expect(201);
    let before = app.everything().await;
    let refused = app.client.post("/variants", &variant("Tea")).await.expect(409);
    assert_eq!(refused.code(), "sku_taken");
    assert_eq!(refused.json()["errors"], json!([{"field": "sku", "message": "is taken by another variant"}]));
    assert_eq!(app.everything().await, before);
    app.client.post("/variants", &variant("tea")).await.expect(201);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_twenty_that_want_one_sku_one_gets_it() {
    for app in [TestApp::start().await, TestApp::without_redis().await] {
        let replies = at_once(20, |_| {
            let client = app.client.clone();
            async move { client.post("/variants", &variant("wanted")).await }
        })
        .await;
        let made = replies.iter().filter(|reply| reply.status == 201).count();
        let refused =
            replies.iter().filter(|reply| reply.status == 409 && reply.code() == "sku_taken").count();
        assert_eq!((made, refused), (1, 19));
        assert_eq!((app.count("variants").await, app.count("stock_movements").await), (1, 1));
        app.finish().await;
    }
}
