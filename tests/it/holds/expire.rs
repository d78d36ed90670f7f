//! Holds whose time is over.

use std::time::Duration;

use holdfast::holds::expire::expire_due;
use serde_json::json;

use super::{end_at, held, hold, lapse, level, resolve};
use crate::support::{HeldRow, Peer, TestApp, eventually, unique};

#[tokio::test(flavor = "multi_thread")]
async fn a_hold_that_is_over_frees_its_stock_though_nobody_has_written_that_down() {
    for app in [TestApp::start().await, TestApp::without_redis().await] {
        let variant = app.client.variant(3).await;
        let (over, live) = (held(&app, &[(variant, 2)]).await, held(&app, &[(variant, 1)]).await);
        assert_eq!(level(&app.client, variant).await, [3, 3, 0]);
        lapse(&app, &over).await;
        assert_eq!(level(&app.client, variant).await, [3, 1, 2]);
        let check = app.client.get(&format!("/inventory/check-stock/{variant}?quantity=2")).await.json();
        assert_eq!((&check["in_stock"], &check["available"]), (&json!(true), &json!(2)));
        let read = app.client.get(&format!("/holds/{}", over["hold_id"].as_str().unwrap())).await.json();
        assert_eq!(read["state"], "expired");
        // Every way of taking it: an order, a hold, and what is left of it a plain sale.
        assert_eq!(app.client.decrement(variant, 3).await.code(), "insufficient_stock");
        app.client.order("bob", &unique("key"), &[(variant, 1)]).await.expect(201);
        hold(&app.client, "bob", &[(variant, 1)]).await.expect(201);
        assert_eq!(app.client.decrement(variant, 1).await.code(), "insufficient_stock");
        resolve(&app.client, &live, "capture", &json!({})).await.expect(201);
        assert_eq!(expire_due(&app.app).await.unwrap(), 1);
        assert_eq!(expire_due(&app.app).await.unwrap(), 0);
        assert_eq!(level(&app.client, variant).await, [1, 1, 0]);
        app.finish().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hold_whose_stock_another_took_at_its_end_can_not_be_extended_or_captured_any_more() {
    let app = TestApp::start().await;
    for (verb, body) in [("extend", json!({"ttl_seconds": 60})), ("capture", json!({}))] {
        let variant = app.client.variant(1).await;
        let hold = held(&app, &[(variant, 1)]).await;
        // The sale stands at the row when the hold's end comes, and the other call behind it.
        let row = HeldRow::of(&app.database, variant).await;
        let client = app.client.clone();
        let sale = tokio::spawn(async move { client.decrement(variant, 1).await });
        row.until_wanted_by(1, &app.database.pool).await;
        let (client, late) = (app.client.clone(), hold.clone());
        let late = tokio::spawn(async move { resolve(&client, &late, verb, &body).await });
        lapse(&app, &hold).await;
        row.let_go().await;
        sale.await.unwrap().expect(200);
        assert_eq!(late.await.unwrap().code(), "hold_expired");
        assert_eq!(level(&app.client, variant).await, [0, 0, 0]);
    }
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_waits_for_the_row_while_its_hold_ends_finds_it_ended() {
    let app = TestApp::without_redis().await;
    let peer = Peer::start(&app.database.url, None, &[]).await;
    for (verb, body) in [("extend", json!({"ttl_seconds": 60})), ("capture", json!({}))] {
        let variant = app.client.variant(2).await;
        let (ending, _other) = (held(&app, &[(variant, 1)]).await, held(&app, &[(variant, 1)]).await);
        // Two replicas, for of one only the first of a line is at the row.
        let row = HeldRow::of(&app.database, variant).await;
        end_at(&app, &ending, "clock_timestamp() + interval '1500 milliseconds'").await;
        let client = app.client.clone();
        let sale = tokio::spawn(async move { client.decrement(variant, 1).await });
        row.until_wanted_by(1, &app.database.pool).await;
        let (client, late) = (peer.client.clone(), ending.clone());
        let late = tokio::spawn(async move { resolve(&client, &late, verb, &body).await });
        row.until_wanted_by(2, &app.database.pool).await;
        eventually(Duration::from_secs(15), "its time is over", async || {
            let lives = "SELECT count(*) FROM holds WHERE state = 'held' AND expires_at > clock_timestamp()
                         AND hold_id IN (SELECT hold_id FROM hold_lines WHERE variant_id = $1)";
            sqlx::query_scalar::<_, i64>(lives).bind(variant).fetch_one(&app.database.pool).await.unwrap()
                == 1
        })
        .await;
        row.let_go().await;
        sale.await.unwrap().expect(200);
        assert_eq!(late.await.unwrap().code(), "hold_expired", "{verb}");
        assert_eq!(level(&app.client, variant).await, [1, 1, 0]);
    }
    peer.finish().await;
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_item_that_is_busy_keeps_no_other_hold_from_being_ended() {
    let app = TestApp::without_redis().await;
    let (busy, other) = (app.client.variant(1).await, app.client.variant(1).await);
    let (first, second) = (held(&app, &[(busy, 1)]).await, held(&app, &[(other, 1)]).await);
    let row = HeldRow::of(&app.database, busy).await;
    lapse(&app, &first).await;
    lapse(&app, &second).await;
    assert_eq!(expire_due(&app.app).await.unwrap(), 1);
    row.let_go().await;
    assert_eq!(expire_due(&app.app).await.unwrap(), 1);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hundreds_at_the_head_whose_items_are_busy_slow_nobody_behind_them() {
    let app = TestApp::start().await;
    let (busy, other) = (app.client.variant(300).await, app.client.variant(1).await);
    // More than are looked for at once, and all of them due before the last.
    let first = held(&app, &[(busy, 1)]).await;
    sqlx::query(
            "WITH more AS (
                INSERT INTO holds (hold_id, user_id, currency, total, expires_at, subject, request_id, lock_mode, lock_wait_ms)
                SELECT gen_random_uuid(), user_id, currency, total, expires_at, subject, request_id, lock_mode, 0
                FROM holds, generate_series(1, 249) RETURNING hold_id
             ), lines AS (
                INSERT INTO hold_lines (hold_id, line_id, position, variant_id, sku, quantity, unit_price, line_total,
                    expires_at)
                SELECT more.hold_id, gen_random_uuid(), 1, variant_id, sku, quantity, unit_price, line_total, expires_at
                FROM more, hold_lines
             ), told AS (
                INSERT INTO events (event_id, kind, about, about_id, data)
                SELECT gen_random_uuid(), 'hold.created', 'hold', hold_id::text, '{}' FROM more
             ) UPDATE stock SET held = held + 249 WHERE variant_id = $1",
        )
        .bind(busy)
        .execute(&app.database.pool)
        .await
        .unwrap();
    sqlx::raw_sql(
        "UPDATE holds SET expires_at = '2026-01-01'; UPDATE hold_lines SET expires_at = '2026-01-01'",
    )
    .execute(&app.database.pool)
    .await
    .unwrap();
    let last = held(&app, &[(other, 1)]).await;
    end_at(&app, &last, "'2026-01-02'").await;
    let row = HeldRow::of(&app.database, busy).await;
    let app_of_round = app.app.clone();
    let round = tokio::spawn(async move { expire_due(&app_of_round).await.unwrap() });
    eventually(Duration::from_secs(60), "the one behind them is written down", async || {
        sqlx::query_scalar::<_, bool>("SELECT state = 'expired' FROM holds WHERE hold_id::text = $1")
            .bind(last["hold_id"].as_str().unwrap())
            .fetch_one(&app.database.pool)
            .await
            .unwrap()
    })
    .await;
    row.let_go().await;
    let ended = round.await.unwrap();
    // Those that were left may have come free by then.
    assert!((1..=251).contains(&ended), "{ended}");
    assert_eq!(ended + expire_due(&app.app).await.unwrap(), 251);
    assert_eq!(level(&app.client, busy).await, [300, 0, 300]);
    resolve(&app.client, &first, "capture", &json!({})).await.expect(409);
    app.finish().await;
}
