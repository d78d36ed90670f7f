//! What can be no invoice: it is told by field, alone, in a check and in a batch, and no table has a row more.

use hyper::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use super::intake::{invoice, take, verdict};
use crate::support::{Reply, TestApp, TestDatabase, rows, unique};

/// The largest body.
const BODY_MAX_BYTES: usize = 1024 * 1024;
const JSON: [(&str, &str); 1] = [("content-type", "application/json")];

fn line(field: &str, value: impl Into<Value>) -> Value {
    let mut line = json!({"description": "Bolts", "quantity": 1, "unit_price": "1"});
    line[field] = value.into();
    json!({ "lines": [line] })
}

/// Wrong invoices, and the field that is wrong with each.
fn wrong(a_year_ahead: &str) -> Vec<(Value, &'static str)> {
    let of = |field: &'static str, values: Vec<Value>| {
        values.into_iter().map(move |value| (json!({ field: value }), field))
    };
    let amount = |currency: &str, total: &str| (json!({"currency": currency, "total": total}), "total");
    let far =
        [json!("1969-12-31"), json!("2099-01-01"), json!(a_year_ahead), json!("2026-02-30"), json!(20260302)];
    let totals =
        ["NaN", "Infinity", "-Infinity", "inf", "-1", "10000000000000", "1.00001", "1e3", "1e400", "", " 1"];
    let totals = totals.map(Value::from).into_iter().chain([json!(12.5), json!(1e300), json!(null)]);
    let nobody =
        ["", " ", "   ", "\u{a0}", "\u{3000}\u{2003}", "\t", "...", "\u{301}\u{302}", "abc\u{202e}cba"];
    let mut all: Vec<_> = of("invoice_date", far.to_vec()).collect();
    all.extend(of("total", totals.collect()));
    all.extend(of("currency", vec![json!("eur"), json!("XXQ"), json!("")]));
    all.extend(of("vendor_name", nobody.map(Value::from).to_vec()));
    all.extend(of("invoice_number", vec![json!("-"), json!(" "), json!("a\u{0}"), json!(7)]));
    all.extend(of("account_id", vec![json!(""), json!("a b")]));
    all.extend([
        amount("EUR", "1.001"),
        amount("JPY", "100.5"),
        amount("JPY", "0.01"),
        amount("KRW", "1.5"),
        amount("KWD", "1.0001"),
        (json!({"file_hash": "a:b"}), "file_hash"),
        (json!({"fence": 1}), "fence"),
        (json!({"on_duplicate": "ignore"}), "on_duplicate"),
        (json!({"vendor": "x"}), "vendor"),
        (line("description", "x".repeat(1_001)), "lines[0].description"),
        (line("description", "x".repeat(100_000)), "lines[0].description"),
        (line("description", ""), "lines[0].description"),
        (line("quantity", 0), "lines[0].quantity"),
        (line("quantity", 1_000_000_001), "lines[0].quantity"),
        (line("quantity", 1.5), "lines[0].quantity"),
        (line("quantity", 1e30), "lines[0].quantity"),
        (line("unit_price", "NaN"), "lines[0].unit_price"),
        (line("unit_price", "Infinity"), "lines[0].unit_price"),
        (line("unit_price", "1e3"), "lines[0].unit_price"),
        (line("unit_price", "10000000000000"), "lines[0].unit_price"),
        (line("sku", " "), "lines[0].sku"),
    ]);
    all
}

/// So many days ahead, by the database's clock.
async fn days_ahead(app: &TestApp, days: i32) -> String {
    let day = "SELECT ((clock_timestamp() AT TIME ZONE 'UTC')::date + $1)::text";
    sqlx::query_scalar(day).bind(days).fetch_one(&app.database.pool).await.unwrap()
}

async fn quiet() -> TestApp {
    TestApp::only_serving(TestDatabase::fresh().await, None, &[]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_be_no_invoice_is_told_by_field_alone_in_a_check_and_in_a_batch_and_writes_nothing() {
    let app = quiet().await;
    let wrong = wrong(&days_ahead(&app, 365).await);
    let before = rows(&app.database.pool).await;
    for (changes, field) in &wrong {
        for path in ["/invoices", "/invoices/check"] {
            let refused = app.client.post(path, &invoice("acc", changes)).await.expect(422).json();
            assert_eq!(refused["errors"][0]["field"], *field, "{path} {changes}: {refused}");
        }
    }
    let all: Vec<_> = wrong.iter().map(|(changes, _)| invoice("acc", changes)).collect();
    let batch = app.client.post("/invoices/batch", &json!({"invoices": all})).await.expect(200).json();
    for ((changes, field), result) in wrong.iter().zip(batch["results"].as_array().unwrap()) {
        let (status, told) = (&result["status"], &result["error"]["errors"][0]["field"]);
        assert_eq!((status, told), (&json!(422), &json!(field)), "{changes}: {result}");
    }
    assert_eq!(rows(&app.database.pool).await, before);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_json_or_too_large_is_refused_whole_and_a_byte_less_is_told_by_field() {
    let app = quiet().await;
    let before = rows(&app.database.pool).await;
    let send = async |path: &str, body: String| -> Reply {
        app.client.send(Method::POST, &format!("/api/v1{path}"), &JSON, body).await.unwrap()
    };
    for (path, in_batch) in [("/invoices", false), ("/invoices/check", false), ("/invoices/batch", true)] {
        let body = |invoice: String| if in_batch { format!("{{\"invoices\":[{invoice}]}}") } else { invoice };
        for token in ["NaN", "Infinity", "-Infinity", "1e400"] {
            let given = body(invoice("acc", &json!({})).to_string().replace("\"1210.00\"", token));
            assert_eq!(send(path, given).await.expect(400).code(), "malformed_json", "{path} {token}");
        }
        let given = |bytes: usize| body(invoice("acc", &line("description", "x".repeat(bytes))).to_string());
        let most = BODY_MAX_BYTES - given(0).len();
        let told = send(path, given(most)).await.expect(if in_batch { 200 } else { 422 }).json();
        let errors = if in_batch { &told["results"][0]["error"]["errors"] } else { &told["errors"] };
        assert_eq!(errors[0]["field"], "lines[0].description", "{path} {told}");
        assert_eq!(send(path, given(most + 1)).await.expect(413).code(), "body_too_large");
    }
    assert_eq!(rows(&app.database.pool).await, before);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn letters_of_any_language_and_the_decimals_of_any_currency_are_right() {
    let app = TestApp::start().await;
    let vendors = ["\u{5d0}\u{5d1}\u{5d2} \u{5d3}", "\u{634}\u{631}\u{643}\u{629}", "Cafe\u{301}"];
    for (total, vendor) in vendors.iter().enumerate() {
        let changes = json!({"vendor_name": vendor, "total": total.to_string()});
        take(&app.client, "acc", &changes).await.expect(201);
    }
    let again = take(&app.client, "acc", &json!({"vendor_name": "CAF\u{c9}"})).await;
    assert_eq!(verdict(&again), (409, "exact".into()));
    let amounts = [
        ("JPY", "100.00", "100"),
        ("KWD", "1.001", "1.001"),
        ("EUR", "1.0100", "1.01"),
        ("CLF", "1.0001", "1.0001"),
    ];
    for (currency, total, written) in amounts {
        let taken = take(&app.client, currency, &json!({"currency": currency, "total": total})).await;
        assert_eq!(taken.expect(201).json()["total"], written);
    }
    take(&app.client, "ahead", &json!({"invoice_date": days_ahead(&app, 364).await})).await.expect(201);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_till_can_not_mean_is_told_by_field_and_writes_nothing() {
    let app = quiet().await;
    let a = app.client.variant(9).await;
    let before = rows(&app.database.pool).await;
    let path = format!("/api/v1/pos/invoices/{}", unique("SI"));
    let put = async |body: String| app.client.send(Method::PUT, &path, &JSON, body).await.unwrap();
    let item = |field: &str, value: Value| {
        let mut item = json!({"variant_id": a, "quantity": 1, "unit_price": "1"});
        item[field] = value;
        json!({"version": 0, "items": [item]})
    };
    for price in ["NaN", "Infinity", "-Infinity", "-1", "1e3", "10000000000000", "1.00001", ""] {
        let refused = put(item("unit_price", json!(price)).to_string()).await.expect(422).json();
        assert_eq!(refused["errors"][0]["field"], "items[0].unit_price", "{price}: {refused}");
    }
    for quantity in
        [json!(0), json!(-1), json!(1.5), json!(1_000_000_001), json!(1e30), json!("NaN"), json!(null)]
    {
        let refused = put(item("quantity", quantity.clone()).to_string()).await.expect(422).json();
        assert_eq!(refused["errors"][0]["field"], "items[0].quantity", "{quantity}: {refused}");
    }
    for token in ["NaN", "Infinity", "-Infinity"] {
        let body = item("quantity", json!("?")).to_string().replace("\"?\"", token);
        assert_eq!(put(body).await.expect(400).code(), "malformed_json");
    }
    let dear = json!({"variant_id": a, "quantity": 1_000_000_000, "unit_price": "9999999999999.9999"});
    let too_much = json!({"version": 0, "items": vec![dear; 2_000]});
    let refused = put(too_much.to_string()).await;
    assert_eq!((refused.status.is_client_error(), refused.code()), (true, "limit_exceeded".into()));
    let unknown = put(item("variant_id", json!(Uuid::new_v4())).to_string()).await.expect(404);
    assert_eq!(unknown.code(), "variant_not_found");
    assert_eq!(rows(&app.database.pool).await, before);
    app.finish().await;
}
