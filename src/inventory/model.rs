//! The words of the stock domain as types: none of them can hold a value the domain does not know.

use chrono::{DateTime, Datelike, SubsecRound, Utc};
use rust_decimal::Decimal;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::locks::Evidence;
use crate::money::Currency;
use crate::text::{Reason, Reference};

/// The most units one request may move.
pub const QUANTITY_MAX: i64 = 1_000_000_000;
/// The most units of one variant there may be.
pub const ON_HAND_MAX: i64 = 9_000_000_000_000;
/// A variant with this many available, or fewer, is low.
pub const LOW_STOCK_MAX: i64 = 10;

/// A number of units to take or put: 1 to 1,000,000,000.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "i64")]
#[schemars(inline, extend("minimum" = 1, "maximum" = QUANTITY_MAX))]
pub struct Quantity(i64);

impl Quantity {
    /// The number.
    #[must_use]
    pub fn get(self) -> i64 {
        self.0
    }
}

impl TryFrom<i64> for Quantity {
    type Error = &'static str;

    fn try_from(units: i64) -> Result<Self, Self::Error> {
        let fits = (1..=QUANTITY_MAX).contains(&units);
        if fits { Ok(Self(units)) } else { Err("must be a whole number from 1 to 1000000000") }
    }
}

/// A correction: not 0, at most 1,000,000,000 either way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "i64")]
#[schemars(inline, extend("minimum" = -QUANTITY_MAX, "maximum" = QUANTITY_MAX, "not" = {"const": 0}))]
pub struct Delta(i64);

impl Delta {
    /// The number.
    #[must_use]
    pub fn get(self) -> i64 {
        self.0
    }
}

impl TryFrom<i64> for Delta {
    type Error = &'static str;

    fn try_from(units: i64) -> Result<Self, Self::Error> {
        let fits = units != 0 && (-QUANTITY_MAX..=QUANTITY_MAX).contains(&units);
        if fits {
            Ok(Self(units))
        } else {
            Err("must be a whole number from -1000000000 to 1000000000, and not 0")
        }
    }
}

/// What a variant may open with, or is believed to have: 0 to 9,000,000,000,000.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "i64")]
#[schemars(inline, extend("minimum" = 0, "maximum" = ON_HAND_MAX))]
pub struct OnHand(i64);

impl OnHand {
    /// The number.
    #[must_use]
    pub fn get(self) -> i64 {
        self.0
    }
}

impl TryFrom<i64> for OnHand {
    type Error = &'static str;

    fn try_from(units: i64) -> Result<Self, Self::Error> {
        let fits = (0..=ON_HAND_MAX).contains(&units);
        if fits { Ok(Self(units)) } else { Err("must be a whole number from 0 to 9000000000000") }
    }
}

/// A time that can be asked for: one that Postgres can hold, in the years 1 to 9999, to the microsecond. What is finer is
/// cut off, so that a time that was kept and the same one sent again are equal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(try_from = "DateTime<Utc>")]
#[schemars(inline)]
pub struct StoredTime(DateTime<Utc>);

impl StoredTime {
    /// The time.
    #[must_use]
    pub fn get(self) -> DateTime<Utc> {
        self.0
    }
}

impl TryFrom<DateTime<Utc>> for StoredTime {
    type Error = &'static str;

    fn try_from(at: DateTime<Utc>) -> Result<Self, Self::Error> {
        if (1..=9999).contains(&at.year()) {
            Ok(Self(at.trunc_subsecs(6)))
        } else {
            Err("must be in the years 1 to 9999")
        }
    }
}

/// A variant's stock as its row says, under the row's lock or as last committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Level {
    /// Whose stock.
    pub variant_id: Uuid,
    /// Units there are.
    pub on_hand: i64,
    /// Units of them that are kept for somebody, as of when it was read.
    pub held: i64,
    /// Movements so far.
    pub version: i64,
}

impl Level {
    /// Units that may be sold. None where a correction left less than is held.
    #[must_use]
    pub fn available(&self) -> i64 {
        (self.on_hand - self.held).max(0)
    }
}

/// What a storefront shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum StockStatus {
    /// More than [`LOW_STOCK_MAX`] available.
    InStock,
    /// Some, but no more than [`LOW_STOCK_MAX`].
    LowStock,
    /// None.
    OutOfStock,
}

impl StockStatus {
    /// The status of `available` units.
    #[must_use]
    pub fn of(available: i64) -> Self {
        match available {
            ..=0 => Self::OutOfStock,
            1..=LOW_STOCK_MAX => Self::LowStock,
            _ => Self::InStock,
        }
    }
}

/// Why a level changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum MovementKind {
    /// A correction by hand, or the opening stock.
    Adjustment,
    /// Units sold.
    Sale,
    /// Units that came back.
    Return,
    /// A count was posted.
    Count,
    /// Units came in from a supplier.
    Receipt,
}

impl MovementKind {
    /// The kind's name in answers and tables.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Adjustment => "adjustment",
            Self::Sale => "sale",
            Self::Return => "return",
            Self::Count => "count",
            Self::Receipt => "receipt",
        }
    }
}

/// What a movement says about its occasion.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Occasion {
    /// Why, in the caller's words.
    pub reason: Option<Reason>,
    /// What it belongs to outside Holdfast.
    pub reference: Option<Reference>,
    /// The order it belongs to.
    pub order_id: Option<Uuid>,
    /// The order line it sells or the cancellation it returns.
    pub source_id: Option<Uuid>,
}

/// Who asked for a write, and under which lock it is done.
#[derive(Debug, Clone, Copy)]
pub struct Witness<'a> {
    /// The key's subject.
    pub subject: &'a str,
    /// The request.
    pub request_id: &'a str,
    /// The request in its trace, if it is in one.
    pub traceparent: Option<&'a str>,
    /// The lock.
    pub lock: Evidence,
}

impl Witness<'_> {
    /// How long the lock was waited for, in milliseconds, as tables have it.
    #[must_use]
    pub fn wait_ms(&self) -> i32 {
        i32::try_from(self.lock.wait_ms).unwrap_or(i32::MAX)
    }
}

/// One change of a level, as callers see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Movement {
    /// Its id.
    pub movement_id: Uuid,
    /// Whose stock.
    pub variant_id: Uuid,
    /// Its number among the variant's movements: 1, 2, 3, …
    pub version: i64,
    /// Why, by kind.
    #[schemars(with = "MovementKind")]
    pub kind: String,
    /// By how much.
    pub delta: i64,
    /// Units before.
    pub previous_quantity: i64,
    /// Units after.
    pub new_quantity: i64,
    /// Why, in the caller's words.
    pub reason: Option<String>,
    /// What it belongs to outside Holdfast; an order's movements name the order.
    pub reference: Option<String>,
    /// The lock it was made under.
    pub lock: LockSeen,
    /// When.
    pub created_at: DateTime<Utc>,
}

/// The lock evidence of a movement or order, read back or just made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(rename = "Lock")]
pub struct LockSeen {
    /// `two_layer` or `database_only`.
    #[schemars(with = "crate::locks::LockMode")]
    pub mode: String,
    /// Milliseconds waited.
    pub wait_ms: i32,
}

impl From<Evidence> for LockSeen {
    fn from(evidence: Evidence) -> Self {
        let wait_ms = i32::try_from(evidence.wait_ms).unwrap_or(i32::MAX);
        Self { mode: evidence.mode.as_str().to_owned(), wait_ms }
    }
}

/// A variant as the catalogue has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Variant {
    /// Its id.
    pub variant_id: Uuid,
    /// Its stock keeping unit.
    pub sku: String,
    /// What people call it.
    pub name: String,
    /// The price of one.
    pub price: Decimal,
    /// The price's currency.
    pub currency: Currency,
    /// Units there are.
    pub on_hand: i64,
}
