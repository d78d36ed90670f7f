//! A request's key, and what the request was: read at the door, and claimed within a scope.

use axum::http::HeaderMap;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::IdempotencyError;
use super::outline::Outline;

/// The longest key.
const KEY_MAX_CHARS: usize = 255;

/// What two requests must share to be the same: method, path and body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint(pub [u8; 32]);

/// A request's key, and what the request was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyedRequest {
    /// The key.
    pub key: String,
    /// What the request was.
    pub fingerprint: Fingerprint,
    /// The same in outline, where it is kept.
    pub outline: Option<Outline>,
}

impl KeyedRequest {
    /// What a request with `key` was.
    #[must_use]
    pub fn new(key: String, method: &str, path: &str, body: &Value) -> Self {
        let outline = Some(Outline::of(&key, method, path, body));
        Self { key, fingerprint: Fingerprint::of(method, path, body), outline }
    }
}

/// Reads the header. `None` without one.
///
/// # Errors
/// [`IdempotencyError::Invalid`].
pub fn key_of(headers: &HeaderMap) -> Result<Option<String>, IdempotencyError> {
    let mut headers = headers.get_all("idempotency-key").iter();
    let Some(header) = headers.next() else { return Ok(None) };
    if headers.next().is_some() {
        return Err(IdempotencyError::Invalid);
    }
    let key = parse_key(header.to_str().map_err(|_| IdempotencyError::Invalid)?)?;
    Ok(Some(key.to_owned()))
}

/// Takes a bare key or one in double quotes.
///
/// # Errors
/// [`IdempotencyError::Invalid`] unless it is 1 to 255 visible ASCII characters.
pub fn parse_key(header: &str) -> Result<&str, IdempotencyError> {
    let bare = header.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(header);
    let fits = (1..=KEY_MAX_CHARS).contains(&bare.len()) && bare.bytes().all(|byte| byte.is_ascii_graphic());
    if fits { Ok(bare) } else { Err(IdempotencyError::Invalid) }
}

impl Fingerprint {
    /// The fingerprint of a request. White space and the order of fields in the body do not count, nor does
    /// the case of ids in the path.
    #[must_use]
    pub fn of(method: &str, path: &str, body: &Value) -> Self {
        let body = serde_json::to_vec(body).unwrap_or_default();
        let mut hash = Sha256::new();
        for part in [method.as_bytes(), with_ids_in_lower_case(path).as_bytes(), &body] {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        Self(hash.finalize().into())
    }
}

/// Names in a path keep their case: they tell one thing from another.
fn with_ids_in_lower_case(path: &str) -> String {
    let id = |part: &str| {
        uuid::Uuid::try_parse(part).map_or_else(|_| part.to_owned(), |_| part.to_ascii_lowercase())
    };
    path.split('/').map(id).collect::<Vec<_>>().join("/")
}

/// A key within its scope, about to be claimed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// Whose key it is: two users may use the same one.
    pub scope: String,
    /// The key.
    pub key: String,
    /// What the request was.
    pub fingerprint: Fingerprint,
    /// The same in outline, where it is kept.
    pub outline: Option<Outline>,
}

impl Claim {
    /// The claim of a stock call: its key belongs to the API key's subject.
    #[must_use]
    pub fn of_subject(subject: &str, keyed: KeyedRequest) -> Self {
        Self::within(subject_scope(subject), keyed)
    }

    /// The claim of an order: its key belongs to the user who orders.
    #[must_use]
    pub fn of_user(user_id: &str, keyed: KeyedRequest) -> Self {
        Self::within(user_scope(user_id), keyed)
    }

    /// The claim of a request without a key, by all that it says.
    #[must_use]
    pub fn of_what_is_said(scope: String, said: &Value) -> Self {
        let fingerprint = Fingerprint::of("", &scope, said);
        Self { scope, key: hex::encode(fingerprint.0), fingerprint, outline: None }
    }

    fn within(scope: String, keyed: KeyedRequest) -> Self {
        let KeyedRequest { key, fingerprint, outline } = keyed;
        Self { scope, key, fingerprint, outline }
    }
}

impl Claim {
    /// The claim of a part of the request, where it is carried out in several: the first part's is that of the whole.
    #[must_use]
    pub fn part(&self, number: usize) -> Self {
        let mut part = self.clone();
        if number > 0 {
            part.scope = format!("part {number} of {}", self.scope);
        }
        part
    }

    /// The user whose order key this is, if it is one.
    #[must_use]
    pub fn user_id(&self) -> Option<&str> {
        self.scope.strip_prefix(USER_SCOPE)
    }
}

const USER_SCOPE: &str = "user:";

/// The scope of a subject's own keys.
#[must_use]
pub fn subject_scope(subject: &str) -> String {
    format!("subject:{subject}")
}

/// The scope of a user's order keys.
#[must_use]
pub fn user_scope(user_id: &str) -> String {
    format!("{USER_SCOPE}{user_id}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_taken_bare_or_quoted_and_nothing_else_is() {
        assert_eq!(parse_key("abc-1"), Ok("abc-1"));
        assert_eq!(parse_key("\"abc-1\""), Ok("abc-1"));
        assert_eq!(parse_key(&"k".repeat(255)), Ok("k".repeat(255).as_str()));
        for bad in ["", "\"\"", "a b", "é", "a\tb", &"k".repeat(256)] {
            assert_eq!(parse_key(bad), Err(IdempotencyError::Invalid), "{bad:?}");
        }
    }

    #[test]
    fn the_fingerprint_sees_method_path_and_meaning_but_not_layout() {
        let of = |method, path, body: &str| {
            Fingerprint::of(method, path, &crate::json::read(body.as_bytes()).unwrap())
        };
        let body = r#"{"a":1,"b":[1,2]}"#;
        let first = of("POST", "/x", body);
        assert_eq!(first, of("POST", "/x", "{ \"b\": [1, 2],\n\"a\": 1 }"));
        let id = "/x/0190A5E0-0000-7000-8000-00000000000A";
        let lower = id.to_lowercase();
        assert_eq!(of("POST", id, body), of("POST", &lower, body));
        assert_ne!(first, of("POST", "/X", body), "a name keeps its case");
        assert_ne!(first, of("PUT", "/x", body));
        assert_ne!(first, of("POST", "/y", body));
        assert_ne!(first, of("POST", "/x", r#"{"a":1,"b":[2,1]}"#));
        assert_ne!(of("POST", "/x1", "1"), of("POST", "/x", "11"));
    }
}
