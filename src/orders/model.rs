//! The words of the order domain as types.

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::inventory::model::{LockSeen, Quantity};
use crate::money::Currency;

/// The most lines an order may have.
pub const LINES_MAX: usize = 2_000;

/// How far an order has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OrderStatus {
    /// Bought, and nothing cancelled.
    Placed,
    /// Some of it cancelled.
    PartlyCancelled,
    /// All of it cancelled.
    Cancelled,
}

impl OrderStatus {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Placed, Self::PartlyCancelled, Self::Cancelled];

    /// The status's name in answers and tables.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Placed => "placed",
            Self::PartlyCancelled => "partly_cancelled",
            Self::Cancelled => "cancelled",
        }
    }

    /// The status of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == name)
    }
}

/// One line as it is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
pub struct LineWanted {
    /// Of what.
    pub variant_id: Uuid,
    /// How many.
    pub quantity: Quantity,
}

/// An order as callers see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Order {
    /// Its id.
    pub order_id: Uuid,
    /// Who bought.
    pub user_id: String,
    /// How far it has come.
    pub status: OrderStatus,
    /// The currency of all its amounts.
    pub currency: Currency,
    /// The sum of the lines' totals, as ordered.
    pub total: Decimal,
    /// What was bought, in the order it was asked for.
    pub lines: Vec<Line>,
    /// Whatever the storefront wanted to keep with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metadata: Option<serde_json::Value>,
    /// When.
    pub placed_at: DateTime<Utc>,
    /// The lock this answer's write was made under; when only read, that of the placing.
    pub lock: LockSeen,
}

/// One line of an order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(rename = "OrderLine")]
pub struct Line {
    /// Its id.
    pub line_id: Uuid,
    /// Of what.
    pub variant_id: Uuid,
    /// Its stock keeping unit when it was bought.
    pub sku: String,
    /// How many were bought.
    pub quantity: i64,
    /// What one cost.
    pub unit_price: Decimal,
    /// What all cost.
    pub line_total: Decimal,
    /// How many of them were cancelled since.
    pub cancelled_quantity: i64,
}
