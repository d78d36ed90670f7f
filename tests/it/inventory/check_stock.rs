//! Asking whether so many are available.

use serde_json::json;
use uuid::Uuid;

use crate::support::TestApp;

#[tokio::test(flavor = "multi_thread")]
async fn one_variant_has_enough_or_not() {
    let app = TestApp::start().await;
    let id = app.client.variant(5).await;
    for (query, requested, in_stock) in [
        ("", 1, true),
        ("?quantity=5", 5, true),
        ("?quantity=6", 6, false),
        ("?quantity=1000000000", 1_000_000_000, false),
    ] {
        let checked = app.client.get(&format!("/inventory/check-stock/{id}{query}")).await.expect(200).json();
        assert_eq!(
            checked,
            json!({"variant_id": id, "available": 5, "requested": requested, "in_stock": in_stock,
                   "stock_status": "low_stock"})
        );
    }
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_are_checked_in_the_order_asked_and_unknown_ones_have_none() {
    let app = TestApp::start().await;
    let (many, none, unknown) = (app.client.variant(50).await, app.client.variant(0).await, Uuid::now_v7());
    let asked = json!([
        {"variant_id": many, "quantity": 50}, {"variant_id": none, "quantity": 1}, {"variant_id": unknown, "quantity": 2}
    ]);
    let checked = app.client.post("/inventory/check-stock/bulk", &asked).await.expect(200).json();
    assert_eq!(
        checked,
        json!({"items": [
            {"variant_id": many, "available": 50, "requested": 50, "in_stock": true, "stock_status": "in_stock"},
            {"variant_id": none, "available": 0, "requested": 1, "in_stock": false, "stock_status": "out_of_stock"},
            {"variant_id": unknown, "available": 0, "requested": 2, "in_stock": false, "stock_status": "out_of_stock"},
        ], "all_available": false, "unavailable_count": 2, "total_items": 3})
    );
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn items_of_one_variant_count_together() {
    let app = TestApp::start().await;
    let (twice, other) = (app.client.variant(5).await, app.client.variant(5).await);
    let item = |variant: Uuid, quantity: i64| json!({"variant_id": variant, "quantity": quantity});
    for (quantity, enough) in [(2, true), (3, false)] {
        let asked = json!([item(twice, 3), item(other, 5), item(twice, quantity)]);
        let checked = app.client.post("/inventory/check-stock/bulk", &asked).await.expect(200).json();
        let in_stock: Vec<_> = checked["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|item| item["in_stock"].as_bool().unwrap())
            .collect();
        assert_eq!(in_stock, [enough, true, enough]);
        assert_eq!(checked["all_available"], enough);
    }
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_items_can_be_asked_about_and_not_one_more_or_none() {
    let app = TestApp::without_redis().await;
    let id = app.client.variant(1000).await;
    for (items, status) in [(0, 422), (1, 200), (1000, 200), (1001, 422)] {
        let asked = json!(vec![json!({"variant_id": id, "quantity": 1}); items]);
        let reply = app.client.post("/inventory/check-stock/bulk", &asked).await.expect(status);
        if status == 422 {
            assert_eq!(
                (reply.code().as_str(), &reply.json()["errors"][0]["field"]),
                ("validation_failed", &json!("items"))
            );
        } else {
            assert_eq!(reply.json()["total_items"], items);
        }
    }
    app.finish().await;
}
