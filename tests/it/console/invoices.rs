//! What people do to invoices from the page: locks of tills taken away, verdicts overridden, invoices voided, each with
//! its reason; and what they see of two that may be one.

use holdfast::locks::{LockKey, LockKeys};
use holdfast::text::Name;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::tour::{SETTINGS, WRONGS, answer};
use crate::support::{Browser, Private, TestApp, TestDatabase};

const LOCK: &str = "lock:invoice_lock_till-7";

fn invoice(vendor: &str, number: &str, lines: &Value) -> Value {
    json!({"account_id": "acc", "vendor_name": vendor, "invoice_number": number, "invoice_date": "2026-03-02",
           "total": "1210.00", "currency": "EUR", "on_duplicate": "flag", "lines": lines})
}

fn line(words: &str, quantity: i64, price: &str) -> Value {
    json!({"description": words, "quantity": quantity, "unit_price": price})
}

/// What a table of this name says, row by row and cell by cell.
async fn cells(browser: &mut Browser, table: &str) -> Value {
    let region = format!("document.querySelector('[aria-label=\"{table}\"]')");
    let rows = format!("[...{region}.querySelectorAll('tbody tr')]");
    browser.until(&region).await;
    browser.run(&format!("{rows}.map((row) => [...row.cells].map((cell) => cell.innerText.trim()))")).await
}

/// A till is at its invoice: who and for how long is seen, and the lock is taken away for a reason.
async fn release_a_tills_lock(app: &TestApp, browser: &mut Browser) {
    let name = Name::try_from("till-7".to_owned()).unwrap();
    let keys = LockKeys::new(vec![LockKey::invoice(&name)]).unwrap();
    let lease = app.app.locks.acquire(keys, &CancellationToken::new()).await.unwrap();
    let status = app.client.get("/locks/status").await.expect(200).json();
    let held = status["locks"].as_array().unwrap().iter().find(|lock| lock["key"] == LOCK).unwrap();
    browser.visit("invoices").await;
    browser.until_said(LOCK).await;
    let locks = cells(browser, "Locks of invoices").await;
    let holder = format!("{} {}", held["replica"].as_str().unwrap(), &held["owner"].as_str().unwrap()[..8]);
    assert_eq!((&locks[0][0], &locks[0][1]), (&json!(LOCK), &json!(holder)), "{locks}");
    assert!(locks[0][2].as_str().unwrap().ends_with(" s"), "{locks}");
    assert_eq!(browser.run(WRONGS).await, json!([]));
    answer(browser, "Release", "its till fell into the harbour", "Release").await;
    browser.until_said(&format!("Released {LOCK}.")).await;
    browser.until_said("Nobody writes an invoice at this moment").await;
    let kept = "SELECT key, reason, subject FROM lock_releases";
    let kept: (String, String, String) = sqlx::query_as(kept).fetch_one(&app.database.pool).await.unwrap();
    assert_eq!(kept, (LOCK.into(), "its till fell into the harbour".into(), "admin".into()));
    drop(lease);
}

/// Both field by field and line by line.
async fn look_at_both(browser: &mut Browser) {
    browser.until_said("May be the same as INV-10482").await;
    browser.until("document.querySelector('[aria-label=\"Lines of both\"]')").await;
    let evidence = cells(browser, "Evidence").await;
    let said: Vec<_> =
        evidence.as_array().unwrap().iter().map(|row| json!([row[0], row[1], row[2]])).collect();
    assert_eq!(
        json!(said),
        json!([
            ["vendor name", "Brass & Sonz", "Brass & Sons"],
            ["invoice number", "lNV-1O48Z", "INV-10482"],
            ["total", "1210.00", "1210.00"],
            ["currency", "EUR", "EUR"],
            ["invoice date", "2026-03-02", "2026-03-02"],
            ["lines", "3 lines", "2 lines"],
        ])
    );
    assert!(evidence[5][3].as_str().unwrap().contains("2 shared"), "{evidence}");
    let lines = cells(browser, "Lines of both").await;
    for (row, (ours, theirs, same)) in [
        ("10 × Globes at 121.00", "10 × Globes at 121.00", "the same"),
        ("2 × Foot at 0.00", "2 × Stand at 0.00", "the same quantity and price"),
        ("1 × Case at 0.00", "–", "only here"),
    ]
    .into_iter()
    .enumerate()
    {
        assert_eq!((&lines[row][1], &lines[row][2]), (&json!(ours), &json!(theirs)), "{lines}");
        assert!(lines[row][3].as_str().unwrap().ends_with(same), "{lines}");
    }
    assert_eq!(browser.run(WRONGS).await, json!([]));
    browser.picture("invoice-side-by-side").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_that_may_be_one_are_seen_side_by_side_and_what_is_decided_is_kept_with_its_reason() {
    let redis = Private::redis().await;
    let app = TestApp::with(TestDatabase::fresh().await, Some(&redis.url()), SETTINGS).await;
    let take = async |vendor: &str, number: &str, lines: Value| -> Value {
        app.client.post("/invoices", &invoice(vendor, number, &lines)).await.expect(201).json()
    };
    let globes = line("Globes", 10, "121.00");
    let first = take("Brass & Sons", "INV-10482", json!([line("Stand", 2, "0"), globes])).await;
    let lines = json!([globes, line("Foot", 2, "0"), line("Case", 1, "0")]);
    let misread = take("Brass & Sonz", "lNV-1O48Z", lines).await;
    let again = take("Brass & Son", "INV-10482-R", json!([globes])).await;
    assert_eq!((&misread["state"], &again["state"]), (&json!("flagged"), &json!("flagged")));
    let page = |invoice: &Value| format!("invoices/{}", invoice["invoice_id"].as_str().unwrap());
    let mut browser = Browser::open().await;
    browser.sign_in(&app.client).await;
    release_a_tills_lock(&app, &mut browser).await;

    // Let pass without a word on the vendor, it teaches a name that is alike, as nobody said that they are two.
    browser.visit(&page(&misread)).await;
    look_at_both(&mut browser).await;
    answer(&mut browser, "Let it pass …", "two deliveries", "Let it pass").await;
    assert_eq!(app.count("vendor_aliases").await, 1);

    // Said to be two vendors', names teach nothing.
    browser.visit(&page(&again)).await;
    browser.until_said("/ Brass & Son INV-10482-R").await;
    browser.click("Let it pass …").await;
    browser.until("document.querySelector('dialog #ask-same_vendor')").await;
    browser.run("document.querySelector('#ask-same_vendor').value = 'false'").await;
    browser.run("document.querySelector('#ask-reason').focus()").await;
    browser.write("their sons").await;
    browser.click("Let it pass").await;
    browser.until("!document.querySelector('dialog')").await;
    let alias = "SELECT alias_key, subject FROM vendor_aliases";
    let alias: (String, String) = sqlx::query_as(alias).fetch_one(&app.database.pool).await.unwrap();
    assert_eq!((app.count("vendor_aliases").await, alias), (1, ("brass sonz".into(), "admin".into())));

    browser.visit(&page(&first)).await;
    browser.until_said("/ Brass & Sons INV-10482").await;
    answer(&mut browser, "Void …", "typed in twice", "Void it").await;
    browser.until_said("Voided INV-10482.").await;
    browser.until_said("typed in twice").await;
    browser.close().await;
    let decisions: Vec<(String, String, Option<bool>)> =
        sqlx::query_as("SELECT kind, reason, same_vendor FROM invoice_decisions ORDER BY decided_at")
            .fetch_all(&app.database.pool)
            .await
            .unwrap();
    assert_eq!(
        decisions,
        [
            ("override".into(), "two deliveries".into(), Some(true)),
            ("override".into(), "their sons".into(), Some(false)),
            ("void".into(), "typed in twice".into(), None),
        ]
    );
    app.finish().await;
}
