//! When a record was counted, whatever its device's clock says and however late it comes.

use serde_json::{Value, json};
use uuid::Uuid;

use super::{batch, claimed, conflict_types, counter, get, ids, lapse, post, record, sku_of};
use crate::support::{Client, TestApp, unique};

async fn item(app: &TestApp) -> (Uuid, String) {
    let variant = app.client.variant(10).await;
    (variant, sku_of(&app.client, variant).await)
}

async fn now(app: &TestApp) -> Value {
    let now = "SELECT to_json(clock_timestamp())";
    sqlx::query_scalar(now).fetch_one(&app.database.pool).await.unwrap()
}

fn with(mut record: Value, fields: &[(&str, Value)]) -> Value {
    for (name, value) in fields {
        record[name] = value.clone();
    }
    record
}

async fn posted(client: &Client, session: &str) -> Value {
    post(client, &format!("/sessions/{session}/post"), &json!({})).await.expect(200).json()
}

async fn resolve(client: &Client, n: usize, resolution: &str) {
    let inbox = get(client, "/sync/conflicts").await.expect(200).json();
    let id = inbox["items"][n]["conflict_id"].as_str().unwrap();
    let body = json!({"resolution": resolution});
    post(client, &format!("/sync/conflicts/{id}/resolve"), &body).await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_sent_late_was_counted_when_it_says_and_a_draft_when_it_was_drawn_up() {
    let app = TestApp::without_redis().await;
    let ann = counter(&app, "ann").await;
    let ((late, late_sku), (drawn, drawn_sku), (mixed, mixed_sku)) =
        (item(&app).await, item(&app).await, item(&app).await);
    app.client.decrement(late, 1).await.expect(200);
    let then = now(&app).await;
    app.client.decrement(late, 2).await.expect(200);
    let draft = with(record("2", "s", &drawn_sku, 8), &[("status", json!("draft"))]);
    batch(&ann, &[draft, record("3", "s", &mixed_sku, 5)]).await;
    app.client.decrement(drawn, 1).await.expect(200);
    // Between two records of an item what went out counts, and what came in does not.
    app.client.decrement(mixed, 1).await.expect(200);
    app.client.post(&format!("/inventory/{mixed}/increment"), &json!({"quantity": 2})).await.expect(200);
    let told = batch(
        &ann,
        &[
            with(record("1", "s", &late_sku, 9), &[("counted_at", then)]),
            with(record("2", "s", &drawn_sku, 8), &[("updated_at", json!("2026-01-01T11:00:00Z"))]),
            record("4", "s", &mixed_sku, 6),
        ],
    )
    .await;
    assert_eq!(ids(&told, "ok"), ["1", "2", "4"], "{told}");
    app.client.decrement(mixed, 1).await.expect(200);
    posted(&ann, "s").await;
    for (variant, left) in [(late, 7), (drawn, 7), (mixed, 9)] {
        assert_eq!(app.client.on_hand(variant).await, left);
    }
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_accepted_was_counted_when_it_came() {
    let app = TestApp::without_redis().await;
    let (ann, bob, (variant, sku), rack) =
        (counter(&app, "ann").await, counter(&app, "bob").await, item(&app).await, unique("R"));
    claimed(&bob, &rack).await;
    let told = batch(&ann, &[with(record("1", "s", &sku, 8), &[("rack_id", json!(rack))])]).await;
    assert_eq!(conflict_types(&told), ["rack_locked"]);
    app.client.decrement(variant, 3).await.expect(200);
    resolve(&ann, 0, "accept_local").await;
    posted(&ann, "s").await;
    assert_eq!(app.client.on_hand(variant).await, 5);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn versions_are_told_apart_by_time_and_by_what_they_say() {
    let app = TestApp::without_redis().await;
    let (ann, (_, sku)) = (counter(&app, "ann").await, item(&app).await);
    let serial = |id: &str, minute: u32, number: &str| {
        let at = json!(format!("2026-01-01T10:{minute:02}:00Z"));
        with(record(id, "s", &sku, 3), &[("updated_at", at), ("serial_numbers", json!([number]))])
    };
    // Finer than is kept: the same all the same.
    for digits in ["1234567", "123456789"] {
        let fine = with(
            record(digits, "s", &sku, 1),
            &[("updated_at", json!(format!("2026-01-01T10:00:00.{digits}Z")))],
        );
        for _ in 0..2 {
            assert_eq!(ids(&batch(&ann, std::slice::from_ref(&fine)).await, "ok"), [digits]);
        }
    }
    // An earlier version that comes later settles nothing of the later one.
    batch(&ann, &[serial("1", 1, "A")]).await;
    for records in [[serial("2", 3, "A")], [serial("2", 2, "B")], [serial("2", 3, "A")]] {
        let told = batch(&ann, &records).await;
        assert_eq!(ids(&told, "ok").len(), usize::from(records[0]["serial_numbers"] == json!(["B"])));
    }
    assert_eq!(app.count("count_conflicts WHERE resolution IS NULL").await, 1);
    resolve(&ann, 0, "ignore").await;
    // Of one time, and other than what was resolved, or than what waits.
    let odd = |damaged: i64| with(record("3", "s", &sku, 3), &[("damage_qty", json!(damaged))]);
    batch(&ann, &[odd(4), odd(5)]).await;
    assert_eq!(app.count("count_conflicts WHERE resolution IS NULL").await, 2);
    resolve(&ann, 1, "ignore").await;
    resolve(&ann, 0, "ignore").await;
    let told = batch(&ann, &[odd(4), odd(1), odd(5)]).await;
    assert_eq!(ids(&told, "ok").len(), 3, "{told}");
    assert_eq!(app.count("count_records WHERE client_record_id = '3' AND damage_qty = 1").await, 1);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_of_which_nothing_can_be_kept_opens_no_session_and_a_clock_far_ahead_is_told() {
    let app = TestApp::without_redis().await;
    let (ann, (_, sku)) = (counter(&app, "ann").await, item(&app).await);
    let ahead: Value = sqlx::query_scalar("SELECT to_json(clock_timestamp() + interval '25 hours')")
        .fetch_one(&app.database.pool)
        .await
        .unwrap();
    let bad = [
        record("1", "bad", "nothing", 1),
        with(record("2", "bad", &sku, 1), &[("created_at", json!("2999-01-01T00:00:00Z"))]),
    ];
    let told = batch(&ann, &bad).await;
    let types: Vec<_> =
        told["errors"].as_array().unwrap().iter().map(|error| error["error_type"].clone()).collect();
    assert_eq!(types, ["unknown_item", "invalid_time"]);
    let body = json!({"records": [record("1", "bad", &sku, 1)], "sent_at": ahead});
    let told = post(&ann, "/sync/batch", &body).await.expect(200).json();
    assert_eq!(told["errors"][0]["error_type"], "invalid_time");
    assert_eq!(
        (app.count("count_sessions").await, app.count("events WHERE about = 'session'").await),
        (0, 0)
    );
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_counted_before_the_rack_was_lost_is_reviewed_though_its_session_has_it_again() {
    let app = TestApp::without_redis().await;
    let (ann, bob, (_, sku)) = (counter(&app, "ann").await, counter(&app, "bob").await, item(&app).await);
    for by_hand in [false, true] {
        let rack = unique("R");
        let (session, _) = claimed(&ann, &rack).await;
        let before = now(&app).await;
        if by_hand {
            let path = format!("/locks/rack%3Alock%3A{rack}/release");
            app.client.post(&path, &json!({"reason": "broken device"})).await.expect(200);
        } else {
            lapse(&app, &rack).await;
            claimed(&bob, &rack).await;
            lapse(&app, &rack).await;
        }
        let body = json!({"session_id": session});
        let again = post(&ann, &format!("/racks/{rack}/claim"), &body).await.expect(200).json();
        let at = |id: &str, when: &Value| {
            with(record(id, &session, &sku, 4), &[("rack_id", json!(rack)), ("counted_at", when.clone())])
        };
        let named = with(at("3", &before), &[("fence", again["fence"].clone())]);
        let told = batch(&ann, &[at("1", &before), at("2", &now(&app).await), named]).await;
        assert_eq!((conflict_types(&told), ids(&told, "ok")), (vec!["lease_lost"], vec!["2", "3"]), "{told}");
    }
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_moved_while_a_clock_was_behind_is_counted_once_at_the_most() {
    let app = TestApp::without_redis().await;
    let (ann, (variant, sku)) = (counter(&app, "ann").await, item(&app).await);
    let shown = now(&app).await;
    // Five come in, and then fifteen are counted by a device whose clock still shows what it was before.
    app.client.post(&format!("/inventory/{variant}/increment"), &json!({"quantity": 5})).await.expect(200);
    app.client.decrement(variant, 2).await.expect(200);
    let late = with(record("1", "s", &sku, 15), &[("counted_at", shown.clone())]);
    let told =
        post(&ann, "/sync/batch", &json!({"records": [late], "sent_at": shown})).await.expect(200).json();
    assert_eq!(ids(&told, "ok"), ["1"], "{told}");
    app.client.post(&format!("/inventory/{variant}/increment"), &json!({"quantity": 1})).await.expect(200);
    posted(&ann, "s").await;
    assert_eq!(app.client.on_hand(variant).await, 15 - 2 + 1);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn however_many_movements_there_are_that_of_a_time_is_found() {
    let app = TestApp::without_redis().await;
    let (variant, _) = item(&app).await;
    let pool = &app.database.pool;
    // Some at one time, as in one transaction, and none for a while.
    let many = "INSERT INTO stock_movements (movement_id, variant_id, version, kind, delta, on_hand_after, reason, subject,
                    request_id, lock_mode, lock_wait_ms, created_at)
                SELECT gen_random_uuid(), variant_id, version + n, kind, 1, on_hand_after + n, reason, subject,
                    request_id, lock_mode, lock_wait_ms, created_at + make_interval(secs => n / 3 * 2)
                FROM stock_movements, generate_series(1, 700) n WHERE variant_id = $1";
    sqlx::query(many).bind(variant).execute(pool).await.unwrap();
    let wrong = "WITH first AS (SELECT min(created_at) AS at FROM stock_movements WHERE variant_id = $1)
        SELECT count(*), count(*) FILTER (WHERE version_at($1, asked, 701) IS DISTINCT FROM (
            SELECT coalesce(max(version), 0) FROM stock_movements WHERE variant_id = $1 AND created_at <= asked))
        FROM first, generate_series(at - interval '2 seconds', at + interval '470 seconds', interval '1 second') AS asked";
    let wrong: (i64, i64) = sqlx::query_as(wrong).bind(variant).fetch_one(pool).await.unwrap();
    assert_eq!(wrong, (473, 0));
    app.database.close().await;
}
