//! Makes a hold last longer: its time counts anew from now.
//! Refuses a hold that is over.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use schemars::JsonSchema;
use serde::Deserialize;
use sqlx::PgConnection;
use uuid::Uuid;

use super::error::HoldError;
use super::model::{Hold, HoldTtl};
use super::store::Whose;
use super::{rules, store};
use crate::app::App;
use crate::events::{self, About, EventKind};
use crate::http::answer::Answer;
use crate::http::auth::Caller;
use crate::http::extract::{Body, InPath};
use crate::http::problem::Problem;
use crate::idempotency::Claim;
use crate::inventory::model::Witness;
use crate::locks::LockKeys;
use crate::section::{Section, Verb};

/// `POST /holds/{hold_id}/extend`
#[derive(Debug, Deserialize, JsonSchema)]
pub struct ExtendHold {
    ttl_seconds: HoldTtl,
}

/// # Errors
/// [`Problem`].
pub async fn extend(
    State(app): State<Arc<App>>,
    caller: Caller,
    InPath(hold_id): InPath<Uuid>,
    body: Body<ExtendHold>,
) -> Result<Answer, Problem> {
    let claim = body.keyed.map(|keyed| Claim::of_subject(&caller.principal.subject, keyed));
    Ok(extend_hold(&app, &caller, hold_id, &body.value, claim.as_ref()).await?)
}

/// Extends under the lease of the hold's variants, which never change.
///
/// # Errors
/// [`HoldError`], but for refusals by the business, which are answers.
pub async fn extend_hold(
    app: &App,
    caller: &Caller,
    hold_id: Uuid,
    cmd: &ExtendHold,
    claim: Option<&Claim>,
) -> Result<Answer, HoldError> {
    let Whose { user_id, variants } = store::find_whose(app, hold_id).await?;
    let keys = LockKeys::variants(variants)?;
    let section = Section { app, caller, claim, success: StatusCode::OK };
    section.run(&keys, &Extending { hold_id, user_id: &user_id, cmd, keys: &keys }).await
}

struct Extending<'a> {
    hold_id: Uuid,
    user_id: &'a str,
    cmd: &'a ExtendHold,
    keys: &'a LockKeys,
}

impl Verb for Extending<'_> {
    type Done = Hold;
    type Error = HoldError;

    async fn in_tx(&self, conn: &mut PgConnection, witness: Witness<'_>) -> Result<Hold, HoldError> {
        // Who counts the user's holds at its end is not to find it ended, and then to see it live on.
        store::lock_number_of_holds_in_tx(conn, self.user_id).await?;
        extend_in_tx(conn, self.hold_id, self.cmd, self.keys, witness).await
    }
}

/// Locks the hold and its stock rows, for another decision may have counted on its end, and sets the new one.
///
/// # Errors
/// A refusal before anything was written, or a database error.
pub async fn extend_in_tx(
    conn: &mut PgConnection,
    hold_id: Uuid,
    cmd: &ExtendHold,
    keys: &LockKeys,
    witness: Witness<'_>,
) -> Result<Hold, HoldError> {
    let (mut hold, _levels) = store::lock_hold_in_tx(conn, hold_id, keys).await?;
    rules::still_held(hold.state)?;
    hold.expires_at = store::set_end_in_tx(conn, hold_id, cmd.ttl_seconds).await?;
    hold.lock = witness.lock.into();
    events::append_in_tx(conn, EventKind::HoldExtended, About::Hold(hold_id), &hold).await?;
    Ok(hold)
}
