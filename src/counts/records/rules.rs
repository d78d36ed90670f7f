//! How a record is judged. Pure: no database, no clock, no network.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use uuid::Uuid;

use super::model::{Anchor, ConflictType, Kept, Record, RecordKey, Refusal, UNITS_MAX, said};
use crate::leases::{Ending, Fence};

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

/// The claims that a session had of a rack.
#[derive(Debug, Clone, Copy)]
pub struct Own {
    /// The newest one's fence.
    pub newest: Fence,
    /// Since when it had the first.
    pub first_at: DateTime<Utc>,
    /// The fence of the first since which no other session had the rack, nor an operator took it away.
    pub unbroken: Fence,
    /// Since when it had that one.
    pub unbroken_at: DateTime<Utc>,
    /// Whether it had others before that one.
    pub was_interrupted: bool,
}

/// Under which claim a record is written: the newest, though it names an earlier one of its session's, if nobody else had the
/// rack in between. A rack that nobody holds keeps nobody out; whoever held it and was followed, or names a claim of before
/// that, has its records reviewed; so has whoever lost it and has it again, for what it counted before and names no claim of.
/// A session that let its own rack go may still send what it counted, until somebody else comes.
///
/// # Errors
/// A conflict.
pub fn under_claim(
    record: &Record,
    counted_at: DateTime<Utc>,
    newest: Option<&Standing>,
    own: Option<Own>,
) -> Result<Option<Fence>, Refusal> {
    let is_before = own.is_some_and(|own| own.was_interrupted && counted_at < own.unbroken_at);
    let unbroken = own.map(|own| own.unbroken);
    let own = own.map(|own| own.newest);
    let Some(newest) = newest else {
        return if record.fence.or(own).is_some() { Err(lost(record, None, own)) } else { Ok(None) };
    };
    let is_ours = newest.owner == record.session_id.as_str() && newest.ending != Some(Ending::ByHand);
    let stands = |fence| fence <= newest.fence && fence >= unbroken.unwrap_or(newest.fence);
    if is_ours && record.fence.map_or(!is_before, stands) {
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

/// A record that is there.
#[derive(Debug, Clone)]
pub struct There {
    /// When its device changed it last.
    pub updated_at: DateTime<Utc>,
    /// What it says.
    pub said: Value,
    /// Its serial numbers.
    pub serials: Vec<String>,
    /// Of what.
    pub variant_id: Uuid,
    /// Units, and damaged ones among them.
    pub quantities: (i64, i64),
    /// When it was counted.
    pub anchor: Anchor,
}

impl From<&Kept> for There {
    fn from(kept: &Kept) -> Self {
        Self {
            updated_at: kept.updated_at,
            said: said(&kept.sent),
            serials: kept.serial_numbers.clone(),
            variant_id: kept.variant_id,
            quantities: (kept.verified_qty, kept.damage_qty),
            anchor: Anchor {
                at: kept.counted_at,
                version: kept.counted_version,
                latest_version: kept.latest_version,
            },
        }
    }
}

impl There {
    /// When it was counted, for a later version that does not say when, and says the same of the shelf: one that was only
    /// finalized was not counted anew.
    #[must_use]
    pub fn counted_before(&self, record: &Record, variant_id: Uuid) -> Option<Anchor> {
        let is_same =
            (self.variant_id, self.quantities) == (variant_id, (record.verified_qty, record.damage_qty));
        (is_same && record.counted_at.is_none()).then_some(self.anchor)
    }

    /// Whether both count the same.
    #[must_use]
    pub fn counts_as(&self, other: &Self) -> bool {
        (self.variant_id, self.quantities, &self.serials)
            == (other.variant_id, other.quantities, &other.serials)
    }

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
    use chrono::TimeDelta;

    use super::*;

    fn record(fields: &Value) -> Record {
        let mut sent = json!({"client_record_id": "1", "session_id": "s", "item_code": "A", "verified_qty": 3,
                              "created_at": "2026-01-01T10:00:00Z", "updated_at": "2026-01-01T10:00:00Z"});
        for (name, value) in fields.as_object().unwrap() {
            sent[name] = value.clone();
        }
        Record::read(&sent).unwrap()
    }

    fn now() -> DateTime<Utc> {
        "2026-01-02T10:00:00Z".parse().unwrap()
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
        let (at, later) = (now(), now() + TimeDelta::minutes(1));
        let claims = |was_interrupted| Own {
            newest: Fence(7),
            first_at: at,
            unbroken: Fence(5),
            unbroken_at: later,
            was_interrupted,
        };
        let (own, again) = (Some(claims(false)), Some(claims(true)));
        for (record, newest, own, outcome) in [
            (&plain, Some(&ours), own, Ok(Some(Fence(7)))),
            (&under(7), Some(&ours), own, Ok(Some(Fence(7)))),
            // It was away, and nobody came.
            (&under(5), Some(&ours), own, Ok(Some(Fence(7)))),
            (&under(5), Some(&ours), again, Ok(Some(Fence(7)))),
            (&under(4), Some(&ours), own, Err("lease_lost")),
            (&under(8), Some(&ours), own, Err("lease_lost")),
            (&under(5), Some(&ours), None, Err("lease_lost")),
            (&plain, Some(&ours), again, Err("lease_lost")),
            (&under(7), Some(&ours), again, Ok(Some(Fence(7)))),
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
                under_claim(record, at, newest, own).map_err(|refusal| kind(&refusal)),
                outcome,
                "{record:?} {newest:?}"
            );
        }
        assert_eq!(under_claim(&plain, later, Some(&ours), again), Ok(Some(Fence(7))));
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
    fn a_record_that_is_only_finalized_was_counted_when_its_draft_was() {
        let variant = Uuid::nil();
        let there = There {
            updated_at: now(),
            said: json!({}),
            serials: Vec::new(),
            variant_id: variant,
            quantities: (3, 0),
            anchor: Anchor { at: now(), version: 4, latest_version: None },
        };
        for (fields, variant, is_kept) in [
            (json!({}), variant, true),
            (json!({"verified_qty": 4}), variant, false),
            (json!({"damage_qty": 1}), variant, false),
            (json!({"counted_at": "2026-01-02T10:30:00Z"}), variant, false),
            (json!({}), Uuid::max(), false),
        ] {
            let anchor = there.counted_before(&record(&fields), variant);
            assert_eq!(anchor, is_kept.then_some(there.anchor), "{fields}");
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
