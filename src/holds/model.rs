//! The words of holds as types.

use std::time::Duration;

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::inventory::model::LockSeen;
use crate::money::Currency;

/// The most holds of one user that may live at once.
pub const LIVE_HOLDS_MAX: i64 = 20;

/// How far a hold has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum HoldState {
    /// Its stock is kept.
    Held,
    /// It became an order.
    Captured,
    /// It was given up.
    Released,
    /// Its time is over.
    Expired,
}

impl HoldState {
    /// The state's name in answers and tables.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Held => "held",
            Self::Captured => "captured",
            Self::Released => "released",
            Self::Expired => "expired",
        }
    }
}

/// For how long stock is held: 10 to 3,600 seconds, 600 unless said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(try_from = "i64")]
#[schemars(inline, extend("minimum" = 10, "maximum" = 3_600, "default" = 600))]
pub struct HoldTtl(i64);

impl HoldTtl {
    /// The seconds.
    #[must_use]
    pub fn seconds(self) -> f64 {
        // At most 3,600.
        Duration::from_secs(self.0.unsigned_abs()).as_secs_f64()
    }
}

impl Default for HoldTtl {
    fn default() -> Self {
        Self(600)
    }
}

impl TryFrom<i64> for HoldTtl {
    type Error = &'static str;

    fn try_from(seconds: i64) -> Result<Self, Self::Error> {
        let fits = (10..=3_600).contains(&seconds);
        if fits { Ok(Self(seconds)) } else { Err("must be a whole number from 10 to 3600") }
    }
}

/// A hold as callers see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Hold {
    /// Its id.
    pub hold_id: Uuid,
    /// Who it is for.
    pub user_id: String,
    /// How far it has come, by the database's clock.
    pub state: HoldState,
    /// When it ends, or would have.
    pub expires_at: DateTime<Utc>,
    /// The currency of all its amounts.
    pub currency: Currency,
    /// The sum of the lines' totals.
    pub total: Decimal,
    /// What is kept, in the order it was asked for.
    pub lines: Vec<HoldLine>,
    /// The order it became.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub order_id: Option<Uuid>,
    /// Since when.
    pub held_at: DateTime<Utc>,
    /// The lock this answer's write was made under; when only read, that of its beginning.
    pub lock: LockSeen,
}

/// One line of a hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct HoldLine {
    /// Its id.
    pub line_id: Uuid,
    /// Of what.
    pub variant_id: Uuid,
    /// Its stock keeping unit when it was held.
    pub sku: String,
    /// How many are kept.
    pub quantity: i64,
    /// What one costs, whatever the catalogue says meanwhile.
    pub unit_price: Decimal,
    /// What all cost.
    pub line_total: Decimal,
}
