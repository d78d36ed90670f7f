//! Gives a claim its time again, though it lapsed, if nobody came. Refuses a rack that is paused, or no longer the session's.

use std::sync::Arc;

use axum::extract::State;
use sqlx::PgConnection;

use super::change::{By, Change, change};
use super::model::{Held, RackChange, RackState, Shadow, lease_ttl};
use crate::app::App;
use crate::counts::error;
use crate::counts::error::CountError;
use crate::counts::model::BySession;
use crate::events::EventKind;
use crate::http::answer::Answer;
use crate::http::auth::Caller;
use crate::http::extract::{InPath, OrDefault, Params};
use crate::http::problem::Problem;
use crate::leases::renew::renew_in_tx;
use crate::text::RackId;

/// `POST /racks/{rack_id}/renew`
///
/// # Errors
/// [`Problem`].
pub async fn renew(
    State(app): State<Arc<App>>,
    caller: Caller,
    InPath(rack_id): InPath<RackId>,
    Params(query): Params<BySession>,
    OrDefault(body): OrDefault<BySession>,
) -> Result<Answer, Problem> {
    change::<Renew>(&app, &caller, &rack_id, query, body).await
}

struct Renew;

impl Change for Renew {
    const NAME: &'static str = "renew";
    const EVENT: Option<EventKind> = None;

    fn is_new(_: &Held) -> bool {
        false
    }

    async fn in_tx(conn: &mut PgConnection, by: By<'_>, held: Held) -> Result<RackChange, CountError> {
        if held.is_paused {
            return Err(error::rack_paused());
        }
        let ttl = lease_ttl(held.ttl_seconds);
        let granted = renew_in_tx(conn, &held.lease, held.fence, ttl).await?;
        let message = format!("Rack {} is held for {} s more.", by.0.as_str(), held.ttl_seconds);
        Ok(held.changed(by, RackState::Active, ttl.duration(), message, Shadow::Cast(granted, ttl)))
    }
}
