//! The OpenAPI document, made of the table of calls.

use std::collections::BTreeMap;

use schemars::generate::SchemaSettings;
use schemars::{Schema, SchemaGenerator};
use serde_json::{Map, Value, json};

use super::Group;
use super::operation::{Key, Operation, Success};
use crate::http::auth::Scope;
use crate::http::problem::{Code, Document as ProblemDocument, PROBLEM_JSON};

const JSON: &str = "application/json";
const ABOUT: &str = "The inventory and order service that never oversells. In prose: docs/API.md of the repository.\n\n\
    Every answer has an `X-Request-Id`. Errors are `application/problem+json`; their `code` is stable.";
/// What may stand in an `Idempotency-Key`, bare or in double quotes.
const KEY_PATTERN: &str = r#"^("[!-~]{1,255}"|[!-~]{1,255})$"#;

/// The ids that stand in examples, by the field or the parameter they are of.
const EXAMPLES: &[(&str, &str)] = &[
    ("variant_id", "0192f0c4-7d5e-7a3b-9c41-000000000001"),
    ("order_id", "0192f0c4-7d5e-7a3b-9c41-000000000002"),
    ("line_id", "0192f0c4-7d5e-7a3b-9c41-000000000003"),
    ("hold_id", "0192f0c4-7d5e-7a3b-9c41-000000000004"),
    ("invoice_id", "0192f0c4-7d5e-7a3b-9c41-000000000005"),
    ("endpoint_id", "0192f0c4-7d5e-7a3b-9c41-000000000006"),
    ("entry_id", "0192f0c4-7d5e-7a3b-9c41-000000000007"),
    ("conflict_id", "0192f0c4-7d5e-7a3b-9c41-000000000008"),
    ("rack_id", "A-01-2"),
    ("session_id", "0192f0c4-7d5e-7a3b-9c41-000000000009"),
    ("account_id", "acme"),
    ("marker", "processing:acme:2cf24dba5fb0a30e"),
    ("name", "TILL-7-0042"),
];

/// What stands in examples as the `name` of something.
#[must_use]
pub fn example_of(name: &str) -> &'static str {
    EXAMPLES.iter().find(|(known, _)| *known == name).map_or("", |(_, example)| example)
}

/// A key that a call may be sent with.
#[must_use]
pub fn key_example(operation: &Operation) -> String {
    format!("{}-4711", operation.id.replace('.', "-"))
}

/// The names that a path has parameters by.
pub fn parameters_of(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
}

/// The document that tells of these calls.
#[must_use]
pub fn document(groups: &[Group]) -> Value {
    let mut describe = Describe::new();
    let mut paths: BTreeMap<String, Map<String, Value>> = BTreeMap::new();
    for group in groups {
        for operation in &group.operations {
            let path = paths.entry(format!("{}{}", group.root, operation.path)).or_default();
            path.insert(operation.method.as_str().to_lowercase(), describe.operation(group, operation));
        }
    }
    let tags: Vec<_> =
        groups.iter().map(|group| json!({"name": group.name, "description": group.about})).collect();
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Holdfast",
            "version": env!("CARGO_PKG_VERSION"),
            "description": ABOUT,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "tags": tags,
        "paths": paths,
        "components": describe.components(),
    })
}

/// Describes types, those that are read and those that are written apart: some can be left out of the one and stand in
/// the other always.
struct Describe {
    read: SchemaGenerator,
    written: SchemaGenerator,
}

impl Describe {
    fn new() -> Self {
        let settings = SchemaSettings::draft2020_12().with(|settings| {
            settings.definitions_path = "/components/schemas".into();
            settings.meta_schema = None;
        });
        Self {
            read: settings.clone().for_deserialize().into_generator(),
            written: settings.for_serialize().into_generator(),
        }
    }

    fn operation(&mut self, group: &Group, operation: &Operation) -> Value {
        let mut told = json!({
            "operationId": operation.id,
            "tags": [group.name],
            "summary": operation.summary,
            "security": security(operation),
            "parameters": self.parameters(operation),
            "responses": self.responses(operation),
        });
        if !operation.about.is_empty() {
            told["description"] = operation.about.into();
        }
        if let Some((schema, is_required)) = operation.takes.body {
            let mut content = json!({"schema": schema(&mut self.read)});
            if let Some(example) = &operation.example {
                content["example"] = example.clone();
            }
            told["requestBody"] =
                json!({"required": is_required, "content": {operation.takes.media_type(): content}});
        }
        told
    }

    fn parameters(&mut self, operation: &Operation) -> Vec<Value> {
        let mut all = Vec::new();
        for name in parameters_of(operation.path) {
            let schema = operation.takes.in_path.map(|schema| schema(&mut self.read)).unwrap_or_default();
            let mut schema = schema.to_value();
            // A path with an empty part is another path.
            if schema.get("format").is_none() && schema.get("minLength").is_none() {
                schema["minLength"] = 1.into();
            }
            all.push(json!({
                "name": name, "in": "path", "required": true, "schema": schema, "example": operation.in_path.unwrap_or_else(|| example_of(name)),
            }));
        }
        if let Some(schema) = operation.takes.query {
            let example = operation.example.as_ref().filter(|_| operation.takes.body.is_none());
            all.extend(query(&schema(&mut self.read), example));
        }
        if operation.key != Key::Ignored {
            all.push(json!({
                "name": "Idempotency-Key", "in": "header", "required": operation.key == Key::Required,
                "description": "The same key and request again get the first answer, and do nothing again.",
                "schema": {"type": "string", "maxLength": 257, "pattern": KEY_PATTERN},
                "example": key_example(operation),
            }));
        }
        if operation.is_patient {
            all.push(header("Prefer", "`wait=N`: for how many seconds this may wait for others.", "wait=3"));
        }
        for (name, about) in &operation.headers {
            all.push(header(name, about, ""));
        }
        all
    }

    fn responses(&mut self, operation: &Operation) -> Value {
        let mut responses = Map::new();
        for success in &operation.successes {
            self.success(&mut responses, operation, success);
        }
        let mut by_status: BTreeMap<u16, Vec<Code>> = BTreeMap::new();
        for code in operation.codes() {
            by_status.entry(code.status().as_u16()).or_default().push(code);
        }
        for (status, codes) in by_status {
            let told = self.failure(operation, status, &codes);
            match responses.get_mut(&status.to_string()) {
                // A success of a status that failures have too: the process is not ready.
                Some(there) => there["content"][PROBLEM_JSON] = told["content"][PROBLEM_JSON].clone(),
                None => drop(responses.insert(status.to_string(), told)),
            }
        }
        responses.into()
    }

    fn success(&mut self, responses: &mut Map<String, Value>, operation: &Operation, success: &Success) {
        let told = responses.entry(success.status.to_string()).or_insert_with(
            || json!({"description": success.about, "headers": success_headers(operation), "content": {}}),
        );
        let Some((media_type, schema)) = success.content else { return };
        let schema = schema(&mut self.written).to_value();
        let content = &mut told["content"][media_type];
        // Several shapes of one status are alternatives.
        match content["schema"].take() {
            Value::Null => *content = json!({"schema": schema}),
            Value::Object(mut there) if there.contains_key("anyOf") && there.len() == 1 => {
                if let Some(shapes) = there["anyOf"].as_array_mut() {
                    shapes.push(schema);
                }
                content["schema"] = there.into();
            }
            there => content["schema"] = json!({"anyOf": [there, schema]}),
        }
    }

    fn failure(&mut self, operation: &Operation, status: u16, codes: &[Code]) -> Value {
        let names: Vec<_> = codes.iter().map(|code| code.as_str()).collect();
        let meanings: Vec<_> =
            codes.iter().map(|code| format!("- `{}`: {}", code.as_str(), code.title())).collect();
        let problem = self.written.subschema_for::<ProblemDocument<'static>>();
        let fixed = json!({"properties": {"code": {"enum": names}, "status": {"const": status}}});
        let mut content = json!({PROBLEM_JSON: {"schema": {"allOf": [problem, fixed]}}});
        if let Some(schema) = operation.failure
            && !matches!(status, 401 | 403)
        {
            content[JSON] = json!({"schema": schema(&mut self.written)});
        }
        let mut told = json!({"description": meanings.join("\n"), "content": content});
        match status {
            401 if codes.contains(&Code::Unauthenticated) => {
                told["headers"] =
                    json!({"WWW-Authenticate": {"schema": {"type": "string", "const": "Bearer"}}});
            }
            429 | 503 => {
                told["headers"] = json!({"Retry-After": {"$ref": "#/components/headers/Retry-After"}})
            }
            _ => {}
        }
        told
    }

    /// What calls refer to.
    fn components(mut self) -> Value {
        let mut schemas = self.written.take_definitions(true);
        for (name, mut schema) in self.read.take_definitions(true) {
            closed(&mut schema);
            let before = schemas.insert(name.clone(), schema.clone());
            debug_assert!(
                before.is_none_or(|before| before == schema),
                "{name} is read in another shape than it is written: give one of the two another name"
            );
        }
        json!({
            "schemas": schemas,
            "securitySchemes": {
                "key": {"type": "http", "scheme": "bearer", "description": "An API key. What it may do is said by its scopes; `operator` may do everything."},
                "signature": {"type": "apiKey", "in": "header", "name": "webhook-signature", "description": "As Standard Webhooks specifies, or as Stripe signs."},
            },
            "headers": {
                "Idempotent-Replayed": {"description": "`true` if this is the first answer again.", "schema": {"type": "string", "enum": ["true"]}},
                "Lock-Mode": {"description": "The layers that protected this.", "schema": {"type": "string", "enum": ["two_layer", "database_only"]}},
                "Lock-Wait-Ms": {"description": "How long it waited for the lock.", "schema": {"type": "integer", "minimum": 0}},
                "Retry-After": {"description": "Try again after so many seconds.", "schema": {"type": "integer", "minimum": 1}},
                "Server-Timing": {"description": "Where the time went.", "schema": {"type": "string"}},
                "ETag": {"description": "Changes with what is told.", "schema": {"type": "string"}},
            },
        })
    }
}

/// Unknown fields are refused, wherever they stand.
fn closed(schema: &mut Value) {
    match schema {
        Value::Object(fields) => {
            let is_object = fields.get("type").is_some_and(|name| name == "object");
            if is_object && !fields.contains_key("additionalProperties") {
                fields.insert("additionalProperties".to_owned(), false.into());
            }
            fields.values_mut().for_each(closed);
        }
        Value::Array(items) => items.iter_mut().for_each(closed),
        _ => {}
    }
}

fn security(operation: &Operation) -> Value {
    match operation.scopes() {
        None if operation.takes.is_signed => json!([{"signature": []}]),
        None => json!([]),
        Some(scopes) => {
            let scopes = scopes.iter().chain([&Scope::Operator]);
            scopes.map(|scope| json!({"key": [scope.as_str()]})).collect()
        }
    }
}

fn header(name: &str, about: &str, example: &str) -> Value {
    let mut told = json!({
        "name": name, "in": "header", "required": false, "description": about, "schema": {"type": "string"},
    });
    if !example.is_empty() {
        told["example"] = example.into();
    }
    told
}

fn success_headers(operation: &Operation) -> Value {
    let mut names = Vec::new();
    if operation.key != Key::Ignored {
        names.push("Idempotent-Replayed");
    }
    if operation.is_guarded {
        names.extend(["Lock-Mode", "Lock-Wait-Ms", "Server-Timing"]);
    }
    let refer = |name: &str| (name.to_owned(), json!({"$ref": format!("#/components/headers/{name}")}));
    Value::Object(names.into_iter().map(refer).collect())
}

/// The fields of an object as query parameters.
fn query(object: &Schema, example: Option<&Value>) -> Vec<Value> {
    let required = object.get("required").and_then(Value::as_array).cloned().unwrap_or_default();
    let fields = object.get("properties").and_then(Value::as_object).cloned().unwrap_or_default();
    let parameter = |(name, schema): (String, Value)| {
        let mut schema = never_null(schema);
        let about = schema.as_object_mut().and_then(|schema| schema.remove("description"));
        let mut told = json!({
            "name": name, "in": "query", "required": required.contains(&name.as_str().into()), "schema": schema,
        });
        if let Some(about) = about {
            told["description"] = about;
        }
        if let Some(example) = example.and_then(|example| example.get(&name)) {
            told["example"] = example.clone();
        }
        told
    };
    fields.into_iter().map(parameter).collect()
}

/// A query can't say `null`.
fn never_null(mut schema: Value) -> Value {
    if let Some(types) = schema.get_mut("type").and_then(Value::as_array_mut) {
        types.retain(|name| name != "null");
        if let [only] = types.as_slice() {
            schema["type"] = only.clone();
        }
    }
    let alternatives = schema.get("anyOf").and_then(Value::as_array).cloned().unwrap_or_default();
    let mut others = alternatives.into_iter().filter(|one| one["type"] != "null");
    if let (Some(only), None) = (others.next(), others.next())
        && let Some(fields) = schema.as_object_mut()
    {
        fields.remove("anyOf");
        fields.extend(only.as_object().cloned().unwrap_or_default());
    }
    schema
}
