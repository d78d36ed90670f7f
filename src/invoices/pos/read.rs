//! Reads: a till's invoice as it is, and every edit that made it so. As of one moment, without a lock.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use schemars::JsonSchema;
use serde::Deserialize;

use super::error::PosError;
use super::model::PosInvoice;
use super::store;
use crate::app::App;
use crate::http::extract::{InPath, Params};
use crate::http::page::{Limit, Page};
use crate::text::Name;

/// The most versions on a page, whatever is asked for: each may have 2,000 items.
const PAGE_MAX: u16 = 100;

/// The newest version.
///
/// # Errors
/// [`PosError`].
pub async fn get_invoice(
    State(app): State<Arc<App>>,
    InPath(name): InPath<Name>,
) -> Result<Json<PosInvoice>, PosError> {
    let mut conn = app.db.snapshot().await?;
    Ok(Json(store::find(&mut conn, name.as_str(), None).await?.ok_or(PosError::NotFound)?))
}

/// `GET /pos/invoices/{name}/history?limit=&cursor=`
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ListHistory {
    #[serde(default)]
    limit: Limit,
    cursor: Option<u32>,
}

/// All versions, the first one first.
///
/// # Errors
/// [`PosError`].
pub async fn list_history(
    State(app): State<Arc<App>>,
    InPath(name): InPath<Name>,
    Params(query): Params<ListHistory>,
) -> Result<Json<Page<PosInvoice>>, PosError> {
    let limit = query.limit.at_most(PAGE_MAX);
    let mut conn = app.db.snapshot().await?;
    let after = query.cursor.map_or(0, i64::from);
    let found = store::list_versions(&mut conn, name.as_str(), after, limit.and_one()).await?;
    if found.is_empty() && after == 0 {
        return Err(PosError::NotFound);
    }
    Ok(Json(Page::of(found, limit, |invoice| invoice.version.to_string())))
}
