//! The paths of counting, and who may use them.

use std::sync::Arc;

use axum::Router;
use axum::routing::{get, post};

use super::conflicts::{list, resolve};
use super::racks::{claim, complete, pause, read, register, release, renew, resume};
use super::records::{list as records, sync};
use super::sessions::{
    discard, heartbeat, list as sessions, open, post as posting, presence, read as session, variances,
};
use crate::app::App;
use crate::http::auth::Scope::Warehouse;
use crate::http::open_to;

/// Routes under `/api` and `/api/v1`.
pub fn routes(app: &Arc<App>) -> Router<Arc<App>> {
    let warehouse = open_to(app, &[Warehouse]);
    Router::new()
        .route("/racks", get(read::list_racks).post(register::register))
        .route("/racks/available", get(read::list_available))
        .route("/racks/floors", get(read::list_floors))
        .route("/racks/{rack_id}/status", get(read::get_status))
        .route("/racks/{rack_id}/claim", post(claim::claim))
        .route("/racks/{rack_id}/renew", post(renew::renew))
        .route("/racks/{rack_id}/release", post(release::release))
        .route("/racks/{rack_id}/pause", post(pause::pause))
        .route("/racks/{rack_id}/resume", post(resume::resume))
        .route("/racks/{rack_id}/complete", post(complete::complete))
        .route("/sessions", get(sessions::list_sessions).post(open::open))
        .route("/sessions/{session_id}", get(session::get_session))
        .route("/sessions/{session_id}/heartbeat", post(heartbeat::heartbeat))
        .route("/presence", get(presence::presence))
        .route("/sessions/{session_id}/records", get(records::list_records))
        .route("/sessions/{session_id}/variances", get(variances::variances))
        .route("/sessions/{session_id}/post", post(posting::post))
        .route("/sessions/{session_id}/discard", post(discard::discard))
        .route("/sync/batch", post(sync::sync))
        .route("/sync/conflicts", get(list::list_conflicts))
        .route("/sync/conflicts/auto-resolve", post(resolve::auto_resolve))
        .route("/sync/conflicts/{conflict_id}/resolve", post(resolve::resolve))
        .route("/sync/heartbeat", post(heartbeat::sync_heartbeat))
        .route_layer(warehouse)
}
