//! Says that a rack is counted, and lets it go. It may be claimed again, to be counted again. To complete twice is the same
//! answer. Refuses a rack that is no longer the session's, be it that the session released it or an operator ended its claim.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use sqlx::PgConnection;

use super::change::{By, Change, change};
use super::model::{Held, RackChange, RackState, Shadow};
use super::store;
use crate::app::App;
use crate::counts::error::{self, CountError};
use crate::counts::model::BySession;
use crate::events::EventKind;
use crate::http::answer::Answer;
use crate::http::auth::Caller;
use crate::http::extract::{InPath, OrDefault, Params};
use crate::http::problem::Problem;
use crate::leases::release::release_in_tx;
use crate::text::RackId;

/// `POST /racks/{rack_id}/complete`
///
/// # Errors
/// [`Problem`].
pub async fn complete(
    State(app): State<Arc<App>>,
    caller: Caller,
    InPath(rack_id): InPath<RackId>,
    Params(query): Params<BySession>,
    OrDefault(body): OrDefault<BySession>,
) -> Result<Answer, Problem> {
    change::<Complete>(&app, &caller, &rack_id, query, body).await
}

struct Complete;

impl Change for Complete {
    const NAME: &'static str = "complete";
    const EVENT: Option<EventKind> = Some(EventKind::RackCompleted);
    const ENDS: bool = true;

    fn is_new(held: &Held) -> bool {
        !held.is_ended
    }

    async fn in_tx(conn: &mut PgConnection, by: By<'_>, held: Held) -> Result<RackChange, CountError> {
        if held.is_ended && !held.is_completed {
            return Err(error::not_rack_owner());
        }
        release_in_tx(conn, &held.lease, held.fence).await?;
        store::complete_in_tx(conn, by.0).await?;
        let message = format!("Rack {} is counted.", by.0.as_str());
        Ok(held.changed(by, RackState::Completed, Duration::ZERO, message, Shadow::Faded))
    }
}
