//! Ends a pause: the claim has its usual time again, though its pause ran out, if nobody came. Refuses a rack that is no
//! longer the session's.

use std::sync::Arc;

use axum::extract::State;
use sqlx::PgConnection;

use super::change::{By, Change, change};
use super::model::{Held, RackChange, RackState, Shadow, lease_ttl};
use super::store;
use crate::app::App;
use crate::counts::error::CountError;
use crate::counts::model::BySession;
use crate::events::EventKind;
use crate::http::answer::Answer;
use crate::http::auth::Caller;
use crate::http::extract::{InPath, OrDefault, Params};
use crate::http::problem::Problem;
use crate::leases::renew::renew_in_tx;
use crate::text::RackId;

/// `POST /racks/{rack_id}/resume`
///
/// # Errors
/// [`Problem`].
pub async fn resume(
    State(app): State<Arc<App>>,
    caller: Caller,
    InPath(rack_id): InPath<RackId>,
    Params(query): Params<BySession>,
    OrDefault(body): OrDefault<BySession>,
) -> Result<Answer, Problem> {
    change::<Resume>(&app, &caller, &rack_id, query, body).await
}

struct Resume;

impl Change for Resume {
    const NAME: &'static str = "resume";
    const EVENT: Option<EventKind> = Some(EventKind::RackResumed);

    fn is_new(held: &Held) -> bool {
        held.is_paused
    }

    async fn in_tx(conn: &mut PgConnection, by: By<'_>, held: Held) -> Result<RackChange, CountError> {
        let ttl = lease_ttl(held.ttl_seconds);
        let granted = renew_in_tx(conn, &held.lease, held.fence, ttl).await?;
        store::unpause_in_tx(conn, by.0).await?;
        let message = format!("Rack {} is counted on, and held for {} s.", by.0.as_str(), held.ttl_seconds);
        Ok(held.changed(by, RackState::Active, ttl.duration(), message, Shadow::Cast(granted, ttl)))
    }
}
