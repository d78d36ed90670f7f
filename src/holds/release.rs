//! Gives a hold up: what it kept is available for the very next request.
//! Refuses a hold that is over.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use schemars::JsonSchema;
use serde::Deserialize;
use sqlx::PgConnection;
use uuid::Uuid;

use super::error::HoldError;
use super::model::{Hold, HoldState};
use super::{rules, store};
use crate::app::App;
use crate::db::DbError;
use crate::events::{self, About, EventKind};
use crate::http::answer::Answer;
use crate::http::auth::Caller;
use crate::http::extract::{InPath, OrDefault};
use crate::http::problem::Problem;
use crate::idempotency::Claim;
use crate::inventory::model::Witness;
use crate::locks::LockKeys;
use crate::section::{Section, Verb};

/// `POST /holds/{hold_id}/release`: it takes no fields.
#[derive(Debug, Default, Deserialize, JsonSchema)]
pub struct ReleaseHold {}

/// # Errors
/// [`Problem`].
pub async fn release(
    State(app): State<Arc<App>>,
    caller: Caller,
    InPath(hold_id): InPath<Uuid>,
    OrDefault(body): OrDefault<ReleaseHold>,
) -> Result<Answer, Problem> {
    let claim = body.keyed.map(|keyed| Claim::of_subject(&caller.principal.subject, keyed));
    Ok(release_hold(&app, &caller, hold_id, claim.as_ref()).await?)
}

/// Releases under the lease of the hold's variants, which never change.
///
/// # Errors
/// [`HoldError`], but for refusals by the business, which are answers.
pub async fn release_hold(
    app: &App,
    caller: &Caller,
    hold_id: Uuid,
    claim: Option<&Claim>,
) -> Result<Answer, HoldError> {
    let keys = LockKeys::variants(store::find_whose(app, hold_id).await?.variants)?;
    let section = Section { app, caller, claim, success: StatusCode::OK };
    section.run(&keys, &Releasing { hold_id, keys: &keys }).await
}

struct Releasing<'a> {
    hold_id: Uuid,
    keys: &'a LockKeys,
}

impl Verb for Releasing<'_> {
    type Done = Hold;
    type Error = HoldError;

    async fn in_tx(&self, conn: &mut PgConnection, witness: Witness<'_>) -> Result<Hold, HoldError> {
        release_in_tx(conn, self.hold_id, self.keys, witness).await
    }
}

/// Locks the hold and its stock rows, and writes down that it is over.
///
/// # Errors
/// A refusal before anything was written, or a database error.
pub async fn release_in_tx(
    conn: &mut PgConnection,
    hold_id: Uuid,
    keys: &LockKeys,
    witness: Witness<'_>,
) -> Result<Hold, HoldError> {
    let (hold, _levels) = store::lock_hold_in_tx(conn, hold_id, keys).await?;
    rules::still_held(hold.state)?;
    Ok(write_in_tx(conn, hold, witness).await?)
}

/// Writes down that a hold is over, which is held, and locked with its stock rows.
pub(super) async fn write_in_tx(
    conn: &mut PgConnection,
    mut hold: Hold,
    witness: Witness<'_>,
) -> Result<Hold, DbError> {
    store::resolve_in_tx(conn, hold.hold_id, HoldState::Released, None).await?;
    (hold.state, hold.lock) = (HoldState::Released, witness.lock.into());
    events::append_in_tx(conn, EventKind::HoldReleased, About::Hold(hold.hold_id), &hold).await?;
    Ok(hold)
}
