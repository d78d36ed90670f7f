//! Every value that must not get in, sent to every place that takes one: each is refused with the same
//! code, by the name of its field, and nothing is written.

use hyper::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::client::order_body;
use crate::support::{Reply, Sender, TestApp, unique};

/// A value as it would stand in JSON.
type Raw = String;

fn raw(values: &[&str]) -> Vec<Raw> {
    values.iter().map(|value| (*value).to_owned()).collect()
}

fn text(value: &str) -> Raw {
    json!(value).to_string()
}

/// What is no whole number in JSON, or no value at all.
fn no_integers() -> Vec<Raw> {
    raw(&[
        "-0",
        "1.5",
        "1.0",
        "1e3",
        "\"5\"",
        "\"\"",
        "true",
        "[]",
        "[5]",
        "{}",
        "9007199254740993",
        "9223372036854775807",
        "9223372036854775808",
        "-9223372036854775808",
        "-9223372036854775809",
        "18446744073709551616",
        "1e18",
    ])
}

/// What is no JSON, wherever it stands.
fn no_json() -> Vec<Raw> {
    raw(&[
        "NaN",
        "Infinity",
        "-Infinity",
        "1e400",
        "01",
        "+1",
        "1_000",
        ".5",
        "5.",
        "0x10",
        "'5'",
        "",
        "\"\\ud800\"",
        "\"\u{7}\"",
    ])
}

fn quantities() -> Vec<Raw> {
    [no_integers(), raw(&["null", "0", "-1", "1000000001", "2147483648"])].concat()
}

fn deltas() -> Vec<Raw> {
    [no_integers(), raw(&["null", "0", "1000000001", "-1000000001"])].concat()
}

fn levels() -> Vec<Raw> {
    [no_integers(), raw(&["-1", "9000000000001"])].concat().into_iter().filter(|raw| raw != "-0").collect()
}

/// What is no plain text of at most so many characters.
fn texts(max: usize) -> Vec<Raw> {
    let control = [
        "a\0b",
        "\0",
        "a\nb",
        "a\tb",
        "\u{1b}[31m",
        "\u{7f}",
        "\u{85}",
        "\u{202e}abc",
        "\u{2066}",
        "a\u{2028}b",
    ];
    let mut bad: Vec<_> = control.iter().map(|value| text(value)).collect();
    bad.extend(["", &"x".repeat(max + 1), &"é".repeat(max + 1)].map(text));
    bad.extend(raw(&["7", "true", "[]", "{}", "[\"a\"]"]));
    bad
}

fn users() -> Vec<Raw> {
    [texts(64), ["a b", "ü", " ", "a\u{200b}"].map(text).to_vec(), raw(&["null"])].concat()
}

fn prices() -> Vec<Raw> {
    let amounts = [
        "",
        " ",
        "-1",
        "-0",
        "+5",
        "1e5",
        "1E5",
        "NaN",
        "nan",
        "Infinity",
        "-Infinity",
        "1_000",
        "1,5",
        ".5",
        "5.",
        ".",
        " 1",
        "1 ",
        "0.00001",
        "10000000000000000000000000",
        "1.2.3",
        "0x1",
        "１",
        "1\u{0}",
        "twelve",
        "12.50 EUR",
        "99999999999999999999999999999999",
    ];
    [amounts.map(text).to_vec(), raw(&["12.5", "12", "true", "[]", "{}"])].concat()
}

fn currencies() -> Vec<Raw> {
    [
        ["", "eur", "EURO", "EU", "XXY", "ЕUR", "EUR ", "E\0R", "€"].map(text).to_vec(),
        raw(&["7", "true", "[]", "{}"]),
    ]
    .concat()
}

fn ids() -> Vec<Raw> {
    let given = [
        "",
        "7",
        "not-a-uuid",
        "00000000-0000-7000-8000-00000000000",
        "00000000-0000-7000-8000-0000000000000",
        "'; DROP TABLE stock;--",
        "\0",
        "00000000-0000-7000-8000-00000000000g",
    ];
    [given.map(text).to_vec(), raw(&["null", "7", "true", "[]", "{}", "[0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0]"])]
        .concat()
}

fn words() -> Vec<Raw> {
    [["", "ATOMIC", "delete", "\0"].map(text).to_vec(), raw(&["null", "7", "true", "[]", "{}"])].concat()
}

fn lists() -> Vec<Raw> {
    raw(&["null", "7", "\"[]\"", "true", "{}", "[]", "[7]", "[null]", "[\"a\"]", "[{}]"])
}

/// Where a value stands in the body, its name in `errors`, and what must not stand there.
type Field = (&'static str, &'static str, Vec<Raw>);

/// The call that is signed instead of having a key.
const WEBHOOK: &str = "/webhooks/cancellations";

/// A call, a body that would be taken, and its fields.
struct Target {
    path: String,
    body: Value,
    fields: Vec<Field>,
}

fn stock_targets(id: Uuid) -> Vec<Target> {
    let change = |verb: &str| Target {
        path: format!("/inventory/{id}/{verb}"),
        body: json!({"quantity": 1, "reason": "r", "reference": "f"}),
        fields: vec![
            ("/quantity", "quantity", quantities()),
            ("/reason", "reason", texts(255)),
            ("/reference", "reference", texts(255)),
        ],
    };
    let adjust = Target {
        path: format!("/inventory/{id}/adjust"),
        body: json!({"delta": 1, "reason": "r", "reference": "f", "change_from": 50}),
        fields: vec![
            ("/delta", "delta", deltas()),
            ("/reason", "reason", [texts(255), raw(&["null"])].concat()),
            ("/reference", "reference", texts(255)),
            ("/change_from", "change_from", levels()),
        ],
    };
    let create = Target {
        path: "/variants".to_owned(),
        body: json!({"sku": "s", "name": "n", "price": "1", "currency": "EUR", "on_hand": 1}),
        fields: vec![
            ("/sku", "sku", [texts(64), raw(&["null"])].concat()),
            ("/name", "name", [texts(255), raw(&["null"])].concat()),
            ("/price", "price", [prices(), raw(&["null", "\"10000000000000\""])].concat()),
            ("/currency", "currency", [currencies(), raw(&["null"])].concat()),
            ("/on_hand", "on_hand", [levels(), raw(&["null"])].concat()),
        ],
    };
    let check = Target {
        path: "/inventory/check-stock/bulk".to_owned(),
        body: json!([{"variant_id": id, "quantity": 1}]),
        fields: vec![
            ("/0/variant_id", "[0].variant_id", ids()),
            ("/0/quantity", "[0].quantity", quantities()),
        ],
    };
    vec![change("decrement"), change("increment"), adjust, create, check]
}

fn batch_target(id: Uuid) -> Target {
    Target {
        path: "/inventory/batch".to_owned(),
        body: json!({"mode": "independent", "operations": [
            {"op": "increment", "variant_id": id, "quantity": 1, "reason": "r", "reference": "f", "key": "k"},
            {"op": "adjust", "variant_id": id, "delta": 1, "reason": "r", "change_from": 1},
        ]}),
        fields: vec![
            ("/mode", "mode", words()),
            ("/operations", "operations", lists()),
            ("/operations/0/op", "operations[0].op", words()),
            ("/operations/0/variant_id", "operations[0].variant_id", ids()),
            ("/operations/0/quantity", "operations[0].quantity", quantities()),
            ("/operations/0/reason", "operations[0].reason", texts(255)),
            ("/operations/0/reference", "operations[0].reference", texts(255)),
            (
                "/operations/0/key",
                "operations[0].key",
                [texts(255), ["a b", "ü"].map(text).to_vec()].concat(),
            ),
            ("/operations/1/delta", "operations[1].delta", deltas()),
            ("/operations/1/change_from", "operations[1].change_from", levels()),
        ],
    }
}

fn order_targets(id: Uuid, order: &Value) -> Vec<Target> {
    let mut body = order_body("ann", &[(id, 1)]);
    body["currency"] = json!("EUR");
    body["expected_total"] = json!("12.50");
    let place = Target {
        path: "/orders".to_owned(),
        body,
        fields: vec![
            ("/user_id", "user_id", users()),
            ("/currency", "currency", currencies()),
            ("/expected_total", "expected_total", prices()),
            ("/lines", "lines", lists()),
            ("/lines/0/variant_id", "lines[0].variant_id", ids()),
            ("/lines/0/quantity", "lines[0].quantity", quantities()),
        ],
    };
    let cancel = Target {
        path: format!("/orders/{}/cancel", order["order_id"].as_str().unwrap()),
        body: json!({"reason": "r", "lines": [{"line_id": order["lines"][0]["line_id"], "quantity": 1}]}),
        fields: vec![
            ("/reason", "reason", texts(255)),
            ("/lines", "lines", lists().into_iter().filter(|raw| raw != "null").collect()),
            ("/lines/0/line_id", "lines[0].line_id", ids()),
            ("/lines/0/quantity", "lines[0].quantity", quantities()),
        ],
    };
    vec![place, cancel]
}

fn hold_targets(id: Uuid, hold: &Value) -> Vec<Target> {
    let path = format!("/holds/{}", hold["hold_id"].as_str().unwrap());
    let mut body = order_body("ann", &[(id, 1)]);
    body["currency"] = json!("EUR");
    body["ttl_seconds"] = json!(60);
    let seconds = || [no_integers(), raw(&["null", "9", "3601", "-60"])].concat();
    let hold_stock = Target {
        path: "/holds".to_owned(),
        body,
        fields: vec![
            ("/user_id", "user_id", users()),
            ("/currency", "currency", currencies()),
            ("/ttl_seconds", "ttl_seconds", seconds()),
            ("/lines", "lines", lists()),
            ("/lines/0/variant_id", "lines[0].variant_id", ids()),
            ("/lines/0/quantity", "lines[0].quantity", quantities()),
        ],
    };
    let extend = Target {
        path: format!("{path}/extend"),
        body: json!({"ttl_seconds": 60}),
        fields: vec![("/ttl_seconds", "ttl_seconds", seconds())],
    };
    let capture = Target {
        path: format!("{path}/capture"),
        body: json!({"lines": [{"line_id": hold["lines"][0]["line_id"], "quantity": 1}]}),
        fields: vec![
            ("/lines", "lines", lists().into_iter().filter(|raw| raw != "null").collect()),
            ("/lines/0/line_id", "lines[0].line_id", ids()),
            ("/lines/0/quantity", "lines[0].quantity", quantities()),
        ],
    };
    vec![hold_stock, extend, capture]
}

/// Told by a signed webhook: of the order that is there, and of one that is not.
fn webhook_targets(order: &Value) -> Vec<Target> {
    let target = |data: Value, fields: Vec<Field>| Target {
        path: WEBHOOK.to_owned(),
        body: json!({"type": "order.cancelled", "data": data}),
        fields: [vec![("/data", "data", raw(&["null", "7", "\"x\"", "true", "[]", "[{}]", "{}"]))], fields]
            .concat(),
    };
    let given = |values: Vec<Raw>| values.into_iter().filter(|raw| raw != "null").collect::<Vec<_>>();
    let line = json!({"line_id": order["lines"][0]["line_id"], "quantity": 1});
    vec![
        target(
            json!({"order_id": order["order_id"], "reason": "r", "lines": [line]}),
            vec![
                ("/data/order_id", "data.order_id", given(ids())),
                ("/data/reason", "data.reason", texts(255)),
                ("/data/lines", "data.lines", given(lists())),
                ("/data/lines/0/line_id", "data.lines[0].line_id", ids()),
                ("/data/lines/0/quantity", "data.lines[0].quantity", quantities()),
            ],
        ),
        target(
            json!({"user_id": "ann", "idempotency_key": "to-come"}),
            vec![
                ("/data/user_id", "data.user_id", given(users())),
                (
                    "/data/idempotency_key",
                    "data.idempotency_key",
                    [texts(255), ["a b", "ü"].map(text).to_vec()].concat(),
                ),
            ],
        ),
    ]
}

async fn all_targets(app: &TestApp) -> Vec<Target> {
    let id = app.client.variant(50).await;
    let order = app.client.order("ann", &unique("k"), &[(id, 5)]).await.expect(201).json();
    let hold = app.client.post_keyed("/holds", &order_body("ann", &[(id, 5)]), &unique("k")).await;
    let mut targets = stock_targets(id);
    targets.extend(hold_targets(id, &hold.expect(201).json()));
    targets.push(batch_target(id));
    targets.extend(order_targets(id, &order));
    targets.extend(webhook_targets(&order));
    targets
}

/// The body with this value, which need not be JSON, in this place.
fn with(body: &Value, place: &str, value: &str) -> String {
    let mut body = body.clone();
    *body.pointer_mut(place).unwrap() = json!("@@@");
    body.to_string().replace("\"@@@\"", value)
}

async fn post(app: &TestApp, path: &str, body: String) -> Reply {
    if path == WEBHOOK {
        return Sender::to(&app.client).send(&unique("event"), &body).await;
    }
    let headers = [("content-type", "application/json"), ("idempotency-key", "bad-input")];
    app.client.send(Method::POST, &format!("/api/v1{path}"), &headers, body).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_wrong_value_is_refused_in_every_field_by_its_name() {
    let app = TestApp::without_redis().await;
    let targets = all_targets(&app).await;
    let before = app.everything().await;
    let (mut sent, mut wrong) = (0, Vec::new());
    for Target { path, body, fields } in &targets {
        for (place, name, values) in fields {
            for value in values {
                let reply = post(&app, path, with(body, place, value)).await;
                let field = reply.json()["errors"][0]["field"].as_str().unwrap_or_default().to_owned();
                // In a list that is wrong the item is what is named.
                let named = field == *name || (value.starts_with('[') && field.starts_with(name));
                if reply.status != 422 || reply.code() != "validation_failed" || !named {
                    wrong.push(format!(
                        "{path} {place} = {value}: {} {} {field:?}",
                        reply.status,
                        reply.code()
                    ));
                }
                sent += 1;
            }
            for value in no_json() {
                let reply = post(&app, path, with(body, place, &value)).await;
                if reply.status != 400 || reply.code() != "malformed_json" {
                    wrong.push(format!("{path} {place} = {value}: {} {}", reply.status, reply.code()));
                }
                sent += 1;
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {sent}:\n{}", wrong.len(), wrong.join("\n"));
    assert!(sent > 1_000, "the matrix has shrunk to {sent}");
    assert_eq!(app.everything().await, before, "something was written");
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_bodies_that_the_matrix_starts_from_are_taken() {
    let app = TestApp::without_redis().await;
    for (index, Target { path, body, .. }) in all_targets(&app).await.iter().enumerate() {
        let reply = match path.as_str() {
            WEBHOOK => post(&app, path, body.to_string()).await,
            path => app.client.post_keyed(path, body, &format!("good-{index}")).await,
        };
        assert!(reply.status.is_success() || reply.code() == "stale_quantity", "{path}: {reply:?}");
    }
    app.finish().await;
}

/// The fields that may be left out.
fn may_be_left_out(path: &str, field: &str) -> bool {
    match field {
        "reference" | "change_from" | "on_hand" | "expected_total" | "key" => true,
        "order_id" | "user_id" | "idempotency_key" => path == WEBHOOK,
        "reason" => !path.ends_with("/adjust"),
        "currency" => path == "/orders" || path == "/holds",
        "ttl_seconds" => path == "/holds",
        "lines" => path.ends_with("/cancel") || path.ends_with("/capture") || path == WEBHOOK,
        _ => false,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_field_that_is_missing_is_named_and_one_that_is_there_twice_is_refused() {
    let app = TestApp::without_redis().await;
    let targets = all_targets(&app).await;
    let before = app.everything().await;
    for Target { path, body, fields } in &targets {
        for (place, name, _) in fields {
            let (parent, field) = place.rsplit_once('/').unwrap();
            let object = body.pointer(parent).unwrap();
            if !may_be_left_out(path, field) {
                let mut without = body.clone();
                without.pointer_mut(parent).unwrap().as_object_mut().unwrap().remove(field).unwrap();
                let reply = post(&app, path, without.to_string()).await.expect(422);
                let named = reply.json()["errors"][0]["field"].clone();
                assert_eq!(
                    (reply.code().as_str(), named),
                    ("validation_failed", json!(name)),
                    "{path} {place}"
                );
            }
            let twice = body.to_string().replacen(&object.to_string(), &doubled(object, field), 1);
            assert_eq!(
                post(&app, path, twice).await.expect(422).code(),
                "validation_failed",
                "{path} {place}"
            );
        }
    }
    assert_eq!(app.everything().await, before);
    app.finish().await;
}

/// The object with one field standing there twice.
fn doubled(object: &Value, field: &str) -> String {
    let text = object.to_string();
    format!("{{\"{field}\":{},{}", object[field], &text[1..])
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_of_another_shape_is_refused_everywhere() {
    let app = TestApp::without_redis().await;
    let targets = all_targets(&app).await;
    let before = app.everything().await;
    for Target { path, body, .. } in &targets {
        for shape in ["null", "true", "7", "\"text\"", "[]", "{}", "[{}]", "[[]]"] {
            // Everything of a cancellation or a capture may be left out.
            if (path.ends_with("cancel") || path.ends_with("capture")) && shape == "{}" {
                continue;
            }
            let reply = post(&app, path, shape.to_owned()).await;
            assert_eq!(
                (reply.status.as_u16(), reply.code().as_str()),
                (422, "validation_failed"),
                "{path} {shape}"
            );
        }
        // Neither a list of it nor its fields in a row are the body, nor are an item's fields in a row the item.
        let in_a_row = |object: &Value| Value::Array(object.as_object().unwrap().values().cloned().collect());
        let mut shapes = vec![json!([body])];
        match body {
            Value::Array(items) => shapes.push(items.iter().map(in_a_row).collect()),
            object => shapes.push(in_a_row(object)),
        }
        for list in ["lines", "operations"] {
            if let Some(items) = body.get(list).and_then(Value::as_array) {
                let mut flat = body.clone();
                flat[list] = items.iter().map(in_a_row).collect();
                shapes.push(flat);
            }
        }
        for shape in shapes {
            assert_eq!(
                post(&app, path, shape.to_string()).await.expect(422).code(),
                "validation_failed",
                "{path} {shape}"
            );
        }
    }
    assert_eq!(app.everything().await, before);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_sent_is_never_repeated() {
    let app = TestApp::without_redis().await;
    let targets = all_targets(&app).await;
    let mut answers = Vec::new();
    for Target { path, body, fields } in &targets {
        for (place, _, _) in fields {
            for value in [
                text("sesame \0"),
                text(&"sesame".repeat(60)),
                "{\"a\":\"sesame\"}".to_owned(),
                "[\"sesame\"]".to_owned(),
                "-73577357735773577357".to_owned(),
                "7357735773577357.5".to_owned(),
            ] {
                answers.push(post(&app, path, with(body, place, &value)).await);
            }
        }
    }
    let id = Uuid::now_v7();
    for path in [
        "/variants?limit=sesame".to_owned(),
        "/variants?cursor=sesame".to_owned(),
        "/variants?sku=sesame%00".to_owned(),
        "/orders?user_id=sesame%20a".to_owned(),
        "/orders?status=sesame".to_owned(),
        "/orders/sesame".to_owned(),
        "/variants/sesame".to_owned(),
        "/idempotency-keys/sesame%20a".to_owned(),
        format!("/inventory/{id}?at=sesame"),
        format!("/inventory/{id}/movements?cursor=sesame"),
        format!("/inventory/check-stock/{id}?quantity=sesame"),
        "/inventory/check-stock/sesame".to_owned(),
        "/sesame".to_owned(),
    ] {
        answers.push(app.client.get(&path).await);
    }
    for answer in answers {
        let said = String::from_utf8(answer.bytes.to_vec()).unwrap();
        assert!(answer.status.is_client_error(), "{answer:?}");
        assert!(!said.contains("sesame") && !said.contains("73577357"), "{said}");
    }
    app.finish().await;
}

/// Lists and reads, a parameter of each, and what must not stand there.
fn parameters(id: Uuid) -> Vec<(String, &'static str, Vec<&'static str>)> {
    let limits = vec![
        "0",
        "-1",
        "1001",
        "65536",
        "1000000000",
        "99999999999999999999",
        "1.5",
        "many",
        "",
        "%00",
        "1%20",
        "١",
    ];
    let cursors = vec!["7", "", "not-a-uuid", "%00", "'%20OR%201=1", "00000000-0000-7000-8000-00000000000g"];
    let long = "sssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssss";
    assert_eq!(long.len(), 65);
    let times = vec![
        "",
        "yesterday",
        "2026-13-01T00:00:00Z",
        "2026-02-30T00:00:00Z",
        "2026-01-01",
        "0000-01-01T00:00:00Z",
        "%2B10000-01-01T00:00:00Z",
        "-0001-01-01T00:00:00Z",
        "2026-01-01T25:00:00Z",
        "1767225600",
        "infinity",
        "%00",
    ];
    let quantities = vec!["", "0", "-1", "1.5", "1000000001", "9223372036854775808", "1e3", "%00"];
    let (variants, orders) = ("/variants".to_owned(), "/orders".to_owned());
    let movements = format!("/inventory/{id}/movements");
    vec![
        (variants.clone(), "limit", limits.clone()),
        (variants.clone(), "cursor", cursors.clone()),
        (variants, "sku", vec!["", "%00", "a%0Ab", long]),
        (orders.clone(), "limit", limits.clone()),
        (orders.clone(), "cursor", cursors.clone()),
        (orders.clone(), "user_id", vec!["", "a%20b", "%C3%BC", "%00", long]),
        ("/webhooks/inbox".to_owned(), "limit", limits.clone()),
        ("/webhooks/inbox".to_owned(), "state", vec!["", "REFUSED", "lost", "%00"]),
        ("/webhooks/inbox".to_owned(), "cursor", cursors.clone()),
        (orders.clone(), "from", times.clone()),
        (orders.clone(), "to", times.clone()),
        (orders, "status", vec!["", "PLACED", "lost", "%00", "placed,cancelled"]),
        (movements.clone(), "limit", limits),
        (movements, "cursor", vec!["", "x", "1.5", "9223372036854775808", "%00", "1%20OR%201"]),
        (format!("/inventory/check-stock/{id}"), "quantity", quantities),
        (format!("/inventory/{id}"), "at", times),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn every_wrong_parameter_is_refused_by_its_name() {
    let app = TestApp::without_redis().await;
    let id = app.client.variant(5).await;
    let get = async |query: String| {
        let reply = app.client.get(&query).await;
        let field = reply.json()["errors"][0]["field"].clone();
        (reply.status.as_u16(), reply.code(), field)
    };
    let invalid = |field: &str| (422, "validation_failed".to_owned(), json!(field));
    for (path, name, values) in parameters(id) {
        for value in values {
            assert_eq!(get(format!("{path}?{name}={value}")).await, invalid(name), "{path}?{name}={value}");
        }
        assert_eq!(get(format!("{path}?nonsense=1")).await, invalid("nonsense"), "{path}");
        let (status, code, _) = get(format!("{path}?{name}=1&{name}=1")).await;
        assert_eq!((status, code.as_str()), (422, "validation_failed"), "{path}?{name} twice");
        let (status, ..) = get(format!("{path}?{name}=%FF")).await;
        assert!(status < 500, "{path}?{name}=%FF");
    }
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_id_in_a_path_is_refused_by_its_name() {
    let app = TestApp::without_redis().await;
    for id in [
        "7",
        "not-a-uuid",
        "%00",
        "%FF",
        "..%2F..%2Fetc",
        "'%20OR%201=1",
        "00000000-0000-7000-8000-00000000000g",
    ] {
        for (method, path, name) in [
            (Method::GET, format!("/variants/{id}"), "variant_id"),
            (Method::GET, format!("/inventory/{id}"), "variant_id"),
            (Method::GET, format!("/inventory/{id}/movements"), "variant_id"),
            (Method::GET, format!("/inventory/check-stock/{id}"), "variant_id"),
            (Method::POST, format!("/inventory/{id}/adjust"), "variant_id"),
            (Method::POST, format!("/inventory/{id}/decrement"), "variant_id"),
            (Method::POST, format!("/inventory/{id}/increment"), "variant_id"),
            (Method::GET, format!("/orders/{id}"), "order_id"),
            (Method::POST, format!("/orders/{id}/cancel"), "order_id"),
            (Method::POST, format!("/webhooks/inbox/{id}/replay"), "entry_id"),
            (Method::GET, format!("/holds/{id}"), "hold_id"),
            (Method::POST, format!("/holds/{id}/capture"), "hold_id"),
            (Method::POST, format!("/holds/{id}/release"), "hold_id"),
            (Method::POST, format!("/holds/{id}/extend"), "hold_id"),
        ] {
            let headers = [("content-type", "application/json")];
            let body = r#"{"quantity":1}"#;
            let reply = app.client.send(method, &format!("/api/v1{path}"), &headers, body).await.unwrap();
            let field = reply.json()["errors"][0]["field"].clone();
            assert_eq!(
                (reply.status.as_u16(), reply.code().as_str(), field),
                (422, "validation_failed", json!(name)),
                "{path}"
            );
        }
    }
    app.finish().await;
}
