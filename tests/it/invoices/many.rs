//! Many invoices that are alike, and many lines: what is told of them is bounded, and says so.

use serde_json::{Value, json};

use super::intake::{id, take, verdict};
use crate::support::TestApp;

#[tokio::test(flavor = "multi_thread")]
async fn an_invoice_says_whether_it_was_compared_with_all_that_is_alike() {
    let app = TestApp::without_redis().await;
    let first = take(&app.client, "acc", &json!({})).await.expect(201);
    assert_eq!(first.json()["compared_all"], true);
    let alike = "INSERT INTO invoices (invoice_id, account_id, vendor_name, invoice_number, invoice_date, total, currency,
            vendor_key, number_key, number_year, state, verdict, subject, request_id, lock_mode, lock_wait_ms)
        SELECT gen_random_uuid(), account_id, 'Stall ' || n, 'S' || n, invoice_date, total, currency, 'stall ' || n, 'S' || n,
               number_year, 'accepted', 'new', subject, request_id, lock_mode, lock_wait_ms
        FROM invoices, generate_series(1, 1002) AS n";
    sqlx::query(alike).execute(&app.database.pool).await.unwrap();
    let other = json!({"vendor_name": "Cobalt", "invoice_number": "Q-55555"});
    let taken = take(&app.client, "acc", &other).await.expect(201);
    assert_eq!((verdict(&taken).1, &taken.json()["compared_all"]), ("new".into(), &json!(false)));
    let kept = app.client.get(&format!("/invoices/{}", id(&taken))).await.expect(200).json();
    assert_eq!(kept["compared_all"], false);
    let told =
        "SELECT data::jsonb->'compared_all' FROM events WHERE kind = 'invoice.received' ORDER BY position";
    let told: Vec<Value> = sqlx::query_scalar(told).fetch_all(&app.database.pool).await.unwrap();
    assert_eq!(told, [json!(true), json!(false)]);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_with_as_many_matches_as_are_kept_waits_for_somebody_also_when_all_of_them_are_voided() {
    let app = TestApp::without_redis().await;
    let mut all = Vec::new();
    for n in 0..21 {
        let given = json!({"total": (100 + n).to_string(), "on_duplicate": "flag"});
        all.push(take(&app.client, "acc", &given).await.expect(201));
    }
    let last = all.pop().unwrap();
    assert_eq!(last.json()["matches"].as_array().unwrap().len(), 20);
    for earlier in &all {
        let void = format!("/invoices/{}/void", id(earlier));
        app.client.post(&void, &json!({"reason": "not ours"})).await.expect(200);
    }
    let path = format!("/invoices/{}", id(&last));
    assert_eq!(app.client.get(&path).await.expect(200).json()["state"], "flagged");
    let audit = app.client.get("/inventory/audit").await.expect(200).json();
    assert_eq!((&audit["ok"], &audit["violations"]), (&json!(true), &json!([])), "{audit}");
    app.client.post(&format!("{path}/override"), &json!({"reason": "the right one"})).await.expect(200);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_invoices_is_bounded_in_lines_and_in_what_is_told_of_shared_ones() {
    let app = TestApp::without_redis().await;
    for n in 0..6 {
        let given = json!({"vendor_name": format!("{n} Stall {n}"), "invoice_number": format!("{n}"), "total": (n * 10).to_string()});
        take(&app.client, "acc", &given).await.expect(201);
    }
    let lines = "INSERT INTO invoice_lines (invoice_id, line_id, position, description, quantity, unit_price)
        SELECT invoice_id, gen_random_uuid(), n, 'Bolts', 1, 1 FROM invoices, generate_series(1, 2000) AS n";
    sqlx::query(lines).execute(&app.database.pool).await.unwrap();
    let pages = async || {
        let (mut sizes, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = app.client.get(&format!("/invoices?account_id=acc{cursor}")).await.expect(200).json();
            sizes.push(page["items"].as_array().unwrap().len());
            match page["next_cursor"].as_str() {
                Some(last) => cursor = format!("&cursor={last}"),
                None => return sizes,
            }
        }
    };
    assert_eq!(pages().await, [5, 1]);
    let matches = "INSERT INTO invoice_matches (invoice_id, earlier_id, score, evidence)
        SELECT last.invoice_id, earlier.invoice_id, 80, jsonb_build_array(
                   jsonb_build_object('field', 'total'),
                   jsonb_build_object('field', 'lines', 'shared_lines', (SELECT jsonb_agg(n) FROM generate_series(1, 1700) AS n)))
        FROM (SELECT invoice_id FROM invoices ORDER BY invoice_id DESC LIMIT 1) AS last
        JOIN invoices AS earlier ON earlier.invoice_id < last.invoice_id";
    sqlx::query(matches).execute(&app.database.pool).await.unwrap();
    assert_eq!(pages().await, [1, 5]);
    app.finish().await;
}
