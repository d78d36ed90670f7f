//! Lists the records of a session, all or those of an item: the evidence behind a variance.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use schemars::JsonSchema;
use serde::Deserialize;

use super::model::Evidence;
use super::store;
use crate::app::App;
use crate::counts::error::{self, CountError};
use crate::http::extract::{InPath, Params};
use crate::http::page::{Limit, Page};
use crate::text::{ClientId, SessionId, Sku};

/// `GET /sessions/{session_id}/records?item_code=&limit=&cursor=`
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ListRecords {
    item_code: Option<Sku>,
    #[serde(default)]
    limit: Limit,
    cursor: Option<ClientId>,
}

/// # Errors
/// [`CountError`].
pub async fn list_records(
    State(app): State<Arc<App>>,
    InPath(session_id): InPath<SessionId>,
    Params(query): Params<ListRecords>,
) -> Result<Json<Page<Evidence>>, CountError> {
    let item_code = query.item_code.as_ref().map(Sku::as_str);
    let after = query.cursor.as_ref().map_or("", ClientId::as_str);
    let mut conn = app.db.read().await?;
    let found = store::list(&mut conn, &session_id, item_code, after, query.limit.and_one()).await?;
    if found.is_empty() && !store::is_a_session(&mut conn, &session_id).await? {
        return Err(error::session_not_found());
    }
    Ok(Json(Page::of(found, query.limit, |record| record.client_record_id.clone())))
}
