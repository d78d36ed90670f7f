//! The record of audits: each verdict is kept, whoever asked for it, so that the last one can be had without reading
//! everything anew.
//!
//! What must stay true: a verdict is told whether or not it could be kept.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sqlx::PgConnection;
use tokio::time::Instant;
use uuid::Uuid;

use super::audit::{self, Audit};
use super::error::StockError;
use crate::app::App;
use crate::db::{Db, DbError};
use crate::http::extract::Params;
use crate::http::page::{Limit, Page};
use crate::ids;

/// For how long verdicts are kept.
pub const KEPT_FOR: Duration = Duration::from_secs(400 * 24 * 60 * 60);
/// The most verdicts on a page, whatever is asked for: each may name hundreds of violations.
const PAGE_MAX: u16 = 100;

/// A verdict that was kept.
#[derive(Debug, Serialize, JsonSchema)]
pub struct KeptAudit {
    /// Its id.
    pub audit_id: Uuid,
    /// Who asked for it: a key's subject, or the command.
    pub run_by: String,
    /// When it was found.
    pub ended_at: DateTime<Utc>,
    /// How long that took.
    pub took_ms: i64,
    /// Whether nothing was found.
    pub ok: bool,
    /// Variants looked at.
    pub variants_checked: i64,
    /// Movements looked at.
    pub movements_checked: i64,
    /// Orders looked at.
    pub orders_checked: i64,
    /// What does not agree; at most 100 of each kind.
    pub violations: serde_json::Value,
}

/// `GET /inventory/audits?limit=&cursor=`
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ListAudits {
    #[serde(default)]
    limit: Limit,
    cursor: Option<Uuid>,
}

/// The verdicts so far, newest first.
///
/// # Errors
/// [`StockError`].
pub async fn list_audits(
    State(app): State<Arc<App>>,
    Params(query): Params<ListAudits>,
) -> Result<Json<Page<KeptAudit>>, StockError> {
    let limit = query.limit.at_most(PAGE_MAX);
    let found = store::list(&mut *app.db.read().await?, query.cursor, limit.and_one()).await?;
    Ok(Json(Page::of(found, limit, |audit| audit.audit_id.to_string())))
}

/// Runs the audit for somebody, and keeps what it found.
///
/// # Errors
/// [`DbError`], of the audit itself.
pub async fn run_on_record(db: &Db, run_by: &str) -> Result<Audit, DbError> {
    let began = Instant::now();
    let found = audit::run(db).await?;
    if let Err(error) = keep(db, &found, run_by, began.elapsed()).await {
        tracing::warn!(%error, audit.ok = found.ok, "what the audit found could not be kept");
    }
    Ok(found)
}

async fn keep(db: &Db, found: &Audit, run_by: &str, took: Duration) -> Result<(), DbError> {
    let took_ms = i64::try_from(took.as_millis()).unwrap_or(i64::MAX);
    store::insert(&mut *db.read().await?, ids::fresh(), found, run_by, took_ms).await
}

/// Deletes verdicts that are old enough.
pub(crate) async fn purge_in_tx(conn: &mut PgConnection, limit: i64) -> Result<u64, DbError> {
    store::delete_old_in_tx(conn, limit).await
}

mod store {
    use sqlx::PgConnection;
    use uuid::Uuid;

    use super::{Audit, KEPT_FOR, KeptAudit};
    use crate::db::DbError;

    pub(super) async fn insert(
        conn: &mut PgConnection,
        audit_id: Uuid,
        found: &Audit,
        run_by: &str,
        took_ms: i64,
    ) -> Result<(), DbError> {
        let violations = serde_json::to_value(&found.violations)
            .map_err(|error| DbError::Unexpected(sqlx::Error::Encode(error.into())))?;
        sqlx::query!(
            "INSERT INTO audits (audit_id, run_by, took_ms, variants_checked, movements_checked, orders_checked, violations)
             VALUES ($1, $2, $3, $4, $5, $6, $7)",
            audit_id,
            run_by,
            took_ms,
            found.variants_checked,
            found.movements_checked,
            found.orders_checked,
            violations,
        )
        .execute(conn)
        .await?;
        Ok(())
    }

    pub(super) async fn list(
        conn: &mut PgConnection,
        before: Option<Uuid>,
        limit: i64,
    ) -> Result<Vec<KeptAudit>, DbError> {
        let rows = sqlx::query!(
            "SELECT audit_id, run_by, ended_at, took_ms, variants_checked, movements_checked, orders_checked, violations
             FROM audits WHERE audit_id < $1 ORDER BY audit_id DESC LIMIT $2",
            before.unwrap_or(Uuid::max()),
            limit,
        )
        .fetch_all(conn)
        .await?;
        let kept = rows.into_iter().map(|row| KeptAudit {
            audit_id: row.audit_id,
            run_by: row.run_by,
            ended_at: row.ended_at,
            took_ms: row.took_ms,
            ok: row.violations.as_array().is_some_and(Vec::is_empty),
            variants_checked: row.variants_checked,
            movements_checked: row.movements_checked,
            orders_checked: row.orders_checked,
            violations: row.violations,
        });
        Ok(kept.collect())
    }

    pub(super) async fn delete_old_in_tx(conn: &mut PgConnection, limit: i64) -> Result<u64, DbError> {
        let deleted = sqlx::query!(
            "DELETE FROM audits WHERE audit_id IN (
                 SELECT audit_id FROM audits WHERE ended_at < clock_timestamp() - make_interval(secs => $2)
                 LIMIT $1 FOR UPDATE SKIP LOCKED)",
            limit,
            KEPT_FOR.as_secs_f64(),
        );
        Ok(deleted.execute(conn).await?.rows_affected())
    }
}
