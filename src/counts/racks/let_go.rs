//! Lets the racks go of sessions that are being posted or given up: nothing enters these any more, so they count nothing.

use sqlx::PgConnection;

use super::model::{RackChange, RackState, Shadow};
use super::store;
use crate::app::App;
use crate::db::DbError;
use crate::events::{self, About, EventKind, NewEvent};
use crate::leases::{Fence, LeaseName};
use crate::text::RackId;

/// Claims that have ended, whose shadows are to be taken away after the commit.
#[derive(Debug)]
pub(in crate::counts) struct LetGo(Vec<(LeaseName, Fence)>);

/// Ends whatever claims these sessions have, and tells of it unless a claim was told to have lapsed. Comes before the sessions
/// are locked, as leases do.
///
/// # Errors
/// [`DbError`].
pub(in crate::counts) async fn let_go_in_tx(
    conn: &mut PgConnection,
    sessions: &[&str],
) -> Result<LetGo, DbError> {
    let ended = store::end_claims_in_tx(conn, sessions).await?;
    let leases = ended.iter().filter_map(|claim| {
        let lease = RackId::try_from(claim.rack_id.clone()).ok()?.lease()?;
        Some((lease, Fence(claim.fence)))
    });
    let let_go = LetGo(leases.collect());
    let told = ended.into_iter().filter(|claim| !claim.lapse_told).map(|claim| {
        let change = RackChange {
            success: true,
            message: format!("Session {} is over: rack {} is released.", claim.session_id, claim.rack_id),
            session_id: claim.session_id,
            floor: claim.floor,
            state: if claim.is_completed { RackState::Completed } else { RackState::Available },
            lock_ttl: 0,
            fence: Fence(claim.fence),
            shadow: Shadow::Faded,
            rack_id: claim.rack_id,
        };
        NewEvent::new(EventKind::RackReleased, About::Rack(&change.rack_id), &change)
    });
    events::append_all_in_tx(conn, &told.collect::<Result<Vec<_>, _>>()?).await?;
    Ok(let_go)
}

/// Once the sessions are locked, no claim is made for them any more. One that was made since theirs were ended is a
/// collision: the transaction begins anew, for leases come before sessions.
///
/// # Errors
/// [`DbError::Collision`].
pub(in crate::counts) async fn check_let_go_in_tx(
    conn: &mut PgConnection,
    sessions: &[&str],
) -> Result<(), DbError> {
    if !store::is_any_claimed(conn, sessions).await? {
        return Ok(());
    }
    let claimed = "a rack was claimed for a session that is about to be over";
    Err(DbError::Collision(sqlx::Error::Protocol(claimed.into())))
}

impl LetGo {
    /// Takes their shadows away.
    pub(in crate::counts) async fn fade(self, app: &App) {
        for (lease, fence) in &self.0 {
            app.leases.fade(lease, *fence).await;
        }
    }
}
