//! Posting: a count is what was there when it was counted, and the shop goes on.

use holdfast::http::auth::Scope;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{batch, counter, get, ids, post, record, sku_of};
use crate::support::{Client, Peer, TestApp, TestDatabase, at_once, shared_redis, unique};

const MANY: &[(&str, &str)] = &[("HOLDFAST_SYNC_BATCHES_PER_MINUTE", "1000000")];

async fn start(redis: bool) -> TestApp {
    let redis = redis.then(shared_redis);
    TestApp::with(TestDatabase::fresh().await, redis.as_deref(), MANY).await
}

async fn item(app: &TestApp, on_hand: i64) -> (Uuid, String) {
    let variant = app.client.variant(on_hand).await;
    (variant, sku_of(&app.client, variant).await)
}

async fn posted(client: &Client, session: &str) -> Value {
    post(client, &format!("/sessions/{session}/post"), &json!({})).await.expect(200).json()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_sold_during_the_count_comes_out_right() {
    for redis in [true, false] {
        let app = start(redis).await;
        let (ann, session, (variant, sku)) = (counter(&app, "ann").await, unique("s"), item(&app, 10).await);
        app.client.decrement(variant, 1).await.expect(200);
        // On the shelf are 8, not 9; two more are sold before it is posted.
        batch(&ann, &[record("1", &session, &sku, 8)]).await;
        app.client.decrement(variant, 2).await.expect(200);
        let path = format!("/sessions/{session}/variances");
        let line = get(&ann, &path).await.expect(200).json()["lines"][0].clone();
        let seen =
            ["counted_qty", "moved_since", "expected_qty", "variance", "previous_quantity", "new_quantity"];
        assert_eq!(seen.map(|name| line[name].as_i64().unwrap()), [8, -2, 9, -1, 7, 6]);
        let first = posted(&ann, &session).await;
        assert_eq!((&first["state"], &first["lines"][0]["outcome"]), (&json!("posted"), &json!("posted")));
        assert_eq!(app.client.on_hand(variant).await, 6);
        let newest = app.client.get(&format!("/inventory/{variant}/movements?limit=1")).await.json()["items"]
            [0]
        .clone();
        assert_eq!(
            (&newest["kind"], &newest["delta"], &newest["reference"]),
            (&json!("count"), &json!(-1), &json!(session))
        );
        // Twice is the same answer, and nothing enters any more.
        app.client.decrement(variant, 1).await.expect(200);
        assert_eq!(posted(&ann, &session).await, first);
        let late = batch(&ann, &[record("1", &session, &sku, 8), record("2", &session, &sku, 1)]).await;
        assert_eq!(
            (ids(&late, "ok"), &late["errors"][0]["error_type"]),
            (vec!["1"], &json!("session_posted"))
        );
        assert_eq!(app.client.on_hand(variant).await, 5);
        app.finish().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn records_of_one_item_add_up_drafts_do_not_and_damaged_units_leave_stock() {
    let app = start(true).await;
    let (ann, session) = (counter(&app, "ann").await, unique("s"));
    let ((a, sku_a), (b, sku_b)) = (item(&app, 20).await, item(&app, 5).await);
    let mut damaged = record("2", &session, &sku_a, 7);
    damaged["damage_qty"] = json!(2);
    let mut draft = record("3", &session, &sku_a, 100);
    draft["status"] = json!("draft");
    batch(&ann, &[record("1", &session, &sku_a, 11), damaged, draft, record("4", &session, &sku_b, 5)]).await;
    let lines = posted(&ann, &session).await["lines"].clone();
    let of = |variant: Uuid| {
        let lines = lines.as_array().unwrap();
        lines.iter().find(|line| line["variant_id"] == json!(variant)).unwrap().clone()
    };
    assert_eq!(
        (&of(a)["records"], &of(a)["counted_qty"], &of(a)["new_quantity"]),
        (&json!(2), &json!(18), &json!(16))
    );
    assert_eq!(app.client.on_hand(a).await, 16);
    let movements =
        app.client.get(&format!("/inventory/{a}/movements?limit=2")).await.json()["items"].clone();
    assert_eq!((&movements[0]["reason"], &movements[0]["delta"]), (&json!("damaged"), &json!(-2)));
    assert_eq!((&movements[1]["reason"], &movements[1]["delta"]), (&json!("counted"), &json!(-2)));
    // One that agrees is evidence all the same.
    assert_eq!((&of(b)["variance"], &of(b)["outcome"]), (&json!(0), &json!("posted")));
    assert!(of(b)["movement_id"].is_string());
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn more_sold_than_was_counted_leaves_nothing_and_says_how_much_is_short() {
    let app = start(true).await;
    let (ann, session, (variant, sku)) = (counter(&app, "ann").await, unique("s"), item(&app, 10).await);
    batch(&ann, &[record("1", &session, &sku, 3)]).await;
    app.client.decrement(variant, 5).await.expect(200);
    let line = posted(&ann, &session).await["lines"][0].clone();
    assert_eq!((&line["new_quantity"], &line["shortfall"]), (&json!(0), &json!(2)));
    assert_eq!(app.client.on_hand(variant).await, 0);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_sessions_that_counted_the_same_shelf_correct_it_once() {
    let app = start(true).await;
    let (ann, (variant, sku)) = (counter(&app, "ann").await, item(&app, 10).await);
    for session in ["one", "two"] {
        batch(&ann, &[record("1", session, &sku, 8)]).await;
    }
    app.client.decrement(variant, 1).await.expect(200);
    for session in ["one", "two"] {
        posted(&ann, session).await;
        assert_eq!(app.client.on_hand(variant).await, 7);
    }
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_far_off_are_counted_again_unless_approved_and_rejected_ones_are_not_posted() {
    let app = start(true).await;
    let (ann, session) = (counter(&app, "ann").await, unique("s"));
    let items = [item(&app, 10).await, item(&app, 10).await, item(&app, 10).await, item(&app, 10).await];
    let records: Vec<_> = items
        .iter()
        .enumerate()
        .map(|(n, (_, sku))| record(&n.to_string(), &session, sku, [9, 2, 2, 9][n]))
        .collect();
    batch(&ann, &records).await;
    let body = json!({"recount_over": 5, "lines": [
        {"item_code": items[2].1, "decision": "approve", "reason": "flood"},
        {"item_code": items[3].1, "decision": "reject"}]});
    let lines =
        post(&ann, &format!("/sessions/{session}/post"), &body).await.expect(200).json()["lines"].clone();
    let mut outcomes = Vec::new();
    for (variant, _) in items {
        let line =
            lines.as_array().unwrap().iter().find(|line| line["variant_id"] == json!(variant)).unwrap();
        outcomes.push((line["outcome"].as_str().unwrap().to_owned(), app.client.on_hand(variant).await));
    }
    let expected = [("posted", 9), ("recount", 10), ("posted", 2), ("rejected", 10)];
    assert_eq!(outcomes, expected.map(|(outcome, left)| (outcome.to_owned(), left)));
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_session_is_not_posted_and_a_blind_one_shows_its_counter_nothing() {
    let app = start(true).await;
    let (ann, (_, sku)) = (counter(&app, "ann").await, item(&app, 10).await);
    post(&ann, "/sessions", &json!({"session_id": "blind", "blind": true})).await.expect(201);
    assert_eq!(post(&app.client, "/sessions/blind/post", &json!({})).await.code(), "nothing_to_post");
    assert_eq!(post(&ann, "/sessions/nowhere/post", &json!({})).await.code(), "session_not_found");
    batch(&ann, &[record("1", "blind", &sku, 8)]).await;
    let seen = |lines: Value| lines["lines"][0]["expected_qty"].clone();
    assert_eq!(seen(get(&ann, "/sessions/blind/variances").await.json()), Value::Null);
    let boss = app.client_of("boss", &[Scope::Warehouse]).await;
    assert_eq!(seen(get(&boss, "/sessions/blind/variances").await.json()), 10);
    assert_eq!(post(&ann, "/sessions/blind/post", &json!({})).await.expect(403).code(), "forbidden");
    posted(&boss, "blind").await;
    assert_eq!(seen(get(&ann, "/sessions/blind/variances").await.json()), 10);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_lines_of_a_count_are_read_page_by_page_before_it_is_posted_and_after() {
    let app = start(false).await;
    let ann = counter(&app, "ann").await;
    let mut records = Vec::new();
    for n in 0..5 {
        let (_, sku) = item(&app, 10).await;
        records.push(record(&n.to_string(), "s", &sku, n));
    }
    batch(&ann, &records).await;
    let whole = async || get(&ann, "/sessions/s/variances").await.expect(200).json();
    let paged = async || {
        let (mut lines, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = get(&ann, &format!("/sessions/s/variances?limit=2{cursor}")).await.expect(200).json();
            lines.extend(page["lines"].as_array().unwrap().clone());
            assert!(lines.len() <= 5 && page["lines"].as_array().unwrap().len() <= 2);
            let Some(next) = page["next_cursor"].as_str() else { return lines };
            cursor = format!("&cursor={next}");
        }
    };
    for is_posted in [false, true] {
        if is_posted {
            posted(&ann, "s").await;
        }
        let all = whole().await;
        assert_eq!((all["lines"].as_array().unwrap().len(), &all["next_cursor"]), (5, &Value::Null));
        assert_eq!(*all["lines"].as_array().unwrap(), paged().await);
    }
    for query in ["limit=0", "limit=1001", "cursor=x", "page=1"] {
        get(&ann, &format!("/sessions/s/variances?{query}")).await.expect(422);
    }
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_answer_to_a_posting_has_the_first_of_many_lines_and_the_event_the_sum_of_all() {
    let app = start(false).await;
    let (ann, boss) = (counter(&app, "ann").await, app.client_of("boss", &[Scope::Warehouse]).await);
    let mut variants = app.variants(1_001, 10).await;
    variants.sort_unstable();
    let skus: Vec<String> = sqlx::query_scalar("SELECT sku FROM variants ORDER BY variant_id")
        .fetch_all(&app.database.pool)
        .await
        .unwrap();
    for part in skus.chunks(1_000) {
        let records: Vec<_> = part.iter().map(|sku| record(sku, "s", sku, 9)).collect();
        assert_eq!(ids(&batch(&ann, &records).await, "ok").len(), part.len());
    }
    let first = posted(&boss, "s").await;
    assert_eq!(
        (first["lines"].as_array().unwrap().len(), &first["next_cursor"]),
        (1_000, &json!(variants[999]))
    );
    assert_eq!(posted(&boss, "s").await, first);
    let rest = format!("/sessions/s/variances?cursor={}", variants[999]);
    let rest = get(&ann, &rest).await.expect(200).json();
    assert_eq!((rest["lines"].as_array().unwrap().len(), &rest["next_cursor"]), (1, &Value::Null));
    let told: Value = sqlx::query_scalar("SELECT data FROM events WHERE kind = 'count.posted'")
        .fetch_one(&app.database.pool)
        .await
        .unwrap();
    assert_eq!(
        (&told["items"], &told["outcomes"], &told["variance"], &told["shortfall"]),
        (&json!(1_001), &json!({"posted": 1_001}), &json!(-1_001), &json!(0))
    );
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn records_that_say_no_rack_beside_others_that_do_are_counted_again_unless_approved() {
    let app = start(false).await;
    let (ann, (variant, sku)) = (counter(&app, "ann").await, item(&app, 15).await);
    // A device counted 5 in a rack, and a file has the whole hall: 12, those among them.
    let in_rack = |session: &str| {
        let mut sent = record("rack", session, &sku, 5);
        sent["rack_id"] = json!("R1");
        sent
    };
    batch(&ann, &[in_rack("device"), record("hall", "file", &sku, 12)]).await;
    let because =
        async |path: &str| get(&ann, path).await.expect(200).json()["lines"][0]["recount_because"].clone();
    assert_eq!(because("/sessions/device/variances").await, "counted_elsewhere");
    assert_eq!(because("/sessions/device/variances?session_ids=%5B%22file%22%5D").await, "counted_twice");
    let told =
        post(&ann, "/sessions/device/post", &json!({"session_ids": ["file"]})).await.expect(200).json();
    assert_eq!(
        (&told["lines"][0]["outcome"], &told["lines"][0]["counted_qty"]),
        (&json!("recount"), &json!(17))
    );
    assert_eq!(app.client.on_hand(variant).await, 15);
    // In one session it is no different, and a person may know better.
    let (other, sku) = item(&app, 15).await;
    let mut sent = record("rack", "one", &sku, 5);
    sent["rack_id"] = json!("R1");
    batch(&ann, &[sent, record("floor", "one", &sku, 4)]).await;
    assert_eq!(because("/sessions/one/variances").await, "counted_twice");
    let approved = json!({"lines": [{"item_code": sku, "decision": "approve", "reason": "beside the rack"}]});
    post(&ann, "/sessions/one/post", &approved).await.expect(200);
    assert_eq!(app.client.on_hand(other).await, 9);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_is_posted_once_whoever_posts_it_at_once_while_its_items_are_sold() {
    for redis in [true, false] {
        let app = start(redis).await;
        let there = shared_redis();
        let peer = Peer::start(&app.database.url, redis.then_some(&*there), MANY).await;
        let (ann, session) = (counter(&app, "ann").await, unique("s"));
        let variants = app.variants(250, 10).await;
        let mut records = Vec::new();
        for variant in &variants {
            let sku = sku_of(&app.client, *variant).await;
            records.push(record(&variant.to_string(), &session, &sku, 9));
        }
        batch(&ann, &records).await;
        let clients = [ann.clone(), Client { address: peer.client.address, ..ann.clone() }];
        let seller = app.client.clone();
        let answers = at_once(12, |n| {
            let (client, seller, session) = (clients[n % 2].clone(), seller.clone(), session.clone());
            let mine: Vec<_> = variants.iter().copied().skip(n).step_by(40).collect();
            async move {
                if n < 4 {
                    return Some(posted(&client, &session).await);
                }
                for variant in mine {
                    seller.decrement(variant, 1).await.expect(200);
                }
                None
            }
        })
        .await;
        let answers: Vec<_> = answers.into_iter().flatten().collect();
        assert!(answers.iter().all(|answer| *answer == answers[0]));
        assert_eq!(app.count("stock_movements WHERE kind = 'count'").await, 250);
        // Whether sold before it was posted or after: what is left is what was counted, less what was sold.
        let wrong: i64 = sqlx::query_scalar(
            "SELECT count(*) FROM stock s WHERE on_hand <> 9 - (
                 SELECT count(*) FROM stock_movements m WHERE m.variant_id = s.variant_id AND kind = 'sale')",
        )
        .fetch_one(&app.database.pool)
        .await
        .unwrap();
        assert_eq!(wrong, 0);
        peer.finish().await;
        app.finish().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_posting_that_broke_off_between_its_sections_goes_on_and_posts_each_item_once() {
    for redis in [true, false] {
        let app = start(redis).await;
        let (ann, session) = (counter(&app, "ann").await, unique("s"));
        let mut variants = app.variants(250, 10).await;
        variants.sort_unstable();
        let mut records = Vec::new();
        for variant in &variants {
            let sku = sku_of(&app.client, *variant).await;
            let mut sent = record(&variant.to_string(), &session, &sku, 9);
            sent["damage_qty"] = json!(1);
            records.push(sent);
        }
        batch(&ann, &records).await;
        // An item of the second section breaks it, after its movements were written.
        let broken = format!(
            "CREATE FUNCTION broken() RETURNS trigger LANGUAGE plpgsql AS
                 $$ BEGIN RAISE EXCEPTION 'broken'; END $$;
             CREATE TRIGGER broken BEFORE INSERT ON count_lines FOR EACH ROW
                 WHEN (NEW.variant_id = '{}') EXECUTE FUNCTION broken()",
            variants[150]
        );
        sqlx::raw_sql(&broken).execute(&app.database.pool).await.unwrap();
        let path = format!("/sessions/{session}/post");
        let failed = app.client_of("boss", &[Scope::Warehouse]).await;
        for _ in 0..2 {
            assert!(post(&failed, &path, &json!({})).await.status.is_server_error());
            assert_eq!(app.count("stock_movements WHERE kind = 'count'").await, 200);
            assert_eq!(app.count("count_lines").await, 100);
            assert_eq!(app.count("events WHERE kind = 'count.posted'").await, 0);
        }
        // Sold while it stands still: of what was posted, and of what was not.
        for variant in [variants[0], variants[249]] {
            app.client.decrement(variant, 1).await.expect(200);
        }
        sqlx::query("DROP TRIGGER broken ON count_lines").execute(&app.database.pool).await.unwrap();
        let lines = posted(&ann, &session).await["lines"].clone();
        assert_eq!(lines.as_array().unwrap().len(), 250);
        assert_eq!(posted(&ann, &session).await["lines"], lines);
        assert_eq!(app.count("stock_movements WHERE kind = 'count'").await, 500);
        assert_eq!(app.count("events WHERE kind = 'count.posted'").await, 1);
        for (variant, left) in [(variants[0], 7), (variants[1], 8), (variants[150], 8), (variants[249], 7)] {
            assert_eq!(app.client.on_hand(variant).await, left);
        }
        app.finish().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_decision_on_what_was_not_counted_is_refused_and_nothing_is_posted() {
    let app = start(true).await;
    let (ann, session, (variant, sku)) = (counter(&app, "ann").await, unique("s"), item(&app, 10).await);
    batch(&ann, &[record("1", &session, &sku, 2)]).await;
    let reject = |sku: &str| json!({"item_code": sku, "decision": "reject"});
    let path = format!("/sessions/{session}/post");
    for lines in [json!([reject("mistyped")]), json!([reject(&sku), reject(&sku)])] {
        let refused = post(&ann, &path, &json!({"lines": lines})).await;
        assert_eq!((refused.status.as_u16(), refused.code().as_str()), (422, "validation_failed"));
    }
    assert_eq!(app.client.on_hand(variant).await, 10);
    // The session is open still.
    batch(&ann, &[record("2", &session, &sku, 1)]).await;
    let lines = post(&ann, &path, &json!({"lines": [reject(&sku)]})).await.expect(200).json();
    assert_eq!(
        (&lines["lines"][0]["records"], &lines["lines"][0]["outcome"]),
        (&json!(2), &json!("rejected"))
    );
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn damaged_units_that_stay_on_the_shelf_are_lost_once() {
    let app = start(false).await;
    let (ann, (variant, sku)) = (counter(&app, "ann").await, item(&app, 10).await);
    let mut told = Vec::new();
    for (session, damaged) in [("first", 2), ("second", 2), ("third", 3)] {
        let mut sent = record("1", session, &sku, 8);
        sent["damage_qty"] = json!(damaged);
        batch(&ann, &[sent]).await;
        let seen = get(&ann, &format!("/sessions/{session}/variances")).await.expect(200).json();
        let body = if session == "first" { json!({}) } else { json!({"recount_over": 0}) };
        let posted = post(&ann, &format!("/sessions/{session}/post"), &body).await.expect(200).json();
        let line = &posted["lines"][0];
        assert_eq!(line["variance"], seen["lines"][0]["variance"], "{session}");
        assert_eq!(line["new_quantity"], app.client.on_hand(variant).await, "{session}");
        let has_left = line["damage_movement_id"].is_string();
        told.push((line["outcome"] == "posted", line["variance"].as_i64().unwrap(), has_left));
    }
    assert_eq!(told, [(true, -2, true), (true, 0, false), (true, 0, true)]);
    assert_eq!(app.client.on_hand(variant).await, 5);
    let lost: Vec<i64> =
        sqlx::query_scalar("SELECT delta FROM stock_movements WHERE reason = 'damaged' ORDER BY version")
            .fetch_all(&app.database.pool)
            .await
            .unwrap();
    assert_eq!(lost, [-2, -1]);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_counter_of_a_blind_session_does_not_see_what_speaks_against_its_count() {
    let app = start(false).await;
    let (ann, boss) = (counter(&app, "ann").await, app.client_of("boss", &[Scope::Warehouse]).await);
    let (_, sku) = item(&app, 10).await;
    post(&ann, "/sessions", &json!({"session_id": "blind", "blind": true})).await.expect(201);
    batch(&ann, &[record("1", "blind", &sku, 8)]).await;
    batch(&boss, &[record("1", "other", &sku, 9)]).await;
    posted(&boss, "other").await;
    let seen = async |client: &Client| {
        get(client, "/sessions/blind/variances").await.expect(200).json()["lines"][0]["recount_because"]
            .clone()
    };
    assert_eq!((seen(&boss).await, seen(&ann).await), (json!("counted_since"), Value::Null));
    app.finish().await;
}
