//! Reading requests: bodies, queries and paths, whose refusals are problems that name the field.
//!
//! What must stay true: nothing unchecked gets past here. Bodies are bounded, unknown fields are refused
//! by name, and messages never repeat what was sent.

use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, PathRejection, QueryRejection};
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use serde::de::DeserializeOwned;

use super::problem::{Code, FieldError, Problem};
use crate::idempotency::{IdempotencyError, KeyedRequest};

/// The largest body that is read: 1 MiB.
pub const BODY_MAX_BYTES: usize = 1024 * 1024;
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

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let (parts, body) = request.into_parts();
        check_media_type(&parts.headers)?;
        let bytes = Bytes::from_request(Request::from_parts(parts.clone(), body), state)
            .await
            .map_err(|rejection| unreadable(&rejection))?;
        let value = parse(&bytes)?;
        let keyed = KeyedRequest::of(&parts, &bytes)?;
        Ok(Self { value, keyed })
    }
}

/// A body that may be left out, for calls all of whose fields are optional.
impl<T: Default> Body<T> {
    /// The body, or the default if nothing was sent.
    ///
    /// # Errors
    /// As for [`Body`].
    pub async fn or_default(request: Request) -> Result<Self, Problem>
    where
        T: DeserializeOwned + Send,
    {
        let (parts, body) = request.into_parts();
        let bytes = Bytes::from_request(Request::from_parts(parts.clone(), body), &())
            .await
            .map_err(|rejection| unreadable(&rejection))?;
        if bytes.is_empty() {
            let keyed = KeyedRequest::of(&parts, b"null")?;
            return Ok(Self {
                value: T::default(),
                keyed,
            });
        }
        check_media_type(&parts.headers)?;
        Ok(Self {
            value: parse(&bytes)?,
            keyed: KeyedRequest::of(&parts, &bytes)?,
        })
    }
}

fn check_media_type(headers: &HeaderMap) -> Result<(), Problem> {
    if headers.contains_key(CONTENT_ENCODING) {
        return Err(Problem::new(
            Code::UnsupportedMediaType,
            "Send the body without Content-Encoding.",
        ));
    }
    let media_type = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let essence = media_type.split(';').next().unwrap_or_default().trim();
    if essence.eq_ignore_ascii_case("application/json") {
        return Ok(());
    }
    Err(Problem::new(
        Code::UnsupportedMediaType,
        "Send the body as Content-Type: application/json.",
    ))
}

fn unreadable(rejection: &BytesRejection) -> Problem {
    if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE {
        return Problem::new(
            Code::BodyTooLarge,
            format!("A body may have {BODY_MAX_BYTES} bytes at most."),
        );
    }
    Problem::new(Code::RequestTimeout, "The body did not arrive whole and in time.")
}

/// Reads JSON, noting the path of what is wrong and every field that nobody asked for.
fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    let json = &mut serde_json::Deserializer::from_slice(bytes);
    let mut unknown = Vec::new();
    let mut track = serde_path_to_error::Track::new();
    let tracked = serde_path_to_error::Deserializer::new(&mut *json, &mut track);
    let parsed = serde_ignored::deserialize(tracked, |path| unknown.push(path.to_string()));
    let value: T = match parsed {
        Ok(value) => value,
        Err(error) => return Err(malformed(&error, &track.path().to_string())),
    };
    json.end().map_err(|error| malformed(&error, ""))?;
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
    Err(Problem::new(
        Code::ValidationFailed,
        format!("Unknown fields: {}.", names.join(", ")),
    )
    .with_errors(errors))
}

fn malformed(error: &serde_json::Error, path: &str) -> Problem {
    if error.is_data() {
        let path = if path == "." { "" } else { path };
        return Problem::invalid(bounded(path), without_values(&error.to_string()));
    }
    Problem::new(
        Code::MalformedJson,
        format!("Not JSON at line {} column {}.", error.line(), error.column()),
    )
}

/// A field's name as given, but never a page of it.
fn bounded(field: &str) -> String {
    field.chars().filter(|c| !c.is_control()).take(200).collect()
}

/// serde's messages repeat the value before saying what was expected, and end with the place.
fn without_values(message: &str) -> String {
    let message = message
        .rsplit_once(" at line ")
        .map_or(message, |(message, _)| message);
    match message.rsplit_once(", expected ") {
        Some((_, expected)) => format!("expected {expected}"),
        None => message.to_owned(),
    }
}

/// Query parameters.
#[derive(Debug)]
pub struct Params<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Params<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let query = Query::<T>::from_request_parts(parts, state).await;
        query
            .map(|Query(value)| Self(value))
            .map_err(|rejection| wrong_query(&rejection))
    }
}

fn wrong_query(rejection: &QueryRejection) -> Problem {
    let text = rejection.body_text();
    let message = text
        .strip_prefix("Failed to deserialize query string: ")
        .unwrap_or(&text);
    match message.split_once(": ") {
        Some((field, message)) if !field.contains(' ') => Problem::invalid(field, without_values(message)),
        _ => Problem::invalid("query", without_values(message)),
    }
}

/// One path parameter.
#[derive(Debug)]
pub struct InPath<T>(pub T);

impl<S: Sync + Send, T: DeserializeOwned + Send> FromRequestParts<S> for InPath<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let path = Path::<T>::from_request_parts(parts, state).await;
        path.map(|Path(value)| Self(value))
            .map_err(|rejection| wrong_path(&rejection))
    }
}

fn wrong_path(rejection: &PathRejection) -> Problem {
    use axum::extract::path::ErrorKind;
    let PathRejection::FailedToDeserializePathParams(error) = rejection else {
        return Problem::invalid("path", "can't be read");
    };
    match error.kind() {
        ErrorKind::ParseErrorAtKey { key, .. } | ErrorKind::DeserializeError { key, .. } => Problem::invalid(
            key.as_str(),
            "must be a UUID, or what this path takes in its place",
        ),
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
    }

    #[test]
    fn every_unknown_field_is_named_with_its_path() {
        let problem = parse::<Order>(br#"{"lines":[{"quantity":1,"qty":2}],"is_admin":true}"#).unwrap_err();
        let fields: Vec<_> = problem.errors.iter().map(|error| error.field.as_str()).collect();
        assert_eq!(fields, ["lines.0.qty", "is_admin"]);
    }

    #[test]
    fn a_wrong_value_is_placed_and_not_repeated() {
        let problem = parse::<Order>(br#"{"lines":[{"quantity":1},{"quantity":"sesame"}]}"#).unwrap_err();
        assert_eq!(problem.code, Code::ValidationFailed);
        assert_eq!(problem.errors[0].field, "lines[1].quantity");
        assert_eq!(problem.errors[0].message, "expected u32");
    }

    #[test]
    fn what_is_not_json_is_malformed_even_after_a_good_value() {
        for body in [&b"{"[..], b"", b"{\"lines\":[]} x", b"\xff", b"\xef\xbb\xbf{}"] {
            assert_eq!(
                parse::<Order>(body).unwrap_err().code,
                Code::MalformedJson,
                "{body:?}"
            );
        }
    }
}
