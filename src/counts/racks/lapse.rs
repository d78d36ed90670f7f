//! Tells that claims have lapsed, and that they are held again by sessions that came back before anybody else.

use sqlx::PgConnection;

use super::model::{RackChange, RackState, Shadow};
use super::store;
use crate::db::DbError;
use crate::events::{self, About, EventKind, NewEvent};
use crate::leases::Fence;

/// Tells of up to so many. Those that ended in another way were told of then, and are only no longer looked at. Answers how
/// many there were.
///
/// # Errors
/// [`DbError`].
pub(in crate::counts) async fn tell_in_tx(conn: &mut PgConnection, limit: i64) -> Result<usize, DbError> {
    let turned = store::tell_of_lapses_in_tx(conn, limit).await?;
    let mut told = Vec::new();
    for claim in &turned {
        let Some(has_lapsed) = claim.has_lapsed else { continue };
        let kind = if has_lapsed { EventKind::RackReleased } else { EventKind::RackClaimed };
        told.push(NewEvent::new(kind, About::Rack(&claim.rack_id), &change(claim, has_lapsed))?);
    }
    events::append_all_in_tx(conn, &told).await?;
    Ok(turned.len())
}

fn change(claim: &store::Turned, has_lapsed: bool) -> RackChange {
    let rack_id = &claim.rack_id;
    let (state, message) = match has_lapsed {
        true if claim.is_completed => {
            (RackState::Completed, format!("The claim of rack {rack_id} has lapsed."))
        }
        true => (RackState::Available, format!("The claim of rack {rack_id} has lapsed.")),
        false if claim.is_paused => (RackState::Paused, format!("Rack {rack_id} is held again.")),
        false => (RackState::Active, format!("Rack {rack_id} is held again.")),
    };
    RackChange {
        success: true,
        rack_id: rack_id.clone(),
        session_id: claim.session_id.clone(),
        floor: claim.floor.clone(),
        state,
        lock_ttl: u64::try_from(claim.seconds_left).unwrap_or_default(),
        fence: Fence(claim.fence),
        message,
        shadow: Shadow::Left,
    }
}
