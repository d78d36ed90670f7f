//! What a request said, in outline: enough to tell in which fields another one differs, and no more.
//!
//! A fingerprint says that two requests differ and not where. To say where, something must be kept of each field of the
//! first. Its body itself is not: it may hold what customers call their own, and nobody needs it again. So an outline
//! has the names of the fields, which are this API's own, and in place of each value sixteen bits of a hash salted with
//! the key.
//!
//! Sixteen bits on purpose. However a hash is made, who can read the table can try all the quantities, or all the phone
//! numbers, there are; but each guess of ten thousand leaves as many as it began with for every 65,536. The price is that
//! one different value in 65,536 is not named. That the requests differ is still told: the fingerprint decides, never
//! this.
//!
//! What must stay true:
//! - No value, and nothing of what stands in free fields, is kept or told: not even its names.
//! - It is bounded. What would be longer is told more coarsely: by elements of lists, then by fields, then as a whole.
//!   A coarse hash is made of the finer ones, so outlines of any two grains can be compared.
//! - It rides on the statement that claims the key: no round trip, no statement of its own.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Serialize, Serializer};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

/// The most bytes an outline may have: room for the 2,000 lines of the longest order, a number each.
pub const OUTLINE_MAX_BYTES: usize = 16 * 1024;
/// The most differences that one answer names.
pub const NAMED_MAX: usize = 20;
/// Fields that callers fill as they like: told as one value, for their names may say as much as their values.
const FREE: [&str; 1] = ["metadata"];
/// How deep what is too long is told instead: by elements of a list that is a field, by fields, as a whole.
const COARSER: [usize; 3] = [2, 1, 0];

/// A request in outline, as it is kept: short JSON, of names, lists, and sixteen bits for each value. It is taken of every
/// request with a key and nearly never compared, so no tree is made of it before that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outline(String);

/// Where two requests with one key differ.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// `method`, `path`, or a path into the body as in `lines[2].quantity`.
    pub field: String,
    /// In which way.
    pub how: How,
}

/// How a field differs between the first request and another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// Both have it, with other values.
    Changed,
    /// Only the first had it.
    Gone,
    /// Only the other one has it.
    New,
}

impl fmt::Display for How {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Changed => "was another one in the first request with this key",
            Self::Gone => "was in the first request with this key, and is missing in this one",
            Self::New => "was not in the first request with this key",
        })
    }
}

impl Outline {
    /// The outline of a request. The case of the path does not count, as in its
    /// [fingerprint](super::Fingerprint::of).
    #[must_use]
    pub fn of(key: &str, method: &str, path: &str, body: &Value) -> Self {
        let salted = &Sha256::new_with_prefix(key.as_bytes());
        let hash = |text: &str| hashed(salted.clone(), text.as_bytes());
        let whole = Whole {
            method: hash(method),
            path: hash(&path.to_ascii_lowercase()),
            body: Part { value: body, is_free: false, salted },
        };
        let text = serde_json::to_string(&whole).unwrap_or_default();
        Self(if text.len() <= OUTLINE_MAX_BYTES { text } else { shortened(&text) })
    }

    /// One that was kept, by this version or another.
    #[must_use]
    pub fn kept(text: String) -> Self {
        Self(text)
    }

    /// As it is kept.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Where `other` differs from this, the first: up to [`NAMED_MAX`] places, from the top. Nothing, if one of them can't be
    /// read.
    #[must_use]
    pub fn differences(&self, other: &Self) -> Vec<Difference> {
        let mut found = Vec::new();
        let (first, other) = (tree(&self.0), tree(&other.0));
        if ![&first, &other].iter().all(|whole| whole["method"].is_u64() && whole["path"].is_u64()) {
            return found;
        }
        for part in ["method", "path"] {
            compare(&first[part], &other[part], part, &mut found);
        }
        compare(&first["body"], &other["body"], "", &mut found);
        found.truncate(NAMED_MAX);
        found
    }
}

/// What is written of a request.
#[derive(Serialize)]
struct Whole<'a> {
    method: u16,
    path: u16,
    body: Part<'a>,
}

/// What is written of a value: the names and lists in it, and hashes.
struct Part<'a> {
    value: &'a Value,
    is_free: bool,
    salted: &'a Sha256,
}

impl Serialize for Part<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { value, is_free, salted } = *self;
        match value {
            Value::Object(fields) if !is_free => {
                serializer.collect_map(fields.iter().map(|(name, value)| {
                    (name, Part { value, is_free: FREE.contains(&name.as_str()), salted })
                }))
            }
            Value::Array(items) if !is_free => {
                serializer.collect_seq(items.iter().map(|value| Part { value, is_free: false, salted }))
            }
            value => serializer.serialize_u16(hashed(salted.clone(), value.to_string().as_bytes())),
        }
    }
}

fn hashed(salted: Sha256, bytes: &[u8]) -> u16 {
    let hash = salted.chain_update(bytes).finalize();
    u16::from_be_bytes([hash[0], hash[1]])
}

/// What was written before; none if that can't be read. (Bodies are nested less
/// deeply than what this can read: see [`json::read`](crate::json::read).)
fn tree(outline: &str) -> Value {
    serde_json::from_str(outline).unwrap_or_default()
}

/// As fine as it can be told in so many bytes.
fn shortened(outline: &str) -> String {
    let (mut whole, mut text) = (tree(outline), String::new());
    for depth in COARSER {
        let body = &mut whole["body"];
        *body = coarser(body, depth);
        text = whole.to_string();
        if text.len() <= OUTLINE_MAX_BYTES {
            break;
        }
    }
    text
}

/// What stands deeper than so many levels, each as one hash.
fn coarser(outline: &Value, depth: usize) -> Value {
    match outline {
        Value::Object(fields) if depth > 0 => {
            let field = |(name, value): (&String, &Value)| (name.clone(), coarser(value, depth - 1));
            Value::Object(fields.iter().map(field).collect())
        }
        Value::Array(items) if depth > 0 => {
            Value::Array(items.iter().map(|item| coarser(item, depth - 1)).collect())
        }
        other => folded(other),
    }
}

/// One hash of what is below: the same, whether it is made of the finest outline or of a coarser one.
fn folded(outline: &Value) -> Value {
    let folded = match outline {
        Value::Object(fields) => {
            let fields: Map<_, _> =
                fields.iter().map(|(name, value)| (name.clone(), folded(value))).collect();
            Value::Object(fields)
        }
        Value::Array(items) => Value::Array(items.iter().map(folded).collect()),
        hash => return hash.clone(),
    };
    hashed(Sha256::new(), folded.to_string().as_bytes()).into()
}

fn compare(first: &Value, other: &Value, path: &str, found: &mut Vec<Difference>) {
    if found.len() >= NAMED_MAX {
        return;
    }
    match (first, other) {
        (Value::Object(first), Value::Object(other)) => {
            let names: BTreeSet<_> = first.keys().chain(other.keys()).collect();
            for name in names {
                let below = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                compare_part(first.get(name), other.get(name), &below, found);
            }
        }
        (Value::Array(first), Value::Array(other)) => {
            for index in 0..first.len().max(other.len()) {
                compare_part(first.get(index), other.get(index), &format!("{path}[{index}]"), found);
            }
        }
        (first, other) if folded(first) == folded(other) => {}
        _ => {
            let field = if path.is_empty() { "body" } else { path };
            found.push(Difference { field: field.to_owned(), how: How::Changed });
        }
    }
}

fn compare_part(first: Option<&Value>, other: Option<&Value>, path: &str, found: &mut Vec<Difference>) {
    let how = match (first, other) {
        (Some(first), Some(other)) => return compare(first, other, path, found),
        (Some(_), None) => How::Gone,
        (None, _) => How::New,
    };
    found.push(Difference { field: path.to_owned(), how });
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const KEY: &str = "key";

    fn outline(body: &Value) -> Outline {
        Outline::of(KEY, "POST", "/orders", body)
    }

    fn differing(first: &Value, other: &Value) -> Vec<(String, How)> {
        let found = outline(first).differences(&outline(other)).into_iter();
        found.map(|found| (found.field, found.how)).collect()
    }

    fn order(lines: usize) -> Value {
        let lines: Vec<_> = (0..lines)
            .map(|line| json!({"variant_id": format!("01920000-0000-7000-8000-{line:012}"), "quantity": line + 1}))
            .collect();
        json!({"user_id": "ann", "currency": "EUR", "lines": lines})
    }

    #[test]
    fn each_field_that_differs_is_named_once_and_no_other() {
        let first = order(3);
        assert_eq!(differing(&first, &first), []);
        let mut other = first.clone();
        other["lines"][1]["quantity"] = json!(7);
        other["user_id"] = json!("bob");
        other["expected_total"] = json!("1.00");
        other.as_object_mut().unwrap().remove("currency");
        other["lines"].as_array_mut().unwrap().pop();
        let named = |field: &str, how| (field.to_owned(), how);
        assert_eq!(
            differing(&first, &other),
            [
                named("currency", How::Gone),
                named("expected_total", How::New),
                named("lines[1].quantity", How::Changed),
                named("lines[2]", How::Gone),
                named("user_id", How::Changed),
            ]
        );
        assert_eq!(differing(&json!({"a": 1}), &json!({"a": "1"})), [named("a", How::Changed)]);
        assert_eq!(differing(&json!([1, 2]), &json!([2, 2])), [named("[0]", How::Changed)]);
        assert_eq!(differing(&Value::Null, &json!({})), [named("body", How::Changed)]);
    }

    #[test]
    fn method_and_path_are_fields_too_and_the_case_of_a_path_is_none() {
        let body = json!({"quantity": 1});
        let first = Outline::of(KEY, "POST", "/inventory/ab/decrement", &body);
        let named = |method, path| {
            let found = first.differences(&Outline::of(KEY, method, path, &body));
            found.into_iter().map(|found| found.field).collect::<Vec<_>>()
        };
        assert_eq!(named("POST", "/inventory/AB/decrement"), [""; 0]);
        assert_eq!(named("PUT", "/inventory/ac/decrement"), ["method", "path"]);
    }

    #[test]
    fn no_value_is_kept_and_nothing_of_what_is_free() {
        let body = json!({"user_id": "ann@example.org", "metadata": {"secret-name": {"phone": "555-0199"}}});
        let text = outline(&body);
        let text = text.as_str();
        for kept in ["ann", "secret", "phone", "555", "POST", "orders"] {
            assert!(!text.contains(kept), "{kept} is in {text}");
        }
        let mut other = body.clone();
        other["metadata"]["secret-name"]["phone"] = json!("555-0100");
        assert_eq!(differing(&body, &other), [("metadata".to_owned(), How::Changed)]);
    }

    #[test]
    fn one_that_is_kept_is_compared_whatever_the_order_of_its_parts_and_no_other_text_tells_of_differences() {
        let body = json!({"user_id": "ann", "lines": [{"quantity": 1}, {"quantity": 2}]});
        let whole: Value = serde_json::from_str(outline(&body).as_str()).unwrap();
        let text = |part: &Value| {
            Outline::kept(format!(
                r#"{{"body":{part},"method":{},"path":{}}}"#,
                whole["method"], whole["path"]
            ))
        };
        let mut other = body.clone();
        other["lines"][1]["quantity"] = json!(3);
        let named = |first: &Outline| {
            let found = first.differences(&outline(&other)).into_iter();
            found.map(|found| found.field).collect::<Vec<_>>()
        };
        let grains = [3, 2, 1, 0].map(|depth| named(&text(&coarser(&whole["body"], depth))));
        assert_eq!(grains, [["lines[1].quantity"], ["lines[1]"], ["lines"], ["body"]]);
        for text in ["", "garbage", "[]", "{}", r#"{"body":null}"#, r#"{"body":7,"method":"POST","path":1}"#]
        {
            assert_eq!(named(&Outline::kept(text.to_owned())), [""; 0], "{text}");
        }
    }

    #[test]
    fn the_same_value_under_another_key_looks_different() {
        let of = |key| Outline::of(key, "POST", "/orders", &json!({"user_id": "ann"}));
        assert_ne!(of("one"), of("two"));
    }

    #[test]
    fn what_is_long_is_told_more_coarsely_and_still_compared_with_what_is_short() {
        let (short, long) = (order(2), order(2_000));
        assert!(outline(&long).as_str().len() <= OUTLINE_MAX_BYTES);
        let mut other = long.clone();
        other["lines"][1_998]["quantity"] = json!(9_999);
        assert_eq!(differing(&long, &other), [("lines[1998]".to_owned(), How::Changed)]);
        let named = differing(&short, &long);
        assert_eq!(named.len(), NAMED_MAX);
        assert_eq!(named[0], ("lines[2]".to_owned(), How::New));
        assert_eq!(differing(&long, &short)[0], ("lines[2]".to_owned(), How::Gone));
        let endless = json!({"user_id": "ann", "operations": vec![1; 100_000]});
        assert!(outline(&endless).as_str().len() <= OUTLINE_MAX_BYTES);
        let shorter = json!({"user_id": "ann", "operations": vec![1; 99_999]});
        assert_eq!(differing(&endless, &shorter), [("operations".to_owned(), How::Changed)]);
        let list: Value = vec![1; 100_000].into();
        assert_eq!(differing(&list, &json!([1])), [("body".to_owned(), How::Changed)]);
    }
}
