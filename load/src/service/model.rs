//! The JSON shapes sent and read. Answers name only the fields that are judged; more may be there.

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The body of a new variant.
#[derive(Debug, Serialize)]
pub struct VariantBody<'a> {
    pub sku: &'a str,
    pub name: &'a str,
    pub price: Decimal,
    pub currency: &'a str,
    pub on_hand: i64,
}

/// A variant as the service made it.
#[derive(Debug, Deserialize)]
pub struct VariantAnswer {
    pub variant_id: Uuid,
    pub sku: String,
    pub price: Decimal,
    pub on_hand: i64,
}

/// The body of an order.
#[derive(Debug, Serialize)]
pub struct OrderBody<'a> {
    pub user_id: &'a str,
    pub currency: &'a str,
    pub lines: Vec<OrderLineBody>,
}

/// One line asked for.
#[derive(Debug, Serialize)]
pub struct OrderLineBody {
    pub variant_id: Uuid,
    pub quantity: i64,
}

/// An order as the service tells it.
#[derive(Debug, Deserialize)]
pub struct OrderAnswer {
    pub order_id: Uuid,
    pub user_id: String,
    pub currency: String,
    pub total: Decimal,
    pub lines: Vec<OrderLineAnswer>,
}

/// One line of an order as the service tells it.
#[derive(Debug, Deserialize)]
pub struct OrderLineAnswer {
    pub line_id: Uuid,
    pub variant_id: Uuid,
    pub sku: String,
    pub quantity: i64,
    pub unit_price: Decimal,
    pub line_total: Decimal,
    pub cancelled_quantity: i64,
}

/// The body of a partial cancellation.
#[derive(Debug, Serialize)]
pub struct CancelBody<'a> {
    pub reason: &'a str,
    pub lines: &'a [CancelLine],
}

/// How much of one line is cancelled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CancelLine {
    pub line_id: Uuid,
    pub quantity: i64,
}

/// The body of an increment (`quantity`) or an adjustment (`delta`).
#[derive(Debug, Default, Serialize)]
pub struct StockBody<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quantity: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delta: Option<i64>,
    pub reason: &'a str,
    pub reference: &'a str,
}

/// One movement of a variant's stock.
#[derive(Clone, Debug, Deserialize)]
pub struct Movement {
    pub variant_id: Uuid,
    pub version: i64,
    pub delta: i64,
    pub previous_quantity: i64,
    pub new_quantity: i64,
}

/// The part of a stock answer that is judged.
#[derive(Debug, Deserialize)]
pub struct Inventory {
    pub on_hand: i64,
}

/// One page of a list.
#[derive(Debug, Deserialize)]
pub struct Page<T> {
    pub items: Vec<T>,
    pub next_cursor: Option<String>,
}

/// What a refusal for want of stock says was short.
#[derive(Debug, Deserialize)]
pub struct Shortages {
    #[serde(default)]
    pub errors: Vec<Shortage>,
}

/// One item that was short.
#[derive(Debug, Deserialize)]
pub struct Shortage {
    pub variant_id: Option<Uuid>,
    pub requested: Option<i64>,
    pub available: Option<i64>,
}

/// The service's own recomputation of every balance.
#[derive(Debug, Deserialize)]
pub struct AuditReport {
    pub ok: bool,
    #[serde(default)]
    pub variants_checked: u64,
    #[serde(default)]
    pub movements_checked: u64,
    #[serde(default)]
    pub violations: Vec<serde_json::Value>,
}
