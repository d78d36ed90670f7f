//! The paths of webhooks, and who may use them.

use std::sync::Arc;

use axum::Router;
use axum::routing::{get, post};

use super::{list_inbox, receive, replay};
use crate::app::App;
use crate::http::auth::Scope::Operator;
use crate::http::open_to;

/// Routes under `/api/v1`. Deliveries need no key: their [signature](super::signed) lets them in.
pub fn routes(app: &Arc<App>) -> Router<Arc<App>> {
    let signed = Router::new().route("/webhooks/cancellations", post(receive::receive));
    Router::new()
        .route("/webhooks/inbox", get(list_inbox::list_inbox))
        .route("/webhooks/inbox/{entry_id}/replay", post(replay::replay))
        .route_layer(open_to(app, &[Operator]))
        .merge(signed)
}
