//! The description of the API, and whether what a service answers is described there.
//!
//! Every answer that the tests' [`Client`](super::Client) gets is looked up, so whatever a test makes a call answer must
//! stand in the document: its status, its media type, its code or its shape.

use std::sync::LazyLock;

use holdfast::http::api::document::document;
use holdfast::http::api::routes::groups;
use serde_json::{Map, Value};

use super::Reply;

/// The document, with the calls for load tests.
pub static DOCUMENT: LazyLock<Value> = LazyLock::new(|| document(&groups(true)));

/// Fails if `reply` is not what the document says of this call. Paths that are served and not described are passed over.
#[track_caller]
pub fn check(method: &str, path: &str, reply: &Reply) {
    let Some(responses) = described(method, path).map(|operation| &operation["responses"]) else { return };
    let status = reply.status.as_u16();
    if status == 404 && path.contains("/test/") && reply.code() == "not_found" {
        // Where the calls for load tests are not served, there are none.
        return;
    }
    let response = &responses[status.to_string()];
    assert!(response.is_object(), "{method} {path} answers {status}, which is not described: {reply:?}");
    let content = &response["content"];
    let media_type = reply.header("content-type").and_then(|value| value.split(';').next());
    let Some(media_type) = media_type else {
        assert!(
            reply.bytes.is_empty() && content == &Value::Object(Map::new()),
            "{method} {path}: {reply:?}"
        );
        return;
    };
    let schema = &content[media_type]["schema"];
    assert!(schema.is_object(), "{method} {path} answers {status} as {media_type}, which is not described");
    if media_type.ends_with("json") {
        let wrong = wrong(schema, &reply.json(), "");
        assert!(wrong.is_none(), "{method} {path} answers {status} in another shape: {wrong:?} {reply:?}");
    }
}

/// The call that this is, if it is described. Of several templates that fit, the one with the most words of its own.
pub fn described(method: &str, path: &str) -> Option<&'static Value> {
    let path = path.split('?').next().unwrap_or_default();
    let rest = path.strip_prefix("/api/v1").or_else(|| path.strip_prefix("/api"));
    let path = match rest {
        Some(rest) => format!("/api/v1{rest}"),
        None if path.starts_with("/test/") => format!("/api/v1{path}"),
        None => path.to_owned(),
    };
    let fits = |template: &str| {
        let (mut own, mut parts) = (0, path.split('/'));
        for word in template.split('/') {
            let part = parts.next()?;
            if word == part {
                own += 1;
            } else if !word.starts_with('{') || part.is_empty() {
                return None;
            }
        }
        parts.next().is_none().then_some(own)
    };
    let paths = DOCUMENT["paths"].as_object()?;
    let fitting = paths.iter().filter_map(|(template, calls)| Some((fits(template)?, calls)));
    let (_, calls) = fitting.max_by_key(|(own, _)| *own)?;
    calls.get(method.to_lowercase())
}

/// Where and how `value` is not what `schema` says. It knows the words that stand in our schemas, and neither patterns
/// nor formats: the fuzzer checks all of it.
pub fn wrong(schema: &Value, value: &Value, at: &str) -> Option<String> {
    let said = |what: &str| Some(format!("{at}: {what}, not {value}"));
    let Some(schema) = schema.as_object() else {
        return (schema == &Value::Bool(false)).then(|| format!("{at}: is not a field"));
    };
    for (word, rule) in schema {
        let fault = match word.as_str() {
            "$ref" => wrong(DOCUMENT.pointer(rule.as_str()?.trim_start_matches('#'))?, value, at),
            "allOf" => rule.as_array()?.iter().find_map(|one| wrong(one, value, at)),
            "anyOf" | "oneOf" => {
                let faults: Vec<_> = rule.as_array()?.iter().map(|one| wrong(one, value, at)).collect();
                if faults.iter().any(Option::is_none) { None } else { faults.into_iter().flatten().next() }
            }
            "const" if rule != value => said(&format!("is {rule}")),
            "enum" if !rule.as_array()?.contains(value) => said(&format!("is one of {rule}")),
            "type" if !is_of_type(rule, value) => said(&format!("is of type {rule}")),
            "minimum" if value.is_number() && value.as_f64() < rule.as_f64() => {
                said(&format!("is at least {rule}"))
            }
            "maximum" if value.is_number() && value.as_f64() > rule.as_f64() => {
                said(&format!("is at most {rule}"))
            }
            "required" => {
                let missing = rule.as_array()?.iter().filter_map(Value::as_str);
                let mut missing = missing.filter(|name| value.is_object() && value.get(name).is_none());
                missing.next().map(|name| format!("{at}.{name} is missing"))
            }
            "properties" => value.as_object().and_then(|fields| {
                let known =
                    |(name, field): (&String, &Value)| wrong(rule.get(name)?, field, &format!("{at}.{name}"));
                fields.iter().find_map(known)
            }),
            "items" => value.as_array().and_then(|items| {
                items
                    .iter()
                    .enumerate()
                    .find_map(|(index, item)| wrong(rule, item, &format!("{at}[{index}]")))
            }),
            _ => None,
        };
        if fault.is_some() {
            return fault;
        }
    }
    // What is answered is as closed as what is taken: a field that is not described is a mistake.
    let fields = schema.get("properties").and_then(Value::as_object)?;
    let is_part = schema.contains_key("$ref") || schema.get("additionalProperties") == Some(&true.into());
    let stranger = value.as_object()?.keys().find(|name| !is_part && !fields.contains_key(*name))?;
    schema.contains_key("type").then(|| format!("{at}.{stranger} is not described"))
}

fn is_of_type(rule: &Value, value: &Value) -> bool {
    let is = |name: &Value| match name.as_str().unwrap_or_default() {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        _ => value.is_object(),
    };
    rule.as_array().map_or_else(|| is(rule), |names| names.iter().any(is))
}
