//! What a test call was given: in its query, in its JSON body, or in both, of which the body counts.

use axum::extract::{FromRequest, FromRequestParts, Request};
use schemars::JsonSchema;
use serde::de::{DeserializeOwned, Error};
use serde::{Deserialize, Deserializer, Serialize};
use uuid::Uuid;

use crate::http::api::{Argument, Takes};
use crate::http::extract::{OrDefault, Params};
use crate::http::problem::Problem;
use crate::idempotency::KeyedRequest;

/// The fields of a call, all of which may be left out where they are read.
pub trait Given: Default + Serialize + DeserializeOwned + Send {
    /// The path's last part.
    const CALL: &str;

    /// These, and of `query` those that are missing here.
    fn or(self, query: Self) -> Self;
}

/// Query parameters none of which is unknown.
struct Known<T>(T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Known<T> {
    fn deserialize<D: Deserializer<'de>>(query: D) -> Result<Self, D::Error> {
        let mut unknown = None;
        let value = serde_ignored::deserialize(query, |path| unknown = Some(path.to_string()))?;
        match unknown {
            None => Ok(Self(value)),
            Some(name) => Err(D::Error::custom(format!("unknown field `{name}`"))),
        }
    }
}

/// What was given, and the idempotency key. However a value was given, it is the same request.
#[derive(Debug)]
pub struct Asked<T>(pub T, pub Option<KeyedRequest>);

impl<S: Send + Sync, T: Given> FromRequest<S> for Asked<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let (mut parts, body) = request.into_parts();
        let Params(Known(query)) = Params::<Known<T>>::from_request_parts(&mut parts, state).await?;
        let OrDefault(body) = OrDefault::<T>::from_request(Request::from_parts(parts, body), state).await?;
        let given = body.value.or(query);
        let meant = serde_json::to_value(&given).unwrap_or_default();
        Ok(Self(given, body.keyed.map(|keyed| KeyedRequest::new(keyed.key, "POST", T::CALL, &meant))))
    }
}

impl<T: JsonSchema> Argument for Asked<T> {
    fn note(takes: &mut Takes) {
        takes.query::<T>();
        takes.body::<T>(false);
    }
}

/// The variant, which most calls need.
///
/// # Errors
/// [`Problem`] if there is none.
pub(super) fn required(variant_id: Option<Uuid>) -> Result<Uuid, Problem> {
    variant_id.ok_or_else(|| Problem::invalid("variant_id", "is required, in the query or as JSON"))
}
