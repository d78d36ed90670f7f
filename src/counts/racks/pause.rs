//! Keeps a rack for a while in which nothing is heard of its session. A rack that is paused already keeps its end: a claim
//! can't be kept for ever. Refuses a rack that is no longer the session's.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use sqlx::PgConnection;

use super::change::{By, Change, change};
use super::model::{Held, RackChange, RackState, Shadow, lease_ttl};
use super::{PAUSE_MAX, store};
use crate::app::App;
use crate::counts::error::{self, CountError};
use crate::counts::model::BySession;
use crate::events::EventKind;
use crate::http::answer::Answer;
use crate::http::auth::Caller;
use crate::http::extract::{InPath, OrDefault, Params};
use crate::http::problem::Problem;
use crate::leases::renew::renew_in_tx;
use crate::text::RackId;

/// `POST /racks/{rack_id}/pause`
///
/// # Errors
/// [`Problem`].
pub async fn pause(
    State(app): State<Arc<App>>,
    caller: Caller,
    InPath(rack_id): InPath<RackId>,
    Params(query): Params<BySession>,
    OrDefault(body): OrDefault<BySession>,
) -> Result<Answer, Problem> {
    change::<Pause>(&app, &caller, &rack_id, query, body).await
}

struct Pause;

impl Change for Pause {
    const NAME: &'static str = "pause";
    const EVENT: Option<EventKind> = Some(EventKind::RackPaused);

    fn is_new(held: &Held) -> bool {
        !held.is_paused
    }

    async fn in_tx(conn: &mut PgConnection, by: By<'_>, held: Held) -> Result<RackChange, CountError> {
        let ttl = lease_ttl(i32::try_from(PAUSE_MAX.as_secs()).unwrap_or(i32::MAX));
        let minutes = PAUSE_MAX.as_secs() / 60;
        let message = format!("Rack {} is kept for {minutes} min from the pause's beginning.", by.0.as_str());
        if held.is_ended {
            return Err(error::not_rack_owner());
        }
        if held.is_paused && held.left.is_zero() {
            let message = format!("The pause of rack {} is over: resume it, if nobody came.", by.0.as_str());
            return Ok(held.changed(by, RackState::Available, Duration::ZERO, message, Shadow::Left));
        }
        if held.is_paused {
            let left = held.left;
            return Ok(held.changed(by, RackState::Paused, left, message, Shadow::Left));
        }
        let granted = renew_in_tx(conn, &held.lease, held.fence, ttl).await?;
        store::pause_in_tx(conn, by.0).await?;
        Ok(held.changed(by, RackState::Paused, ttl.duration(), message, Shadow::Cast(granted, ttl)))
    }
}
