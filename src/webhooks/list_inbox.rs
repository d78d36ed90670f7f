//! Lists what came in, for operators.

use std::sync::Arc;

use axum::Json;
use axum::extract::State as Shared;
use schemars::JsonSchema;
use serde::Deserialize;
use uuid::Uuid;

use super::error::WebhookError;
use super::model::{Entry, State};
use super::store;
use crate::app::App;
use crate::http::extract::Params;
use crate::http::page::{Limit, Page};

/// The most entries on a page, whatever is asked for: each has its event's data.
const PAGE_MAX: u16 = 100;

/// `GET /webhooks/inbox?state=&limit=&cursor=`
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ListInbox {
    state: Option<State>,
    #[serde(default)]
    limit: Limit,
    cursor: Option<Uuid>,
}

/// Entries, newest first.
///
/// # Errors
/// [`WebhookError`].
pub async fn list_inbox(
    Shared(app): Shared<Arc<App>>,
    Params(query): Params<ListInbox>,
) -> Result<Json<Page<Entry>>, WebhookError> {
    let limit = query.limit.at_most(PAGE_MAX);
    let mut conn = app.db.read().await?;
    let found = store::list(&mut conn, query.state, query.cursor, limit.and_one()).await?;
    Ok(Json(Page::of(found, limit, |entry| entry.entry_id.to_string())))
}
