//! A count sets the whole of an item's stock: what several devices counted is one count, and one that others contradict is
//! not posted.

use serde_json::{Value, json};
use uuid::Uuid;

use super::{batch, conflict_types, counter, get, ids, post, record, sku_of};
use crate::support::{Client, TestApp};

async fn item(app: &TestApp) -> (Uuid, String) {
    let variant = app.client.variant(10).await;
    (variant, sku_of(&app.client, variant).await)
}

fn at(rack: &str, session: &str, sku: &str, units: i64) -> Value {
    let mut sent = record(&format!("{rack} {sku}"), session, sku, units);
    sent["rack_id"] = json!(rack);
    sent
}

async fn posted(client: &Client, session: &str, body: &Value) -> Value {
    post(client, &format!("/sessions/{session}/post"), body).await.expect(200).json()
}

fn outcome<'a>(told: &'a Value, sku: &str) -> (&'a str, &'a Value) {
    let line = told["lines"].as_array().unwrap().iter().find(|line| line["item_code"] == sku).unwrap();
    (line["outcome"].as_str().unwrap_or_default(), &line["recount_because"])
}

#[tokio::test(flavor = "multi_thread")]
async fn what_several_devices_counted_is_posted_as_one_count() {
    let app = TestApp::without_redis().await;
    let (ann, bob) = (counter(&app, "ann").await, counter(&app, "bob").await);
    let ((both, sku), (alone, alone_sku), (twice, twice_sku)) =
        (item(&app).await, item(&app).await, item(&app).await);
    batch(&ann, &[at("R1", "ann", &sku, 5), at("R1", "ann", &alone_sku, 3), at("R1", "ann", &twice_sku, 4)])
        .await;
    batch(
        &bob,
        &[at("R2", "bob", &sku, 7), at("R1", "bob", &twice_sku, 4), at("R9", "other", &twice_sku, 0)],
    )
    .await;
    let seen = get(&ann, "/sessions/ann/variances").await.expect(200).json();
    assert_eq!(outcome(&seen, &sku).1, "counted_elsewhere");
    let line = seen["lines"].as_array().unwrap().iter().find(|line| line["item_code"] == sku).unwrap();
    assert_eq!(line["also_in"], json!(["bob"]));
    let seen = get(&ann, "/sessions/ann/variances?session_ids=bob").await.expect(200).json();
    assert_eq!((&seen["session_ids"], outcome(&seen, &sku).1), (&json!(["ann", "bob"]), &Value::Null));
    for (page, nobody) in [("variances", "nobody"), ("variances", "no%00body"), ("export", "no%00body")] {
        get(&ann, &format!("/sessions/ann/{page}?session_ids={nobody}")).await.expect(422);
    }
    let refused = post(&ann, "/sessions/ann/post", &json!({"session_ids": ["nobody"]})).await;
    assert_eq!(
        (refused.status.as_u16(), refused.json()["errors"][0]["field"].clone()),
        (422, json!("session_ids[0]"))
    );
    app.client.decrement(both, 1).await.expect(200);
    let first = posted(&ann, "ann", &json!({"session_ids": ["bob"]})).await;
    assert_eq!(
        (&first["session_ids"], outcome(&first, &sku)),
        (&json!(["ann", "bob"]), ("posted", &Value::Null))
    );
    // One rack, counted by two of them: nobody knows whether they saw the same units.
    assert_eq!(outcome(&first, &twice_sku), ("recount", &json!("counted_twice")));
    for (variant, left) in [(both, 11), (alone, 3), (twice, 10)] {
        assert_eq!(app.client.on_hand(variant).await, left);
    }
    // In whichever name it is posted again, it is the same count.
    for (session, body) in [("ann", json!({})), ("bob", json!({})), ("bob", json!({"session_ids": ["ann"]}))]
    {
        assert_eq!(posted(&bob, session, &body).await, first);
    }
    for (session, other) in [("ann", "other"), ("other", "ann")] {
        let refused =
            post(&ann, &format!("/sessions/{session}/post"), &json!({"session_ids": [other]})).await;
        assert_eq!(refused.code(), "session_posted");
    }
    assert_eq!(app.count("events WHERE kind = 'count.posted'").await, 1);
    assert_eq!(app.count("events WHERE kind = 'session.ended'").await, 2);
    // Whoever is over is there no more.
    let beat = post(&ann, "/sync/heartbeat?session_id=ann", &json!({})).await;
    assert_eq!(beat.code(), "session_posted");
    let present = get(&ann, "/presence").await.expect(200).json();
    let present: Vec<_> = present["items"].as_array().unwrap().iter().map(|one| &one["session_id"]).collect();
    assert_eq!(present, ["other"]);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_count_that_left_out_a_rack_or_is_older_than_another_is_posted_only_if_approved() {
    let app = TestApp::without_redis().await;
    let (ann, (racks, sku), (old, old_sku)) =
        (counter(&app, "ann").await, item(&app).await, item(&app).await);
    batch(&ann, &[at("R1", "one", &sku, 5), at("R2", "two", &sku, 7)]).await;
    batch(&ann, &[record("1", "typo", &old_sku, 80), record("1", "typo-2", &old_sku, 80)]).await;
    for session in ["one", "two"] {
        let told = posted(&ann, session, &json!({})).await;
        assert_eq!(outcome(&told, &sku), ("recount", &json!("counted_elsewhere")));
        assert_eq!(app.client.on_hand(racks).await, 10);
    }
    batch(&ann, &[at("R1", "all", &sku, 5), at("R2", "all", &sku, 7)]).await;
    assert_eq!(outcome(&posted(&ann, "all", &json!({})).await, &sku).0, "posted");
    assert_eq!(app.client.on_hand(racks).await, 12);

    app.client.decrement(old, 1).await.expect(200);
    batch(&ann, &[record("1", "newer", &old_sku, 8)]).await;
    assert_eq!(outcome(&posted(&ann, "newer", &json!({})).await, &old_sku).0, "posted");
    let told = posted(&ann, "typo", &json!({})).await;
    assert_eq!(outcome(&told, &old_sku), ("recount", &json!("counted_since")));
    assert_eq!(app.client.on_hand(old).await, 8);
    let approve = json!({"lines": [{"item_code": old_sku, "decision": "approve"}]});
    assert_eq!(outcome(&posted(&ann, "typo-2", &approve).await, &old_sku).0, "posted");
    assert_eq!(app.client.on_hand(old).await, 79);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_not_posted_frees_its_serial_numbers_at_once_and_a_session_may_be_given_up() {
    let app = TestApp::without_redis().await;
    let (ann, (_, sku)) = (counter(&app, "ann").await, item(&app).await);
    let serial = |session: &str, number: &str| {
        let mut sent = record("1", session, &sku, 3);
        sent["serial_numbers"] = json!([number]);
        sent
    };
    batch(&ann, &[serial("far", "A"), serial("lost", "B")]).await;
    assert_eq!(conflict_types(&batch(&ann, &[serial("later", "B")]).await), ["duplicate_serial"]);
    let told = posted(&ann, "far", &json!({"recount_over": 0})).await;
    assert_eq!(outcome(&told, &sku), ("recount", &json!("too_far")));
    let path = "/sessions/lost/discard";
    let first = post(&ann, path, &json!({"reason": "broken device"})).await.expect(200).json();
    assert_eq!(first["state"], "discarded");
    assert_eq!(post(&ann, path, &json!({})).await.expect(200).json(), first);
    assert_eq!(post(&ann, "/sessions/far/discard", &json!({})).await.code(), "session_posted");
    assert_eq!(post(&ann, "/sessions/nowhere/discard", &json!({})).await.code(), "session_not_found");
    assert_eq!(app.count("events WHERE kind = 'session.ended'").await, 2);
    let told = batch(&ann, &[serial("again", "A"), serial("again-2", "B"), serial("lost", "C")]).await;
    assert_eq!(
        (ids(&told, "ok"), &told["errors"][0]["error_type"]),
        (vec!["1", "1"], &json!("session_posted"))
    );
    assert_eq!(post(&ann, "/sessions/lost/post", &json!({})).await.code(), "session_posted");
    // Its conflict can be accepted now, and nothing else of it was lost.
    assert_eq!(app.count("count_records WHERE session_id = 'lost'").await, 1);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn however_many_serial_numbers_a_session_has_they_come_free_when_it_is_over() {
    const EACH: i64 = 1_000;
    let app = TestApp::without_redis().await;
    let (ann, (_, sku)) = (counter(&app, "ann").await, item(&app).await);
    let numbered = |id: &str, session: &str| {
        let mut sent = record(id, session, &sku, EACH);
        sent["serial_numbers"] = (0..EACH).map(|n| json!(format!("{session} {id} {n}"))).collect();
        sent
    };
    for session in ["posted", "discarded"] {
        let told = batch(&ann, &[numbered("1", session), numbered("2", session)]).await;
        assert_eq!(ids(&told, "ok").len(), 2);
    }
    let discard = async || post(&ann, "/sessions/discarded/discard", &json!({})).await.expect(200).json();
    let first = discard().await;
    assert_eq!(app.count("count_serials WHERE free_from <= clock_timestamp()").await, 2 * EACH);
    // It broke off, and whoever discards again goes on.
    let broken = "UPDATE count_serials SET free_from = NULL WHERE client_record_id = '2'";
    sqlx::query(broken).execute(&app.database.pool).await.unwrap();
    assert_eq!(discard().await, first);
    assert_eq!(app.count("count_serials WHERE free_from <= clock_timestamp()").await, 2 * EACH);
    posted(&ann, "posted", &json!({})).await;
    assert_eq!(app.count("count_serials WHERE free_from > clock_timestamp()").await, 2 * EACH);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn serial_numbers_come_free_in_the_order_in_which_batches_lock_them() {
    let app = TestApp::without_redis().await;
    let (ann, (_, sku)) = (counter(&app, "ann").await, item(&app).await);
    let numbered = |id: &str, number: &str| {
        let mut sent = record(id, "s", &sku, 1);
        sent["serial_numbers"] = json!([number]);
        sent
    };
    batch(&ann, &[numbered("1", "B"), numbered("2", "A")]).await;
    // A batch has the first of them, and comes to the second.
    let lock = "SELECT FROM count_serials WHERE serial_number = $1 FOR UPDATE NOWAIT";
    let mut other = app.database.pool.begin().await.unwrap();
    sqlx::query(lock).bind("A").execute(&mut *other).await.unwrap();
    let discarded = tokio::spawn({
        let ann = ann.clone();
        async move { post(&ann, "/sessions/s/discard", &json!({})).await }
    });
    app.until_somebody_waits_for_a_row().await;
    sqlx::query(lock).bind("B").execute(&mut *other).await.unwrap();
    other.commit().await.unwrap();
    discarded.await.unwrap().expect(200);
    assert_eq!(app.count("count_serials WHERE free_from IS NULL").await, 0);
    app.finish().await;
}
