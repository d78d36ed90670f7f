//! Reads: one rack, racks, those to be had, floors. As of now by the database's clock, without a lock.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::model::{FloorTally, Rack, RackState};
use super::store;
use crate::app::App;
use crate::counts::error::{self, CountError};
use crate::counts::model::OnFloor;
use crate::http::extract::{InPath, Params};
use crate::http::page::{Limit, Page};
use crate::text::{Floor, RackId};

/// `GET /racks?floor=&state=&limit=&cursor=`
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ListRacks {
    floor: Option<Floor>,
    state: Option<RackState>,
    #[serde(default)]
    limit: Limit,
    cursor: Option<RackId>,
}

/// Racks by their id.
///
/// # Errors
/// [`CountError`].
pub async fn list_racks(
    State(app): State<Arc<App>>,
    Params(query): Params<ListRacks>,
) -> Result<Json<Page<Rack>>, CountError> {
    let mut conn = app.db.read().await?;
    let (floor, state) = (query.floor.as_ref().map(Floor::as_str), query.state.map(RackState::as_str));
    let after = query.cursor.as_ref().map(RackId::as_str);
    let found = store::list(&mut conn, None, floor, state, after, query.limit.and_one()).await?;
    Ok(Json(Page::of(found, query.limit, |rack| rack.rack_id.clone())))
}

/// `GET /racks/available?floor=&limit=&cursor=`: those that nobody holds and nobody has counted.
///
/// # Errors
/// [`CountError`].
pub async fn list_available(
    State(app): State<Arc<App>>,
    Params(mut query): Params<ListRacks>,
) -> Result<Json<Page<Rack>>, CountError> {
    query.state = Some(RackState::Available);
    list_racks(State(app), Params(query)).await
}

/// All floors.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Floors {
    floors: Vec<FloorTally>,
}

/// `GET /racks/floors`
///
/// # Errors
/// [`CountError`].
pub async fn list_floors(
    State(app): State<Arc<App>>,
    Params(_): Params<OnFloor>,
) -> Result<Json<Floors>, CountError> {
    let mut conn = app.db.read().await?;
    Ok(Json(Floors { floors: store::tally_floors(&mut conn).await? }))
}

/// `GET /racks/{rack_id}/status`
///
/// # Errors
/// [`CountError`].
pub async fn get_status(
    State(app): State<Arc<App>>,
    InPath(rack_id): InPath<RackId>,
) -> Result<Json<Rack>, CountError> {
    let mut conn = app.db.read().await?;
    let found = store::list(&mut conn, Some(rack_id.as_str()), None, None, None, 1).await?;
    Ok(Json(found.into_iter().next().ok_or_else(error::rack_not_found)?))
}
