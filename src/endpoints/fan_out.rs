//! Writes a delivery for each event and endpoint that wants it, up to where the relay is.

use serde_json::json;
use serde_json::value::RawValue;

use super::store::{self, Behind, NewDelivery};
use crate::app::App;
use crate::db::DbError;
use crate::events::{Event, read_between};
use crate::ids;

/// How many events of each sort are looked at in one transaction.
const PAGE: i64 = 200;

/// Writes all there are to write. Gives how many.
///
/// # Errors
/// [`DbError`]; what was written before it stays written.
pub async fn fan_out(app: &App) -> Result<usize, DbError> {
    let Some(at) = app.events.at() else { return Ok(0) };
    let mut written = 0;
    loop {
        let mut tx = app.db.begin().await?;
        let behind = store::lock_behind_in_tx(&mut tx, at).await?;
        let Some(from) = behind.iter().map(|endpoint| endpoint.position).min() else { return Ok(written) };
        let page = read_between(&mut tx, from, at, PAGE).await?;
        let new: Vec<_> = page
            .events
            .iter()
            .flat_map(|event| {
                behind.iter().filter(|endpoint| wants(endpoint, event)).map(|e| delivery(e, event))
            })
            .collect();
        let endpoints: Vec<_> = behind.iter().map(|endpoint| endpoint.endpoint_id).collect();
        store::insert_deliveries_in_tx(&mut tx, &new, &endpoints, page.end).await?;
        tx.commit().await?;
        written += new.len();
    }
}

fn wants(endpoint: &Behind, event: &Event) -> bool {
    event.position > endpoint.position
        && (endpoint.types.is_empty() || endpoint.types.iter().any(|name| *name == event.kind))
}

fn delivery(endpoint: &Behind, event: &Event) -> NewDelivery {
    let data = RawValue::from_string(event.data.clone()).ok();
    NewDelivery {
        delivery_id: ids::fresh(),
        endpoint_id: endpoint.endpoint_id,
        position: event.position,
        event_id: event.event_id,
        kind: event.kind.to_string(),
        // What is about nothing in particular stands in one line too.
        aggregate: event.about.as_ref().map_or_else(String::new, |(what, id)| format!("{what}:{id}")),
        body: json!({"type": event.kind, "cursor": event.position.to_string(), "data": data}).to_string(),
    }
}
