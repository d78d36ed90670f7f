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

/// How far an order has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OrderStatus {
    Placed,
    PartlyCancelled,
    Cancelled,
}

/// An order as the service tells it.
#[derive(Clone, Debug, Deserialize)]
pub struct OrderAnswer {
    pub order_id: Uuid,
    pub user_id: String,
    pub status: OrderStatus,
    pub currency: String,
    pub total: Decimal,
    pub lines: Vec<OrderLineAnswer>,
}

/// One line of an order as the service tells it.
#[derive(Clone, Debug, Deserialize)]
pub struct OrderLineAnswer {
    pub line_id: Uuid,
    pub variant_id: Uuid,
    pub sku: String,
    pub quantity: i64,
    pub unit_price: Decimal,
    pub line_total: Decimal,
    pub cancelled_quantity: i64,
}

/// The body of a cancellation: of some lines, or of all that is left.
#[derive(Debug, Serialize)]
pub struct CancelBody<'a> {
    pub reason: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lines: Option<&'a [CancelLine]>,
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

/// The body of a hold.
#[derive(Debug, Serialize)]
pub struct HoldBody<'a> {
    pub user_id: &'a str,
    pub currency: &'a str,
    pub lines: Vec<OrderLineBody>,
    pub ttl_seconds: u64,
}

/// How far a hold has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HoldState {
    Held,
    Captured,
    Released,
    Expired,
}

/// A hold as the service tells it.
#[derive(Clone, Debug, Deserialize)]
pub struct HoldAnswer {
    pub hold_id: Uuid,
    pub user_id: String,
    pub state: HoldState,
    pub total: Decimal,
    pub lines: Vec<HoldLineAnswer>,
    pub order_id: Option<Uuid>,
}

/// One line of a hold as the service tells it.
#[derive(Clone, Debug, Deserialize)]
pub struct HoldLineAnswer {
    pub line_id: Uuid,
    pub variant_id: Uuid,
    pub quantity: i64,
    pub unit_price: Decimal,
}

/// The body of a capture: of some lines, or of all that is held.
#[derive(Debug, Serialize)]
pub struct CaptureBody {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lines: Option<Vec<CancelLine>>,
}

/// A body without fields.
#[derive(Debug, Serialize)]
pub struct NoFields {}

/// The body of a webhook that tells of a cancelled order.
#[derive(Debug, Serialize)]
pub struct EventBody<'a> {
    pub r#type: &'a str,
    pub data: EventData<'a>,
}

/// Which order was cancelled, and what of it.
#[derive(Debug, Serialize)]
pub struct EventData<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub order_id: Option<Uuid>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idempotency_key: Option<&'a str>,
    pub reason: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lines: Option<&'a [CancelLine]>,
}

/// What a webhook says came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EventResult {
    Cancelled,
    AlreadyCancelled,
    WaitingForOrder,
}

/// What a webhook is answered with.
#[derive(Debug, Deserialize)]
pub struct ReceiptAnswer {
    pub result: EventResult,
    pub order_id: Option<Uuid>,
}

/// Why stock moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MovementKind {
    Adjustment,
    Sale,
    Return,
    Count,
    Receipt,
}

/// One movement of a variant's stock.
#[derive(Clone, Debug, Deserialize)]
pub struct Movement {
    pub variant_id: Uuid,
    pub version: i64,
    pub kind: MovementKind,
    /// Whose movement it is: of an order, its id.
    pub reference: Option<String>,
    pub delta: i64,
    pub previous_quantity: i64,
    pub new_quantity: i64,
}

/// The part of a stock answer that is judged.
#[derive(Debug, Deserialize)]
pub struct Inventory {
    pub variant_id: Uuid,
    pub on_hand: i64,
    pub held: i64,
    pub available: i64,
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
