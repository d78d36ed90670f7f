//! Suppliers' invoices: what is in already, what is only like it, and what becomes of either.

use serde_json::{Value, json};

use crate::support::{Client, Reply, Stranger, TestApp, TestDatabase, rows, shared_redis, unique};

/// An invoice of these; what is left out is the same for all.
pub(super) fn invoice(account: &str, changes: &Value) -> Value {
    let mut invoice = json!({
        "account_id": account, "vendor_name": "Northwind Traders Ltd", "invoice_number": "INV-10482",
        "invoice_date": "2026-03-02", "total": "1210.00", "currency": "EUR",
    });
    for (field, value) in changes.as_object().unwrap() {
        invoice[field] = value.clone();
    }
    invoice
}

pub(super) async fn take(client: &Client, account: &str, changes: &Value) -> Reply {
    client.post("/invoices", &invoice(account, changes)).await
}

pub(super) fn verdict(reply: &Reply) -> (u16, String) {
    let verdict = &reply.json()["verdict"];
    let kind = verdict.as_str().or_else(|| verdict["type"].as_str()).unwrap_or_default();
    (reply.status.as_u16(), kind.to_owned())
}

pub(super) fn id(reply: &Reply) -> String {
    reply.json()["invoice_id"].as_str().unwrap().to_owned()
}

pub(super) const MISREAD: &str = "lNV-1O48Z";

#[tokio::test(flavor = "multi_thread")]
async fn a_file_and_a_vendors_number_are_in_once_however_they_are_spelled_and_it_is_said_why() {
    for (app, mode) in
        [(TestApp::start().await, "two_layer"), (TestApp::without_redis().await, "database_only")]
    {
        let first = take(&app.client, "acc", &json!({"file_hash": "ABC123"})).await.expect(201);
        assert_eq!((verdict(&first).1, &first.json()["lock"]["mode"]), ("new".into(), &json!(mode)));
        assert_eq!(first.header("lock-mode"), Some(mode));
        let far = json!({"vendor_name": "Other", "invoice_number": "7", "total": "5", "invoice_date": "2026-09-01"});
        let mut same_file = far.clone();
        same_file["file_hash"] = json!("abc123");
        for (changes, expected) in [
            (same_file, "file_hash"),
            (
                json!({"vendor_name": "NORTHWIND traders", "invoice_number": "inv 0010482", "total": "9"}),
                "exact",
            ),
            (json!({"invoice_number": "INV/1O482", "invoice_date": "2026-11-30"}), "exact"),
            (json!({"invoice_number": MISREAD, "invoice_date": "2026-03-03"}), "near"),
            (json!({"vendor_name": "Northwlnd Traders", "invoice_number": "INV-10482-R"}), "near"),
        ] {
            let reply = take(&app.client, "acc", &changes).await;
            assert_eq!(verdict(&reply), (409, expected.into()), "{reply:?}");
            let told = &reply.json()["verdict"];
            assert_eq!(
                (reply.code(), &told["invoice_id"]),
                ("duplicate_invoice".into(), &first.json()["invoice_id"])
            );
            let evidence = told["evidence"].as_array().unwrap();
            let number = evidence.iter().find(|field| field["field"] == "invoice_number").unwrap();
            assert_eq!(number["theirs"], "INV-10482");
            assert!(evidence.iter().all(|field| field["weight"].is_number() && field["ours"].is_string()));
        }
        for (account, changes) in [
            ("acc", far),
            ("acc", json!({"invoice_number": "INV-10483"})),
            ("acc", json!({"invoice_date": "2027-03-02"})),
            ("acc", json!({"vendor_name": "Southwind Bakery", "total": "3.10"})),
            ("another", json!({"file_hash": "ABC123"})),
        ] {
            let reply = take(&app.client, account, &changes).await;
            assert_eq!(verdict(&reply), (201, "new".into()), "{changes} {reply:?}");
        }
        assert_eq!(app.count("invoices").await, 6);
        app.finish().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_tells_what_would_be_judged_and_writes_nothing_with_a_key_neither() {
    let app = TestApp::only_serving(TestDatabase::fresh().await, None, &[]).await;
    let check = async |changes: &Value| {
        app.client
            .post_keyed("/invoices/check", &invoice("acc", changes), "one-key-for-all")
            .await
            .expect(200)
    };
    let before = rows(&app.database.pool).await;
    assert_eq!(check(&json!({})).await.json()["verdict"]["type"], "new");
    assert_eq!(rows(&app.database.pool).await, before);
    let first = take(&app.client, "acc", &json!({})).await.expect(201);
    let before = rows(&app.database.pool).await;
    for (changes, expected) in [
        (json!({}), "exact"),
        (json!({"invoice_number": MISREAD}), "near"),
        (json!({"invoice_number": "INV-10483"}), "new"),
    ] {
        let told = check(&changes).await.json()["verdict"].clone();
        assert_eq!((&told["type"], &told["invoice_id"]), (&json!(expected), &first.json()["invoice_id"]));
    }
    assert_eq!(rows(&app.database.pool).await, before);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_evidence_says_of_each_field_what_both_say_and_of_lines_which_are_on_both() {
    let app = TestApp::without_redis().await;
    let line = |words: &str, quantity: i64, price: &str| json!({"description": words, "quantity": quantity, "unit_price": price});
    let theirs = json!({"lines": [line("Bolts", 10, "2"), line("Nuts", 4, "1.5"), line("Nuts", 4, "1.5")]});
    take(&app.client, "acc", &theirs).await.expect(201);
    let ours = json!({
        "vendor_name": "Northwlnd Traders", "invoice_number": MISREAD, "invoice_date": "2026-03-03", "on_duplicate": "flag",
        "lines": [line("NUTS", 4, "1.50"), line("Freight", 1, "9.90"), line("Screws", 10, "2")],
    });
    let verdict = app.client.post("/invoices/check", &invoice("acc", &ours)).await.expect(200).json();
    let verdict = &verdict["verdict"];
    let evidence = verdict["evidence"].as_array().unwrap();
    let said: Vec<_> = evidence.iter().map(|of| json!([of["field"], of["ours"], of["theirs"]])).collect();
    assert_eq!(
        json!(said),
        json!([
            ["vendor_name", "Northwlnd Traders", "Northwind Traders Ltd"],
            ["invoice_number", MISREAD, "INV-10482"],
            ["total", "1210.00", "1210.00"],
            ["currency", "EUR", "EUR"],
            ["invoice_date", "2026-03-03", "2026-03-02"],
            ["lines", "3 lines", "3 lines"],
        ])
    );
    let weighs: f64 = evidence.iter().map(|of| of["weight"].as_f64().unwrap()).sum();
    assert!((weighs - verdict["score"].as_f64().unwrap()).abs() < 0.001, "{verdict}");
    assert_eq!(
        evidence[5]["shared_lines"],
        json!([{"ours": 1, "theirs": 2, "same_words": true}, {"ours": 3, "theirs": 1, "same_words": false}])
    );
    assert!(evidence[..5].iter().all(|of| of.get("shared_lines").is_none()), "{verdict}");
    let flagged = take(&app.client, "acc", &ours).await.expect(201);
    let kept = app.client.get(&format!("/invoices/{}", id(&flagged))).await.expect(200).json();
    assert_eq!(kept["matches"][0]["evidence"], verdict["evidence"]);
    let dollars = take(&app.client, "acc", &json!({"currency": "USD"})).await.expect(409).json();
    let currency = &dollars["verdict"]["evidence"][3];
    assert_eq!(currency, &json!({"field": "currency", "ours": "USD", "theirs": "EUR", "weight": -0.3}));
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_is_judged_in_its_order_and_each_has_its_own_answer() {
    let app = TestApp::start().await;
    let before = take(&app.client, "acc", &json!({"invoice_number": "B-77001"})).await.expect(201);
    let batch = json!({"invoices": [
        invoice("acc", &json!({})),
        invoice("acc", &json!({"invoice_number": MISREAD})),
        invoice("acc", &json!({"invoice_number": "B 77001"})),
        invoice("another", &json!({})),
        invoice("acc", &json!({"invoice_number": "INV-10482-R", "on_duplicate": "flag"})),
    ]});
    let key = unique("batch");
    let reply = app.client.post_keyed("/invoices/batch", &batch, &key).await.expect(200);
    let results = reply.json()["results"].as_array().unwrap().clone();
    let statuses: Vec<_> = results.iter().map(|result| result["status"].as_u64().unwrap()).collect();
    assert_eq!(statuses, [201, 409, 409, 201, 201], "{results:?}");
    assert_eq!(results[1]["error"]["verdict"]["invoice_id"], results[0]["invoice"]["invoice_id"]);
    assert_eq!(results[2]["error"]["verdict"]["invoice_id"], before.json()["invoice_id"]);
    assert_eq!(
        (&results[4]["invoice"]["verdict"], &results[4]["invoice"]["matches"][0]["invoice_id"]),
        (&json!("near"), &results[0]["invoice"]["invoice_id"])
    );
    assert_eq!(app.count("invoices").await, 4);
    assert_eq!(app.client.post_keyed("/invoices/batch", &batch, &key).await.bytes, reply.bytes);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_a_batch_that_is_wrong_or_whose_marker_is_lost_keeps_no_other_out() {
    let app = TestApp::start().await;
    let number = |n: usize| json!({"invoice_number": format!("R{n}"), "total": (1_000 * n + 7).to_string()});
    let mut all: Vec<_> = (0..45).map(|n| invoice("acc", &number(n))).collect();
    all[1]["invoice_date"] = json!("2099-01-01");
    all[2]["total"] = json!("NaN");
    all[3]["vendor"] = json!("x");
    all[4]["fence"] = json!(1);
    all[44]["file_hash"] = json!("f");
    all[44]["fence"] = json!(1);
    // In another section than what it is one with.
    all[43] = all[0].clone();
    let key = unique("batch");
    let reply = app.client.post_keyed("/invoices/batch", &json!({"invoices": all}), &key).await.expect(200);
    let results = reply.json()["results"].as_array().unwrap().clone();
    for (place, code, field) in [
        (1, "validation_failed", json!("invoice_date")),
        (2, "validation_failed", json!("total")),
        (3, "validation_failed", json!("vendor")),
        (4, "validation_failed", json!("fence")),
        (43, "duplicate_invoice", json!(null)),
        (44, "marker_lost", json!(null)),
    ] {
        let error = &results[place]["error"];
        assert_eq!((&error["code"], &error["errors"][0]["field"]), (&json!(code), &field), "{place} {error}");
    }
    assert_eq!(results[43]["error"]["verdict"]["invoice_id"], results[0]["invoice"]["invoice_id"]);
    assert_eq!(results.iter().filter(|result| result["status"] == 201).count(), 39);
    assert_eq!(app.count("invoices").await, 39);
    let again = app.client.post_keyed("/invoices/batch", &json!({"invoices": all}), &key).await.expect(200);
    assert_eq!((again.bytes.clone(), again.was_replayed()), (reply.bytes, true));
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_is_found_among_any_number_of_invoices_of_that_day_and_total() {
    let app = TestApp::without_redis().await;
    let fee = |n: usize| {
        invoice(
            "acc",
            &json!({"vendor_name": format!("{n} Street Parking {n}"), "total": "49.90",
                               "invoice_number": format!("{}-7{n:03}5", char::from(b'A' + (n % 26) as u8))}),
        )
    };
    let batch = json!({"invoices": (0..70).map(fee).collect::<Vec<_>>()});
    let results = app.client.post("/invoices/batch", &batch).await.expect(200).json();
    assert!(results["results"].as_array().unwrap().iter().all(|result| result["status"] == 201), "{results}");
    let mut copy = fee(69);
    copy["vendor_name"] = json!("69 Street Parklng 69");
    copy["invoice_number"] = json!("R-7O69S");
    let told = app.client.post("/invoices/check", &copy).await.expect(200).json();
    let verdict = &told["verdict"];
    assert_eq!(
        (&verdict["type"], &verdict["invoice_id"], &verdict["compared_all"]),
        (&json!("near"), &results["results"][69]["invoice"]["invoice_id"], &json!(true))
    );
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_refused_and_how_strict_an_account_was_is_kept() {
    let app = TestApp::without_redis().await;
    let first = take(&app.client, "acc", &json!({})).await.expect(201);
    take(&app.client, "acc", &json!({"total": "9"})).await.expect(409);
    let kept = "SELECT data::jsonb FROM events WHERE kind = 'invoice.refused'";
    let refused: Vec<Value> = sqlx::query_scalar(kept).fetch_all(&app.database.pool).await.unwrap();
    assert_eq!(refused.len(), 1);
    assert_eq!(
        (&refused[0]["total"], &refused[0]["verdict"]["type"], &refused[0]["verdict"]["invoice_id"]),
        (&json!("9.00"), &json!("exact"), &first.json()["invoice_id"])
    );
    for threshold in [80, 90] {
        let policy = json!({"threshold": threshold}).to_string();
        let json_type = [("content-type", "application/json")];
        let path = "/api/v1/invoices/policies/acc";
        app.client.send(hyper::Method::PUT, path, &json_type, policy).await.unwrap().expect(200);
    }
    let history = "SELECT array_agg(threshold::int ORDER BY changed_at) FROM invoice_policy_changes";
    let history: Vec<i32> = sqlx::query_scalar(history).fetch_one(&app.database.pool).await.unwrap();
    assert_eq!(history, [80, 90]);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_is_as_strict_as_it_says() {
    let app = TestApp::start().await;
    let set = async |policy: Value| {
        app.client
            .send(
                hyper::Method::PUT,
                "/api/v1/invoices/policies/acc",
                &[("content-type", "application/json")],
                policy.to_string(),
            )
            .await
            .unwrap()
    };
    assert_eq!(app.client.get("/invoices/policies/acc").await.expect(200).json()["threshold"], 75);
    for (policy, field) in [
        (json!({"threshold": 0}), "threshold"),
        (json!({"date_window_days": 32}), "date_window_days"),
        (json!({"total_tolerance": "1.01"}), "total_tolerance"),
        (json!({"rules": "mine"}), "rules"),
    ] {
        assert_eq!(set(policy).await.expect(422).json()["errors"][0]["field"], field);
    }
    take(&app.client, "acc", &json!({})).await.expect(201);
    set(json!({"rules": "odoo", "on_duplicate": "flag"})).await.expect(200);
    let next = take(&app.client, "acc", &json!({"invoice_number": "INV-10483"})).await.expect(201);
    assert_eq!(next.json()["state"], "flagged");
    set(json!({"rules": "erpnext"})).await.expect(200);
    let misread = take(&app.client, "acc", &json!({"invoice_number": MISREAD})).await.expect(201);
    assert_eq!(misread.json()["state"], "accepted");
    // The score's window and tolerance are not the source's.
    let narrow = json!({"rules": "source", "date_window_days": 0, "total_tolerance": "0", "threshold": 100});
    assert_eq!(set(narrow).await.expect(200).json()["rules"], "source");
    let a_day_and_a_cent_off =
        json!({"invoice_number": "Q-5", "invoice_date": "2026-03-03", "total": "1210.01"});
    assert_eq!(verdict(&take(&app.client, "acc", &a_day_and_a_cent_off).await), (409, "near".into()));
    set(json!({"rules": "expensein"})).await.expect(200);
    let that_day = json!({"vendor_name": "Northwlnd Traders", "invoice_number": "Q-6"});
    assert_eq!(verdict(&take(&app.client, "acc", &that_day).await), (409, "near".into()));
    take(&app.client, "acc", &a_day_and_a_cent_off).await.expect(201);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn invoices_are_for_finance_alone() {
    use holdfast::http::auth::Scope;
    let app = TestApp::start().await;
    let finance = app.client_of("ann", &[Scope::Finance]).await;
    take(&finance, "acc", &json!({})).await.expect(201);
    for scope in [Scope::Storefront, Scope::Warehouse] {
        let other = app.client_of("bob", &[scope]).await;
        assert_eq!(take(&other, "acc", &json!({})).await.expect(403).code(), "forbidden");
        other.get("/pos/invoices/x").await.expect(403);
    }
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_waits_in_vain_for_another_is_told_that_it_may_be_the_same() {
    let settings = &[("HOLDFAST_LOCK_WAIT_MS", "300")];
    let app = TestApp::with(TestDatabase::fresh().await, Some(&shared_redis()), settings).await;
    let (redis, account) = (Stranger::at(&shared_redis()).await, unique("acc"));
    let key = format!("lock:invoice_check:{account}:number:INV10482");
    assert!(redis.take(&key, "another program").await);
    let reply = take(&app.client, &account, &json!({})).await;
    assert_eq!((verdict(&reply), reply.header("retry-after")), ((409, "concurrent".into()), Some("1")));
    redis.delete(&key).await;
    take(&app.client, &account, &json!({})).await.expect(201);
    app.finish().await;
}
