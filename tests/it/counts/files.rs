//! Files of CSV: racks and counts that come in, each row answered, and a session's result that goes out.

use hyper::Method;
use serde_json::{Value, json};

use super::{claimed, counter, get, post, record, sku_of};
use crate::support::{Client, Reply, TestApp, unique};

async fn import(client: &Client, path: &str, file: &str, key: Option<&str>) -> Reply {
    let mut headers = vec![("content-type", "text/csv; charset=utf-8")];
    headers.extend(key.map(|key| ("idempotency-key", key)));
    client.send(Method::POST, &format!("/api{path}"), &headers, file.to_owned()).await.unwrap()
}

/// By the database's clock, which is what counts.
async fn now(app: &TestApp) -> String {
    let now = "SELECT to_char(clock_timestamp(), 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')";
    sqlx::query_scalar(now).fetch_one(&app.database.pool).await.unwrap()
}

/// Each row as `line outcome why`.
fn rows(told: &Value) -> Vec<String> {
    let row = |row: &Value| {
        let why = row["error_type"].as_str().map(|why| format!(" {why}")).unwrap_or_default();
        format!("{} {}{why}", row["line"], row["outcome"].as_str().unwrap())
    };
    told["rows"].as_array().unwrap().iter().map(row).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn racks_come_in_by_file_and_each_row_is_answered() {
    let app = TestApp::without_redis().await;
    let (ann, old) = (counter(&app, "ann").await, unique("R"));
    claimed(&ann, &old).await;
    let new = unique("R");
    let file = format!(
        "rack_id;floor;name\r\n{new};1;\"Umbrellas; large\"\r\n{old};Ground;\r\n{new};1;again\r\n{old};2;\r\n;1;\r\n{new}x;1\r\n"
    );
    let whole = import(&ann, "/racks/import?all_or_nothing=true", &file, None).await.expect(200).json();
    assert_eq!((&whole["written"], app.count("racks").await), (&json!(false), 1));
    let parts = import(&ann, "/racks/import", &file, None).await.expect(200).json();
    for (told, first) in [(&whole, "2 left_out"), (&parts, "2 imported")] {
        let expected = [
            first,
            "3 there_already",
            "4 there_already",
            "5 error rack_elsewhere",
            "6 error validation_error",
            "7 error validation_error",
        ];
        assert_eq!(rows(told), expected, "{told}");
    }
    assert_eq!(parts["imported"], 3);
    let there = get(&ann, &format!("/racks/{new}/status")).await.expect(200).json();
    assert_eq!((&there["floor"], &there["name"]), (&json!("1"), &json!("Umbrellas; large")));
    let again = import(&ann, "/racks/import?first_line=9", &file, None).await.expect(200).json();
    assert_eq!(rows(&again)[0], "9 there_already");
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn counts_come_in_by_file_as_a_batch_and_each_row_is_answered() {
    let app = TestApp::without_redis().await;
    let (ann, session) = (counter(&app, "ann").await, unique("s"));
    let (bob, others) = (counter(&app, "bob").await, unique("s"));
    post(&bob, "/sessions", &json!({"session_id": others})).await.expect(201);
    let sku = sku_of(&app.client, app.client.variant(10).await).await;
    let file = format!(
        "item_code,verified_qty,damage_qty,serial_numbers,session_id,counted_at\n\
         {sku},7,1,\"A-1; A-2\",,\n\
         {sku},few,,,,\n\
         {sku},-1,,,,\n\
         nothing,1,,,,\n\
         {sku},1,,A-1,,\n\
         {sku},1,,,{others},\n\
         {sku},1,,,,1999-01-01T00:00:00Z\n\
         {sku},1\n\
         {sku},2,,,,\n"
    );
    let path = format!("/sync/import?session_id={session}&counted_at={}", now(&app).await);
    let whole = import(&ann, &format!("{path}&all_or_nothing=true"), &file, None).await.expect(200).json();
    let nothing = (app.count("count_records").await, app.count("count_conflicts").await);
    assert_eq!((&whole["written"], nothing), (&json!(false), (0, 0)));
    let key = unique("k");
    let first = import(&ann, &path, &file, Some(&key)).await.expect(200);
    let told = first.json();
    let expected = [
        "2 imported",
        "3 error validation_error",
        "4 conflict invalid_quantity",
        "5 error unknown_item",
        "6 conflict duplicate_serial",
        "7 error not_session_owner",
        "8 error invalid_time",
        "9 error validation_error",
        "10 imported",
    ];
    assert_eq!(rows(&told), expected, "{told}");
    assert_eq!(
        (&told["total_rows"], &told["imported"], &told["conflicts"], &told["errors"]),
        (&json!(9), &json!(2), &json!(2), &json!(5))
    );
    assert_eq!(told["rows"][1]["message"], "verified_qty: must be a whole number");
    let again = import(&ann, &path, &file, Some(&key)).await.expect(200);
    assert!(again.was_replayed() && again.bytes == first.bytes);
    import(&ann, &path, &format!("{file}{sku},3,,,,\n"), Some(&key)).await.expect(422);
    let evidence = get(&ann, &format!("/sessions/{session}/records")).await.expect(200).json();
    let kept: Vec<_> =
        evidence["items"].as_array().unwrap().iter().map(|one| &one["client_record_id"]).collect();
    assert_eq!(kept.len(), 2);
    let numbered = |one: &&Value| one["serial_numbers"] == json!(["A-1", "A-2"]);
    assert_eq!(evidence["items"].as_array().unwrap().iter().filter(numbered).count(), 1);
    // The same file later says the same of the shelf.
    let same = import(&ann, &path, &file, None).await.expect(200).json();
    assert_eq!(rows(&same)[0], "2 imported");
    let later = get(&ann, &format!("/sessions/{session}/records")).await.expect(200).json();
    assert_eq!(later["items"][0]["counted_at"], evidence["items"][0]["counted_at"]);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_corrected_file_replaces_what_it_corrects_wherever_its_rows_have_gone() {
    let app = TestApp::without_redis().await;
    let (ann, session) = (counter(&app, "ann").await, unique("s"));
    let (a, b) = (app.client.variant(9).await, app.client.variant(9).await);
    let (a, b) = (sku_of(&app.client, a).await, sku_of(&app.client, b).await);
    let path = format!("/sync/import?session_id={session}");
    let timed = format!("{path}&counted_at={}", now(&app).await);
    let header = "item_code,verified_qty,rack_id\n";
    let untimed = import(&ann, &path, &format!("{header}{a},5,\n"), None).await.expect(200).json();
    assert_eq!(rows(&untimed), ["2 error validation_error"], "nobody knows what was sold since");
    for rack in ["R1", "R2"] {
        post(&ann, "/racks", &json!({"rack_id": rack, "floor": "1"})).await.expect(201);
    }
    // Twice in one rack is two places in it, and another rack is another place.
    let first = format!("{header}{a},5,R1\n{a},2,R1\n{b},7,R1\n{a},1,R2\n");
    let first = import(&ann, &timed, &first, None).await.expect(200).json();
    assert_eq!(rows(&first), ["2 imported", "3 imported", "4 imported", "5 imported"]);
    let corrected = format!("{header}{b},8,R1\n{a},5,R1\n{a},0,R1\n");
    let corrected = import(&ann, &timed, &corrected, None).await.expect(200).json();
    assert_eq!(rows(&corrected), ["2 replaced", "3 imported", "4 replaced"]);
    let counted = get(&ann, &format!("/sessions/{session}/variances")).await.expect(200).json();
    let of = |sku: &str| {
        let lines = counted["lines"].as_array().unwrap();
        lines.iter().find(|line| line["item_code"] == sku).unwrap()["counted_qty"].clone()
    };
    assert_eq!((of(&a), of(&b)), (json!(6), json!(8)));
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn racks_of_a_file_are_those_that_are_registered_and_no_spelling_of_them() {
    let app = TestApp::without_redis().await;
    let (ann, session) = (counter(&app, "ann").await, unique("s"));
    let sku = sku_of(&app.client, app.client.variant(9).await).await;
    for rack in ["001", "A-01"] {
        post(&ann, "/racks", &json!({"rack_id": rack, "floor": "1"})).await.expect(201);
    }
    let path = format!("/sync/import?session_id={session}&counted_at={}", now(&app).await);
    let header = "item_code,verified_qty,rack_id\n";
    let misspelled = format!("{header}{sku},5,1\n{sku},7,a-01\n");
    let told = import(&ann, &path, &misspelled, None).await.expect(200).json();
    assert_eq!(rows(&told), ["2 error unknown_rack", "3 error unknown_rack"]);
    get(&ann, &format!("/sessions/{session}")).await.expect(404);
    let told = import(&ann, &path, &format!("{misspelled}{sku},5,001\n{sku},7,A-01\n"), None).await;
    assert_eq!(rows(&told.expect(200).json())[2..], ["4 imported", "5 imported"]);
    // What a device counted is not thrown away because nobody registered where.
    let mut sent = record("1", &session, &sku, 1);
    sent["rack_id"] = json!("B-7");
    let told = post(&ann, "/sync/batch", &json!({"records": [sent]})).await.expect(200).json();
    assert_eq!(told["ok"], json!(["1"]));
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_sent_again_undoes_nothing_that_a_person_decided_on() {
    let app = TestApp::without_redis().await;
    let (ann, bob, session) = (counter(&app, "ann").await, counter(&app, "bob").await, unique("s"));
    let sku = sku_of(&app.client, app.client.variant(9).await).await;
    let (others, _) = claimed(&bob, "R1").await;
    let path = format!("/sync/import?session_id={session}&counted_at={}", now(&app).await);
    let file = |units: i64| format!("item_code,verified_qty,rack_id\n{sku},{units},R1\n");
    let send = async |units: i64| {
        let told = import(&ann, &path, &file(units), None).await.expect(200).json();
        rows(&told)[0].clone()
    };
    let units = async || {
        let kept = get(&ann, &format!("/sessions/{session}/records")).await.expect(200).json();
        kept["items"][0]["verified_qty"].clone()
    };
    // Sent again and again, it is one conflict.
    for _ in 0..3 {
        assert_eq!(send(5).await, "2 conflict rack_locked");
        assert_eq!(app.count("count_conflicts").await, 1);
    }
    let conflict = get(&ann, "/sync/conflicts").await.expect(200).json()["items"][0]["conflict_id"].clone();
    let merge = json!({"resolution": "merge", "merged": {"verified_qty": 7}, "reason": "looked again"});
    let resolve = format!("/sync/conflicts/{}/resolve", conflict.as_str().unwrap());
    post(&ann, &resolve, &merge).await.expect(200);
    // Even where it could be kept by now.
    post(&bob, "/racks/R1/release", &json!({"session_id": others})).await.expect(200);
    assert_eq!((send(5).await, units().await), ("2 imported".to_owned(), json!(7)));
    // What says something else is a later word, and so is the first one after that.
    assert_eq!((send(6).await, units().await), ("2 replaced".to_owned(), json!(6)));
    assert_eq!((send(6).await, units().await), ("2 imported".to_owned(), json!(6)));
    assert_eq!((send(5).await, units().await), ("2 replaced".to_owned(), json!(5)));
    assert_eq!(app.count("count_conflicts").await, 1);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conflict_that_a_later_word_closed_was_decided_by_nobody() {
    let app = TestApp::without_redis().await;
    let (ann, bob, session) = (counter(&app, "ann").await, counter(&app, "bob").await, unique("s"));
    let sku = sku_of(&app.client, app.client.variant(9).await).await;
    let (others, _) = claimed(&bob, "R1").await;
    let path = format!("/sync/import?session_id={session}&counted_at={}", now(&app).await);
    let send = async |units: i64| {
        let file = format!("item_code,verified_qty,rack_id\n{sku},{units},R1\n");
        rows(&import(&ann, &path, &file, None).await.expect(200).json())[0].clone()
    };
    assert_eq!(send(5).await, "2 conflict rack_locked");
    post(&bob, "/racks/R1/release", &json!({"session_id": others})).await.expect(200);
    assert_eq!(send(6).await, "2 imported");
    assert_eq!(app.count("count_conflicts WHERE policy = 'synced_later'").await, 1);
    assert_eq!(send(5).await, "2 replaced");
    assert_eq!(app.count("count_records WHERE verified_qty = 5").await, 1);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_of_one_rack_and_item_add_up_over_all_parts_of_a_file() {
    let app = TestApp::without_redis().await;
    let (ann, session) = (counter(&app, "ann").await, unique("s"));
    let sku = sku_of(&app.client, app.client.variant(9).await).await;
    let path = format!("/sync/import?session_id={session}&counted_at={}", now(&app).await);
    let part = async |line: u64, header: &str, row: &str| {
        let file = format!("item_code,verified_qty{header}\n{sku},{row}\n");
        let told = import(&ann, &format!("{path}&first_line={line}"), &file, None).await.expect(200).json();
        rows(&told)[0].clone()
    };
    // Twice: what is sent again is there already.
    for _ in 0..2 {
        assert_eq!(part(2, "", "5").await, "2 imported");
        assert_eq!(part(1_002, "", "2").await, "1002 error validation_error");
        assert_eq!(part(1_002, ",nth", "2,0").await, "1002 error validation_error");
        assert_eq!(part(1_002, ",nth", "2,2").await, "1002 imported");
        assert_eq!(part(2_002, ",client_record_id", "3,own").await, "2002 imported");
    }
    let seen = get(&ann, &format!("/sessions/{session}/variances")).await.expect(200).json();
    assert_eq!((&seen["lines"][0]["records"], &seen["lines"][0]["counted_qty"]), (&json!(3), &json!(10)));
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_none_is_refused_whole_and_is_no_batch() {
    let app = TestApp::without_redis().await;
    let ann = counter(&app, "ann").await;
    let long = format!("item_code,verified_qty\n{}", "A,1\n".repeat(1_001));
    for file in
        ["", "item_code,verified_qty\n", "item_code\nA\n", "item_code,verified_qty,price\nA,1,2\n", &long]
    {
        assert_eq!(import(&ann, "/sync/import", file, None).await.expect(422).code(), "validation_failed");
    }
    let huge = "x".repeat(1_100_000);
    assert_eq!(import(&ann, "/sync/import", &huge, None).await.expect(413).code(), "body_too_large");
    for query in ["all_or_nothing=perhaps", "first_line=1", "session_id=", "other=1"] {
        import(&ann, &format!("/sync/import?{query}"), "item_code,verified_qty\nA,1\n", None)
            .await
            .expect(422);
    }
    let headers = [("content-type", "application/json")];
    ann.send(Method::POST, "/api/racks/import", &headers, "{}").await.unwrap().expect(415);
    assert_eq!((app.count("sync_minutes").await, app.count("count_records").await), (0, 0));
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_is_one_of_the_batches_of_a_minute() {
    let app = TestApp::with(
        crate::support::TestDatabase::fresh().await,
        None,
        &[("HOLDFAST_SYNC_BATCHES_PER_MINUTE", "1")],
    )
    .await;
    let ann = counter(&app, "ann").await;
    import(&ann, "/sync/import?session_id=s", "item_code,verified_qty\nA,1\n", None).await.expect(200);
    let refused = import(&ann, "/sync/import?session_id=s", "item_code,verified_qty\nA,1\n", None).await;
    assert_eq!((refused.code().as_str(), refused.status.as_u16()), ("too_many_batches", 429));
    assert!(refused.header("retry-after").is_some());
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sessions_result_goes_out_as_a_file_that_no_spreadsheet_calculates() {
    let app = TestApp::without_redis().await;
    let (ann, session) = (counter(&app, "ann").await, unique("s"));
    let sku = format!("={}", unique("sku"));
    let made = json!({"sku": sku, "name": "n", "price": "1", "currency": "EUR", "on_hand": 9});
    app.client.post("/variants", &made).await.expect(201);
    post(&ann, "/sessions", &json!({"session_id": session, "blind": true})).await.expect(201);
    post(&ann, "/sync/batch", &json!({"records": [record("1", &session, &sku, 4)]})).await.expect(200);
    let file = |reply: Reply| String::from_utf8(reply.bytes.to_vec()).unwrap();
    let path = format!("/sessions/{session}/export");
    let blind = file(get(&ann, &path).await.expect(200));
    assert!(blind.contains(&format!(",'{sku},1,4,0,,,,,,0,,,,,,\r\n")), "{blind}");
    let reason = json!({"reason": "+1, \"said\""});
    post(&app.client, &format!("/sessions/{session}/post"), &reason).await.expect(200);
    let reply = get(&ann, &path).await.expect(200);
    assert_eq!(
        reply.header("content-disposition"),
        Some(&*format!("attachment; filename=\"count-{session}.csv\""))
    );
    let posted = file(reply);
    let lines: Vec<_> = posted.split_terminator("\r\n").collect();
    assert_eq!(lines.len(), 2);
    assert!(lines[0].starts_with("session_id,state,posted_at,posted_by,item_code,records,counted_qty,"));
    assert!(lines[1].starts_with(&format!("{session},posted,")));
    let said = format!(",'{sku},1,4,0,0,9,-5,9,4,0,posted,,,\"'+1, \"\"said\"\"\",");
    assert!(lines[1].contains(&said), "{posted}");
    get(&ann, "/sessions/nobody/export").await.expect(404);
    app.finish().await;
}
