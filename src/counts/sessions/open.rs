//! Opens a session before it claims anything: by an id that a device made offline, or blind. Refuses an id that is taken.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use schemars::JsonSchema;
use serde::Deserialize;
use sqlx::PgConnection;

use super::model::Session;
use super::{fresh_id, store};
use crate::app::App;
use crate::counts::error::{self, CountError};
use crate::counts::keyed::{self, Begun};
use crate::db::DbError;
use crate::events;
use crate::http::answer::Answer;
use crate::http::auth::{Caller, Scope};
use crate::http::extract::OrDefault;
use crate::http::problem::{Code, Problem};
use crate::text::{SessionId, UserId};

/// `POST /sessions`
#[derive(Debug, Default, Deserialize, JsonSchema)]
pub struct OpenSession {
    session_id: Option<SessionId>,
    #[serde(default)]
    blind: bool,
    /// Whose it is to be: the caller's, unless an operator opens it for somebody.
    user_id: Option<UserId>,
}

/// # Errors
/// [`Problem`].
pub async fn open(
    State(app): State<Arc<App>>,
    caller: Caller,
    OrDefault(body): OrDefault<OpenSession>,
) -> Result<Answer, Problem> {
    let cmd = body.value;
    let caller_id = &caller.principal.subject;
    let user_id = cmd.user_id.as_ref().map_or(&**caller_id, UserId::as_str);
    if user_id != &**caller_id && !caller.principal.scopes.contains(&Scope::Operator) {
        return Err(Problem::new(Code::Forbidden, "Only operators open sessions for others."));
    }
    let blind = cmd.blind || app.blind_counts;
    let claim = keyed::claim_of(&caller, "open", body.keyed);
    let session_id = cmd.session_id.unwrap_or_else(fresh_id);
    let mut work = match keyed::begin(&app, &caller, claim.as_ref()).await? {
        Begun::Known(first) => return Ok(first),
        Begun::New(work) => work,
    };
    let outcome = open_in_tx(&mut work.tx, &session_id, user_id, blind).await;
    Ok(work.finish(StatusCode::CREATED, outcome).await?)
}

async fn open_in_tx(
    conn: &mut PgConnection,
    session_id: &SessionId,
    user_id: &str,
    blind: bool,
) -> Result<Session, CountError> {
    if !store::insert_in_tx(conn, session_id, user_id, blind).await? {
        return Err(error::session_exists());
    }
    let told = super::start_of(session_id.as_str(), user_id)?;
    events::append_all_in_tx(conn, &[told]).await?;
    let found = store::find(conn, session_id).await?;
    Ok(found.ok_or(DbError::Unexpected(sqlx::Error::RowNotFound))?)
}
