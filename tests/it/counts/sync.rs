//! Batches of records: each judged alone, each serial number in one place, and none lost.

use hyper::Method;
use serde_json::{Value, json};

use super::{batch, call, claimed, conflict_types, counter, get, ids, lapse, post, record, sku_of};
use crate::support::campaign::report;
use crate::support::row::until_at_a_row;
use crate::support::{TestApp, at_once, unique};

/// Enough batches for any test.
const MANY: &[(&str, &str)] = &[("HOLDFAST_SYNC_BATCHES_PER_MINUTE", "100000")];

async fn many(redis: bool) -> TestApp {
    let redis = redis.then(crate::support::shared_redis);
    TestApp::with(crate::support::TestDatabase::fresh().await, redis.as_deref(), MANY).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_is_kept_and_sent_again_changes_nothing() {
    for redis in [true, false] {
        let app = many(redis).await;
        let (ann, rack) = (counter(&app, "ann").await, unique("R"));
        let sku = sku_of(&app.client, app.client.variant(10).await).await;
        let (session, fence) = claimed(&ann, &rack).await;
        let mut sent = record("1", &session, &sku, 9);
        sent["rack_id"] = json!(rack);
        sent["serial_numbers"] = json!([unique("SN")]);
        let body = json!({"records": [sent], "batch_id": "batch_789"});
        for _ in 0..2 {
            let told = post(&ann, "/sync/batch", &body).await.expect(200).json();
            assert_eq!(
                (&told["ok"], &told["conflicts"], &told["errors"], &told["batch_id"], &told["total_records"]),
                (&json!(["1"]), &json!([]), &json!([]), &json!("batch_789"), &json!(1))
            );
            assert!(told["processing_time_ms"].is_f64());
        }
        let kept: Vec<(i64, Option<i64>)> = sqlx::query_as("SELECT verified_qty, fence FROM count_records")
            .fetch_all(&app.database.pool)
            .await
            .unwrap();
        assert_eq!(kept, [(9, Some(fence))]);
        app.finish().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_later_version_replaces_a_record_and_an_earlier_one_is_stale() {
    let app = many(true).await;
    let (ann, session) = (counter(&app, "ann").await, unique("s"));
    let sku = sku_of(&app.client, app.client.variant(10).await).await;
    let version = |minute: u32, units: i64| {
        let mut sent = record("1", &session, &sku, units);
        sent["updated_at"] = json!(format!("2026-01-01T10:{minute:02}:00Z"));
        sent
    };
    let told = batch(&ann, &[version(1, 5), version(2, 6), version(1, 5)]).await;
    assert_eq!((ids(&told, "ok"), conflict_types(&told)), (vec!["1", "1"], vec!["stale_record"]));
    let told = batch(&ann, &[version(2, 7)]).await;
    assert_eq!(conflict_types(&told), ["stale_record"]);
    let units: i64 = sqlx::query_scalar("SELECT verified_qty FROM count_records")
        .fetch_one(&app.database.pool)
        .await
        .unwrap();
    assert_eq!((units, app.count("count_conflicts").await), (6, 2));
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_one_record_touches_no_other() {
    let app = many(false).await;
    let (ann, bob, session) = (counter(&app, "ann").await, counter(&app, "bob").await, unique("s"));
    let sku = sku_of(&app.client, app.client.variant(10).await).await;
    let (others, _) = claimed(&bob, &unique("R")).await;
    let with = |id: &str, field: &str, value: Value| {
        let mut sent = record(id, &session, &sku, 5);
        sent[field] = value;
        sent
    };
    let records = [
        with("good", "damage_qty", json!(5)),
        with("negative", "verified_qty", json!(-1)),
        with("damaged", "damage_qty", json!(6)),
        with("huge", "verified_qty", json!(1_000_000_001)),
        with("half", "verified_qty", json!(1.5)),
        with("text", "verified_qty", json!("5")),
        with("item", "item_code", json!("nothing")),
        with("future", "updated_at", json!("2999-01-01T00:00:00Z")),
        with("ancient", "counted_at", json!("1999-01-01T00:00:00Z")),
        with("no time", "updated_at", json!("yesterday")),
        with("nul", "floor", json!("a\u{0}b")),
        with("escape", "rack_id", json!("\u{1b}[31m")),
        with("unknown", "is_admin", json!(true)),
        with("others", "session_id", json!(others)),
        with("serials", "serial_numbers", json!(["a", "a"])),
        with("'; DROP TABLE stock; --", "floor", json!("' OR 1=1 --")),
        json!({"client_record_id": "bare"}),
        json!(["a list"]),
        json!(null),
        with("", "verified_qty", json!(1)),
    ];
    let told = batch(&ann, &records).await;
    assert_eq!(ids(&told, "ok"), ["good", "'; DROP TABLE stock; --"]);
    let conflicts: Vec<_> = ["negative", "damaged", "huge", "serials"].to_vec();
    assert_eq!(ids(&told, "conflicts"), conflicts);
    assert_eq!(told["errors"].as_array().unwrap().len(), records.len() - 6, "{told}");
    let of = |id: &str| {
        let errors = told["errors"].as_array().unwrap();
        errors.iter().find(|error| error["client_record_id"] == id).unwrap()["error_type"].clone()
    };
    for (id, error) in [
        ("half", "validation_error"),
        ("item", "unknown_item"),
        ("future", "invalid_time"),
        ("ancient", "invalid_time"),
        ("others", "not_session_owner"),
        ("unknown", "validation_error"),
    ] {
        assert_eq!(of(id), error, "{id}");
    }
    assert_eq!((app.count("count_records").await, app.count("count_conflicts").await), (2, 4));
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_is_none_is_refused_whole() {
    let app = many(false).await;
    let ann = counter(&app, "ann").await;
    let long = vec![json!({}); 1_001];
    for body in
        [json!({}), json!({"records": []}), json!({"records": long}), json!({"records": {}}), json!([])]
    {
        assert_eq!(post(&ann, "/sync/batch", &body).await.status, 422);
    }
    let seller = app.client_of("shop", &[holdfast::http::auth::Scope::Storefront]).await;
    assert_eq!(post(&seller, "/sync/batch", &json!({"records": [{}]})).await.status, 403);
    assert_eq!(app.count("sync_minutes").await, 0);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_lost_its_rack_has_its_records_reviewed_and_loses_none() {
    for redis in [true, false] {
        let app = many(redis).await;
        let (ann, bob, rack) = (counter(&app, "ann").await, counter(&app, "bob").await, unique("R"));
        let sku = sku_of(&app.client, app.client.variant(10).await).await;
        let (session, fence) = claimed(&ann, &rack).await;
        lapse(&app, &rack).await;
        let at = |id: &str, session: &str| {
            let mut sent = record(id, session, &sku, 4);
            sent["rack_id"] = json!(rack);
            sent
        };
        // Lapsed, and nobody came.
        assert_eq!(ids(&batch(&ann, &[at("1", &session)]).await, "ok"), ["1"]);
        let (_, next) = claimed(&bob, &rack).await;
        let mut named = at("3", &session);
        named["fence"] = json!(fence);
        let told = batch(&ann, &[at("1", &session), at("2", &session), named, at("4", &unique("s"))]).await;
        assert_eq!(
            (ids(&told, "ok"), conflict_types(&told)),
            (vec!["1"], vec!["lease_lost", "lease_lost", "rack_locked"])
        );
        let details = &told["conflicts"][0]["details"];
        assert_eq!(
            (&details["counted_under"], &details["newest_fence"], &details["holder"]),
            (&json!(fence), &json!(next), &json!("bob"))
        );
        let inbox = get(&bob, "/sync/conflicts").await.expect(200).json();
        assert_eq!(inbox["items"].as_array().unwrap().len(), 3);
        assert_eq!(inbox["items"][0]["local"]["verified_qty"], 4);
        app.finish().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_hundred_batches_at_once_each_serial_number_is_in_one_and_the_others_are_told() {
    const SERIALS: usize = 20;
    let app = many(true).await;
    let sku = sku_of(&app.client, app.client.variant(1_000).await).await;
    let mut devices = Vec::new();
    for n in 0..10 {
        devices.push(counter(&app, &format!("user {n}").replace(' ', "-")).await);
    }
    let told = at_once(100, |n| {
        let (client, session) = (devices[n % 10].clone(), format!("session-{n}"));
        let records: Vec<_> = (0..SERIALS)
            .map(|serial| {
                let mut sent = record(&format!("{n}-{serial}"), &session, &sku, 2);
                // Each overlaps with its neighbours, in another order.
                let (one, two) = ((serial * 7 + n) % SERIALS, 100 + n * SERIALS + serial);
                sent["serial_numbers"] = json!([format!("S{one}"), format!("S{two}")]);
                sent
            })
            .collect();
        let body = json!({"records": records});
        async move {
            // So many at once may find no connection free, or wait for each other's numbers too long: they are told to come
            // again.
            loop {
                let reply = post(&client, "/sync/batch", &body).await;
                if reply.status != 503 && reply.status != 429 {
                    return reply.expect(200).json();
                }
            }
        }
    })
    .await;
    let kept: usize = told.iter().map(|told| ids(told, "ok").len()).sum();
    let refused: Vec<_> = told.iter().flat_map(conflict_types).collect();
    assert_eq!((kept, refused.len()), (SERIALS, 99 * SERIALS));
    assert!(refused.iter().all(|kind| *kind == "duplicate_serial"));
    // Of those that were refused no other number is taken either.
    assert_eq!(app.count("count_serials").await, 2 * SERIALS as i64);
    report("100 batches at once that overlap in serial numbers: each number once, all others told");
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_sends_ten_batches_a_minute_over_all_replicas_and_is_told_when_to_go_on() {
    let app = TestApp::start().await;
    let peer = crate::support::Peer::start(&app.database.url, None, &[]).await;
    let (ann, bob) = (counter(&app, "ann").await, counter(&app, "bob").await);
    let there = crate::support::Client { address: peer.client.address, ..ann.clone() };
    let sku = sku_of(&app.client, app.client.variant(1).await).await;
    let replies = at_once(15, |n| {
        let client = if n % 2 == 0 { ann.clone() } else { there.clone() };
        let body = json!({"records": [record(&n.to_string(), "ann's", &sku, 1)]});
        async move { post(&client, "/sync/batch", &body).await }
    })
    .await;
    let refused: Vec<_> = replies.iter().filter(|reply| reply.status == 429).collect();
    assert_eq!((refused.len(), app.count("count_records").await), (5, 10));
    for reply in refused {
        assert_eq!(reply.code(), "too_many_batches");
        assert!((1..=60).contains(&reply.header("retry-after").unwrap().parse::<u32>().unwrap()));
    }
    assert_eq!(ids(&batch(&bob, &[record("1", "bob's", &sku, 1)]).await, "ok"), ["1"]);
    let past = "UPDATE sync_minutes SET began_at = began_at - interval '61 seconds'";
    sqlx::query(past).execute(&app.database.pool).await.unwrap();
    batch(&ann, &[record("16", "ann's", &sku, 1)]).await;
    peer.finish().await;
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conflict_is_resolved_once_in_one_of_four_ways_and_says_by_whom_and_why() {
    let app = many(true).await;
    let (ann, bob, session) = (counter(&app, "ann").await, counter(&app, "bob").await, unique("s"));
    let sku = sku_of(&app.client, app.client.variant(10).await).await;
    let serial = |id: &str, number: &str| {
        let mut sent = record(id, &session, &sku, 3);
        sent["serial_numbers"] = json!([number]);
        sent
    };
    batch(&ann, &[serial("1", "A"), serial("2", "B")]).await;
    let mut odd = record("6", &session, &sku, 3);
    odd["damage_qty"] = json!(4);
    let told = batch(&ann, &[serial("3", "A"), serial("4", "A"), serial("5", "B"), odd.clone()]).await;
    assert_eq!(ids(&told, "conflicts").len(), 4);
    let inbox = get(&bob, "/sync/conflicts").await.expect(200).json();
    let path =
        |n: usize| format!("/sync/conflicts/{}/resolve", inbox["items"][n]["conflict_id"].as_str().unwrap());
    let by = json!({"resolution": "accept_local", "reason": "looked"});
    let first = post(&bob, &path(0), &by).await.expect(200).json();
    assert_eq!((&first["resolved_by"], &first["reason"]), (&json!("bob"), &json!("looked")));
    post(&bob, &path(0), &by).await.expect(200);
    assert_eq!(post(&bob, &path(0), &json!({"resolution": "ignore"})).await.code(), "conflict_resolved");
    post(&bob, &path(1), &json!({"resolution": "accept_server"})).await.expect(200);
    let merged = json!({"resolution": "merge", "merged": {"serial_numbers": ["C"], "verified_qty": 2}});
    post(&bob, &path(2), &merged).await.expect(200);
    assert_eq!(post(&bob, &path(3), &json!({"resolution": "accept_local"})).await.status, 422);
    assert_eq!(post(&bob, &path(3), &json!({"resolution": "merge"})).await.status, 422);
    post(&bob, &path(3), &json!({"resolution": "ignore"})).await.expect(200);
    // The unit that moved left the record it was in; what was resolved is no news any more.
    let kept: Vec<(String, i64)> =
        sqlx::query_as("SELECT client_record_id, verified_qty FROM count_records ORDER BY 1")
            .fetch_all(&app.database.pool)
            .await
            .unwrap();
    let kept: Vec<_> = kept.iter().map(|(id, units)| (id.as_str(), *units)).collect();
    assert_eq!(kept, [("1", 2), ("2", 3), ("3", 3), ("5", 2)]);
    let again = batch(&ann, &[serial("3", "A"), serial("4", "A"), serial("5", "B"), odd]).await;
    assert_eq!(ids(&again, "ok").len(), 4);
    assert_eq!(get(&bob, "/sync/conflicts").await.json()["items"], json!([]));
    assert_eq!(
        get(&bob, "/sync/conflicts?state=resolved").await.json()["items"].as_array().unwrap().len(),
        4
    );
    let unknown = post(&bob, &format!("/sync/conflicts/{}/resolve", uuid::Uuid::nil()), &by).await;
    assert_eq!(unknown.code(), "conflict_not_found");
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_resolves_what_it_can_and_leaves_the_rest_to_a_person() {
    let app = many(true).await;
    let (ann, session) = (counter(&app, "ann").await, unique("s"));
    let sku = sku_of(&app.client, app.client.variant(10).await).await;
    let mut odd = record("1", &session, &sku, 3);
    odd["damage_qty"] = json!(4);
    let mut late = record("2", &session, &sku, 3);
    batch(&ann, &[late.clone(), odd]).await;
    late["verified_qty"] = json!(8);
    batch(&ann, &[late]).await;
    let done = post(&ann, "/sync/conflicts/auto-resolve", &json!({"strategy": "newest_wins"}))
        .await
        .expect(200)
        .json();
    assert_eq!((done["resolved"].as_array().unwrap().len(), done["left"].as_array().unwrap().len()), (1, 1));
    let resolved = get(&ann, "/sync/conflicts?state=resolved").await.json()["items"][0].clone();
    assert_eq!(
        (&resolved["policy"], &resolved["resolution"]),
        (&json!("newest_wins"), &json!("accept_server"))
    );
    assert_eq!(
        call(&ann, Method::POST, "/sync/conflicts/auto-resolve", Some(&json!({"strategy": "luck"})))
            .await
            .status,
        422
    );
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_person_decided_on_is_not_undone_by_a_batch_that_comes_again() {
    let app = many(true).await;
    let (ann, session) = (counter(&app, "ann").await, unique("s"));
    let sku = sku_of(&app.client, app.client.variant(10).await).await;
    let mut later = record("1", &session, &sku, 5);
    later["updated_at"] = json!("2026-01-01T11:00:00Z");
    batch(&ann, &[later.clone()]).await;
    batch(&ann, &[record("1", &session, &sku, 7)]).await;
    let inbox = get(&ann, "/sync/conflicts").await.expect(200).json();
    let path = format!("/sync/conflicts/{}/resolve", inbox["items"][0]["conflict_id"].as_str().unwrap());
    post(&ann, &path, &json!({"resolution": "accept_local"})).await.expect(200);
    let again = batch(&ann, &[later, record("1", &session, &sku, 7)]).await;
    assert_eq!((conflict_types(&again), ids(&again, "ok")), (vec!["stale_record"], vec!["1"]));
    assert_eq!(app.count("count_records WHERE verified_qty = 7").await, 1);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_unit_leaves_a_session_that_is_being_posted() {
    let app = many(true).await;
    let (ann, bob) = (counter(&app, "ann").await, counter(&app, "bob").await);
    let (first, second) = (unique("s"), unique("s"));
    let variant = app.client.variant(10).await;
    let sku = sku_of(&app.client, variant).await;
    for (client, session) in [(&ann, &first), (&bob, &second)] {
        let mut sent = record("1", session, &sku, 3);
        sent["serial_numbers"] = json!(["A"]);
        batch(client, &[sent]).await;
    }
    let inbox = get(&bob, "/sync/conflicts").await.expect(200).json();
    let path = format!("/sync/conflicts/{}/resolve", inbox["items"][0]["conflict_id"].as_str().unwrap());
    // The posting of the first session is under way: it has the session's row.
    let mut posting = app.database.pool.begin().await.unwrap();
    sqlx::query(
        "UPDATE count_sessions SET posting_at = clock_timestamp(), posted_as = session_id, decisions = '{}'
         WHERE session_id = $1",
    )
    .bind(&first)
    .execute(&mut *posting)
    .await
    .unwrap();
    let taken = tokio::spawn({
        let bob = bob.clone();
        async move { post(&bob, &path, &json!({"resolution": "accept_local"})).await }
    });
    tokio::select! {
        () = app.until_somebody_waits_for_a_row() => {}
        () = async { while !taken.is_finished() { tokio::task::yield_now().await } } => {}
    }
    posting.commit().await.unwrap();
    assert_eq!(taken.await.unwrap().code(), "session_posted");
    post(&ann, &format!("/sessions/{first}/post"), &json!({})).await.expect(200);
    assert_eq!(app.client.on_hand(variant).await, 3);
    app.finish().await;
}

/// One of four connections is for batches, and one more for a large one.
#[tokio::test(flavor = "multi_thread")]
async fn batches_take_turns_and_keep_nobody_else_waiting() {
    let settings = [MANY[0], ("HOLDFAST_DB_MAX_CONNECTIONS", "4")];
    let app = TestApp::with(crate::support::TestDatabase::fresh().await, None, &settings).await;
    let ann = counter(&app, "ann").await;
    let sku = sku_of(&app.client, app.client.variant(10).await).await;
    let (busy, free, wide) = (unique("s"), unique("s"), unique("s"));
    for session in [&busy, &free] {
        batch(&ann, &[record("1", session, &sku, 5)]).await;
    }
    let mut holder = app.database.pool.begin().await.unwrap();
    sqlx::query("SELECT FROM count_sessions WHERE session_id = $1 FOR UPDATE")
        .bind(&busy)
        .execute(&mut *holder)
        .await
        .unwrap();
    let (client, held) = (ann.clone(), record("2", &busy, &sku, 5));
    let first = tokio::spawn(async move { batch(&client, &[held]).await });
    until_at_a_row(&app.database.pool, 1).await;

    let body = json!({"records": [record("2", &free, &sku, 5)]}).to_string();
    let headers = [("content-type", "application/json"), ("prefer", "wait=0")];
    let turned_away = ann.send(Method::POST, "/api/sync/batch", &headers, body).await.unwrap();
    assert_eq!(turned_away.expect(503).code(), "overloaded");
    let beat = format!("/sync/heartbeat?session_id={free}");
    post(&ann, &beat, &json!({})).await.expect(200);
    let many: Vec<_> = (0..251).map(|id| record(&id.to_string(), &wide, &sku, 5)).collect();
    assert_eq!(ids(&batch(&ann, &many).await, "ok").len(), 251);

    holder.rollback().await.unwrap();
    assert_eq!(ids(&first.await.unwrap(), "ok"), ["2"]);
    assert_eq!(ids(&batch(&ann, &[record("2", &free, &sku, 5)]).await, "ok"), ["2"]);
    app.finish().await;
}

/// A version of a record that names a claim which nobody ever had.
fn lost(session: &str, sku: &str, minute: u32, units: i64) -> Value {
    let mut sent = record("1", session, sku, units);
    (sent["rack_id"], sent["fence"]) = (json!("R"), json!(1));
    sent["updated_at"] = json!(format!("2026-01-01T10:{minute:02}:00Z"));
    sent
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_versions_in_conflict_a_policy_keeps_the_later_whichever_came_first() {
    let app = many(false).await;
    let ann = counter(&app, "ann").await;
    let sku = sku_of(&app.client, app.client.variant(10).await).await;
    for strategy in ["newest_wins", "local_wins"] {
        for (minutes, session) in [([5, 1], unique("s")), ([1, 5], unique("s"))] {
            for minute in minutes {
                let told = batch(&ann, &[lost(&session, &sku, minute, i64::from(minute))]).await;
                assert_eq!(conflict_types(&told), ["lease_lost"]);
            }
            let by = json!({"strategy": strategy, "session_id": session});
            let done = post(&ann, "/sync/conflicts/auto-resolve", &by).await.expect(200).json();
            assert_eq!((&done["left"], &done["next_cursor"]), (&json!([]), &Value::Null), "{strategy}");
            let units: Vec<i64> =
                sqlx::query_scalar("SELECT verified_qty FROM count_records WHERE session_id = $1")
                    .bind(&session)
                    .fetch_all(&app.database.pool)
                    .await
                    .unwrap();
            assert_eq!(units, [5], "{strategy} {minutes:?}");
            assert_eq!(get(&ann, "/sync/conflicts").await.json()["items"], json!([]));
        }
    }
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_policy_can_not_settle_keeps_it_from_nothing_behind_it() {
    let app = many(false).await;
    let (ann, session) = (counter(&app, "ann").await, unique("s"));
    let sku = sku_of(&app.client, app.client.variant(10).await).await;
    let odd = |n: usize| {
        let mut sent = record(&format!("odd {n}"), &session, &sku, 3);
        sent["damage_qty"] = json!(4);
        sent
    };
    batch(&ann, &(0..100).map(odd).collect::<Vec<_>>()).await;
    batch(&ann, &[lost(&session, &sku, 1, 5)]).await;
    let (mut cursor, mut pages) = (Value::Null, Vec::new());
    loop {
        let by = json!({"strategy": "local_wins", "cursor": cursor});
        let done = post(&ann, "/sync/conflicts/auto-resolve", &by).await.expect(200).json();
        let count = |list: &str| done[list].as_array().unwrap().len();
        pages.push((count("resolved"), count("left")));
        cursor = done["next_cursor"].clone();
        if cursor.is_null() {
            break;
        }
    }
    let (resolved, left) = pages.iter().fold((0, 0), |(a, b), (c, d)| (a + c, b + d));
    assert_eq!((pages.len(), resolved, left), (2, 1, 100), "{pages:?}");
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_last_version_of_a_record_is_left_to_be_decided_on() {
    let app = many(false).await;
    let (ann, session) = (counter(&app, "ann").await, unique("s"));
    let sku = sku_of(&app.client, app.client.variant(10).await).await;
    let open = async || get(&ann, "/sync/conflicts").await.expect(200).json()["items"].clone();
    let mut first = record("1", &session, &sku, 3);
    first["serial_numbers"] = json!(["A"]);
    batch(&ann, &[first.clone()]).await;
    // Corrected in the same batch.
    first["client_record_id"] = json!("2");
    let mut corrected = first.clone();
    (corrected["serial_numbers"], corrected["updated_at"]) = (json!(["B"]), json!("2026-01-01T10:01:00Z"));
    let told = batch(&ann, &[first, corrected.clone()]).await;
    assert_eq!((conflict_types(&told), ids(&told, "ok")), (vec!["duplicate_serial"], vec!["2"]));
    assert_eq!(open().await, json!([]));
    // What is older than what was kept before it is told all the same.
    let mut late = corrected.clone();
    (late["verified_qty"], late["updated_at"]) = (json!(9), json!("2026-01-01T10:00:30Z"));
    corrected["updated_at"] = json!("2026-01-01T10:02:00Z");
    assert_eq!(conflict_types(&batch(&ann, &[corrected, late]).await), ["stale_record"]);
    assert_eq!(open().await.as_array().unwrap().len(), 1);
    // A device that writes its record anew each time it sends it.
    let other = unique("s");
    for minute in [1, 2, 3] {
        batch(&ann, &[lost(&other, &sku, minute, 5)]).await;
    }
    let left = get(&ann, &format!("/sync/conflicts?session_id={other}")).await.expect(200).json();
    assert_eq!(left["items"].as_array().unwrap().len(), 1);
    assert_eq!(left["items"][0]["updated_at"], "2026-01-01T10:03:00Z");
    assert_eq!(app.count("count_conflicts WHERE conflict_type = 'lease_lost'").await, 3);
    app.finish().await;
}
