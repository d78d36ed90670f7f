//! What the changes of a rack's claim by its holder have in common: find it held → change in one transaction, in which its
//! session was heard of → bring the shadow in step.

use axum::http::StatusCode;
use sqlx::PgConnection;

use super::model::{Held, RackChange, Shadow};
use super::store;
use crate::app::App;
use crate::counts::error::CountError;
use crate::counts::keyed::{self, Begun};
use crate::counts::model::BySession;
use crate::counts::sessions;
use crate::db::run_again_if_it_collides;
use crate::events::{self, About, EventKind};
use crate::http::answer::Answer;
use crate::http::auth::Caller;
use crate::http::extract::Body;
use crate::http::problem::Problem;
use crate::idempotency::Claim;
use crate::leases::Fence;
use crate::text::{RackId, SessionId};

/// Who changes which rack.
pub(super) type By<'a> = (&'a RackId, &'a SessionId);

/// A change of a claim by its holder.
pub(super) trait Change {
    /// What it is called.
    const NAME: &'static str;
    /// What is told of it.
    const EVENT: Option<EventKind>;
    /// Whether it ends the claim, and so waits for the writes under it.
    const ENDS: bool = false;

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
    let session_id = body.value.session_id.or(query.session_id);
    let session_id =
        session_id.ok_or_else(|| Problem::invalid("session_id", "is required, in the body or the query"))?;
    // The session is of what the key stands for, wherever it is said.
    let meant = format!("{} {} {}", C::NAME, rack_id.as_str(), session_id.as_str());
    let claim = keyed::claim_of(caller, &meant, body.keyed);
    let by = (rack_id, &session_id);
    let (answer, done) = run_again_if_it_collides(|| changed::<C>(app, caller, claim.as_ref(), by)).await?;
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

/// Gives the answer, and what is done to the claim's shadow.
async fn changed<C: Change>(
    app: &App,
    caller: &Caller,
    claim: Option<&Claim>,
    by: By<'_>,
) -> Result<(Answer, Option<(Fence, Shadow)>), CountError> {
    let mut work = match keyed::begin(app, caller, claim).await? {
        Begun::Known(first) => return Ok((first, None)),
        Begun::New(work) => work,
    };
    let outcome = in_tx::<C>(&mut work.tx, by, &caller.principal.subject).await;
    let done = outcome.as_ref().ok().map(|change| (change.fence, change.shadow.clone()));
    Ok((work.finish(StatusCode::OK, outcome).await?, done))
}

async fn in_tx<C: Change>(
    conn: &mut PgConnection,
    by: By<'_>,
    user_id: &str,
) -> Result<RackChange, CountError> {
    // Of two that change a claim at once the second sees what the first did.
    if C::ENDS {
        store::lock_claim_in_tx(conn, by.0).await?;
    } else {
        store::lock_claim_to_renew_in_tx(conn, by.0).await?;
    }
    let held = store::find_held_in_tx(conn, by.0, by.1, user_id).await?;
    let event = C::EVENT.filter(|_| C::is_new(&held));
    let change = C::in_tx(conn, by, held).await?;
    sessions::store::note_seen_in_tx(conn, by.1).await?;
    if let Some(event) = event {
        events::append_in_tx(conn, event, About::Rack(by.0.as_str()), &change).await?;
    }
    Ok(change)
}
