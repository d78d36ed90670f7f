//! What onlookers are told: the truth about every lock and every waiter, whatever is away, at the same price however
//! much else Redis keeps.

mod holders;
mod looking;
mod postgres;
mod redis;
mod waiters;

use chrono::{DateTime, Utc};
use serde_json::Value;

fn names(object: &Value) -> Vec<&str> {
    let mut names: Vec<_> = object.as_object().unwrap().keys().map(String::as_str).collect();
    names.sort_unstable();
    names
}

/// What holds for every status.
#[track_caller]
fn assert_adds_up(status: &Value) {
    let number = |name: &str| status[name].as_u64().unwrap();
    assert_eq!(number("total_active_locks"), number("inventory_locks") + number("custom_locks"), "{status}");
    let locks = status["locks"].as_array().unwrap();
    assert_eq!(number("total_active_locks"), locks.len() as u64);
    let now: DateTime<Utc> = status["timestamp"].as_str().unwrap().parse().unwrap();
    for lock in locks {
        let Some(left) = lock["ttl_ms"].as_u64() else {
            assert!(lock["ttl"].is_null() && lock["expires_at"].is_null(), "{lock}");
            continue;
        };
        assert_eq!(lock["ttl"], left.div_ceil(1_000), "{lock}");
        let end: DateTime<Utc> = lock["expires_at"].as_str().unwrap().parse().unwrap();
        assert_eq!((end - now).num_milliseconds() as u64, left, "{lock}");
    }
}
