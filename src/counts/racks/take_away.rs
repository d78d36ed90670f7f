//! Notes that an operator has taken a rack away from its session, and tells of it.

use sqlx::PgConnection;

use super::model::{RackChange, RackState, Shadow};
use super::store;
use crate::db::DbError;
use crate::events::{self, About, EventKind};
use crate::leases::{Fence, LeaseName};

/// In the transaction that ended the claim of `fence`. What is no rack's lease is left alone.
///
/// # Errors
/// [`DbError`].
pub(crate) async fn take_away_in_tx(
    conn: &mut PgConnection,
    lease: &LeaseName,
    fence: Fence,
) -> Result<(), DbError> {
    let Some(rack) = store::take_away_in_tx(conn, lease.as_str()).await? else { return Ok(()) };
    let change = RackChange {
        success: true,
        message: format!("An operator has ended the claim of rack {}.", rack.rack_id),
        session_id: rack.session_id,
        floor: rack.floor,
        state: if rack.is_completed { RackState::Completed } else { RackState::Available },
        lock_ttl: 0,
        fence,
        shadow: Shadow::Faded,
        rack_id: rack.rack_id,
    };
    events::append_in_tx(conn, EventKind::RackReleased, About::Rack(&change.rack_id), &change).await
}
