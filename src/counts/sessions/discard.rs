//! Gives up a session that is not to be posted: nothing enters it any more, its serial numbers may be counted anew, and
//! other counts need not look where it counted. Its records stay as evidence. To discard twice is the same answer. Refuses
//! a session that is posted or being posted.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;
use sqlx::PgConnection;

use super::model::Session;
use super::store;
use crate::app::App;
use crate::counts::error::{self, CountError};
use crate::counts::keyed::{self, Begun};
use crate::counts::racks::let_go::{check_let_go_in_tx, let_go_in_tx};
use crate::db::run_again_if_it_collides;
use crate::events::{self, About, EventKind};
use crate::http::answer::Answer;
use crate::http::auth::Caller;
use crate::http::extract::{InPath, OrDefault};
use crate::http::problem::Problem;
use crate::idempotency::Claim;
use crate::text::{Reason, SessionId};

/// `POST /sessions/{session_id}/discard`
#[derive(Debug, Default, Deserialize, JsonSchema)]
pub struct DiscardSession {
    reason: Option<Reason>,
}

/// # Errors
/// [`Problem`].
pub async fn discard(
    State(app): State<Arc<App>>,
    caller: Caller,
    InPath(session_id): InPath<SessionId>,
    OrDefault(body): OrDefault<DiscardSession>,
) -> Result<Answer, Problem> {
    let claim = keyed::claim_of(&caller, &format!("discard {}", session_id.as_str()), body.keyed);
    let reason = body.value.reason.as_ref();
    let answer =
        run_again_if_it_collides(|| give_up(&app, &caller, claim.as_ref(), &session_id, reason)).await?;
    // A repetition too goes on where the first broke off.
    if answer.status().is_success() {
        super::free_serials(&app, &[session_id.as_str().to_owned()]).await?;
    }
    Ok(answer)
}

async fn give_up(
    app: &App,
    caller: &Caller,
    claim: Option<&Claim>,
    session_id: &SessionId,
    reason: Option<&Reason>,
) -> Result<Answer, CountError> {
    let mut work = match keyed::begin(app, caller, claim).await? {
        Begun::Known(first) => return Ok(first),
        Begun::New(work) => work,
    };
    let racks = let_go_in_tx(&mut work.tx, &[session_id.as_str()]).await?;
    let outcome = discard_in_tx(&mut work.tx, session_id, &caller.principal.subject, reason).await;
    let is_done = outcome.is_ok();
    let answer = work.finish(StatusCode::OK, outcome).await?;
    if is_done {
        racks.fade(app).await;
    }
    Ok(answer)
}

async fn discard_in_tx(
    conn: &mut PgConnection,
    session_id: &SessionId,
    by: &str,
    reason: Option<&Reason>,
) -> Result<Session, CountError> {
    store::lock_to_post_in_tx(conn, &[session_id.as_str()]).await?;
    check_let_go_in_tx(conn, &[session_id.as_str()]).await?;
    let reason = reason.map(Reason::as_str);
    let is_new = store::discard_in_tx(conn, session_id, by, reason).await?;
    let session = store::find(conn, session_id).await?.ok_or_else(error::session_not_found)?;
    if session.discarded_at.is_none() {
        return Err(error::session_posted());
    }
    if is_new {
        let told =
            json!({"session_id": session_id, "state": "discarded", "discarded_by": by, "reason": reason});
        let about = About::SessionNamed(session_id.as_str());
        events::append_in_tx(conn, EventKind::SessionEnded, about, &told).await?;
    }
    Ok(session)
}
