//! One operation of a [`batch`](super::batch): the fields of the verb it names, held to the same rules.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::model::{Delta, Occasion, OnHand, Quantity};
use super::rules::Change;
use crate::http::auth::{Caller, Scope};
use crate::http::problem::{Code, Problem};
use crate::idempotency::{self, Claim, Fingerprint, IdempotencyError, KeyedRequest};
use crate::text::{Reason, Reference};

/// The verb an operation names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "StockVerb")]
pub enum Verb {
    /// As [`super::adjust`].
    Adjust,
    /// As [`super::decrement`].
    Decrement,
    /// As [`super::increment`].
    Increment,
}

/// An operation as it is sent.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "StockOperation")]
pub struct Operation {
    op: Verb,
    variant_id: Uuid,
    delta: Option<Delta>,
    quantity: Option<Quantity>,
    change_from: Option<OnHand>,
    reason: Option<Reason>,
    reference: Option<Reference>,
    #[schemars(length(min = 1, max = 257))]
    key: Option<String>,
}

/// An operation that has been read and makes sense.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// Of what.
    pub variant_id: Uuid,
    /// What to do.
    pub change: Change,
    /// Why.
    pub occasion: Occasion,
    /// The operation's own idempotency claim, if it has a key.
    pub claim: Option<Claim>,
}

impl Operation {
    /// Checks the operation on its own, before anything is locked. `at` says where it stands.
    ///
    /// # Errors
    /// A [`Problem`] that names the field.
    pub fn read(&self, caller: &Caller, at: &str) -> Result<Wanted, Problem> {
        let needed = match self.op {
            Verb::Adjust => Scope::Warehouse,
            Verb::Decrement | Verb::Increment => Scope::Storefront,
        };
        if !caller.principal.may(&[needed]) {
            let detail = format!("{at}.op needs a key with scope {} or operator.", needed.as_str());
            return Err(Problem::new(Code::Forbidden, detail));
        }
        let wrong = |(field, message): (&str, &str)| Problem::invalid(format!("{at}.{field}"), message);
        let change = self.change().map_err(wrong)?;
        let claim =
            self.claim(caller).map_err(|_| wrong(("key", "must be 1 to 255 visible ASCII characters")))?;
        let occasion = Occasion {
            reason: self.reason.clone(),
            reference: self.reference.clone(),
            ..Occasion::default()
        };
        Ok(Wanted { variant_id: self.variant_id, change, occasion, claim })
    }

    /// The change it wants, or which field is wrong and why.
    fn change(&self) -> Result<Change, (&'static str, &'static str)> {
        if self.op == Verb::Adjust {
            let delta = self.delta.ok_or(("delta", "is required by adjust"))?;
            if self.reason.is_none() {
                return Err(("reason", "is required by adjust"));
            }
            if self.quantity.is_some() {
                return Err(("quantity", "is not a field of adjust; use delta"));
            }
            return Ok(Change::Adjust { delta, believed: self.change_from });
        }
        if self.delta.is_some() {
            return Err(("delta", "is a field of adjust alone; use quantity"));
        }
        if self.change_from.is_some() {
            return Err(("change_from", "is a field of adjust alone"));
        }
        let quantity = self.quantity.ok_or(("quantity", "is required"))?;
        Ok(if self.op == Verb::Decrement { Change::Sell(quantity) } else { Change::Return(quantity) })
    }

    fn claim(&self, caller: &Caller) -> Result<Option<Claim>, IdempotencyError> {
        let Some(key) = &self.key else { return Ok(None) };
        let key = idempotency::parse_key(key)?.to_owned();
        let body = serde_json::to_value(self).unwrap_or_default();
        let fingerprint = Fingerprint::of("POST", "batch operation", &body);
        // An operation that is refused is told by its key alone, so its outline would be kept for nobody.
        let keyed = KeyedRequest { key, fingerprint, outline: None };
        Ok(Some(Claim::of_subject(&caller.principal.subject, keyed)))
    }
}
