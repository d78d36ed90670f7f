//! The names and token of one lease, as Redis knows them.
//!
//! What must stay true: a token is unguessable and never used twice; it names its replica, so that a lock can be
//! told to be a dead one's; and a key's line lives in the same slot of a cluster as the key.

use std::sync::Arc;
use std::time::Duration;

use super::keys::{LockClass, LockKey, in_logs};
use super::timing::Timing;
use crate::ids;

/// What our tokens end with, so that nobody else's is taken for one of ours.
const OURS: &str = ":holdfast";
/// The characters of a token that name its replica.
const REPLICA_CHARS: usize = 32;

/// What one lease takes in Redis.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// The keys' names, sorted as [`super::LockKeys`] are.
    pub names: Vec<String>,
    /// The line in front of each.
    pub lines: Vec<String>,
    /// TTL of each key, in milliseconds.
    pub ttls_ms: Vec<u64>,
    /// Proves ownership.
    pub token: Arc<str>,
    /// What its waits and holds are counted as: the class of its first key.
    pub class: LockClass,
}

impl Claim {
    /// A claim on `keys`.
    #[must_use]
    pub fn of_keys<'a>(keys: impl Iterator<Item = &'a LockKey>, timing: &Timing, token: Arc<str>) -> Self {
        let (mut names, mut ttls_ms, mut class) = (Vec::new(), Vec::new(), None);
        for key in keys {
            names.push(key.to_string());
            ttls_ms.push(millis(timing.ttl(key.class())));
            class.get_or_insert(key.class());
        }
        let lines = names.iter().map(|name| line_of(name)).collect();
        Self { names, lines, ttls_ms, token, class: class.unwrap_or(LockClass::Inventory) }
    }

    /// A short claim on locks that are known by name alone.
    #[must_use]
    pub fn of_names(names: Vec<String>, token: Arc<str>) -> Self {
        let lines = names.iter().map(|name| line_of(name)).collect();
        let ttls_ms = vec![1_000; names.len()];
        Self { names, lines, ttls_ms, token, class: LockClass::Inventory }
    }

    /// Its keys of each class by themselves.
    #[must_use]
    pub fn by_class(&self) -> Vec<(LockClass, Self)> {
        let mut parts: Vec<(LockClass, Self)> = Vec::new();
        for (index, name) in self.names.iter().enumerate() {
            let class = LockClass::of_name(name);
            if parts.last().is_none_or(|(last, _)| *last != class) {
                let (names, lines, ttls_ms) = (Vec::new(), Vec::new(), Vec::new());
                parts.push((class, Self { names, lines, ttls_ms, token: self.token.clone(), class }));
            }
            if let Some((_, part)) = parts.last_mut() {
                part.names.push(name.clone());
                part.lines.push(self.lines[index].clone());
                part.ttls_ms.push(self.ttls_ms[index]);
            }
        }
        parts
    }

    /// Its first key, as logs may have it.
    #[must_use]
    pub fn first_in_logs(&self) -> Option<String> {
        self.names.first().map(|name| in_logs(name))
    }

    /// The shortest TTL among its keys.
    #[must_use]
    pub fn shortest_ttl(&self) -> Duration {
        Duration::from_millis(self.ttls_ms.iter().copied().min().unwrap_or(u64::MAX))
    }
}

/// A new token of `replica`.
#[must_use]
pub fn new_token(replica: &str) -> Arc<str> {
    format!("{replica}{}{OURS}", ids::token()).into()
}

/// The replica that a token names; `None` for a stranger's.
#[must_use]
pub fn replica_of(token: &str) -> Option<&str> {
    let random = token.strip_suffix(OURS)?;
    let is_ours = random.len() == 2 * REPLICA_CHARS && random.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_ours.then(|| &random[..REPLICA_CHARS])
}

/// The name of the line in front of a key: in the key's own slot, whether it has a hash tag or not.
fn line_of(name: &str) -> String {
    if has_tag(name) { format!("holdfast:line:{name}") } else { format!("holdfast:line:{{{name}}}") }
}

/// Whether a key and its line can live in one slot: not if a brace in the key ends the line's tag too early. Only the
/// key of an order or a name can have one.
#[must_use]
pub fn fits_a_cluster(name: &str) -> bool {
    has_tag(name) || !name.contains('}')
}

/// Whether Redis Cluster places a key by a part of it: what stands in its first pair of braces.
fn has_tag(name: &str) -> bool {
    name.split_once('{').and_then(|(_, rest)| rest.split_once('}')).is_some_and(|(tag, _)| !tag.is_empty())
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_names_its_replica_and_no_strangers_token_does() {
        let replica = ids::token();
        let token = new_token(&replica);
        assert_eq!(replica_of(&token), Some(replica.as_str()));
        assert_ne!(token, new_token(&replica));
        let random = format!("{}{}", ids::token(), ids::token());
        for stranger in ["", "a stranger", OURS, &random, &format!("{random}0{OURS}"), &format!("é{OURS}")] {
            assert_eq!(replica_of(stranger), None, "{stranger}");
        }
    }

    /// What a cluster hashes of a key.
    fn hashed(key: &str) -> &str {
        let tag = key.split_once('{').and_then(|(_, rest)| rest.split_once('}')).map(|(tag, _)| tag);
        tag.filter(|tag| !tag.is_empty()).unwrap_or(key)
    }

    #[test]
    fn a_key_and_its_line_are_hashed_alike_wherever_that_can_be_had() {
        for (name, fits) in [
            ("inventory_lock:7", true),
            ("lock:order_creation_ann_{a}b", true),
            ("lock:order_creation_a{b", true),
            ("lock:order_creation_a{}b", false),
            ("lock:order_creation_a}b", false),
            ("lock:order_creation_a}{b", false),
            ("lock:order_creation_{}{a}", false),
        ] {
            assert_eq!(fits_a_cluster(name), fits, "{name}");
            assert_eq!(hashed(&line_of(name)) == hashed(name), fits, "{name}");
        }
    }
}
