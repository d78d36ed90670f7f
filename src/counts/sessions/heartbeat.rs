//! Says that a session lives, and renews its rack and its user's presence with it, in one round trip to the database.
//! Refuses a session that is not there, is another user's or is over; a rack that is lost or paused is only not renewed.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::store::{self, Beat};
use super::{LASTS_FOR, PRESENT_FOR};
use crate::app::App;
use crate::counts::error::{self, CountError};
use crate::http::auth::Caller;
use crate::http::extract::{InPath, OrDefault, Params};
use crate::http::problem::Problem;
use crate::leases::Fence;
use crate::text::{RackId, SessionId};

/// `POST /sync/heartbeat?session_id=&rack_id=`
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct InQuery {
    session_id: SessionId,
    rack_id: Option<RackId>,
}

/// `POST /sessions/{session_id}/heartbeat`; without a rack, that of its last claim.
#[derive(Debug, Default, Deserialize, JsonSchema)]
pub struct Heartbeat {
    rack_id: Option<RackId>,
}

/// What a device is told.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "HeartbeatTold")]
pub struct Told {
    success: bool,
    session_id: String,
    user_id: String,
    rack_renewed: bool,
    timestamp: f64,
}

/// The heartbeat as devices know it.
///
/// # Errors
/// [`CountError`].
pub async fn sync_heartbeat(
    State(app): State<Arc<App>>,
    caller: Caller,
    Params(query): Params<InQuery>,
) -> Result<Json<Told>, CountError> {
    beat(&app, &caller, &query.session_id, query.rack_id.as_ref(), false).await
}

/// # Errors
/// [`Problem`].
pub async fn heartbeat(
    State(app): State<Arc<App>>,
    caller: Caller,
    InPath(session_id): InPath<SessionId>,
    OrDefault(body): OrDefault<Heartbeat>,
) -> Result<Json<Told>, Problem> {
    Ok(beat(&app, &caller, &session_id, body.value.rack_id.as_ref(), true).await?)
}

async fn beat(
    app: &App,
    caller: &Caller,
    session_id: &SessionId,
    rack_id: Option<&RackId>,
    or_the_last: bool,
) -> Result<Json<Told>, CountError> {
    let user_id = &caller.principal.subject;
    let found = {
        let mut conn = app.db.read().await?;
        let found = store::beat(&mut conn, session_id, user_id, rack_id, or_the_last).await?;
        if !found.is_known {
            // Not there, another user's or over, which is told apart.
            store::check_open(&mut conn, session_id, user_id).await?;
            return Err(error::session_not_found());
        }
        found
    };
    cast_shadows(app, session_id, user_id, &found).await;
    Ok(Json(Told {
        success: true,
        session_id: session_id.as_str().to_owned(),
        user_id: user_id.clone(),
        rack_renewed: found.fence.is_some(),
        timestamp: found.at,
    }))
}

/// Shows in Redis, for onlookers, what was renewed. Nothing depends on it.
async fn cast_shadows(app: &App, session_id: &SessionId, user_id: &str, beat: &Beat) {
    let session = show(app, format!("session:lock:{}", session_id.as_str()), LASTS_FOR);
    let user = show(app, format!("user:heartbeat:{user_id}"), PRESENT_FOR);
    let rack = async {
        let rack_id = beat.rack_id.clone().and_then(|rack| RackId::try_from(rack).ok());
        let lease = rack_id.and_then(|rack| rack.lease());
        let held_for = beat.seconds_left.and_then(|left| Duration::try_from_secs_f64(left).ok());
        if let (Some(lease), Some(fence), Some(token), Some(ttl)) = (lease, beat.fence, &beat.token, held_for)
        {
            app.leases.show(&lease, Fence(fence), token, ttl).await;
        }
    };
    tokio::join!(session, user, rack);
}

async fn show(app: &App, name: String, ttl: Duration) {
    app.locks.show_presence(&name, ttl).await;
}
