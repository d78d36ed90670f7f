//! Gives what posting a session would mean now, or meant, as a file: the lines of [`variances`](super::variances), which are
//! hidden from whom they hide.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::Deserialize;

use super::model::{Line, Lines};
use super::variances::lines_of;
use crate::app::App;
use crate::counts::error::CountError;
use crate::http::auth::Caller;
use crate::http::csv::{Cell, CsvFile};
use crate::http::extract::{InPath, Params};
use crate::text::SessionId;

const COLUMNS: [&str; 20] = [
    "session_id",
    "state",
    "posted_at",
    "posted_by",
    "item_code",
    "records",
    "counted_qty",
    "damage_qty",
    "moved_since",
    "expected_qty",
    "variance",
    "previous_quantity",
    "new_quantity",
    "shortfall",
    "outcome",
    "recount_because",
    "also_in",
    "reason",
    "movement_id",
    "damage_movement_id",
];

/// `GET /sessions/{session_id}/export?session_ids=`
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WithSessions {
    /// Others, by commas or as a list in JSON, to be looked at as one count with this one.
    session_ids: Option<String>,
}

/// # Errors
/// [`CountError`].
pub async fn export(
    State(app): State<Arc<App>>,
    caller: Caller,
    InPath(session_id): InPath<SessionId>,
    Params(query): Params<WithSessions>,
) -> Result<Response, CountError> {
    let lines = lines_of(&app, &caller, &session_id, query.session_ids.as_deref(), None).await?;
    let header = COLUMNS.map(|column| Cell::Text(column.to_owned())).to_vec();
    let rows = lines.lines.iter().map(|line| row(&lines, line));
    let rows = std::iter::once(header).chain(rows).collect();
    Ok(CsvFile { name: format!("count-{}", session_id.as_str()), rows }.into_response())
}

fn row(of: &Lines, line: &Line) -> Vec<Cell> {
    let also_in = line.also_in.join("; ");
    vec![
        Cell::text(of.session_id.clone()),
        Cell::text(of.state.clone()),
        Cell::text(of.posted_at.map(|at| at.to_rfc3339())),
        Cell::text(of.posted_by.clone()),
        Cell::text(line.item_code.clone()),
        Cell::number(line.records),
        Cell::number(line.counted_qty),
        Cell::number(line.damage_qty),
        Cell::number(line.moved_since),
        Cell::number(line.expected_qty),
        Cell::number(line.variance),
        Cell::number(line.previous_quantity),
        Cell::number(line.new_quantity),
        Cell::number(line.shortfall),
        Cell::text(line.outcome.clone()),
        Cell::text(line.recount_because.clone()),
        Cell::text(Some(also_in).filter(|also_in| !also_in.is_empty())),
        Cell::text(line.reason.clone()),
        Cell::text(line.movement_id.map(|id| id.to_string())),
        Cell::text(line.damage_movement_id.map(|id| id.to_string())),
    ]
}
