//! Claims a rack for a session, which it opens unless one is named. A rack that nobody registered is registered by the
//! claim that says its floor.
//! Refuses a rack that another session holds, or stands on another floor, and a session that is another user's or posted.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use schemars::JsonSchema;
use serde::Deserialize;
use sqlx::PgConnection;

use super::change::By;
use super::model::{RackChange, RackState, Shadow, lease_ttl};
use super::store;
use crate::app::App;
use crate::counts::error::{self, CountError};
use crate::counts::keyed::{self, Begun};
use crate::counts::model::ClaimTtl;
use crate::counts::sessions;
use crate::db::run_again_if_it_collides;
use crate::events::{self, About, EventKind, NewEvent};
use crate::http::answer::Answer;
use crate::http::auth::Caller;
use crate::http::extract::{InPath, OrDefault};
use crate::http::problem::Problem;
use crate::idempotency::{self, Claim};
use crate::leases::{Again, Claimed, Granted, Wanted, claim_in_tx};
use crate::text::{Floor, LeaseOwner, RackId, SessionId};

/// `POST /racks/{rack_id}/claim`
#[derive(Debug, Default, Deserialize, JsonSchema)]
pub struct ClaimRack {
    floor: Option<Floor>,
    #[serde(default)]
    ttl_seconds: ClaimTtl,
    session_id: Option<SessionId>,
}

/// # Errors
/// [`Problem`].
pub async fn claim(
    State(app): State<Arc<App>>,
    caller: Caller,
    InPath(rack_id): InPath<RackId>,
    OrDefault(body): OrDefault<ClaimRack>,
) -> Result<Answer, Problem> {
    let claim = keyed::claim_of(&caller, rack_id.as_str(), body.keyed);
    let cmd = body.value;
    let lease = rack_id.lease().ok_or_else(error::rack_not_found)?;
    let session_id = cmd.session_id.clone().unwrap_or_else(sessions::fresh_id);
    let owner = LeaseOwner::try_from(session_id.as_str().to_owned())
        .map_err(|error| Problem::invalid("session_id", error.to_string()))?;
    let ttl = lease_ttl(cmd.ttl_seconds.seconds());
    let wanted = Wanted { name: &lease, owner: &owner, ttl, again: Again::SameClaim };
    if let Some(claim) = &claim
        && let Some(first) = idempotency::known_answer::<CountError>(&app.db, claim).await?
    {
        return Ok(first);
    }
    let door = app.leases.ask_strangers(&lease).await.ok_or_else(|| error::rack_locked(None))?;
    let by = (&rack_id, &session_id);
    let answered =
        run_again_if_it_collides(|| claim_rack(&app, &caller, claim.as_ref(), by, &cmd, &wanted)).await;
    // Where this very request was not granted anything the place holder is taken away.
    let granted = match &answered {
        Ok((_, Some(granted))) => Some(Claimed::Granted(granted.clone())),
        _ => None,
    };
    app.leases.settle(door, &wanted, granted.as_ref()).await;
    Ok(answered?.0)
}

async fn claim_rack(
    app: &App,
    caller: &Caller,
    claim: Option<&Claim>,
    by: By<'_>,
    cmd: &ClaimRack,
    wanted: &Wanted<'_>,
) -> Result<(Answer, Option<Granted>), CountError> {
    let mut work = match keyed::begin(app, caller, claim).await? {
        Begun::Known(first) => return Ok((first, None)),
        Begun::New(work) => work,
    };
    let counter = (&*caller.principal.subject, app.blind_counts);
    let outcome = claim_rack_in_tx(&mut work.tx, counter, by, cmd, wanted).await;
    let granted = match &outcome {
        Ok(RackChange { shadow: Shadow::Cast(granted, _), .. }) => Some(granted.clone()),
        _ => None,
    };
    Ok((work.finish(StatusCode::OK, outcome).await?, granted))
}

/// Locks the lease's row and decides; opens the session; notes the claim.
async fn claim_rack_in_tx(
    conn: &mut PgConnection,
    (user_id, blind): (&str, bool),
    (rack_id, session_id): By<'_>,
    cmd: &ClaimRack,
    wanted: &Wanted<'_>,
) -> Result<RackChange, CountError> {
    let found = store::find_floor_in_tx(conn, rack_id).await?;
    let floor = match (&found, &cmd.floor) {
        (Some(floor), Some(said)) if floor != said.as_str() => return Err(error::rack_elsewhere(floor)),
        (Some(floor), _) => floor.clone(),
        (None, Some(said)) => said.as_str().to_owned(),
        (None, None) => return Err(error::rack_not_found()),
    };
    // One that was not named is not there yet, and holds nothing.
    if cmd.session_id.is_some() {
        // Asked before anything is written, and of a session that is there already: nobody else can make it another's.
        sessions::store::check_open(conn, session_id, user_id).await?;
        if found.is_some()
            && let Some(paused) = keep_paused_in_tx(conn, user_id, (rack_id, session_id)).await?
        {
            return Ok(paused);
        }
    }
    let granted = match claim_in_tx(conn, wanted).await? {
        Claimed::Granted(granted) => granted,
        Claimed::HeldBy(holder) => {
            let user = store::find_user(conn, &holder.owner).await?;
            let seconds = i64::try_from(holder.expires_in.as_millis().div_ceil(1_000)).unwrap_or(i64::MAX);
            return Err(error::rack_locked(Some((user.as_deref().unwrap_or(&holder.owner), seconds))));
        }
        Claimed::HeldByStranger => return Err(error::rack_locked(None)),
    };
    if let (None, Some(floor)) = (&found, &cmd.floor) {
        register_in_tx(conn, rack_id, floor).await?;
    }
    let mut told = Vec::new();
    if sessions::store::open_in_tx(conn, session_id, user_id, blind).await? {
        told.push(sessions::start_of(session_id.as_str(), user_id)?);
    }
    let seconds = cmd.ttl_seconds.seconds();
    let is_new = store::note_claim_in_tx(conn, rack_id, session_id, granted.fence, seconds).await?;
    let change = RackChange {
        success: true,
        rack_id: rack_id.as_str().to_owned(),
        session_id: session_id.as_str().to_owned(),
        message: format!("Rack {} is claimed on floor {floor} for {seconds} s.", rack_id.as_str()),
        floor,
        state: RackState::Active,
        lock_ttl: u64::from(seconds.unsigned_abs()),
        fence: granted.fence,
        shadow: Shadow::Cast(granted, wanted.ttl),
    };
    if is_new {
        told.push(NewEvent::new(EventKind::RackClaimed, About::Rack(rack_id.as_str()), &change)?);
    }
    events::append_all_in_tx(conn, &told).await?;
    Ok(change)
}

/// Registers a rack that was not registered a moment ago. Whoever did so meanwhile has the word on where it stands.
async fn register_in_tx(conn: &mut PgConnection, rack_id: &RackId, floor: &Floor) -> Result<(), CountError> {
    if store::insert_in_tx(conn, rack_id, floor, None).await? {
        return Ok(());
    }
    match store::find_floor_in_tx(conn, rack_id).await? {
        Some(there) if there != floor.as_str() => Err(error::rack_elsewhere(&there)),
        _ => Ok(()),
    }
}

/// What a session gets that claims again what it holds and pauses: its pause goes on, and ends when it would have. A claim
/// that comes twice, and late, would shorten it else.
async fn keep_paused_in_tx(
    conn: &mut PgConnection,
    user_id: &str,
    by: By<'_>,
) -> Result<Option<RackChange>, CountError> {
    store::lock_claim_in_tx(conn, by.0).await?;
    let held = match store::find_held_in_tx(conn, by.0, by.1, user_id).await {
        Ok(held) if held.is_paused && !held.is_ended && !held.left.is_zero() => held,
        Ok(_) | Err(CountError::Refused(_)) => return Ok(None),
        Err(error) => return Err(error),
    };
    sessions::store::note_seen_in_tx(conn, by.1).await?;
    let (left, message) = (held.left, format!("Rack {} is paused: resume it.", by.0.as_str()));
    Ok(Some(held.changed(by, RackState::Paused, left, message, Shadow::Left)))
}
