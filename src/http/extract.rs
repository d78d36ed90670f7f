//! Reading requests: bodies, queries and paths, whose refusals are problems that name the field.
//!
//! What must stay true: nothing unchecked gets past here. Bodies are bounded, unknown fields are refused
//! by name, and messages never repeat what was sent.

use std::time::Duration;

use axum::body::Bytes;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::HeaderMap;
use axum::http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use axum::http::request::Parts;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use tokio::time::timeout;

use super::problem::{Code, FieldError, Problem};
use crate::idempotency::{self, IdempotencyError, KeyedRequest};
use crate::json;

/// The largest body that is read: 1 MiB.
pub const BODY_MAX_BYTES: usize = 1024 * 1024;
/// How long a body may take in all.
const BODY_MAX: Duration = Duration::from_secs(10);
/// The fields of this API that hold lists, all of them of objects.
const LISTS: [&str; 4] = ["lines", "operations", "items", "invoices"];
/// The field that holds an object.
const OBJECT: &str = "data";
/// The most unknown fields that one answer names.
const UNKNOWN_FIELDS_NAMED: usize = 20;

/// A JSON body, and the request's idempotency key if it has one.
#[derive(Debug)]
pub struct Body<T> {
    /// The body.
    pub value: T,
    /// The key and what it stands for.
    pub keyed: Option<KeyedRequest>,
}

impl<T> Body<T> {
    /// The body and its key, where the call can't be made without one.
    ///
    /// # Errors
    /// [`IdempotencyError::Missing`].
    pub fn with_key(self) -> Result<(T, KeyedRequest), IdempotencyError> {
        Ok((self.value, self.keyed.ok_or(IdempotencyError::Missing)?))
    }
}

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequest<S> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        let (parts, body) = request.into_parts();
        check_media_type(&parts.headers)?;
        Self::read(&parts, &whole(body).await?)
    }
}

impl<T: DeserializeOwned> Body<T> {
    fn read(parts: &Parts, bytes: &[u8]) -> Result<Self, Problem> {
        let (tree, key) = (tree(bytes)?, idempotency::key_of(&parts.headers)?);
        Ok(Self { value: fields(&tree)?, keyed: keyed(parts, key, &tree) })
    }
}

fn keyed(parts: &Parts, key: Option<String>, body: &Value) -> Option<KeyedRequest> {
    Some(KeyedRequest::new(key?, parts.method.as_str(), parts.uri.path(), body))
}

/// A body that may be left out, for calls all of whose fields are optional: then it is as if it were `{}`.
#[derive(Debug)]
pub struct OrDefault<T>(pub Body<T>);

impl<S: Send + Sync, T: Default + DeserializeOwned + Send> FromRequest<S> for OrDefault<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        let (parts, body) = request.into_parts();
        let bytes = whole(body).await?;
        if bytes.is_empty() {
            let key = idempotency::key_of(&parts.headers)?;
            return Ok(Self(Body {
                value: T::default(),
                keyed: keyed(&parts, key, &Value::Object(Map::new())),
            }));
        }
        check_media_type(&parts.headers)?;
        Body::read(&parts, &bytes).map(Self)
    }
}

/// Refuses what does not say that it is plain JSON.
///
/// # Errors
/// A [`Problem`].
pub(crate) fn check_media_type(headers: &HeaderMap) -> Result<(), Problem> {
    if headers.contains_key(CONTENT_ENCODING) {
        return Err(Problem::new(Code::UnsupportedMediaType, "Send the body without Content-Encoding."));
    }
    let media_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = media_type.split(';').next().unwrap_or_default().trim();
    if essence.eq_ignore_ascii_case("application/json") {
        return Ok(());
    }
    Err(Problem::new(Code::UnsupportedMediaType, "Send the body as Content-Type: application/json."))
}

/// The whole body, unless it is too large or does not arrive.
///
/// # Errors
/// A [`Problem`].
pub(crate) async fn whole(body: axum::body::Body) -> Result<Bytes, Problem> {
    match timeout(BODY_MAX, Limited::new(body, BODY_MAX_BYTES).collect()).await {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            Err(Problem::new(Code::BodyTooLarge, format!("A body may have {BODY_MAX_BYTES} bytes at most.")))
        }
        Ok(Err(_)) | Err(_) => {
            Err(Problem::new(Code::RequestTimeout, "The body did not arrive whole and in time."))
        }
    }
}

/// Reads all of a body as JSON.
///
/// # Errors
/// A [`Problem`].
pub(crate) fn tree(bytes: &[u8]) -> Result<Value, Problem> {
    json::read(bytes).map_err(|error| malformed(&error))
}

fn malformed(json::ReadError { path, error }: &json::ReadError) -> Problem {
    if error.is_data() {
        let message = error.to_string();
        let message = message.rsplit_once(" at line ").map_or(message.as_str(), |(message, _)| message);
        return wrong_field(path, message);
    }
    Problem::new(Code::MalformedJson, format!("Not JSON at line {} column {}.", error.line(), error.column()))
}

/// Reads the fields, noting the path of what is wrong and every field that nobody asked for.
///
/// # Errors
/// A [`Problem`].
pub(crate) fn fields<T: DeserializeOwned>(tree: &Value) -> Result<T, Problem> {
    if let Some(path) = not_an_object(tree, "") {
        return Err(Problem::invalid(path, "must be an object"));
    }
    let mut unknown = Vec::new();
    let mut track = serde_path_to_error::Track::new();
    let tracked = serde_path_to_error::Deserializer::new(tree, &mut track);
    let parsed = serde_ignored::deserialize(tracked, |path| unknown.push(indexed(&path.to_string())));
    let value: T = parsed.map_err(|error| wrong_field(&track.path().to_string(), &error.to_string()))?;
    if unknown.is_empty() {
        return Ok(value);
    }
    let message = "is not a field of this request";
    let errors: Vec<_> = unknown
        .iter()
        .take(UNKNOWN_FIELDS_NAMED)
        .map(|field| FieldError::new(bounded(field), message))
        .collect();
    let names: Vec<_> = errors.iter().map(|error| error.field.as_str()).collect();
    Err(Problem::new(Code::ValidationFailed, format!("Unknown fields: {}.", names.join(", ")))
        .with_errors(errors))
}

/// Where something other than an object stands in one of our lists, or in an object's place. (A list in an
/// object's place would be read as its fields in order.)
fn not_an_object(tree: &Value, path: &str) -> Option<String> {
    match tree {
        Value::Array(items) => items.iter().enumerate().find_map(|(index, item)| {
            let path = format!("{path}[{index}]");
            if item.is_object() { not_an_object(item, &path) } else { Some(path) }
        }),
        Value::Object(fields) => {
            let fields = fields.iter().filter(|(name, _)| LISTS.contains(&name.as_str()) || *name == OBJECT);
            let join = |name: &str| {
                if path.is_empty() { bounded(name) } else { format!("{path}.{}", bounded(name)) }
            };
            fields.into_iter().find_map(|(name, value)| {
                let wrong = name == OBJECT && !value.is_object();
                if wrong { Some(join(name)) } else { not_an_object(value, &join(name)) }
            })
        }
        _ => None,
    }
}

/// serde names a field that is missing, there twice or not asked for in its message, not in its path.
fn wrong_field(path: &str, message: &str) -> Problem {
    let path = if path == "." { "" } else { path };
    let faults = [
        ("missing field `", "is required"),
        ("duplicate field `", "is given twice"),
        ("unknown field `", "is not a field of this request"),
    ];
    for (start, wrong) in faults {
        let Some((name, _)) = message.strip_prefix(start).and_then(|rest| rest.split_once('`')) else {
            continue;
        };
        let whole = match path {
            "" | "query" => name.to_owned(),
            path if path == name || path.ends_with(&format!(".{name}")) => path.to_owned(),
            path => format!("{path}.{name}"),
        };
        return Problem::invalid(bounded(&whole), wrong);
    }
    Problem::invalid(bounded(path), without_values(message))
}

/// `lines.?.0.quantity`, where `lines` may be left out, as `lines[0].quantity`: one way to write a path.
fn indexed(path: &str) -> String {
    let mut written = String::new();
    for part in path.replace(".?.", ".").split('.') {
        if !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()) {
            written.push_str(&format!("[{part}]"));
        } else {
            if !written.is_empty() {
                written.push('.');
            }
            written.push_str(part);
        }
    }
    written
}

/// A field's name as given, but never a page of it.
fn bounded(field: &str) -> String {
    field.chars().filter(|c| !c.is_control()).take(200).collect()
}

/// serde's messages repeat the value before saying what was expected, in the words of Rust.
fn without_values(message: &str) -> String {
    let message = message.rsplit_once(" at line ").map_or(message, |(message, _)| message);
    if message.contains("invalid digit") || message.starts_with("number too") {
        return "must be a whole number".to_owned();
    }
    let Some((_, expected)) = message.rsplit_once(", expected ") else { return message.to_owned() };
    let expected = match expected {
        "i64" | "u16" | "u32" => "a whole number",
        "a sequence" => "a list",
        "a map" => "an object",
        other if other.starts_with("struct ") => "an object",
        other => other,
    };
    format!("must be {expected}")
}

/// Query parameters.
#[derive(Debug)]
pub struct Params<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Params<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let query = Query::<T>::from_request_parts(parts, state).await;
        query.map(|Query(value)| Self(value)).map_err(|rejection| wrong_query(&rejection))
    }
}

fn wrong_query(rejection: &QueryRejection) -> Problem {
    let text = rejection.body_text();
    let message = text.strip_prefix("Failed to deserialize query string: ").unwrap_or(&text);
    match message.split_once(": ") {
        Some((field, message)) if !field.contains(' ') => wrong_field(field, message),
        _ => wrong_field("query", message),
    }
}

/// One path parameter.
#[derive(Debug)]
pub struct InPath<T>(pub T);

impl<S: Sync + Send, T: DeserializeOwned + Send> FromRequestParts<S> for InPath<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let path = Path::<T>::from_request_parts(parts, state).await;
        path.map(|Path(value)| Self(value)).map_err(|rejection| wrong_path(&rejection))
    }
}

fn wrong_path(rejection: &PathRejection) -> Problem {
    use axum::extract::path::ErrorKind;
    let PathRejection::FailedToDeserializePathParams(error) = rejection else {
        return Problem::invalid("path", "can't be read");
    };
    match error.kind() {
        ErrorKind::ParseErrorAtKey { key, .. } | ErrorKind::DeserializeError { key, .. } => {
            Problem::invalid(key.as_str(), "must be a UUID, or what this path takes in its place")
        }
        ErrorKind::InvalidUtf8InPathParam { key } => Problem::invalid(key.as_str(), "must be UTF-8"),
        _ => Problem::invalid("path", "has a parameter that can't be read; ids are UUIDs"),
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[expect(dead_code, reason = "only the reading is tested")]
    struct Line {
        quantity: u32,
    }

    #[derive(Debug, Deserialize)]
    #[expect(dead_code, reason = "only the reading is tested")]
    struct Order {
        lines: Vec<Line>,
        notes: Option<Vec<Line>>,
    }

    fn problem(body: &str) -> Problem {
        let tree = json::read(body.as_bytes()).unwrap();
        fields::<Order>(&tree).unwrap_err()
    }

    #[test]
    fn every_unknown_field_is_named_with_its_path() {
        let problem =
            problem(r#"{"lines":[{"quantity":1,"qty":2}],"notes":[{"quantity":1,"by":3}],"is_admin":true}"#);
        let fields: Vec<_> = problem.errors.iter().map(|error| error.field.as_str()).collect();
        assert_eq!(fields, ["is_admin", "lines[0].qty", "notes[0].by"]);
    }

    #[test]
    fn a_wrong_value_is_placed_and_not_repeated() {
        for (body, field, message) in [
            (
                r#"{"lines":[{"quantity":1},{"quantity":"sesame"}]}"#,
                "lines[1].quantity",
                "must be a whole number",
            ),
            (r#"{"lines":[{}]}"#, "lines[0].quantity", "is required"),
            (r#"{}"#, "lines", "is required"),
            (r#"{"lines":7}"#, "lines", "must be a list"),
            (r#"{"lines":[[1]]}"#, "lines[0]", "must be an object"),
            (r#"[[{"quantity":1}]]"#, "[0]", "must be an object"),
        ] {
            let error = problem(body).errors.remove(0);
            assert_eq!((error.field.as_str(), error.message.as_str()), (field, message), "{body}");
        }
    }

    #[test]
    fn what_is_not_json_is_malformed_even_after_a_good_value() {
        for body in [&b"{"[..], b"", b"{\"lines\":[]} x", b"\xff", b"\xef\xbb\xbf{}"] {
            assert_eq!(malformed(&json::read(body).unwrap_err()).code, Code::MalformedJson, "{body:?}");
        }
    }
}
