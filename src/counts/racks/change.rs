//! What the changes of a rack's claim by its holder have in common: find it held → change in one transaction → bring the
//! shadow in step.

use axum::http::StatusCode;
use sqlx::PgConnection;

use super::model::{Held, RackChange, Shadow};
use super::store;
use crate::app::App;
use crate::counts::error::CountError;
use crate::counts::keyed::{self, Begun};
use crate::counts::model::BySession;
use crate::events::{self, About, EventKind};
use crate::http::answer::Answer;
use crate::http::auth::Caller;
use crate::http::extract::Body;
use crate::http::problem::Problem;
use crate::text::{RackId, SessionId};

/// Who changes which rack.
pub(super) type By<'a> = (&'a RackId, &'a SessionId);

/// A change of a claim by its holder.
pub(super) trait Change {
    /// What it is called.
    const NAME: &'static str;
    /// What is told of it.
    const EVENT: Option<EventKind>;

    /// Whether there is anything to tell.
    fn is_new(held: &Held) -> bool;

    /// Changes the claim and what is known of the rack.
    fn in_tx(
        conn: &mut PgConnection,
        by: By<'_>,
        held: Held,
    ) -> impl Future<Output = Result<RackChange, CountError>> + Send;
}

/// Carries a change out for the session that the query or the body names.
pub(super) async fn change<C: Change>(
    app: &App,
    caller: &Caller,
    rack_id: &RackId,
    query: BySession,
    body: Body<BySession>,
) -> Result<Answer, Problem> {
    let claim = keyed::claim_of(caller, &format!("{} {}", C::NAME, rack_id.as_str()), body.keyed);
    let session_id = body.value.session_id.or(query.session_id);
    let session_id =
        session_id.ok_or_else(|| Problem::invalid("session_id", "is required, in the body or the query"))?;
    let mut work = match keyed::begin(app, caller, claim.as_ref()).await? {
        Begun::Known(first) => return Ok(first),
        Begun::New(work) => work,
    };
    let outcome = in_tx::<C>(&mut work.tx, (rack_id, &session_id), &caller.principal.subject).await;
    let done = outcome.as_ref().ok().map(|change| (change.fence, change.shadow.clone()));
    let answer = work.finish(StatusCode::OK, outcome).await?;
    if let (Some((fence, shadow)), Some(lease)) = (done, rack_id.lease()) {
        match shadow {
            Shadow::Cast(granted, ttl) => {
                app.leases.show(&lease, granted.fence, &granted.token, ttl.duration()).await;
            }
            Shadow::Faded => app.leases.fade(&lease, fence).await,
            Shadow::Left => {}
        }
    }
    Ok(answer)
}

async fn in_tx<C: Change>(
    conn: &mut PgConnection,
    by: By<'_>,
    user_id: &str,
) -> Result<RackChange, CountError> {
    // Of two that change a claim at once the second sees what the first did.
    store::lock_claim_in_tx(conn, by.0).await?;
    let held = store::find_held_in_tx(conn, by.0, by.1, user_id).await?;
    let event = C::EVENT.filter(|_| C::is_new(&held));
    let change = C::in_tx(conn, by, held).await?;
    if let Some(event) = event {
        events::append_in_tx(conn, event, About::Rack(by.0.as_str()), &change).await?;
    }
    Ok(change)
}
