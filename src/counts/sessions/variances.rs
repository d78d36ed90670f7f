//! What posting a session would mean now, or meant: each item's count, what was expected, and how far they are apart. The
//! counter of a blind session sees only what it counted, until it is posted.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;

use super::model::{Line, Lines};
use super::store::{self, Total};
use super::{post, rules};
use crate::app::App;
use crate::counts::error::{self, CountError};
use crate::http::auth::{Caller, Scope};
use crate::http::extract::InPath;
use crate::text::SessionId;

/// `GET /sessions/{session_id}/variances`
///
/// # Errors
/// [`CountError`].
pub async fn variances(
    State(app): State<Arc<App>>,
    caller: Caller,
    InPath(session_id): InPath<SessionId>,
) -> Result<Json<Lines>, CountError> {
    let mut conn = app.db.snapshot().await?;
    let session = store::find(&mut conn, &session_id).await?.ok_or_else(error::session_not_found)?;
    let mut lines = post::posted(&mut conn, &session_id).await?;
    let open = store::find_totals(&mut conn, &session_id, None).await?;
    lines.lines.extend(open.iter().map(expected));
    let is_operator = caller.principal.scopes.contains(&Scope::Operator);
    let is_blind = session.blind && session.user_id == caller.principal.subject && !is_operator;
    if is_blind && session.posted_at.is_none() {
        lines.lines.iter_mut().for_each(blinded);
    }
    Ok(Json(lines))
}

/// What a count would mean now.
fn expected(total: &Total) -> Line {
    let settled = rules::settle(total.counted(), total.on_hand).ok();
    Line {
        variant_id: total.variant_id,
        item_code: total.sku.clone(),
        records: total.records,
        counted_qty: total.units,
        damage_qty: total.damaged,
        moved_since: settled.map(|settled| settled.moved),
        expected_qty: settled.map(|settled| settled.expected),
        variance: settled.map(|settled| settled.variance),
        previous_quantity: Some(total.on_hand),
        new_quantity: settled.map(|settled| settled.units - settled.damaged),
        shortfall: settled.map_or(0, |settled| settled.shortfall),
        outcome: None,
        reason: None,
        movement_id: None,
        damage_movement_id: None,
    }
}

fn blinded(line: &mut Line) {
    (line.moved_since, line.expected_qty, line.variance) = (None, None, None);
    (line.previous_quantity, line.new_quantity, line.shortfall) = (None, None, 0);
}
