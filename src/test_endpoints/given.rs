//! What a test call was given: in its query, in its JSON body, or in both, of which the body counts.

use axum::extract::FromRequestParts;
use axum::extract::Request;
use serde::Deserialize;
use uuid::Uuid;

use crate::http::extract::{Body, Params};
use crate::http::problem::Problem;
use crate::idempotency::KeyedRequest;
use crate::inventory::model::Quantity;
use crate::text::Reason;

/// The parameters of all test calls; each uses some.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Given {
    pub(super) variant_id: Option<Uuid>,
    pub(super) quantity: Option<Quantity>,
    pub(super) reason: Option<Reason>,
    pub(super) lock_duration: Option<u64>,
}

impl Given {
    /// Reads both.
    ///
    /// # Errors
    /// [`Problem`] if either can't be read.
    pub(super) async fn read(request: Request) -> Result<(Self, Option<KeyedRequest>), Problem> {
        let (mut parts, body) = request.into_parts();
        let Params(query) = Params::<Self>::from_request_parts(&mut parts, &()).await?;
        let body = Body::<Self>::or_default(Request::from_parts(parts, body)).await?;
        let given = Self {
            variant_id: body.value.variant_id.or(query.variant_id),
            quantity: body.value.quantity.or(query.quantity),
            reason: body.value.reason.or(query.reason),
            lock_duration: body.value.lock_duration.or(query.lock_duration),
        };
        Ok((given, body.keyed))
    }

    /// The variant, which every call needs.
    ///
    /// # Errors
    /// [`Problem`] if there is none.
    pub(super) fn variant_id(&self) -> Result<Uuid, Problem> {
        self.variant_id.ok_or_else(|| Problem::invalid("variant_id", "is required, in the query or as JSON"))
    }
}
