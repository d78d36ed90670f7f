//! The race of an order over several variants with whoever holds one of them.
//!
//! An order that took what is free and waited for the rest would keep everybody else from items it can't sell
//! yet, and two such orders would wait for each other for ever.

use uuid::Uuid;

use super::SOON;
use crate::support::row::until_at_a_row;
use crate::support::stranger::{inventory_lock, order_lock};
use crate::support::{HeldRow, Stranger, TestApp, TestDatabase, eventually, shared_redis, unique};

#[tokio::test]
async fn an_order_that_cannot_have_all_its_keys_has_none_and_is_not_overtaken() {
    let app = TestApp::start().await;
    let redis = Stranger::at(&shared_redis()).await;
    let user = unique("user");
    let mut variants = Vec::new();
    for _ in 0..3 {
        variants.push(app.client.variant(5).await);
    }
    for held in 0..3 {
        let held_key = inventory_lock(variants[held]);
        assert!(redis.take(&held_key, "a stranger").await);
        let (client, buyer, key) = (app.client.clone(), user.clone(), format!("key-{held}"));
        let lines: Vec<_> = variants.iter().map(|variant| (*variant, 1)).collect();
        let order = tokio::spawn(async move { client.order(&buyer, &key, &lines).await });
        let free: Vec<_> = (0..3).filter(|n| *n != held).map(|n| variants[n]).collect();
        for variant in &variants {
            let key = inventory_lock(*variant);
            eventually(SOON, "the order stands in every line", async || redis.line(&key).await.len() == 1)
                .await;
        }
        // A sale of one of the free ones comes later, so it waits behind the order.
        let (client, other) = (app.client.clone(), free[0]);
        let sale = tokio::spawn(async move { client.decrement(other, 1).await });
        for _ in 0..50 {
            for key in free
                .iter()
                .map(|variant| inventory_lock(*variant))
                .chain([order_lock(&user, &format!("key-{held}"))])
            {
                assert_eq!(
                    redis.holder(&key).await,
                    None,
                    "{key} was taken while {held_key} was not to be had"
                );
            }
        }
        // A stranger may have the free ones meanwhile.
        assert!(redis.take(&inventory_lock(free[1]), "a stranger").await);
        redis.delete(&inventory_lock(free[1])).await;

        redis.delete(&held_key).await;
        let order = order.await.unwrap().expect(201);
        sale.await.unwrap().expect(200);
        let newest = app.client.get(&format!("/inventory/{other}/movements?limit=1")).await.json();
        assert_eq!(newest["items"][0]["reason"], serde_json::Value::Null, "the sale overtook {order:?}");
    }
    app.finish().await;
}

#[tokio::test]
async fn an_order_of_two_thousand_variants_takes_two_thousand_and_one_keys_and_leaves_none() {
    let database = TestDatabase::fresh().await;
    let app = TestApp::with(database, Some(&shared_redis()), &[]).await;
    let redis = Stranger::at(&shared_redis()).await;
    let variants = many_variants(&app, 2_000).await;
    let user = unique("user");
    // The last in lock order, so that the request waits there with everything else in hand.
    let row = HeldRow::of(&app.database, *variants.iter().max().unwrap()).await;
    let lines: Vec<_> = variants.iter().map(|variant| (*variant, 1)).collect();
    let (client, buyer) = (app.client.clone(), user.clone());
    let order = tokio::spawn(async move { client.order(&buyer, "key-1", &lines).await });
    until_at_a_row(&app.database.pool, 1).await;

    let mut names: Vec<_> = variants.iter().map(|variant| inventory_lock(*variant)).collect();
    names.push(order_lock(&user, "key-1"));
    let words: Vec<_> = ["MGET"].into_iter().chain(names.iter().map(String::as_str)).collect();
    let holders: Vec<Option<String>> = redis.ask(&words).await;
    assert_eq!(holders.len(), 2_001);
    assert!(holders[0].is_some() && holders.iter().all(|holder| *holder == holders[0]));

    row.let_go().await;
    let placed = order.await.unwrap().expect(201).json();
    assert_eq!(placed["lock"]["mode"], "two_layer");
    assert_eq!(placed["lines"].as_array().unwrap().len(), 2_000);
    let words: Vec<_> = ["EXISTS"].into_iter().chain(names.iter().map(String::as_str)).collect();
    assert_eq!(redis.ask::<i64>(&words).await, 0);
    app.finish().await;
}

/// Variants made in one statement, each with five on hand.
async fn many_variants(app: &TestApp, count: i32) -> Vec<Uuid> {
    sqlx::query_scalar(
        "WITH made AS (
            INSERT INTO variants (variant_id, sku, name, price, currency)
            SELECT gen_random_uuid(), 'sku-' || n, 'A thing', 1, 'EUR' FROM generate_series(1, $1) n
            RETURNING variant_id
        ), stocked AS (
            INSERT INTO stock (variant_id, on_hand, version) SELECT variant_id, 5, 1 FROM made RETURNING 1
        ), moved AS (
            INSERT INTO stock_movements (movement_id, variant_id, version, kind, delta, on_hand_after, subject,
                request_id, lock_mode, lock_wait_ms)
            SELECT gen_random_uuid(), variant_id, 1, 'adjustment', 5, 5, 'test', 'test', 'database_only', 0 FROM made
            RETURNING 1
        )
        SELECT variant_id FROM made WHERE (SELECT count(*) FROM stocked) + (SELECT count(*) FROM moved) > 0",
    )
    .bind(count)
    .fetch_all(&app.database.pool)
    .await
    .unwrap()
}
