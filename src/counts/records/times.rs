//! When a record was counted, by the database's clock, and at which of the item's movements. Pure: no database, no clock, no
//! network.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use super::model::{Anchor, Item, Record, Refusal};
use super::rules::Own;

/// How far a device's clock may be ahead.
pub const AHEAD_MAX: Duration = Duration::from_secs(24 * 60 * 60);
/// How long ago a record may have been counted.
pub const AGE_MAX: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// How old `updated_at` may be to stand for a `counted_at` that was not said.
pub const TRUSTED_AGE_MAX: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// By how much a device's clock may be behind: a rack is counted after it was claimed.
pub const BEHIND_MAX: Duration = Duration::from_secs(10 * 60);

/// By how much a device's clock is behind at the most: by as much as what it showed when it sent this lies in the past, of which
/// some is the way that took. So much later it may have been counted.
#[must_use]
pub fn behind(now: DateTime<Utc>, sent_at: Option<DateTime<Utc>>) -> TimeDelta {
    sent_at.map_or(TimeDelta::zero(), |sent_at| (now - sent_at).max(TimeDelta::zero()))
}

/// When a record counts as counted, by the database's clock: as it says; else when its device changed it last, if that was
/// within the last week; else now. A clock is ahead by as much as the record, or the batch at the time it was sent, comes
/// from the future, if not more: so much is taken off.
///
/// # Errors
/// A fault: a time that can't be.
pub fn counted_at(
    record: &Record,
    now: DateTime<Utc>,
    sent_at: Option<DateTime<Utc>>,
) -> Result<DateTime<Utc>, Refusal> {
    let said = record.counted_at.map(|at| at.get());
    let updated_at = record.updated_at.get();
    let is_ahead = |at: DateTime<Utc>| (at - now).to_std().is_ok_and(|ahead| ahead > AHEAD_MAX);
    let is_older = |at: DateTime<Utc>, age| (now - at).to_std().is_ok_and(|old| old > age);
    let others = [Some(updated_at), Some(record.created_at.get()), said, sent_at];
    if others.into_iter().flatten().any(is_ahead) {
        return Err(Refusal::fault(
            "invalid_time",
            "a time is more than a day ahead: set the device's clock",
        ));
    }
    let latest = sent_at.map_or(updated_at, |sent_at| sent_at.max(updated_at));
    let ahead = (latest - now).max(TimeDelta::zero());
    let (said, updated_at) = (said.map(|at| at - ahead), updated_at - ahead);
    match said {
        Some(at) if is_older(at, AGE_MAX) => {
            Err(Refusal::fault("invalid_time", "counted_at is more than 30 days ago: count it again"))
        }
        Some(at) => Ok(at.min(now)),
        None if is_older(updated_at, TRUSTED_AGE_MAX) => Ok(now),
        None => Ok(updated_at.min(now)),
    }
}

/// What a session counts on a rack it has claimed is not counted before the first of its claims, but for what a clock may
/// be behind. A time that was not said is no earlier than that.
///
/// # Errors
/// A fault.
pub fn since_claim(
    record: &Record,
    counted_at: DateTime<Utc>,
    own: Option<Own>,
) -> Result<DateTime<Utc>, Refusal> {
    let Some(own) = own else { return Ok(counted_at) };
    if (own.first_at - counted_at).to_std().is_ok_and(|before| before > BEHIND_MAX) {
        return match record.counted_at {
            Some(_) => Err(Refusal::fault(
                "invalid_time",
                "counted_at is before the session claimed the rack: set the device's clock",
            )),
            None => Ok(own.first_at),
        };
    }
    Ok(counted_at)
}

/// At which of an item's movements a record was counted. An item that had none yet was not known: only a time that was not said
/// may be wrong by that, and is now.
///
/// # Errors
/// A fault.
pub fn anchor(
    record: &Record,
    counted_at: DateTime<Utc>,
    now: DateTime<Utc>,
    item: Item,
) -> Result<Anchor, Refusal> {
    match (item.version, record.counted_at) {
        (0, Some(_)) if item.newest > 0 => {
            Err(Refusal::fault("invalid_time", "counted_at is before the item's first movement"))
        }
        (0, None) => Ok(Anchor { at: now, version: item.newest, latest_version: None }),
        (version, _) => {
            let latest_version = Some(item.latest).filter(|latest| *latest > version);
            Ok(Anchor { at: counted_at, version, latest_version })
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use uuid::Uuid;

    use super::*;
    use crate::leases::Fence;

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

    fn kind(refusal: &Refusal) -> &'static str {
        match refusal {
            Refusal::Conflict { kind, .. } => kind.as_str(),
            Refusal::Fault { error_type, .. } => error_type,
        }
    }

    #[test]
    fn a_device_without_a_clock_is_believed_as_far_as_it_can_be() {
        let at = |fields: &Value| {
            counted_at(&record(fields), now(), None)
                .map(|at| at.to_rfc3339())
                .map_err(|refusal| kind(&refusal))
        };
        for (fields, outcome) in [
            (json!({}), Ok("2026-01-01T10:00:00+00:00")),
            (json!({"counted_at": "2026-01-01T12:00:00Z"}), Ok("2026-01-01T12:00:00+00:00")),
            (json!({"counted_at": "2026-01-02T12:00:00Z"}), Ok("2026-01-02T10:00:00+00:00")),
            // The clock is two hours ahead at least, since it changed the record at that time.
            (
                json!({"counted_at": "2026-01-02T11:00:00Z", "updated_at": "2026-01-02T12:00:00Z"}),
                Ok("2026-01-02T09:00:00+00:00"),
            ),
            (json!({"created_at": "2099-01-04T12:00:00Z"}), Err("invalid_time")),
            (json!({"updated_at": "2025-12-11T10:00:00Z"}), Ok("2026-01-02T10:00:00+00:00")),
            (json!({"counted_at": "2026-01-04T12:00:00Z"}), Err("invalid_time")),
            (json!({"updated_at": "2099-01-04T12:00:00Z"}), Err("invalid_time")),
            (json!({"counted_at": "2025-11-04T12:00:00Z"}), Err("invalid_time")),
        ] {
            assert_eq!(at(&fields), outcome.map(str::to_owned), "{fields}");
        }
    }

    #[test]
    fn what_is_sent_from_the_future_was_counted_as_long_ago_as_its_device_says() {
        let counted = record(&json!({"updated_at": "2026-01-02T11:00:00Z"}));
        for (sent_at, at) in [
            (Some(now() + TimeDelta::hours(2)), now() - TimeDelta::hours(1)),
            (Some(now() + TimeDelta::minutes(90)), now() - TimeDelta::minutes(30)),
            // A clock that is behind makes a count older than it is, which is the safe side; so is a late repetition.
            (Some(now() - TimeDelta::hours(2)), now()),
            (None, now()),
        ] {
            assert_eq!(counted_at(&counted, now(), sent_at), Ok(at), "{sent_at:?}");
        }
        assert!(counted_at(&counted, now(), Some(now() + TimeDelta::hours(25))).is_err());
    }

    #[test]
    fn a_claimed_rack_was_counted_after_it_was_claimed() {
        let own = Own {
            newest: Fence(5),
            first_at: now(),
            unbroken: Fence(5),
            unbroken_at: now(),
            was_interrupted: false,
        };
        let (said, unsaid) = (record(&json!({"counted_at": "2026-01-02T09:00:00Z"})), record(&json!({})));
        let (early, soon) = (now() - TimeDelta::hours(1), now() - TimeDelta::minutes(9));
        assert_eq!(
            since_claim(&said, early, Some(own)).map_err(|refusal| kind(&refusal)),
            Err("invalid_time")
        );
        assert_eq!(since_claim(&unsaid, early, Some(own)), Ok(now()));
        for record in [&said, &unsaid] {
            assert_eq!(since_claim(record, soon, Some(own)), Ok(soon));
            assert_eq!(since_claim(record, early, None), Ok(early));
        }
    }

    #[test]
    fn a_count_is_anchored_to_the_newest_movement_of_its_time() {
        let (then, said, unsaid) = (
            now() - TimeDelta::hours(1),
            record(&json!({"counted_at": "2026-01-02T09:00:00Z"})),
            record(&json!({})),
        );
        let at = |at, version, latest_version| Anchor { at, version, latest_version };
        for (record, versions, outcome) in [
            (&said, (3, 0, 9), Ok(at(then, 3, None))),
            (&said, (3, 3, 9), Ok(at(then, 3, None))),
            (&said, (3, 7, 9), Ok(at(then, 3, Some(7)))),
            (&unsaid, (3, 0, 9), Ok(at(then, 3, None))),
            (&unsaid, (9, 0, 9), Ok(at(then, 9, None))),
            (&unsaid, (0, 4, 9), Ok(at(now(), 9, None))),
            (&said, (0, 4, 9), Err("invalid_time")),
            (&said, (0, 0, 0), Ok(at(then, 0, None))),
        ] {
            let (version, latest, newest) = versions;
            let item = Item { variant_id: Uuid::nil(), version, latest, newest };
            let anchored = anchor(record, then, now(), item).map_err(|refusal| kind(&refusal));
            assert_eq!(anchored, outcome, "{versions:?}");
        }
        assert_eq!(behind(now(), Some(then)), TimeDelta::hours(1));
        assert_eq!(behind(then, Some(now())), TimeDelta::zero());
        assert_eq!(behind(now(), None), TimeDelta::zero());
    }
}
