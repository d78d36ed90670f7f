//! Lets a rack go: it may be claimed at once. Waits for the batches under the claim that are under way. To release twice is
//! the same answer. Refuses a rack that is no longer the session's.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use sqlx::PgConnection;

use super::change::{By, Change, change};
use super::model::{Held, RackChange, RackState, Shadow};
use super::store;
use crate::app::App;
use crate::counts::error::CountError;
use crate::counts::model::BySession;
use crate::events::EventKind;
use crate::http::answer::Answer;
use crate::http::auth::Caller;
use crate::http::extract::{InPath, OrDefault, Params};
use crate::http::problem::Problem;
use crate::leases::release::release_in_tx;
use crate::text::RackId;

/// `POST /racks/{rack_id}/release`
///
/// # Errors
/// [`Problem`].
pub async fn release(
    State(app): State<Arc<App>>,
    caller: Caller,
    InPath(rack_id): InPath<RackId>,
    Params(query): Params<BySession>,
    OrDefault(body): OrDefault<BySession>,
) -> Result<Answer, Problem> {
    change::<Release>(&app, &caller, &rack_id, query, body).await
}

struct Release;

impl Change for Release {
    const NAME: &'static str = "release";
    const EVENT: Option<EventKind> = Some(EventKind::RackReleased);
    const ENDS: bool = true;

    fn is_new(held: &Held) -> bool {
        !held.is_ended
    }

    async fn in_tx(conn: &mut PgConnection, by: By<'_>, held: Held) -> Result<RackChange, CountError> {
        release_in_tx(conn, &held.lease, held.fence).await?;
        store::unpause_in_tx(conn, by.0).await?;
        let message = format!("Rack {} is released.", by.0.as_str());
        let state = if held.is_completed { RackState::Completed } else { RackState::Available };
        Ok(held.changed(by, state, Duration::ZERO, message, Shadow::Faded))
    }
}
