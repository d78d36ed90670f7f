//! The words of tills' invoices as types.

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::inventory::model::{LockSeen, Quantity};
use crate::money::{Amount, Currency};

/// The most items an invoice may have.
pub const ITEMS_MAX: usize = 2_000;

/// Which version an edit was made from: 0 where there is none yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(try_from = "i64")]
#[schemars(inline, extend("minimum" = 0, "maximum" = u32::MAX - 1))]
pub struct Version(i64);

impl Version {
    /// The number.
    #[must_use]
    pub fn get(self) -> i64 {
        self.0
    }
}

impl TryFrom<i64> for Version {
    type Error = &'static str;

    fn try_from(version: i64) -> Result<Self, Self::Error> {
        let fits = (0..i64::from(u32::MAX)).contains(&version);
        if fits { Ok(Self(version)) } else { Err("must be the version this edit was made from; 0 creates") }
    }
}

/// How far an invoice has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PosState {
    /// It may be edited.
    Draft,
    /// Its items are sold.
    Submitted,
    /// They came back.
    Returned,
}

impl PosState {
    /// All states.
    pub const ALL: [Self; 3] = [Self::Draft, Self::Submitted, Self::Returned];

    /// The state's name in answers and tables.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Draft => "draft",
            Self::Submitted => "submitted",
            Self::Returned => "returned",
        }
    }
}

/// An item that is wanted on an invoice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
pub struct ItemWanted {
    /// Of what.
    pub variant_id: Uuid,
    /// How many.
    pub quantity: Quantity,
    /// What one costs; the catalogue's price unless said.
    pub unit_price: Option<Amount>,
}

/// An invoice in one of its versions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct PosInvoice {
    /// What tills call it.
    pub name: String,
    /// The accepted edits up to this one.
    pub version: i64,
    /// How far the invoice has come, whichever version this is.
    pub state: PosState,
    /// Who buys.
    pub customer: Option<String>,
    /// The currency of all its amounts.
    pub currency: Currency,
    /// The sum of its items' totals.
    pub total: Decimal,
    /// What is bought.
    pub items: Vec<PosItem>,
    /// Whose key made this edit.
    pub saved_by: String,
    /// When it was accepted.
    pub saved_at: DateTime<Utc>,
    /// When its items were sold.
    pub submitted_at: Option<DateTime<Utc>>,
    /// When they came back.
    pub returned_at: Option<DateTime<Utc>>,
    /// The lock this answer's write was made under; when only read, that of the edit.
    pub lock: LockSeen,
}

/// One item of an invoice.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct PosItem {
    /// Its id, new with each version.
    pub item_id: Uuid,
    /// Of what.
    pub variant_id: Uuid,
    /// Its stock keeping unit when it was saved.
    pub sku: String,
    /// How many.
    pub quantity: i64,
    /// What one costs.
    pub unit_price: Decimal,
    /// What all cost.
    pub line_total: Decimal,
}
