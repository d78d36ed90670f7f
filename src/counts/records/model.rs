//! Records as devices send them, and as they are kept.

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::http::extract;
use crate::http::problem::Problem;
use crate::inventory::model::StoredTime;
use crate::leases::Fence;
use crate::text::{ClientId, Floor, RackId, SerialNumber, SessionId, Sku};

/// The most records of a batch.
pub const RECORDS_MAX: usize = 1_000;
/// The most serial numbers of a record.
pub const SERIALS_MAX: usize = 1_000;
/// The most units of a record.
pub const UNITS_MAX: i64 = 1_000_000_000;

/// Whether a record is to be posted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "RecordStatus")]
pub enum Status {
    /// It is.
    #[default]
    Finalized,
    /// Its device will send it again.
    Draft,
}

/// A record that can be judged.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[schemars(rename = "CountRecord")]
pub struct Record {
    /// The device's own id of it.
    pub client_record_id: ClientId,
    /// The session that counted it.
    pub session_id: SessionId,
    /// Where.
    pub rack_id: Option<RackId>,
    /// On which floor.
    pub floor: Option<Floor>,
    /// What.
    pub item_code: Sku,
    /// Units counted, damaged ones among them.
    pub verified_qty: i64,
    /// Damaged units.
    #[serde(default)]
    pub damage_qty: i64,
    /// The numbers of single units.
    #[serde(default)]
    pub serial_numbers: Vec<SerialNumber>,
    /// Whether it is to be posted.
    #[serde(default)]
    pub status: Status,
    /// The claim it was counted under.
    pub fence: Option<Fence>,
    /// When it was counted.
    pub counted_at: Option<StoredTime>,
    /// When its device made it.
    pub created_at: StoredTime,
    /// When its device changed it last.
    pub updated_at: StoredTime,
}

/// What names a record.
pub type RecordKey = (String, String);

impl Record {
    /// Reads one record of a batch.
    ///
    /// # Errors
    /// A [`Problem`] that names the field.
    pub fn read(sent: &Value) -> Result<Self, Problem> {
        let record: Self = extract::fields(sent)?;
        if record.serial_numbers.len() > SERIALS_MAX {
            return Err(Problem::invalid("serial_numbers", format!("must be {SERIALS_MAX} at most")));
        }
        Ok(record)
    }

    /// What names it.
    #[must_use]
    pub fn key(&self) -> RecordKey {
        (self.session_id.as_str().to_owned(), self.client_record_id.as_str().to_owned())
    }
}

/// What a record says, whatever claim it was sent under: by this a repetition is known.
#[must_use]
pub fn said(sent: &Value) -> Value {
    let mut said = sent.clone();
    if let Value::Object(fields) = &mut said {
        fields.remove("fence");
    }
    said
}

/// What a record says of the shelf, whenever it was said.
#[must_use]
pub fn said_ever(sent: &Value) -> Value {
    let mut said = said(sent);
    if let Value::Object(fields) = &mut said {
        fields.remove("created_at");
        fields.remove("updated_at");
    }
    said
}

/// When something was counted, and after which of the item's movements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Anchor {
    /// By the database's clock.
    pub at: DateTime<Utc>,
    /// The item's newest movement of then.
    pub version: i64,
    /// That of when it was counted at the latest, if that is another: what went out in between may or may not have been
    /// counted and is taken off, what came in is not added.
    pub latest_version: Option<i64>,
}

/// An item, as it was when it was counted.
#[derive(Debug, Clone, Copy)]
pub struct Item {
    /// The variant.
    pub variant_id: Uuid,
    /// Its newest movement of then; 0 if it had none yet.
    pub version: i64,
    /// That of when it was counted at the latest; 0 if the time is not in doubt.
    pub latest: i64,
    /// Its newest movement of now.
    pub newest: i64,
}

/// A record as it is written.
#[derive(Debug, Clone, Serialize)]
pub struct Kept {
    /// The session that counted it.
    pub session_id: String,
    /// The device's own id of it.
    pub client_record_id: String,
    /// What.
    pub variant_id: Uuid,
    /// Where.
    pub rack_id: Option<String>,
    /// On which floor.
    pub floor: Option<String>,
    /// Units counted.
    pub verified_qty: i64,
    /// Damaged ones among them.
    pub damage_qty: i64,
    /// The numbers of single units.
    pub serial_numbers: Vec<String>,
    /// Whether it is to be posted.
    pub status: Status,
    /// The lease of the claim it is written under.
    pub lease_name: Option<String>,
    /// That claim.
    pub fence: Option<Fence>,
    /// When it was counted.
    pub counted_at: DateTime<Utc>,
    /// The item's newest movement of then.
    pub counted_version: i64,
    /// That of when it was counted at the latest, if its device's clock was behind and so it is another.
    pub latest_version: Option<i64>,
    /// When its device changed it last.
    pub updated_at: DateTime<Utc>,
    /// The record as it was sent.
    pub sent: Value,
}

/// A record as callers see it.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[schemars(rename = "KeptRecord")]
pub struct Evidence {
    /// The device's own id of it.
    pub client_record_id: String,
    /// What.
    pub variant_id: Uuid,
    /// Its stock keeping unit.
    pub item_code: String,
    /// Where.
    pub rack_id: Option<String>,
    /// On which floor.
    pub floor: Option<String>,
    /// Units counted, damaged ones among them.
    pub verified_qty: i64,
    /// Damaged units.
    pub damage_qty: i64,
    /// The numbers of single units.
    pub serial_numbers: Value,
    /// `finalized` or `draft`.
    pub status: String,
    /// The claim it was written under.
    pub fence: Option<i64>,
    /// When it was counted.
    pub counted_at: DateTime<Utc>,
    /// The item's newest movement of then.
    pub counted_version: i64,
    /// When its device changed it last.
    pub updated_at: DateTime<Utc>,
    /// When it came.
    pub synced_at: DateTime<Utc>,
}

/// Why a record waits for a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ConflictType {
    /// One of its serial numbers is in another record, or twice in this one.
    DuplicateSerial,
    /// Its quantities can't be.
    InvalidQuantity,
    /// Another session holds the rack.
    RackLocked,
    /// Its session has lost the rack.
    LeaseLost,
    /// A later version of it is there.
    StaleRecord,
}

impl ConflictType {
    /// Its name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::DuplicateSerial => "duplicate_serial",
            Self::InvalidQuantity => "invalid_quantity",
            Self::RackLocked => "rack_locked",
            Self::LeaseLost => "lease_lost",
            Self::StaleRecord => "stale_record",
        }
    }
}

/// A record that waits for a person.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[schemars(rename = "SyncConflict")]
pub struct Conflict {
    /// The device's own id of it.
    pub client_record_id: String,
    /// Why.
    pub conflict_type: ConflictType,
    /// Why, in words.
    pub message: String,
    /// What it is up against.
    pub details: Value,
}

/// A record that can't be taken.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[schemars(rename = "SyncError")]
pub struct Fault {
    /// The device's own id of it, if it could be read.
    pub client_record_id: Option<String>,
    /// Why: a stable name.
    pub error_type: &'static str,
    /// Why, in words.
    pub message: String,
}

/// Why a record is not simply kept.
#[derive(Debug, Clone, PartialEq)]
pub enum Refusal {
    /// It waits for a person.
    Conflict {
        /// Why.
        kind: ConflictType,
        /// Why, in words.
        message: String,
        /// What it is up against.
        details: Value,
    },
    /// It can't be taken.
    Fault {
        /// Why: a stable name.
        error_type: &'static str,
        /// Why, in words.
        message: String,
    },
}

impl Refusal {
    /// A conflict with a word on what it is up against.
    pub(super) fn conflict(kind: ConflictType, message: impl Into<String>, details: Value) -> Self {
        Self::Conflict { kind, message: message.into(), details }
    }

    /// An error.
    pub(super) fn fault(error_type: &'static str, message: impl Into<String>) -> Self {
        Self::Fault { error_type, message: message.into() }
    }

    /// A quantity that can't be.
    pub(super) fn quantity(message: impl Into<String>, record: &Record) -> Self {
        let details = json!({"verified_qty": record.verified_qty, "damage_qty": record.damage_qty,
                             "serial_numbers": record.serial_numbers.len()});
        Self::conflict(ConflictType::InvalidQuantity, message, details)
    }
}
