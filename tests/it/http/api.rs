//! The description of the API: that it tells of every call, and tells all of it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use holdfast::http::api::Operation;
use holdfast::http::api::document::{example_of, parameters_of};
use holdfast::http::api::routes::groups;
use holdfast::http::problem::Code;
use holdfast::text::{FileHash, Floor, Reason, UserId};
use schemars::SchemaGenerator;
use serde_json::Value;

use crate::support::TestApp;
use crate::support::api::DOCUMENT;

/// Routes that are served and not described, on purpose: the description itself, and the pages of the program.
const UNDESCRIBED: &[&str] =
    &["/", "/console/{file}", "/docs", "/docs/app.js", "/docs/style.css", "/openapi.json"];
/// Codes that no single call answers with.
const OF_NO_CALL: [Code; 1] = [Code::MethodNotAllowed];

/// What is mounted whole: groups of the table, the counting and the test calls again under other roots, and the pages.
const MOUNTED: [&str; 7] = [
    "root.merge(group.router(app))",
    "v1.merge(group.router(app))",
    ".nest(\"/api/v1\", v1)",
    ".nest(\"/api\", counts::routes::routes().router(app))",
    ".merge(page::routes())",
    ".merge(console::routes::routes())",
    "routes.merge(test_endpoints::routes::routes().router(app))",
];

fn operations() -> Vec<Operation> {
    groups(true).into_iter().flat_map(|group| group.operations).collect()
}

/// Every file below `folder`, with its text.
fn sources(folder: &Path, found: &mut Vec<(String, String)>) {
    for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let path = entry.path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|end| end == "rs") {
            found.push((path.display().to_string(), std::fs::read_to_string(&path).unwrap()));
        }
    }
}

#[test]
fn there_is_no_way_to_a_route_but_through_the_table_of_calls() {
    let mut found = Vec::new();
    sources(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src")), &mut found);
    let mut strays = BTreeSet::new();
    for (file, text) in &found {
        for start in [".route(", ".route_service(", ".nest_service(", ".fallback_service("] {
            for mounted in text.split(start).skip(1).filter(|_| !file.ends_with("http/api/mod.rs")) {
                // Other methods of this name take no path.
                let path = mounted.trim_start().strip_prefix('"').and_then(|rest| rest.split('"').next());
                strays.extend(path.map(str::to_owned));
            }
        }
    }
    let mounts = [".merge(", ".nest("];
    let lines = found.iter().flat_map(|(_, text)| text.lines());
    for line in lines.filter(|line| mounts.iter().any(|mount| line.contains(mount))) {
        assert!(
            MOUNTED.iter().any(|known| line.contains(known)),
            "is all of it in the table of calls? {line}"
        );
    }
    let known: BTreeSet<_> = UNDESCRIBED.iter().map(|path| (*path).to_owned()).collect();
    assert_eq!(strays, known, "describe the route as a call of a group, or say here why not");
}

#[test]
fn every_call_says_what_it_does_and_how_it_answers() {
    let mut names = BTreeSet::new();
    for call in operations() {
        let id = call.id;
        assert!(names.insert(id), "{id} is the name of two calls");
        assert!(
            !call.summary.is_empty() && !call.summary.ends_with('.'),
            "{id} says what it does, in a few words"
        );
        assert!(!call.successes.is_empty(), "{id} says how it answers");
        assert_eq!(
            parameters_of(call.path).count() == 1,
            call.takes.in_path.is_some(),
            "{id} reads its path"
        );
        for name in parameters_of(call.path) {
            assert!(
                call.in_path.is_some() || !example_of(name).is_empty(),
                "{id} has an example of its {name}"
            );
        }
        let takes_body = call.takes.body.is_some();
        assert!(!takes_body || call.example.is_some(), "{id} has an example of its body");
    }
}

#[test]
fn every_code_is_one_that_some_call_answers_with() {
    let said: BTreeSet<_> = operations().iter().flat_map(Operation::codes).chain(OF_NO_CALL).collect();
    let unsaid: Vec<_> = Code::ALL.iter().filter(|code| !said.contains(code)).collect();
    assert!(unsaid.is_empty(), "no call says that it answers with {unsaid:?}");
}

#[test]
fn whatever_the_document_refers_to_is_there_and_nothing_has_two_shapes() {
    let mut referred = BTreeSet::new();
    references(&DOCUMENT, &mut referred);
    for reference in &referred {
        let target = DOCUMENT.pointer(reference.trim_start_matches('#'));
        assert!(target.is_some_and(Value::is_object), "{reference} is not there");
    }
    for name in DOCUMENT["components"]["schemas"].as_object().unwrap().keys() {
        assert!(!name.ends_with(|c: char| c.is_ascii_digit()), "two types are named {name}: rename one");
        assert!(referred.contains(&format!("#/components/schemas/{name}")), "nothing refers to {name}");
    }
}

fn references(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            found.extend(fields.get("$ref").and_then(Value::as_str).map(str::to_owned));
            fields.values().for_each(|field| references(field, found));
        }
        Value::Array(items) => items.iter().for_each(|item| references(item, found)),
        _ => {}
    }
}

#[test]
fn the_bounds_of_texts_are_those_that_are_parsed() {
    let mut generator = SchemaGenerator::default();
    let bounds: BTreeMap<_, _> = [
        ("reason", generator.subschema_for::<Reason>()),
        ("user_id", generator.subschema_for::<UserId>()),
        ("floor", generator.subschema_for::<Floor>()),
        ("file_hash", generator.subschema_for::<FileHash>()),
    ]
    .into();
    let fits = |name: &str, length: usize| {
        let text = "x".repeat(length);
        match name {
            "reason" => Reason::try_from(text).is_ok(),
            "user_id" => UserId::try_from(text).is_ok(),
            "floor" => Floor::try_from(text).is_ok(),
            _ => FileHash::try_from(text).is_ok(),
        }
    };
    for (name, schema) in bounds {
        let bound = |word: &str| usize::try_from(schema.get(word).unwrap().as_u64().unwrap()).unwrap();
        let (min, max) = (bound("minLength"), bound("maxLength"));
        assert!(fits(name, min) && !fits(name, min - 1), "{name}");
        assert!(fits(name, max) && !fits(name, max + 1), "{name}");
        assert!(schema.get("pattern").is_some(), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_document_is_served_to_anybody_and_tells_only_of_what_is_served() {
    let app = TestApp::without_redis().await;
    let anybody = app.client.with_key("");
    let reply = anybody.send(hyper::Method::GET, "/openapi.json", &[], "").await.unwrap().expect(200);
    assert_eq!(reply.header("content-type"), Some("application/json"));
    let told = reply.json();
    assert_eq!(told["openapi"], "3.1.0");
    let paths = told["paths"].as_object().unwrap();
    assert!(!paths.contains_key("/api/v1/test/locks/status"), "test calls are not served here");
    assert_eq!(paths.len() + 4, DOCUMENT["paths"].as_object().unwrap().len());
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_of_the_document_needs_no_other_host_and_is_held_to_that() {
    let app = TestApp::without_redis().await;
    let anybody = app.client.with_key("");
    for (path, media_type) in [
        ("/docs", "text/html; charset=utf-8"),
        ("/docs/app.js", "text/javascript; charset=utf-8"),
        ("/docs/style.css", "text/css; charset=utf-8"),
    ] {
        let reply = anybody.send(hyper::Method::GET, path, &[], "").await.unwrap().expect(200);
        assert_eq!(reply.header("content-type"), Some(media_type));
        let policy = reply.header("content-security-policy").unwrap();
        assert!(policy.starts_with("default-src 'none'; script-src 'self'; style-src 'self';"), "{policy}");
        assert!(!policy.contains("unsafe"), "{policy}");
        let text = String::from_utf8(reply.bytes.to_vec()).unwrap();
        for stranger in ["http://", "https://", "//cdn", "innerHTML", "eval(", " style=", "<script>"] {
            assert!(!text.contains(stranger), "{path} has {stranger}");
        }
    }
    app.finish().await;
}
