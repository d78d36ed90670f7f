//! What posting a session would mean now, or meant: each item's count, what was expected, and how far they are apart. The
//! counter of a blind session sees only what it counted, until it is posted.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use schemars::JsonSchema;
use serde::Deserialize;
use uuid::Uuid;

use super::model::{Line, Lines, Session};
use super::post::{self, SESSIONS_MAX};
use super::rules;
use super::store::{self, Total, Within};
use crate::app::App;
use crate::counts::error::{self, CountError};
use crate::http::auth::{Caller, Scope};
use crate::http::extract::{InPath, Params};
use crate::http::page::Limit;
use crate::http::problem::Problem;
use crate::text::SessionId;

/// `GET /sessions/{session_id}/variances?session_ids=&limit=&cursor=`
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LookAtVariances {
    /// Others, by commas or as a list in JSON, to be looked at as one count with this one.
    session_ids: Option<String>,
    /// How many at most: 1,000 unless said.
    limit: Option<Limit>,
    cursor: Option<Uuid>,
}

/// # Errors
/// [`CountError`].
pub async fn variances(
    State(app): State<Arc<App>>,
    caller: Caller,
    InPath(session_id): InPath<SessionId>,
    Params(query): Params<LookAtVariances>,
) -> Result<Json<Lines>, CountError> {
    let page = (query.cursor, query.limit.unwrap_or(Limit::MOST));
    Ok(Json(lines_of(&app, &caller, &session_id, query.session_ids.as_deref(), Some(page)).await?))
}

/// The lines of a count, as its caller may see them: all, or so many after a cursor.
pub(super) async fn lines_of(
    app: &App,
    caller: &Caller,
    session_id: &SessionId,
    others: Option<&str>,
    page: Option<(Option<Uuid>, Limit)>,
) -> Result<Lines, CountError> {
    let mut conn = app.db.snapshot().await?;
    let session = store::find(&mut conn, session_id).await?.ok_or_else(error::session_not_found)?;
    let others = named(others.unwrap_or_default());
    let others: Vec<_> = others.iter().map(String::as_str).collect();
    if others.len() > SESSIONS_MAX {
        return Err(Problem::invalid("session_ids", format!("must be {SESSIONS_MAX} at most")).into());
    }
    // Postgres takes no such text.
    if let Some(place) = others.iter().position(|other| other.contains('\0')) {
        return Err(no_session(place).into());
    }
    let posted_as = session.posted_as.as_deref().unwrap_or(session_id.as_str());
    let within =
        page.map_or_else(Within::default, |(after, limit)| Within { after, limit: Some(limit.and_one()) });
    let mut lines = post::posted(&mut conn, posted_as, &others, within).await?;
    if let Some(place) = others.iter().position(|other| lines.session_ids.iter().all(|id| id != other)) {
        return Err(no_session(place).into());
    }
    let members: Vec<_> = lines.session_ids.iter().map(String::as_str).collect();
    let members = store::find_each(&mut conn, &members).await?;
    if members.iter().any(|other| other.posted_as != session.posted_as) {
        return Err(error::session_posted());
    }
    let items = store::find_open_items(&mut conn, &lines.session_ids, posted_as, within).await?;
    let open = store::find_totals(&mut conn, &lines.session_ids, posted_as, &items).await?;
    lines.lines.extend(open.into_iter().map(expected));
    lines.lines.sort_by_key(|line| line.variant_id);
    if let Some((_, limit)) = page {
        lines = lines.paged(limit);
    }
    let is_operator = caller.principal.scopes.contains(&Scope::Operator);
    let is_blind = |member: &Session| member.blind && member.user_id == caller.principal.subject;
    if session.posted_at.is_none() && !is_operator && members.iter().any(is_blind) {
        lines.lines.iter_mut().for_each(blinded);
    }
    Ok(lines)
}

fn no_session(place: usize) -> Problem {
    Problem::invalid(format!("session_ids[{place}]"), "is no session")
}

/// The sessions that a query names: by commas, or as a list in JSON, for there may be commas in their ids.
fn named(sessions: &str) -> Vec<String> {
    serde_json::from_str(sessions).unwrap_or_else(|_| {
        sessions.split(',').filter(|session| !session.is_empty()).map(str::to_owned).collect()
    })
}

/// What a count would mean now.
fn expected(total: Total) -> Line {
    let settled = rules::settle(total.counted(), total.on_hand).ok();
    let doubt = settled.and_then(|settled| rules::doubt(settled, total.on_hand, total.against(None)));
    Line {
        variant_id: total.variant_id,
        item_code: total.sku,
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
        recount_because: doubt.map(|why| why.as_str().to_owned()),
        also_in: total.also_in,
        reason: None,
        movement_id: None,
        damage_movement_id: None,
    }
}

fn blinded(line: &mut Line) {
    (line.moved_since, line.expected_qty, line.variance) = (None, None, None);
    (line.previous_quantity, line.new_quantity, line.shortfall) = (None, None, 0);
    // What speaks against a count may do so because it is not what was expected.
    (line.recount_because, line.also_in) = (None, Vec::new());
}
