//! Tells whether so many are available, for one variant or many. Takes nothing and promises nothing: only
//! an order or a hold does.

use std::collections::HashMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sqlx::PgConnection;
use uuid::Uuid;

use super::error::StockError;
use super::model::{Quantity, StockStatus};
use super::rules::Refusal;
use super::store;
use crate::app::App;
use crate::db::DbError;
use crate::http::answer::Answer;
use crate::http::auth::Caller;
use crate::http::extract::{Body, InPath, Params};
use crate::http::problem::Problem;
use crate::idempotency::{self, Claim};

/// The most variants one call may ask about.
const ITEMS_MAX: usize = 1_000;

/// `GET /inventory/check-stock/{variant_id}?quantity=`
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CheckStock {
    quantity: Option<Quantity>,
}

/// What is available, and whether that is enough.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[schemars(rename = "StockCheck")]
pub struct Checked {
    variant_id: Uuid,
    available: i64,
    requested: i64,
    in_stock: bool,
    stock_status: StockStatus,
}

impl Checked {
    fn new(variant_id: Uuid, available: i64, requested: i64) -> Self {
        let stock_status = StockStatus::of(available);
        Self { variant_id, available, requested, in_stock: available >= requested, stock_status }
    }
}

/// One variant.
///
/// # Errors
/// [`StockError`].
pub async fn check_stock(
    State(app): State<Arc<App>>,
    InPath(variant_id): InPath<Uuid>,
    Params(query): Params<CheckStock>,
) -> Result<Json<impl Serialize>, StockError> {
    let mut conn = app.db.read().await?;
    let found = store::find_levels(&mut conn, &[variant_id]).await?.pop();
    let level = found.ok_or(Refusal::VariantNotFound(variant_id))?.level;
    let requested = query.quantity.map_or(1, Quantity::get);
    Ok(Json(Checked::new(variant_id, level.available(), requested)))
}

/// How many of a variant are wanted.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(rename = "StockToCheck")]
pub struct CheckItem {
    variant_id: Uuid,
    quantity: Quantity,
}

/// `POST /inventory/check-stock/bulk`
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(transparent)]
#[schemars(rename = "StocksToCheck")]
pub struct CheckItems(#[schemars(length(min = 1, max = ITEMS_MAX))] Vec<CheckItem>);

/// What is available of each, and whether that is enough for all.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "StockChecks")]
pub struct CheckedAll {
    items: Vec<Checked>,
    all_available: bool,
    unavailable_count: usize,
    total_items: usize,
}

/// Many variants. Items of one variant count together, as they would in an order; a variant that does not
/// exist has none available.
///
/// # Errors
/// [`Problem`].
pub async fn check_stock_bulk(
    State(app): State<Arc<App>>,
    caller: Caller,
    body: Body<CheckItems>,
) -> Result<Answer, Problem> {
    let CheckItems(items) = body.value;
    if !(1..=ITEMS_MAX).contains(&items.len()) {
        return Err(Problem::invalid("items", format!("must be 1 to {ITEMS_MAX} items")));
    }
    let claim = body.keyed.map(|keyed| Claim::of_subject(&caller.principal.subject, keyed));
    let mut tx = app.db.begin_within(caller.patience.left()).await?;
    let claim = claim.as_ref();
    let answer = match idempotency::begin_in_tx::<StockError>(&mut tx, claim).await? {
        Some(first) => first,
        None => {
            let outcome = check_all(&mut tx, &items).await.map_err(StockError::from);
            idempotency::finish_in_tx(&mut tx, claim, &caller.request_id, StatusCode::OK, outcome).await?
        }
    };
    tx.commit().await.map_err(DbError::from)?;
    Ok(answer)
}

async fn check_all(conn: &mut PgConnection, items: &[CheckItem]) -> Result<CheckedAll, DbError> {
    let ids: Vec<_> = items.iter().map(|item| item.variant_id).collect();
    let found = store::find_levels(conn, &ids).await?;
    let available: HashMap<_, _> =
        found.into_iter().map(|found| (found.level.variant_id, found.level.available())).collect();
    let mut wanted: HashMap<Uuid, i64> = HashMap::new();
    for item in items {
        *wanted.entry(item.variant_id).or_default() += item.quantity.get();
    }
    let check = |item: &CheckItem| {
        let available = available.get(&item.variant_id).copied().unwrap_or(0);
        let together = wanted.get(&item.variant_id).copied().unwrap_or(0);
        Checked {
            in_stock: available >= together,
            ..Checked::new(item.variant_id, available, item.quantity.get())
        }
    };
    let items: Vec<_> = items.iter().map(check).collect();
    let unavailable_count = items.iter().filter(|item| !item.in_stock).count();
    Ok(CheckedAll {
        all_available: unavailable_count == 0,
        unavailable_count,
        total_items: items.len(),
        items,
    })
}
