//! The words of webhooks as types.

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use super::signature::Scheme;
use crate::http::extract;
use crate::http::problem::Problem;
use crate::idempotency::{self, Fingerprint};
use crate::inventory::model::LockSeen;
use crate::orders::cancel::{CancelOrder, LineToCancel};
use crate::text::{Reason, UserId};

/// The one type of event that something is done about.
const ORDER_CANCELLED: &str = "order.cancelled";
/// What the envelope of Standard Webhooks has besides type and data: the sender's affair.
const ASIDE: [&str; 2] = ["id", "timestamp"];

/// An event: that an order was cancelled.
#[derive(Debug)]
pub struct Event {
    /// How it was signed.
    pub scheme: Scheme,
    /// Its id, which is the same each time it is delivered.
    pub event_id: String,
    /// What two deliveries of it must share: what it says, but not how.
    pub fingerprint: Fingerprint,
    /// What it says, as it is kept.
    pub data: Value,
    /// Which order.
    pub which: Which,
    /// What of it.
    pub cancel: CancelOrder,
}

/// Which order is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Which {
    /// The one with this id.
    Id(Uuid),
    /// The one that this user placed, or will place, with this key.
    Key(UserId, String),
}

/// That an order was cancelled. Other types are passed over; what else stands beside these two is the sender's affair.
#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "CancellationEvent", extend("additionalProperties" = true))]
pub(super) struct Envelope {
    /// `order.cancelled`
    #[expect(dead_code, reason = "was looked at before")]
    r#type: String,
    data: Data,
}

/// Which order, and what of it. Unknown fields are refused: a misspelt `lines` must not cancel the whole order.
#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "Cancellation")]
struct Data {
    order_id: Option<Uuid>,
    user_id: Option<UserId>,
    #[schemars(length(min = 1, max = 257))]
    idempotency_key: Option<String>,
    reason: Option<Reason>,
    #[schemars(length(min = 1, max = crate::orders::model::LINES_MAX))]
    lines: Option<Vec<LineToCancel>>,
}

impl Event {
    /// Reads a body. `None` if it tells of something else, which is nobody's mistake.
    ///
    /// # Errors
    /// A [`Problem`] that names the field.
    pub fn read(scheme: Scheme, signed_id: Option<String>, body: &[u8]) -> Result<Option<Self>, Problem> {
        let mut tree = extract::tree(body)?;
        if tree.get("type").and_then(Value::as_str).is_some_and(|told| told != ORDER_CANCELLED) {
            return Ok(None);
        }
        let event_id = signed_id.or_else(|| tree.get("id")?.as_str().map(str::to_owned));
        if let Some(fields) = tree.as_object_mut() {
            // Stripe's envelope has many more, and they grow.
            fields.retain(|name, _| match scheme {
                Scheme::Standard => !ASIDE.contains(&name.as_str()),
                Scheme::Stripe => matches!(name.as_str(), "type" | "data"),
            });
        }
        let Envelope { data, .. } = extract::fields(&tree)?;
        let event_id = event_id
            .filter(|id| super::signature::is_event_id(id))
            .ok_or_else(|| Problem::invalid("id", "must be 1 to 255 visible ASCII characters"))?;
        Self::of(scheme, event_id, tree["data"].take(), data).map(Some)
    }

    /// Reads again what was kept of it.
    ///
    /// # Errors
    /// A [`Problem`], if it is not what is taken any more.
    pub fn kept(scheme: Scheme, event_id: String, data: Value) -> Result<Self, Problem> {
        let fields = extract::fields(&data)?;
        Self::of(scheme, event_id, data, fields)
    }

    fn of(scheme: Scheme, event_id: String, data: Value, fields: Data) -> Result<Self, Problem> {
        let Data { order_id, user_id, idempotency_key, reason, lines } = fields;
        let which = match (order_id, user_id, idempotency_key) {
            (Some(order_id), None, None) => Which::Id(order_id),
            (None, Some(user_id), Some(key)) => {
                let wrong =
                    |_| Problem::invalid("data.idempotency_key", "must be 1 to 255 visible ASCII characters");
                Which::Key(user_id, idempotency::parse_key(&key).map_err(wrong)?.to_owned())
            }
            _ => {
                let message = "must have either order_id, or user_id and idempotency_key";
                return Err(Problem::invalid("data", message));
            }
        };
        let cancel = CancelOrder { reason, lines };
        cancel.check("data.lines")?;
        let fingerprint = Fingerprint::of("POST", ORDER_CANCELLED, &data);
        Ok(Self { scheme, event_id, fingerprint, data, which, cancel })
    }
}

/// What was done about an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "InboxState")]
pub enum State {
    /// Nothing: it may be tried again.
    Refused,
    /// Some or all of the order was cancelled by it.
    Cancelled,
    /// Nothing was left to cancel.
    AlreadyCancelled,
    /// The order is not there yet, and will be born cancelled.
    WaitingForOrder,
}

impl State {
    const ALL: [Self; 4] = [Self::Refused, Self::Cancelled, Self::AlreadyCancelled, Self::WaitingForOrder];

    /// The state's name in answers and tables.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::Cancelled => "cancelled",
            Self::AlreadyCancelled => "already_cancelled",
            Self::WaitingForOrder => "waiting_for_order",
        }
    }

    /// The state of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == name)
    }
}

/// What a delivery is answered with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(rename = "WebhookReceipt")]
pub struct Receipt {
    /// What was done.
    pub result: State,
    /// To which order, if it is there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub order_id: Option<Uuid>,
    /// The lock it was done under.
    pub lock: LockSeen,
    /// Whether it was done by an earlier delivery. Said only if so.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub duplicate: bool,
}

/// An entry of the inbox, as operators see it.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "InboxEntry")]
pub struct Entry {
    /// Its id.
    pub entry_id: Uuid,
    /// How it was signed.
    pub scheme: String,
    /// Its sender's id.
    pub event_id: String,
    /// What came of it. One that waited for an order that has come is cancelled.
    #[schemars(with = "State")]
    pub state: String,
    /// Its order, if that is there.
    pub order_id: Option<Uuid>,
    /// What it says.
    pub data: Value,
    /// The request that brought it first.
    pub request_id: String,
    /// When that was.
    pub received_at: DateTime<Utc>,
}
