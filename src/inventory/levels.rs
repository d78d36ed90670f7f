//! Reads: variants, levels now and at a time, movements. As last committed, without a lock.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::header::ETAG;
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::error::StockError;
use super::model::{Movement, StockStatus, StoredTime, Variant};
use super::rules::Refusal;
use super::store;
use crate::app::App;
use crate::http::extract::{InPath, Params};
use crate::http::page::{Limit, Page};
use crate::text::Sku;

/// `GET /variants?sku=&sku_prefix=&limit=&cursor=`
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ListVariants {
    sku: Option<Sku>,
    /// Counts only where no `sku` is given.
    sku_prefix: Option<Sku>,
    #[serde(default)]
    limit: Limit,
    cursor: Option<Uuid>,
}

/// One variant.
///
/// # Errors
/// [`StockError`].
pub async fn get_variant(
    State(app): State<Arc<App>>,
    InPath(variant_id): InPath<Uuid>,
) -> Result<Json<Variant>, StockError> {
    let mut conn = app.db.read().await?;
    let found = store::find_variant(&mut conn, variant_id).await?;
    Ok(Json(found.ok_or(Refusal::VariantNotFound(variant_id))?))
}

/// Variants, in the order they were made; those whose SKU begins so by their SKUs.
///
/// # Errors
/// [`StockError`].
pub async fn list_variants(
    State(app): State<Arc<App>>,
    Params(query): Params<ListVariants>,
) -> Result<Json<Page<Variant>>, StockError> {
    let mut conn = app.db.read().await?;
    let (after, limit) = (query.cursor, query.limit.and_one());
    let found = match (&query.sku, &query.sku_prefix) {
        // At most one, and so on the first page.
        (Some(sku), _) if after.is_none() => {
            store::find_variant_by_sku(&mut conn, sku.as_str()).await?.into_iter().collect()
        }
        (Some(_), _) => Vec::new(),
        (None, Some(prefix)) => {
            store::list_variants_by_prefix(&mut conn, prefix.as_str(), after, limit).await?
        }
        (None, None) => store::list_variants(&mut conn, after, limit).await?,
    };
    Ok(Json(Page::of(found, query.limit, |variant| variant.variant_id.to_string())))
}

/// `GET /inventory/{variant_id}?at=`
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GetLevel {
    at: Option<StoredTime>,
}

/// A variant's stock.
#[derive(Serialize, JsonSchema)]
pub struct LevelNow {
    variant_id: Uuid,
    sku: String,
    on_hand: i64,
    held: i64,
    available: i64,
    stock_status: StockStatus,
    version: i64,
    updated_at: DateTime<Utc>,
}

/// A variant's stock at a time.
#[derive(Serialize, JsonSchema)]
pub struct LevelThen {
    variant_id: Uuid,
    sku: String,
    on_hand: i64,
    version: i64,
    at: DateTime<Utc>,
}

/// A variant's level now, or what its movements say it was at a time.
///
/// # Errors
/// [`StockError`].
pub async fn get_level(
    State(app): State<Arc<App>>,
    InPath(variant_id): InPath<Uuid>,
    Params(query): Params<GetLevel>,
) -> Result<Response, StockError> {
    let mut conn = app.db.read().await?;
    let not_found = Refusal::VariantNotFound(variant_id);
    if let Some(at) = query.at.map(StoredTime::get) {
        let then = store::find_level_at(&mut conn, variant_id, at).await?.ok_or(not_found)?;
        let body = LevelThen { variant_id, sku: then.sku, on_hand: then.on_hand, version: then.version, at };
        return Ok(Json(body).into_response());
    }
    let found = store::find_levels(&mut conn, &[variant_id]).await?.pop().ok_or(not_found)?;
    let level = found.level;
    let etag = format!("\"{}-{}\"", level.version, level.held);
    let body = LevelNow {
        variant_id,
        sku: found.sku,
        on_hand: level.on_hand,
        held: level.held,
        available: level.available(),
        stock_status: StockStatus::of(level.available()),
        version: level.version,
        updated_at: found.updated_at,
    };
    Ok(([(ETAG, etag)], Json(body)).into_response())
}

/// `GET /inventory/{variant_id}/movements?limit=&cursor=`
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ListMovements {
    #[serde(default)]
    limit: Limit,
    #[schemars(range(min = i64::MIN, max = i64::MAX))]
    cursor: Option<i64>,
}

/// A variant's movements, newest first.
///
/// # Errors
/// [`StockError`].
pub async fn list_movements(
    State(app): State<Arc<App>>,
    InPath(variant_id): InPath<Uuid>,
    Params(query): Params<ListMovements>,
) -> Result<Json<Page<Movement>>, StockError> {
    let mut conn = app.db.read().await?;
    let found = store::list_movements(&mut conn, variant_id, query.cursor, query.limit.and_one()).await?;
    if found.is_empty() && store::find_levels(&mut conn, &[variant_id]).await?.is_empty() {
        return Err(Refusal::VariantNotFound(variant_id).into());
    }
    Ok(Json(Page::of(found, query.limit, |movement| movement.version.to_string())))
}
