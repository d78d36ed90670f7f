//! Registers a rack. Refuses an id that is registered.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use schemars::JsonSchema;
use serde::Deserialize;
use sqlx::PgConnection;

use super::model::Rack;
use super::store;
use crate::app::App;
use crate::counts::error::{self, CountError};
use crate::counts::keyed::{self, Begun};
use crate::events::{self, About, EventKind};
use crate::http::answer::Answer;
use crate::http::auth::Caller;
use crate::http::extract::Body;
use crate::text::{Floor, Name, RackId};

/// `POST /racks`
#[derive(Debug, Deserialize, JsonSchema)]
pub struct RegisterRack {
    rack_id: RackId,
    floor: Floor,
    name: Option<Name>,
}

/// # Errors
/// [`CountError`].
pub async fn register(
    State(app): State<Arc<App>>,
    caller: Caller,
    body: Body<RegisterRack>,
) -> Result<Answer, CountError> {
    let cmd = body.value;
    let claim = keyed::claim_of(&caller, cmd.rack_id.as_str(), body.keyed);
    let mut work = match keyed::begin(&app, &caller, claim.as_ref()).await? {
        Begun::Known(first) => return Ok(first),
        Begun::New(work) => work,
    };
    let outcome = register_in_tx(&mut work.tx, cmd).await;
    work.finish(StatusCode::CREATED, outcome).await
}

async fn register_in_tx(conn: &mut PgConnection, cmd: RegisterRack) -> Result<Rack, CountError> {
    if !store::insert_in_tx(conn, &cmd.rack_id, &cmd.floor, cmd.name.as_ref()).await? {
        return Err(error::rack_exists());
    }
    let rack = Rack::fresh(cmd.rack_id, cmd.floor, cmd.name);
    events::append_in_tx(conn, EventKind::RackRegistered, About::Rack(&rack.rack_id), &rack).await?;
    Ok(rack)
}
