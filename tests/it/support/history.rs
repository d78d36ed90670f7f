//! Whether what clients were told about a variant can be true: one order of all changes that everybody's answers
//! agree with and that respects what was over before what began.
//!
//! Every answer carries the variant's version, so the order need not be searched for: sorted by version, versions
//! must be dense, each answer must start from where the one before it ended, and an operation whose answer was
//! there before another was asked for must come before it. O(n log n).

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use serde_json::Value;
use tokio::time::Instant;
use uuid::Uuid;

use super::Reply;

/// One acknowledged change.
#[derive(Debug, Clone, Copy)]
pub struct Entry {
    pub invoked: Instant,
    pub returned: Instant,
    pub version: i64,
    pub delta: i64,
    pub before: i64,
    pub after: i64,
}

/// All acknowledged changes by variant. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct History(Arc<Mutex<HashMap<Uuid, Vec<Entry>>>>);

impl History {
    /// Runs a request and notes its movement if it was carried out.
    pub async fn watch(&self, request: impl Future<Output = Reply>) -> Reply {
        let invoked = Instant::now();
        let reply = request.await;
        let returned = Instant::now();
        if reply.status == 200 && !reply.was_replayed() {
            self.note(&reply.json(), invoked, returned);
        }
        reply
    }

    fn note(&self, movement: &Value, invoked: Instant, returned: Instant) {
        let number = |name: &str| movement[name].as_i64().unwrap();
        let entry = Entry {
            invoked,
            returned,
            version: number("version"),
            delta: number("delta"),
            before: number("previous_quantity"),
            after: number("new_quantity"),
        };
        let variant = movement["variant_id"].as_str().unwrap().parse().unwrap();
        self.add(variant, entry);
    }

    /// Notes a change that was acknowledged.
    pub fn add(&self, variant: Uuid, entry: Entry) {
        self.0.lock().unwrap().entry(variant).or_default().push(entry);
    }

    /// Checks every variant, whose opening stock was version 1, and gives the number of changes looked at.
    pub fn check(&self) -> usize {
        let histories = self.0.lock().unwrap();
        for (variant, entries) in &*histories {
            if let Err(found) = linearizable(entries) {
                panic!("variant {variant}: {found}");
            }
        }
        histories.values().map(Vec::len).sum()
    }
}

/// Checks one variant's changes, from version 2 on.
pub fn linearizable(entries: &[Entry]) -> Result<(), String> {
    let mut by_version: Vec<&Entry> = entries.iter().collect();
    by_version.sort_by_key(|entry| entry.version);
    let mut last: Option<&Entry> = None;
    for (expected, entry) in (2..).zip(&by_version) {
        if entry.version != expected {
            return Err(format!("version {expected} is missing or given twice: {entry:?}"));
        }
        if entry.before + entry.delta != entry.after || entry.after < 0 {
            return Err(format!("an answer contradicts itself: {entry:?}"));
        }
        if last.is_some_and(|last| last.after != entry.before) {
            return Err(format!("{entry:?} does not start where {last:?} ended"));
        }
        last = Some(entry);
    }
    in_real_time(entries)
}

/// Walks through the invocations in time and keeps the highest version that had been answered before each.
fn in_real_time(entries: &[Entry]) -> Result<(), String> {
    let mut by_invocation: Vec<&Entry> = entries.iter().collect();
    let mut by_return = by_invocation.clone();
    by_invocation.sort_by_key(|entry| entry.invoked);
    by_return.sort_by_key(|entry| entry.returned);
    let mut returned = by_return.into_iter().peekable();
    let mut newest: Option<&Entry> = None;
    for entry in by_invocation {
        while let Some(over) = returned.next_if(|over| over.returned < entry.invoked) {
            newest = newest.filter(|newest| newest.version > over.version).or(Some(over));
        }
        if let Some(newest) = newest.filter(|newest| newest.version > entry.version) {
            return Err(format!("{newest:?} was over before {entry:?} was asked for"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// Overlapping operations that took effect in the order of their numbers.
    fn sound(count: i64) -> Vec<Entry> {
        let start = Instant::now();
        let at = |micros: i64| start + Duration::from_micros(micros as u64);
        (0..count)
            .map(|n| Entry {
                invoked: at(n * 10),
                returned: at(n * 10 + 35),
                version: n + 2,
                delta: if n % 3 == 0 { 2 } else { -1 },
                before: 100 + (0..n).map(|m| if m % 3 == 0 { 2 } else { -1 }).sum::<i64>(),
                after: 100 + (0..=n).map(|m| if m % 3 == 0 { 2 } else { -1 }).sum::<i64>(),
            })
            .rev()
            .collect()
    }

    #[test]
    fn a_sound_history_passes_in_any_order_of_writing_it_down() {
        assert_eq!(linearizable(&sound(500)), Ok(()));
        assert_eq!(linearizable(&[]), Ok(()));
    }

    /// Spoils a sound history.
    type Plant = fn(&mut Vec<Entry>);

    #[test]
    fn every_planted_error_is_found() {
        let plants: [(&str, Plant); 6] = [
            ("an acknowledged change is gone", |h| h.retain(|e| e.version != 250)),
            ("two changes share a version", |h| h[100].version = h[101].version),
            ("a lost update: two start from the same quantity", |h| {
                h[100].before = h[101].before;
                h[100].after = h[100].before + h[100].delta;
            }),
            ("an answer that does not add up", |h| h[7].after += 1),
            ("sold below nothing", |h| {
                h.iter_mut().for_each(|e| {
                    e.before -= 1_000;
                    e.after -= 1_000;
                })
            }),
            ("an answer from the past", |h| {
                let (early, late) = (h[400], h[50]);
                (h[400].invoked, h[400].returned) = (late.invoked, late.returned);
                (h[50].invoked, h[50].returned) = (early.invoked, early.returned);
            }),
        ];
        for (error, plant) in plants {
            let mut history = sound(500);
            plant(&mut history);
            assert!(linearizable(&history).is_err(), "not found: {error}");
        }
    }
}
