//! What people decide on suppliers' invoices, and what comes in of them.

use serde_json::json;
use uuid::Uuid;

use super::in_all_modes;
use super::intake::{MISREAD, id, take, verdict};
use crate::support::{Reply, Stranger, TestApp, TestDatabase, at_once, shared_redis, unique};

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
async fn an_override_teaches_names_that_are_alike_unless_it_says_that_they_are_two() {
    for (said, learned) in [(json!({}), 1), (json!({"same_vendor": false}), 0)] {
        let app = TestApp::without_redis().await;
        take(&app.client, "acc", &json!({})).await.expect(201);
        let misspelled =
            json!({"vendor_name": "Northwlnd Traders", "invoice_number": MISREAD, "on_duplicate": "flag"});
        let flagged = take(&app.client, "acc", &misspelled).await.expect(201);
        let mut cmd = json!({"reason": "a second delivery"});
        cmd.as_object_mut().unwrap().extend(said.as_object().unwrap().clone());
        app.client.post(&format!("/invoices/{}/override", id(&flagged)), &cmd).await.expect(200);
        assert_eq!(app.count("vendor_aliases").await, learned, "{cmd}");
        let listed = app.client.get("/invoices?account_id=acc&vendor_name=northwind%20traders").await.json();
        assert_eq!(listed["items"].as_array().unwrap().len(), 1 + learned as usize);
        app.finish().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_company_of_the_same_name_is_another_and_one_that_can_not_be_told_has_a_way_in() {
    let app = TestApp::without_redis().await;
    take(&app.client, "acc", &json!({"vendor_name": "Acme Ltd"})).await.expect(201);
    let namesake = json!({"vendor_name": "Acme GmbH", "total": "7", "currency": "USD"});
    assert_eq!(verdict(&take(&app.client, "acc", &namesake).await), (201, "new".into()));
    let unknown = json!({"vendor_name": "Acme", "total": "8"});
    assert_eq!(verdict(&take(&app.client, "acc", &unknown).await), (409, "exact".into()));
    let mut kept = unknown.clone();
    kept["on_duplicate"] = json!("flag");
    let flagged = take(&app.client, "acc", &kept).await.expect(201);
    assert_eq!((verdict(&flagged).1, &flagged.json()["state"]), ("near".into(), &json!("flagged")));
    app.client
        .post(&format!("/invoices/{}/override", id(&flagged)), &json!({"reason": "another Acme"}))
        .await
        .expect(200);
    // What is wholly the same has none.
    assert_eq!(verdict(&take(&app.client, "acc", &kept).await), (409, "exact".into()));
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_decision_that_waits_in_vain_is_told_that_the_lock_is_busy_and_not_of_a_duplicate() {
    let settings = &[("HOLDFAST_LOCK_WAIT_MS", "300")];
    let app = TestApp::with(TestDatabase::fresh().await, Some(&shared_redis()), settings).await;
    let (redis, account) = (Stranger::at(&shared_redis()).await, unique("acc"));
    let taken = take(&app.client, &account, &json!({})).await.expect(201);
    let key = format!("lock:invoice_check:{account}:number:INV10482");
    assert!(redis.take(&key, "another program").await);
    for verb in ["void", "override"] {
        let path = format!("/invoices/{}/{verb}", id(&taken));
        let busy = app.client.post(&path, &json!({"reason": "x"})).await.expect(429);
        assert_eq!(busy.code(), "lock_timeout");
    }
    redis.delete(&key).await;
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
async fn a_flagged_invoice_that_somebody_let_pass_comes_into_stock_as_any_other() {
    let app = TestApp::start().await;
    let a = app.client.variant(0).await;
    let sku = app.client.get(&format!("/variants/{a}")).await.json()["sku"].clone();
    let lines = json!([{"sku": sku, "description": "Bolts", "quantity": 10, "unit_price": "2"}]);
    take(&app.client, "acc", &json!({"lines": lines})).await.expect(201);
    let near = json!({"lines": lines, "invoice_number": MISREAD, "on_duplicate": "flag"});
    let path = format!("/invoices/{}", id(&take(&app.client, "acc", &near).await.expect(201)));
    let receive = async || app.client.post(&format!("{path}/receive"), &json!({})).await;
    assert_eq!(
        (receive().await.expect(409).code(), app.client.on_hand(a).await),
        ("invoice_flagged".into(), 0)
    );
    let reason = json!({"reason": "a second delivery"});
    app.client.post(&format!("{path}/override"), &reason).await.expect(200);
    let received = receive().await.expect(200).json();
    assert_eq!(
        (&received["state"], &received["movements"][0]["kind"], &received["movements"][0]["delta"]),
        (&json!("overridden"), &json!("receipt"), &json!(10))
    );
    assert_eq!(receive().await.expect(200).json()["movements"], json!([]));
    assert_eq!(app.client.on_hand(a).await, 10);
    app.finish().await;
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
