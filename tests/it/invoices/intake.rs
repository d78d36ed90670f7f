//! Suppliers' invoices: what is in already, what is only like it, and what becomes of either.

use serde_json::{Value, json};
use uuid::Uuid;

use super::in_all_modes;
use crate::support::campaign::amount;
use crate::support::link::draw;
use crate::support::{Client, Reply, Stranger, TestApp, at_once, shared_redis, unique};

/// An invoice of these; what is left out is the same for all.
fn invoice(account: &str, changes: &Value) -> Value {
    let mut invoice = json!({
        "account_id": account, "vendor_name": "Northwind Traders Ltd", "invoice_number": "INV-10482",
        "invoice_date": "2026-03-02", "total": "1210.00", "currency": "EUR",
    });
    for (field, value) in changes.as_object().unwrap() {
        invoice[field] = value.clone();
    }
    invoice
}

async fn take(client: &Client, account: &str, changes: &Value) -> Reply {
    client.post("/invoices", &invoice(account, changes)).await
}

fn verdict(reply: &Reply) -> (u16, String) {
    let verdict = &reply.json()["verdict"];
    let kind = verdict.as_str().or_else(|| verdict["type"].as_str()).unwrap_or_default();
    (reply.status.as_u16(), kind.to_owned())
}

fn id(reply: &Reply) -> String {
    reply.json()["invoice_id"].as_str().unwrap().to_owned()
}

const MISREAD: &str = "lNV-1O48Z";

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
async fn a_check_tells_what_would_be_judged_and_writes_nothing() {
    let app = TestApp::start().await;
    let check = async |changes: &Value| {
        app.client.post("/invoices/check", &invoice("acc", changes)).await.expect(200)
    };
    assert_eq!(check(&json!({})).await.json()["verdict"]["type"], "new");
    let first = take(&app.client, "acc", &json!({})).await.expect(201);
    for (changes, expected) in [
        (json!({}), "exact"),
        (json!({"invoice_number": MISREAD}), "near"),
        (json!({"invoice_number": "INV-10483"}), "new"),
    ] {
        let told = check(&changes).await.json()["verdict"].clone();
        assert_eq!((&told["type"], &told["invoice_id"]), (&json!(expected), &first.json()["invoice_id"]));
    }
    assert_eq!((app.count("invoices").await, app.count("idempotency_keys").await), (1, 0));
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flagged_one_waits_for_somebody_who_lets_it_pass_and_whose_reason_and_vendor_are_remembered() {
    let app = TestApp::start().await;
    let first = take(&app.client, "acc", &json!({})).await.expect(201);
    let changes =
        json!({"vendor_name": "Northwlnd Traders", "invoice_number": MISREAD, "on_duplicate": "flag"});
    let flagged = take(&app.client, "acc", &changes).await.expect(201);
    assert_eq!((verdict(&flagged).1, &flagged.json()["state"]), ("near".into(), &json!("flagged")));
    assert_eq!(flagged.json()["matches"][0]["invoice_id"], first.json()["invoice_id"]);
    let path = format!("/invoices/{}", id(&flagged));
    assert_eq!(
        app.client.post(&format!("{path}/receive"), &json!({})).await.expect(409).code(),
        "invoice_flagged"
    );
    let reason = json!({"reason": "a second delivery", "same_vendor": true});
    for _ in 0..2 {
        let passed = app.client.post(&format!("{path}/override"), &reason).await.expect(200).json();
        assert_eq!(
            (&passed["state"], &passed["decisions"][0]["reason"]),
            (&json!("overridden"), &reason["reason"])
        );
    }
    assert_eq!(app.count("invoice_decisions").await, 1);
    let other = app.client.post(&format!("/invoices/{}/override", id(&first)), &reason).await;
    assert_eq!(other.expect(409).code(), "invoice_not_flagged");
    // From now on the misspelled name is the vendor's: its number is exactly that of the first.
    let learned = take(&app.client, "acc", &json!({"vendor_name": "NORTHWLND TRADERS", "total": "7"})).await;
    assert_eq!(verdict(&learned), (409, "exact".into()));
    let listed = app.client.get("/invoices?account_id=acc&state=overridden").await.expect(200).json();
    assert_eq!(
        (listed["items"].as_array().unwrap().len(), &listed["items"][0]["invoice_id"]),
        (1, &flagged.json()["invoice_id"])
    );
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invoice_that_is_voided_stands_in_nobodys_way() {
    let app = TestApp::start().await;
    let first = take(&app.client, "acc", &json!({"file_hash": "f1"})).await.expect(201);
    let flag = |vendor: &str, number: &str| json!({"vendor_name": vendor, "invoice_number": number, "on_duplicate": "flag"});
    let near = take(&app.client, "acc", &flag("Northwlnd Traders", "INV-10482")).await.expect(201);
    let near_to_both = take(&app.client, "acc", &flag("Northwind Traders", "INV-10482-R")).await.expect(201);
    assert_eq!(near_to_both.json()["matches"].as_array().unwrap().len(), 2);
    let void = async |invoice: &Reply| {
        app.client
            .post(&format!("/invoices/{}/void", id(invoice)), &json!({"reason": "not ours"}))
            .await
            .expect(200)
            .json()
    };
    let state = async |invoice: &Reply| {
        app.client.get(&format!("/invoices/{}", id(invoice))).await.json()["state"].clone()
    };
    let voided = void(&first).await;
    assert_eq!((&voided["state"], &voided["freed"]), (&json!("voided"), &json!([near.json()["invoice_id"]])));
    assert_eq!((state(&near).await, state(&near_to_both).await), (json!("accepted"), json!("flagged")));
    assert_eq!(void(&first).await["freed"], json!([]));
    assert_eq!(void(&near).await["freed"], json!([near_to_both.json()["invoice_id"]]));
    void(&near_to_both).await;
    assert_eq!(verdict(&take(&app.client, "acc", &json!({"file_hash": "f1"})).await), (201, "new".into()));
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
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_be_no_invoice_is_told_by_field_and_writes_nothing() {
    let app = TestApp::start().await;
    let long = "x".repeat(1_001);
    let huge = "x".repeat(1024 * 1024);
    let line = |field: &str, value: Value| {
        let mut line = json!({"description": "Bolts", "quantity": 1, "unit_price": "1"});
        line[field] = value;
        json!({ "lines": [line] })
    };
    for (changes, status, field) in [
        (json!({"invoice_date": "1969-12-31"}), 422, "invoice_date"),
        (json!({"invoice_date": "2099-01-01"}), 422, "invoice_date"),
        (json!({"invoice_date": "2026-02-30"}), 422, "invoice_date"),
        (json!({"invoice_date": 20260302}), 422, "invoice_date"),
        (json!({"total": "NaN"}), 422, "total"),
        (json!({"total": "-1"}), 422, "total"),
        (json!({"total": "10000000000000"}), 422, "total"),
        (json!({"total": "1.00001"}), 422, "total"),
        (json!({"total": 12.5}), 422, "total"),
        (json!({"currency": "eur"}), 422, "currency"),
        (json!({"currency": "XXQ"}), 422, "currency"),
        (json!({"vendor_name": ""}), 422, "vendor_name"),
        (json!({"vendor_name": "..."}), 422, "vendor_name"),
        (json!({"vendor_name": "\u{301}\u{302}"}), 422, "vendor_name"),
        (json!({"vendor_name": "abc\u{202e}cba"}), 422, "vendor_name"),
        (json!({"invoice_number": "-"}), 422, "invoice_number"),
        (json!({"invoice_number": "a\u{0}"}), 422, "invoice_number"),
        (json!({"account_id": ""}), 422, "account_id"),
        (json!({"account_id": "a b"}), 422, "account_id"),
        (json!({"file_hash": "a:b"}), 422, "file_hash"),
        (json!({"fence": 1}), 422, "fence"),
        (json!({"on_duplicate": "ignore"}), 422, "on_duplicate"),
        (json!({"vendor": "x"}), 422, "vendor"),
        (line("description", json!(long)), 422, "lines[0].description"),
        (line("description", json!("")), 422, "lines[0].description"),
        (line("quantity", json!(0)), 422, "lines[0].quantity"),
        (line("unit_price", json!("1e3")), 422, "lines[0].unit_price"),
        (line("sku", json!(" ")), 422, "lines[0].sku"),
    ] {
        for path in ["/invoices", "/invoices/check"] {
            let refused = app.client.post(path, &invoice("acc", &changes)).await.expect(status).json();
            assert_eq!(refused["errors"][0]["field"], field, "{path} {changes}: {refused}");
        }
    }
    assert_eq!(
        take(&app.client, "acc", &line("description", json!(huge))).await.expect(413).code(),
        "body_too_large"
    );
    let late = json!({"invoices": [invoice("acc", &json!({})), invoice("acc", &json!({"invoice_number": "2", "invoice_date": "2099-01-01"}))]});
    let refused = app.client.post("/invoices/batch", &late).await.expect(422).json();
    assert_eq!(refused["errors"][0]["field"], "invoices[1].invoice_date");
    assert_eq!(app.count("invoices").await, 0);
    // Letters of any language, from right to left, and marks on letters are names.
    for (total, vendor) in
        ["\u{5d0}\u{5d1}\u{5d2} \u{5d3}", "\u{634}\u{631}\u{643}\u{629}", "Cafe\u{301}"].iter().enumerate()
    {
        take(&app.client, "acc", &json!({"vendor_name": vendor, "total": total.to_string()}))
            .await
            .expect(201);
    }
    let again = take(&app.client, "acc", &json!({"vendor_name": "CAF\u{c9}"})).await;
    assert_eq!(verdict(&again), (409, "exact".into()));
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
async fn what_is_billed_comes_into_stock_once_whole_or_in_part() {
    in_all_modes(async |app, peer| {
        let (a, b) = (app.client.variant(1).await, app.client.variant(0).await);
        let sku =
            async |variant: Uuid| app.client.get(&format!("/variants/{variant}")).await.json()["sku"].clone();
        let lines = json!({"lines": [
            {"sku": sku(a).await, "description": "Bolts", "quantity": 10, "unit_price": "2"},
            {"description": "Freight", "quantity": 1, "unit_price": "9.90"},
            {"sku": sku(b).await, "description": "Nuts", "quantity": 4, "unit_price": "1.5"},
        ]});
        let taken = take(&app.client, "acc", &lines).await.expect(201).json();
        let path = format!("/invoices/{}/receive", taken["invoice_id"].as_str().unwrap());
        let part =
            |units: i64| json!({"lines": [{"line_id": taken["lines"][0]["line_id"], "quantity": units}]});
        let received = app.client.post(&path, &part(4)).await.expect(200).json();
        assert_eq!(
            (&received["movements"][0]["kind"], &received["lines"][0]["received_quantity"]),
            (&json!("receipt"), &json!(4))
        );
        let excess = app.client.post(&path, &part(7)).await.expect(409);
        assert_eq!(
            (excess.code(), &excess.json()["errors"][0]["available"]),
            ("receive_exceeds_invoiced".into(), &json!(6))
        );
        let clients = [app.client.clone(), peer.client.clone()];
        let replies = at_once(8, |n| {
            let (client, path) = (clients[n % 2].clone(), path.clone());
            async move {
                client.post(&path, &json!({})).await.expect(200).json()["movements"].as_array().unwrap().len()
            }
        })
        .await;
        assert_eq!(replies.iter().sum::<usize>(), 2);
        assert_eq!([app.client.on_hand(a).await, app.client.on_hand(b).await], [11, 4]);
        let void = app.client.post(&path.replace("receive", "void"), &json!({"reason": "no"})).await;
        assert_eq!(void.expect(409).code(), "invoice_received");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_that_nobody_sells_are_named_and_nothing_comes_in() {
    let app = TestApp::start().await;
    let taken = take(
        &app.client,
        "acc",
        &json!({"lines": [{"sku": "nobody's", "description": "x", "quantity": 1, "unit_price": "1"}]}),
    )
    .await;
    let path = format!("/invoices/{}/receive", id(&taken));
    let unknown = app.client.post(&path, &json!({})).await.expect(404);
    assert_eq!(
        (unknown.code(), &unknown.json()["errors"][0]["field"]),
        ("variant_not_found".into(), &json!("lines[0].sku"))
    );
    let other = json!({"lines": [{"line_id": Uuid::new_v4(), "quantity": 1}]});
    assert_eq!(
        app.client.post(&path, &other).await.expect(422).json()["errors"][0]["field"],
        "lines[0].line_id"
    );
    let service = take(&app.client, "acc", &json!({"invoice_number": "S-9"})).await;
    let nothing =
        app.client.post(&format!("/invoices/{}/receive", id(&service)), &json!({})).await.expect(409);
    assert_eq!(nothing.code(), "nothing_to_receive");
    let nowhere = format!("/invoices/{}/receive", Uuid::new_v4());
    assert_eq!(app.client.post(&nowhere, &json!({})).await.expect(404).code(), "invoice_not_found");
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_waits_in_vain_for_another_is_told_that_it_may_be_the_same() {
    let settings = &[("HOLDFAST_LOCK_WAIT_MS", "300")];
    let app =
        TestApp::with(crate::support::TestDatabase::fresh().await, Some(&shared_redis()), settings).await;
    let (redis, account) = (Stranger::at(&shared_redis()).await, unique("acc"));
    let key = format!("lock:invoice_check:{account}:number:INV10482");
    assert!(redis.take(&key, "another program").await);
    let reply = take(&app.client, &account, &json!({})).await;
    assert_eq!((verdict(&reply), reply.header("retry-after")), ((409, "concurrent".into()), Some("1")));
    redis.delete(&key).await;
    take(&app.client, &account, &json!({})).await.expect(201);
    app.finish().await;
}

/// Eight spellings of one invoice, any two of which are one: by number, or near.
fn spellings() -> Vec<Value> {
    let spellings = [
        json!({}),
        json!({"vendor_name": "NORTHWIND TRADERS", "invoice_number": "inv/0010482"}),
        json!({"invoice_number": MISREAD}),
        json!({"invoice_number": "INV-10482-R", "invoice_date": "2026-03-03"}),
        json!({"vendor_name": "Northwlnd Traders"}),
        json!({"invoice_number": "INV-10842"}),
        json!({"total": "1210.01"}),
        json!({"invoice_date": "2026-03-01", "invoice_number": "10482"}),
    ];
    let line = |n: i64| json!({"description": format!("Part {n}"), "quantity": n, "unit_price": "10"});
    let with_lines = |mut spelling: Value| {
        spelling["lines"] = json!([line(1), line(2), line(3)]);
        spelling
    };
    spellings.into_iter().map(with_lines).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn of_eight_uploads_at_once_of_one_invoice_one_is_in_and_the_rest_are_told_of_it() {
    let rounds = amount(6, 2_000);
    in_all_modes(async |app, peer| {
        for round in 0..rounds {
            let account = format!("acc-{round}");
            let mut given = spellings();
            for place in (1..given.len()).rev() {
                given.swap(place, draw(place as u64 + 1) as usize);
            }
            let clients = [app.client.clone(), peer.client.clone()];
            let replies = at_once(given.len(), |n| {
                let (client, account, changes) = (clients[n % 2].clone(), account.clone(), given[n].clone());
                async move { take(&client, &account, &changes).await }
            })
            .await;
            let inside: Vec<_> = (0..given.len()).filter(|n| replies[*n].status == 201).collect();
            let [first] = inside[..] else { panic!("not one is in: {replies:?}") };
            // The verdicts are those of one upload after the other.
            let again = format!("{account}-again");
            take(&app.client, &again, &given[first]).await.expect(201);
            for n in (0..given.len()).filter(|n| *n != first) {
                assert_eq!(replies[n].json()["verdict"]["invoice_id"], replies[first].json()["invoice_id"]);
                assert_eq!(verdict(&replies[n]), verdict(&take(&app.client, &again, &given[n]).await));
            }
        }
        assert_eq!(app.count("invoices").await, 2 * rounds as i64);
    })
    .await;
}
