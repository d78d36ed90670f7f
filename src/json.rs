//! Reading JSON into a plain tree, once: what a request's fingerprint, its fields and its metadata come from.
//!
//! `serde_json::Value` reads certain keys of its own as instructions, and starts counting depth anew inside
//! them: a small body could overflow the stack. This reading knows no such keys, bounds the depth, and
//! refuses a key that stands twice in one object.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::map::Entry;
use serde_json::{Map, Number, Value};

/// The deepest nesting that is read.
pub const DEPTH_MAX: usize = 32;
/// What serde_json's own keys begin with: refused, so that no later reading takes them for instructions.
const RESERVED: &str = "$serde_json::private::";

/// What is wrong, and where in the value it stands.
#[derive(Debug, thiserror::Error)]
#[error("{path}: {error}")]
pub struct ReadError {
    /// Path into the value, as in `lines[2].quantity`.
    pub path: String,
    /// What is wrong.
    pub error: serde_json::Error,
}

/// Reads the whole of `bytes` as one JSON value.
///
/// # Errors
/// [`ReadError`].
pub fn read(bytes: &[u8]) -> Result<Value, ReadError> {
    let mut json = serde_json::Deserializer::from_slice(bytes);
    let mut track = serde_path_to_error::Track::new();
    let read = Node { depth: 0 }.deserialize(serde_path_to_error::Deserializer::new(&mut json, &mut track));
    let value = read.map_err(|error| ReadError { path: track.path().to_string(), error })?;
    json.end().map_err(|error| ReadError { path: String::new(), error })?;
    Ok(value)
}

/// Whether a number in it was whole and too large for an integer: it was rounded when it was read.
#[must_use]
pub fn has_rounded_integer(value: &Value) -> bool {
    match value {
        Value::Array(items) => items.iter().any(has_rounded_integer),
        Value::Object(fields) => fields.values().any(has_rounded_integer),
        Value::Number(number) if number.is_f64() => {
            number.as_f64().is_some_and(|float| float.abs() >= 1e18 && float.fract() == 0.0)
        }
        _ => false,
    }
}

/// Whether any string or key in `value` holds U+0000, which Postgres can't keep.
#[must_use]
pub fn has_nul(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains('\0'),
        Value::Array(items) => items.iter().any(has_nul),
        Value::Object(fields) => fields.iter().any(|(key, value)| key.contains('\0') || has_nul(value)),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

#[derive(Clone, Copy)]
struct Node {
    depth: usize,
}

impl Node {
    fn inside<E: Error>(self) -> Result<Self, E> {
        if self.depth == DEPTH_MAX {
            return Err(E::custom(format_args!("is nested deeper than {DEPTH_MAX} levels")));
        }
        Ok(Self { depth: self.depth + 1 })
    }
}

impl<'de> DeserializeSeed<'de> for Node {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Node {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("is not a finite number"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let inside = self.inside()?;
        let mut items = Vec::new();
        while let Some(item) = seq.next_element_seed(inside)? {
            items.push(item);
        }
        Ok(Value::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let inside = self.inside()?;
        let mut fields = Map::new();
        while let Some(key) = map.next_key::<String>()? {
            if key.starts_with(RESERVED) {
                return Err(A::Error::custom("has a key that is reserved"));
            }
            let value = map.next_value_seed(inside)?;
            match fields.entry(key) {
                Entry::Vacant(free) => free.insert(value),
                // In serde's words, as when a field of a struct is given twice.
                Entry::Occupied(taken) => {
                    return Err(A::Error::custom(format_args!("duplicate field `{}`", taken.key())));
                }
            };
        }
        Ok(Value::Object(fields))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_are_read_as_they_stand() {
        let text = r#"{"a":[1,-2,1.5,true,null,"x"],"b":{"c":18446744073709551615}}"#;
        let value = json!({"a": [1, -2, 1.5, true, null, "x"], "b": {"c": u64::MAX}});
        assert_eq!(read(text.as_bytes()).unwrap(), value);
    }

    #[test]
    fn depth_is_bounded_and_reserved_keys_can_not_reset_it() {
        let nested = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
        assert!(read(nested(DEPTH_MAX).as_bytes()).is_ok());
        assert!(read(nested(DEPTH_MAX + 1).as_bytes()).is_err());
        for key in ["$serde_json::private::RawValue", "\\u0024serde_json::private::Number"] {
            assert!(read(format!(r#"{{"{key}":"[]"}}"#).as_bytes()).is_err(), "{key}");
        }
    }

    #[test]
    fn a_key_that_stands_twice_is_refused_and_so_is_what_follows_the_value() {
        assert!(read(br#"{"a":1,"a":1}"#).is_err());
        assert!(read(b"{} {}").is_err());
    }

    #[test]
    fn nul_is_found_wherever_it_hides() {
        assert!(has_nul(&json!({"a": [{"b": "x\0"}]})) && has_nul(&json!({"a\0": 1})));
        assert!(!has_nul(&json!({"a": "\\u0000"})));
    }
}
