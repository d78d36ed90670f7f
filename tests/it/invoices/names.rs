//! Vendors that are taken for one another: each of their invoices has a way in, and what was learned can be forgotten.

use serde_json::{Value, json};

use super::intake::{id, take, verdict};
use crate::support::{Client, Reply, TestApp};

const FORGET: &str = "/invoices/vendors/forget";

/// A receipt of a car park.
fn receipt(vendor: &str, number: &str, date: &str, way: &str) -> Value {
    json!({"vendor_name": vendor, "invoice_number": number, "invoice_date": date, "total": "4.50", "on_duplicate": way})
}

async fn let_pass(client: &Client, flagged: &Reply, said: Value) -> Value {
    let mut cmd = json!({"reason": "another receipt"});
    cmd.as_object_mut().unwrap().extend(said.as_object().unwrap().clone());
    client.post(&format!("/invoices/{}/override", id(flagged)), &cmd).await.expect(200).json()
}

/// Nord 2 is known as Nord 1, for their receipts were alike.
async fn learn(client: &Client) {
    take(client, "acc", &receipt("Parkhaus Nord 1", "17", "2026-03-02", "flag")).await.expect(201);
    let alike =
        take(client, "acc", &receipt("Parkhaus Nord 2", "17", "2026-03-02", "flag")).await.expect(201);
    assert_eq!(alike.json()["state"], "flagged");
    let_pass(client, &alike, json!({})).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_exact_only_by_a_learned_name_or_on_another_day_is_kept_flagged_and_let_pass() {
    let app = TestApp::start().await;
    learn(&app.client).await;
    take(&app.client, "acc", &receipt("Parkhaus Nord 1", "18", "2026-03-03", "reject")).await.expect(201);
    // Two car parks, and one till in March and in May.
    for (vendor, number, date) in
        [("Parkhaus Nord 2", "18", "2026-03-03"), ("Parkhaus Nord 1", "17", "2026-05-04")]
    {
        let refused = take(&app.client, "acc", &receipt(vendor, number, date, "reject")).await;
        assert_eq!(verdict(&refused), (409, "exact".into()), "{refused:?}");
        let kept = take(&app.client, "acc", &receipt(vendor, number, date, "flag")).await.expect(201);
        assert_eq!((verdict(&kept).1, &kept.json()["state"]), ("near".into(), &json!("flagged")));
        assert_eq!(let_pass(&app.client, &kept, json!({})).await["state"], "overridden");
        // What says the same under the same name has no way in.
        let again = take(&app.client, "acc", &receipt(vendor, number, date, "flag")).await;
        assert_eq!(verdict(&again), (409, "exact".into()), "{again:?}");
    }
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_is_forgotten_stands_for_itself_and_it_is_kept_who_said_so_and_why() {
    for app in [TestApp::start().await, TestApp::without_redis().await] {
        learn(&app.client).await;
        take(&app.client, "acc", &receipt("Parkhaus Nord 1", "30", "2026-03-02", "reject")).await.expect(201);
        let of_may = receipt("Parkhaus Nord 2", "30", "2026-05-02", "reject");
        assert_eq!(verdict(&take(&app.client, "acc", &of_may).await), (409, "exact".into()));
        // It came in while it was known as the other.
        take(&app.client, "acc", &receipt("Parkhaus Nord 2", "31", "2026-03-09", "reject")).await.expect(201);

        let cmd = json!({"account_id": "acc", "vendor_name": "PARKHAUS nord-2", "reason": "two car parks"});
        let told = app.client.post(FORGET, &cmd).await.expect(200).json();
        assert_eq!(
            (&told["stood_for"], &told["learned_from"], &told["forgotten_by"], &told["reason"]),
            (&json!("parkhaus nord 1"), &json!("admin"), &json!("admin"), &json!("two car parks"))
        );
        assert_eq!(app.client.post(FORGET, &cmd).await.expect(404).code(), "vendor_name_not_learned");
        assert_eq!((app.count("vendor_aliases").await, app.count("forgotten_vendor_names").await), (0, 1));
        let event = "SELECT data::jsonb FROM events WHERE kind = 'invoice.vendor_forgotten'";
        let events: Vec<Value> = sqlx::query_scalar(event).fetch_all(&app.database.pool).await.unwrap();
        assert_eq!(events, [told]);

        // Both names are what they bear, whenever they came in.
        for (vendor, receipts) in [("Parkhaus%20Nord%201", 2), ("Parkhaus%20Nord%202", 2)] {
            let path = format!("/invoices?account_id=acc&vendor_name={vendor}");
            let listed = app.client.get(&path).await.expect(200).json();
            assert_eq!(listed["items"].as_array().unwrap().len(), receipts, "{listed}");
        }
        assert_eq!(verdict(&take(&app.client, "acc", &of_may).await), (201, "new".into()));
        let again = take(&app.client, "acc", &receipt("Parkhaus Nord 2", "31", "2026-06-09", "reject")).await;
        assert_eq!(verdict(&again), (409, "exact".into()));
        app.finish().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_is_forgotten_once_by_its_account_alone_and_for_a_reason() {
    let app = TestApp::without_redis().await;
    learn(&app.client).await;
    let cmd = |account: &str, name: &str, reason: &str| json!({"account_id": account, "vendor_name": name, "reason": reason});
    for (account, name) in [("another", "Parkhaus Nord 2"), ("acc", "Parkhaus Nord 1"), ("acc", "Acme")] {
        let refused = app.client.post(FORGET, &cmd(account, name, "x")).await.expect(404);
        assert_eq!(refused.code(), "vendor_name_not_learned");
    }
    for (given, field) in
        [(cmd("acc", "...", "x"), "vendor_name"), (cmd("acc", "Parkhaus Nord 2", ""), "reason")]
    {
        let refused = app.client.post(FORGET, &given).await.expect(422).json();
        assert_eq!(refused["errors"][0]["field"], field);
    }
    assert_eq!(app.count("vendor_aliases").await, 1);
    let given = cmd("acc", "Parkhaus Nord 2", "two car parks");
    let first = app.client.post_keyed(FORGET, &given, "forget-once").await.expect(200);
    let again = app.client.post_keyed(FORGET, &given, "forget-once").await.expect(200);
    assert_eq!((again.bytes.clone(), again.was_replayed()), (first.bytes, true));
    // It can be learned anew, and forgotten once more.
    take(&app.client, "acc", &receipt("Parkhaus Nord 1", "40", "2026-03-20", "flag")).await.expect(201);
    let alike = take(&app.client, "acc", &receipt("Parkhaus Nord 2", "40", "2026-03-20", "flag")).await;
    let_pass(&app.client, &alike, json!({"same_vendor": true})).await;
    assert_eq!(app.count("vendor_aliases").await, 1);
    app.client.post(FORGET, &given).await.expect(200);
    assert_eq!((app.count("vendor_aliases").await, app.count("forgotten_vendor_names").await), (0, 2));
    app.finish().await;
}
