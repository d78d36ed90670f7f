//! Writes a delivery for each event and endpoint that wants it, up to where the relay is.
//!
//! What must stay true: those who have come furthest are given theirs first, and whoever lags behind is given pages of its own
//! after them, so nobody waits for who came back after a long time. Where events were forgotten before an endpoint was given them, that is written down before its
//! position passes them, and told to it: see [`rules::gap_of`](super::rules::gap_of).

use serde::Serialize;
use serde_json::json;
use serde_json::value::RawValue;

use super::rules::{fits_in, gap_of};
use super::store::{self, Behind, Gap, NewDelivery, Which};
use crate::app::App;
use crate::db::DbError;
use crate::events::{Event, find_horizon, read_between};
use crate::ids;

/// How many events of each sort are looked at in one transaction,
const PAGE: i64 = 500;
/// and how many times in a row, before what was written is sent.
const PAGES: usize = 10;
/// How many bytes are written in one transaction, unless a single event is larger.
const PAGE_BYTES: usize = 4 * 1024 * 1024;
/// What an endpoint is told in the stead of events that are forgotten.
const SKIPPED: &str = "endpoint.skipped";

/// Writes what there is to write, or the first pages of it. True if there is more.
///
/// # Errors
/// [`DbError`]; what was written before it stays written.
pub async fn fan_out(app: &App) -> Result<bool, DbError> {
    let Some(at) = app.events.at() else { return Ok(false) };
    let mut limit = PAGE;
    // However much comes for the foremost, those at the end have a page each time.
    let turns = std::iter::repeat_n(Which::Foremost, PAGES).chain([Which::Rearmost]);
    for which in turns {
        match app.events.ask_for_page(write_page(app, at, which, limit)).await? {
            Some(next) => limit = next,
            None => return Ok(false),
        }
    }
    Ok(true)
}

/// Writes the next page of those who are furthest, or furthest back. Gives how many events of each sort the next one is to
/// be of; none if there was nobody.
async fn write_page(app: &App, at: i64, which: Which, limit: i64) -> Result<Option<i64>, DbError> {
    let mut tx = app.db.begin().await?;
    let behind = store::lock_behind_in_tx(&mut tx, at, which).await?;
    let Some(from) = behind.first().map(|endpoint| endpoint.position) else { return Ok(None) };
    let page = read_between(&mut tx, from, at, limit).await?;
    let fits =
        fits_in(PAGE_BYTES, page.events.iter().map(|event| event.data.len() * wanted_by(&behind, event)));
    let cut = page.events.get(fits);
    let end = cut.map_or(page.end, |_| page.events[fits - 1].position);
    let next = if cut.is_some() { fits as i64 } else { (limit * 2).min(PAGE) };
    // Looked at last: what was forgotten while it was read is missed no less.
    let horizon = find_horizon(&mut tx).await?;
    let gaps: Vec<_> = behind.iter().filter_map(|endpoint| gap_in(endpoint, horizon)).collect();
    let mut new: Vec<_> = gaps.iter().map(notice).collect();
    for event in &page.events[..fits] {
        new.extend(behind.iter().filter(|endpoint| wants(endpoint, event)).map(|e| delivery(e, event)));
    }
    let endpoints: Vec<_> = behind.iter().map(|endpoint| endpoint.endpoint_id).collect();
    store::insert_deliveries_in_tx(&mut tx, &new, &endpoints, end).await?;
    store::set_gaps_in_tx(&mut tx, &gaps).await?;
    tx.commit().await?;
    for Gap { endpoint_id, from, to } in &gaps {
        app.endpoints.gaps.inc();
        tracing::error!(endpoint.id = %endpoint_id, from, to, "an endpoint was away for so long that events it wants are forgotten");
    }
    Ok(Some(next))
}

fn wanted_by(behind: &[Behind], event: &Event) -> usize {
    behind.iter().filter(|endpoint| wants(endpoint, event)).count()
}

fn gap_in(endpoint: &Behind, horizon: i64) -> Option<Gap> {
    let (from, to) = gap_of(endpoint.position, endpoint.skipped_to, &endpoint.types, horizon)?;
    Some(Gap { endpoint_id: endpoint.endpoint_id, from, to })
}

fn wants(endpoint: &Behind, event: &Event) -> bool {
    event.position > endpoint.position
        && (endpoint.types.is_empty() || endpoint.types.iter().any(|name| *name == event.kind))
}

#[derive(Serialize)]
struct Told<'a> {
    r#type: &'a str,
    cursor: String,
    data: Option<&'a RawValue>,
}

fn delivery(endpoint: &Behind, event: &Event) -> NewDelivery {
    let told = Told {
        r#type: &event.kind,
        cursor: event.position.to_string(),
        data: serde_json::from_str(&event.data).ok(),
    };
    NewDelivery {
        delivery_id: ids::fresh(),
        endpoint_id: endpoint.endpoint_id,
        position: event.position,
        event_id: event.event_id,
        kind: event.kind.to_string(),
        // What is about nothing in particular stands in one line too.
        aggregate: event
            .about
            .as_ref()
            .map_or_else(|| "nothing".to_owned(), |(what, id)| format!("{what}:{id}")),
        traceparent: event.traceparent.clone(),
        body: serde_json::to_string(&told).unwrap_or_default(),
    }
}

/// Tells an endpoint of its gap, before what comes after it.
fn notice(gap: &Gap) -> NewDelivery {
    let data = json!({"endpoint_id": gap.endpoint_id, "skipped_from": gap.from.to_string(), "skipped_to": gap.to.to_string()});
    NewDelivery {
        delivery_id: ids::fresh(),
        endpoint_id: gap.endpoint_id,
        position: gap.from,
        event_id: ids::fresh(),
        kind: SKIPPED.to_owned(),
        aggregate: format!("endpoint:{}", gap.endpoint_id),
        traceparent: None,
        body: json!({"type": SKIPPED, "cursor": gap.to.to_string(), "data": data}).to_string(),
    }
}
