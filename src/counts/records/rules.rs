//! How a record is judged. Pure: no database, no clock, no network.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::model::{ConflictType, Record, RecordKey, Refusal, UNITS_MAX};
use crate::leases::{Ending, Fence};

/// How far a device's clock may be ahead.
pub const AHEAD_MAX: Duration = Duration::from_secs(24 * 60 * 60);
/// How long ago a record may have been counted.
pub const AGE_MAX: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// How old `updated_at` may be to stand for a `counted_at` that was not said.
pub const TRUSTED_AGE_MAX: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// The newest claim of a rack, as its row says while nobody can change it.
#[derive(Debug, Clone)]
pub struct Standing {
    /// Its fence.
    pub fence: Fence,
    /// The session that owns it.
    pub owner: String,
    /// That session's user.
    pub user_id: Option<String>,
    /// How it ended, if it has.
    pub ending: Option<Ending>,
    /// Whether it has neither ended nor lapsed.
    pub is_live: bool,
}

/// Under which claim a record is written. A rack that nobody holds keeps nobody out; whoever held it and was followed, or
/// names a claim that is not the newest, has its records reviewed. A session that let its own rack go may still send what
/// it counted, until somebody else comes.
///
/// # Errors
/// A conflict.
pub fn under_claim(
    record: &Record,
    newest: Option<&Standing>,
    own: Option<Fence>,
) -> Result<Option<Fence>, Refusal> {
    let Some(newest) = newest else {
        return if record.fence.or(own).is_some() { Err(lost(record, None, own)) } else { Ok(None) };
    };
    let is_ours = newest.owner == record.session_id.as_str() && newest.ending != Some(Ending::ByHand);
    if is_ours && record.fence.is_none_or(|fence| fence == newest.fence) {
        return Ok(newest.ending.is_none().then_some(newest.fence));
    }
    if record.fence.or(own).is_some() {
        return Err(lost(record, Some(newest), own));
    }
    if !newest.is_live {
        return Ok(None);
    }
    let holder = newest.user_id.as_deref().unwrap_or(&newest.owner);
    let message = format!("The rack is counted by {holder} now. Claim it first.");
    let details = json!({"rack_id": record.rack_id, "holder": holder, "newest_fence": newest.fence});
    Err(Refusal::conflict(ConflictType::RackLocked, message, details))
}

fn lost(record: &Record, newest: Option<&Standing>, own: Option<Fence>) -> Refusal {
    let holder = newest.map(|newest| newest.user_id.as_deref().unwrap_or(&newest.owner));
    let under = record.fence.or(own);
    let message = "The session lost the rack after this was counted: it is kept for review.";
    let details = json!({"rack_id": record.rack_id, "counted_under": under, "holder": holder,
                         "newest_fence": newest.map(|newest| newest.fence)});
    Refusal::conflict(ConflictType::LeaseLost, message, details)
}

/// Whether the quantities can be.
///
/// # Errors
/// A conflict.
pub fn check_quantities(record: &Record) -> Result<(), Refusal> {
    let (verified, damaged) = (record.verified_qty, record.damage_qty);
    if !(0..=UNITS_MAX).contains(&verified) || damaged < 0 {
        return Err(Refusal::quantity(format!("quantities are whole numbers from 0 to {UNITS_MAX}"), record));
    }
    if damaged > verified {
        return Err(Refusal::quantity("more is damaged than was counted", record));
    }
    if record.serial_numbers.len() as i64 > verified {
        return Err(Refusal::quantity("there are more serial numbers than units", record));
    }
    Ok(())
}

/// When a record counts as counted, by the database's clock: as it says; else when its device changed it last, if that was
/// within the last week; else now. No later than now: a device's clock may be ahead.
///
/// # Errors
/// A fault: a time that can't be.
pub fn counted_at(record: &Record, now: DateTime<Utc>) -> Result<DateTime<Utc>, Refusal> {
    let said = record.counted_at.map(|at| at.get());
    let updated_at = record.updated_at.get();
    let is_ahead = |at: DateTime<Utc>| (at - now).to_std().is_ok_and(|ahead| ahead > AHEAD_MAX);
    let is_older = |at: DateTime<Utc>, age| (now - at).to_std().is_ok_and(|old| old > age);
    if is_ahead(updated_at) || said.is_some_and(is_ahead) {
        return Err(Refusal::fault(
            "invalid_time",
            "a time is more than a day ahead: set the device's clock",
        ));
    }
    match said {
        Some(at) if is_older(at, AGE_MAX) => {
            Err(Refusal::fault("invalid_time", "counted_at is more than 30 days ago: count it again"))
        }
        Some(at) => Ok(at.min(now)),
        None if is_older(updated_at, TRUSTED_AGE_MAX) => Ok(now),
        None => Ok(updated_at.min(now)),
    }
}

/// At which of an item's movements a record was counted: `version` was its newest then, and `newest` is now. An item that
/// had none yet was not known: only a time that was not said may be wrong by that, and is now.
///
/// # Errors
/// A fault.
pub fn anchor(
    record: &Record,
    counted_at: DateTime<Utc>,
    now: DateTime<Utc>,
    (version, newest): (i64, i64),
) -> Result<(DateTime<Utc>, i64), Refusal> {
    match (version, record.counted_at) {
        (0, Some(_)) if newest > 0 => {
            Err(Refusal::fault("invalid_time", "counted_at is before the item's first movement"))
        }
        (0, None) => Ok((now, newest)),
        _ => Ok((counted_at, version)),
    }
}

/// A record that is there.
#[derive(Debug, Clone)]
pub struct There {
    /// When its device changed it last.
    pub updated_at: DateTime<Utc>,
    /// What it says.
    pub said: Value,
    /// Its serial numbers.
    pub serials: Vec<String>,
}

impl There {
    /// Whether `said` is this again.
    #[must_use]
    pub fn is(&self, record: &Record, said: &Value) -> bool {
        self.updated_at == record.updated_at.get() && self.said == *said
    }

    /// Whether the record is later.
    ///
    /// # Errors
    /// A conflict.
    pub fn is_replaced_by(&self, record: &Record) -> Result<(), Refusal> {
        if record.updated_at.get() > self.updated_at {
            return Ok(());
        }
        let details = json!({"updated_at": record.updated_at.get(), "server_updated_at": self.updated_at});
        let message = "A version of this record that is as late or later is there.";
        Err(Refusal::conflict(ConflictType::StaleRecord, message, details))
    }
}

/// Who has which serial number, while nobody else can take or give back any of these.
#[derive(Debug, Default)]
pub struct Serials(pub HashMap<String, Option<RecordKey>>);

impl Serials {
    /// Gives a record its numbers, and back what it had before.
    ///
    /// # Errors
    /// A conflict: then nothing was changed.
    pub fn give(&mut self, record: &Record, before: &[String]) -> Result<(), Refusal> {
        let key = record.key();
        let mut own = HashSet::new();
        for serial in &record.serial_numbers {
            let serial = serial.as_str();
            let of_another = self.0.get(serial).and_then(Option::as_ref).filter(|owner| **owner != key);
            if of_another.is_none() && own.insert(serial) {
                continue;
            }
            let in_record = of_another.map(|(session_id, client_record_id)| {
                json!({"session_id": session_id, "client_record_id": client_record_id})
            });
            let message = match of_another {
                Some(_) => "A serial number was counted in another record.",
                None => "A serial number is twice in this record.",
            };
            let details = json!({"serial_number": serial, "counted_in": in_record});
            return Err(Refusal::conflict(ConflictType::DuplicateSerial, message, details));
        }
        for serial in before {
            let owner = self.0.entry(serial.clone()).or_default();
            if owner.as_ref() == Some(&key) {
                *owner = None;
            }
        }
        for serial in own {
            self.0.insert(serial.to_owned(), Some(key.clone()));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(fields: &Value) -> Record {
        let mut sent = json!({"client_record_id": "1", "session_id": "s", "item_code": "A", "verified_qty": 3,
                              "created_at": "2026-01-01T10:00:00Z", "updated_at": "2026-01-01T10:00:00Z"});
        for (name, value) in fields.as_object().unwrap() {
            sent[name] = value.clone();
        }
        Record::read(&sent).unwrap()
    }

    fn newest(owner: &str, ending: Option<Ending>, is_live: bool) -> Standing {
        Standing { fence: Fence(7), owner: owner.into(), user_id: None, ending, is_live }
    }

    fn kind(refusal: &Refusal) -> &'static str {
        match refusal {
            Refusal::Conflict { kind, .. } => kind.as_str(),
            Refusal::Fault { error_type, .. } => error_type,
        }
    }

    #[test]
    fn a_record_is_written_under_its_sessions_claim_or_reviewed() {
        let plain = record(&json!({}));
        let under = |fence| record(&json!({"fence": fence}));
        let (ours, theirs) = (newest("s", None, true), newest("t", None, true));
        let own = Some(Fence(5));
        for (record, newest, own, outcome) in [
            (&plain, Some(&ours), own, Ok(Some(Fence(7)))),
            (&under(7), Some(&ours), own, Ok(Some(Fence(7)))),
            (&under(5), Some(&ours), own, Err("lease_lost")),
            (&plain, Some(&theirs), None, Err("rack_locked")),
            (&plain, Some(&theirs), own, Err("lease_lost")),
            (&under(7), Some(&theirs), None, Err("lease_lost")),
            (&plain, None, None, Ok(None)),
            (&under(5), None, None, Err("lease_lost")),
            (&plain, Some(&newest("t", None, false)), None, Ok(None)),
            (&plain, Some(&newest("s", Some(Ending::Released), false)), own, Ok(None)),
            (&plain, Some(&newest("s", Some(Ending::ByHand), false)), own, Err("lease_lost")),
        ] {
            assert_eq!(
                under_claim(record, newest, own).map_err(|refusal| kind(&refusal)),
                outcome,
                "{record:?} {newest:?}"
            );
        }
    }

    #[test]
    fn nothing_is_damaged_that_was_not_counted() {
        for (fields, fits) in [
            (json!({}), true),
            (json!({"verified_qty": 0}), true),
            (json!({"damage_qty": 3}), true),
            (json!({"damage_qty": 4}), false),
            (json!({"damage_qty": -1}), false),
            (json!({"verified_qty": -1}), false),
            (json!({"verified_qty": UNITS_MAX + 1}), false),
            (json!({"serial_numbers": ["a", "b", "c"]}), true),
            (json!({"serial_numbers": ["a", "b", "c", "d"]}), false),
        ] {
            assert_eq!(check_quantities(&record(&fields)).is_ok(), fits, "{fields}");
        }
    }

    #[test]
    fn a_device_without_a_clock_is_believed_as_far_as_it_can_be() {
        let now: DateTime<Utc> = "2026-01-02T10:00:00Z".parse().unwrap();
        let at = |fields: &Value| {
            counted_at(&record(fields), now).map(|at| at.to_rfc3339()).map_err(|refusal| kind(&refusal))
        };
        for (fields, outcome) in [
            (json!({}), Ok("2026-01-01T10:00:00+00:00")),
            (json!({"counted_at": "2026-01-01T12:00:00Z"}), Ok("2026-01-01T12:00:00+00:00")),
            (json!({"counted_at": "2026-01-02T12:00:00Z"}), Ok("2026-01-02T10:00:00+00:00")),
            (json!({"updated_at": "2025-12-11T10:00:00Z"}), Ok("2026-01-02T10:00:00+00:00")),
            (json!({"counted_at": "2026-01-04T12:00:00Z"}), Err("invalid_time")),
            (json!({"updated_at": "2099-01-04T12:00:00Z"}), Err("invalid_time")),
            (json!({"counted_at": "2025-11-04T12:00:00Z"}), Err("invalid_time")),
        ] {
            assert_eq!(at(&fields), outcome.map(str::to_owned), "{fields}");
        }
    }

    #[test]
    fn a_serial_number_is_in_one_record_and_free_again_when_that_lets_it_go() {
        let mut serials = Serials::default();
        let with =
            |id: &str, numbers: &[&str]| record(&json!({"client_record_id": id, "serial_numbers": numbers}));
        serials.give(&with("1", &["a", "b"]), &[]).unwrap();
        assert!(serials.give(&with("2", &["c", "b"]), &[]).is_err());
        assert!(serials.give(&with("2", &["c", "c"]), &[]).is_err());
        serials.give(&with("1", &["a"]), &["a".into(), "b".into()]).unwrap();
        serials.give(&with("2", &["c", "b"]), &[]).unwrap();
    }
}
