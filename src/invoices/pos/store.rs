//! The SQL of tills' invoices. No decisions here: rows in, rows out.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;
use sqlx::PgConnection;
use uuid::Uuid;

use super::error::PosError;
use super::model::{PosInvoice, PosItem, PosState};
use crate::db::DbError;
use crate::inventory::model::{LockSeen, Witness};
use crate::inventory::store::stored_currency;

/// Locks an invoice's row and tells its newest version and its state.
pub(super) async fn lock_newest_in_tx(
    conn: &mut PgConnection,
    name: &str,
) -> Result<Option<(i64, PosState)>, DbError> {
    let row = sqlx::query!("SELECT version, state FROM pos_invoices WHERE name = $1 FOR UPDATE", name)
        .fetch_optional(conn)
        .await?;
    row.map(|row| Ok((row.version, stored_state(&row.state)?))).transpose()
}

/// Writes a version with its items and makes it the newest. Gives its time by the database's clock.
pub(super) async fn write_version_in_tx(
    conn: &mut PgConnection,
    invoice: &PosInvoice,
    witness: Witness<'_>,
) -> Result<DateTime<Utc>, DbError> {
    let raised = sqlx::query!(
        "INSERT INTO pos_invoices (name, version, state) VALUES ($1, $2, 'draft')
         ON CONFLICT ON CONSTRAINT pos_name_is_taken_once DO UPDATE SET version = excluded.version
         WHERE pos_invoices.version = excluded.version - 1 AND pos_invoices.state = 'draft'",
        invoice.name,
        invoice.version,
    )
    .execute(&mut *conn)
    .await?;
    if raised.rows_affected() != 1 {
        return Err(missing());
    }
    let items = &invoice.items;
    let written = sqlx::query!(
        r#"WITH version AS (
            INSERT INTO pos_invoice_versions (name, version, customer, currency, total, subject, request_id, lock_mode,
                lock_wait_ms, saved_at)
            VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, clock_timestamp()) RETURNING saved_at
        ), items AS (
            INSERT INTO pos_invoice_items (name, version, position, item_id, variant_id, sku, quantity, unit_price)
            SELECT $1, $2, i.position, i.item_id, i.variant_id, i.sku, i.quantity, i.unit_price
            FROM UNNEST($10::uuid[], $11::uuid[], $12::text[], $13::bigint[], $14::numeric[])
                WITH ORDINALITY AS i (item_id, variant_id, sku, quantity, unit_price, position)
            RETURNING 1
        )
        SELECT saved_at, (SELECT count(*) FROM items) AS "items!" FROM version"#,
        invoice.name,
        invoice.version,
        invoice.customer,
        invoice.currency.code(),
        invoice.total,
        witness.subject,
        witness.request_id,
        witness.lock.mode.as_str(),
        witness.wait_ms(),
        &items.iter().map(|item| item.item_id).collect::<Vec<_>>(),
        &items.iter().map(|item| item.variant_id).collect::<Vec<_>>(),
        &items.iter().map(|item| item.sku.clone()).collect::<Vec<_>>(),
        &items.iter().map(|item| item.quantity).collect::<Vec<_>>(),
        &items.iter().map(|item| item.unit_price).collect::<Vec<_>>(),
    )
    .fetch_one(conn)
    .await?;
    if written.items == items.len() as i64 { Ok(written.saved_at) } else { Err(missing()) }
}

/// The newest version, and what its items are of. Asked before anything is locked.
pub(super) async fn find_variants(conn: &mut PgConnection, name: &str) -> Result<(i64, Vec<Uuid>), PosError> {
    let row = sqlx::query!(
        r#"SELECT version, ARRAY(SELECT DISTINCT variant_id FROM pos_invoice_items i
                                 WHERE i.name = p.name AND i.version = p.version) AS "variants!"
           FROM pos_invoices p WHERE name = $1"#,
        name,
    )
    .fetch_optional(conn)
    .await
    .map_err(DbError::from)?;
    row.map(|row| (row.version, row.variants)).ok_or(PosError::NotFound)
}

/// Writes down that the items of a draft are sold.
pub(super) async fn set_submitted_in_tx(
    conn: &mut PgConnection,
    name: &str,
) -> Result<DateTime<Utc>, DbError> {
    let at = sqlx::query_scalar!(
        r#"UPDATE pos_invoices SET state = 'submitted', submitted_at = clock_timestamp()
           WHERE name = $1 AND state = 'draft' RETURNING submitted_at AS "at!""#,
        name,
    );
    Ok(at.fetch_one(conn).await?)
}

/// Writes down that what was sold came back.
pub(super) async fn set_returned_in_tx(
    conn: &mut PgConnection,
    name: &str,
) -> Result<DateTime<Utc>, DbError> {
    let at = sqlx::query_scalar!(
        r#"UPDATE pos_invoices SET state = 'returned', returned_at = clock_timestamp()
           WHERE name = $1 AND state = 'submitted' RETURNING returned_at AS "at!""#,
        name,
    );
    Ok(at.fetch_one(conn).await?)
}

/// An invoice in this version, or its newest.
pub(super) async fn find(
    conn: &mut PgConnection,
    name: &str,
    version: Option<i64>,
) -> Result<Option<PosInvoice>, DbError> {
    let row = sqlx::query_as!(
        VersionRow,
        "SELECT v.name, v.version, state, customer, currency, total, subject, lock_mode, lock_wait_ms, saved_at,
                submitted_at, returned_at
         FROM pos_invoices p JOIN pos_invoice_versions v ON v.name = p.name AND v.version = coalesce($2, p.version)
         WHERE p.name = $1",
        name,
        version,
    )
    .fetch_optional(&mut *conn)
    .await?;
    let Some(row) = row else { return Ok(None) };
    Ok(with_items(conn, name, vec![row]).await?.pop())
}

/// The versions after this one, the oldest first.
pub(super) async fn list_versions(
    conn: &mut PgConnection,
    name: &str,
    after: i64,
    limit: i64,
) -> Result<Vec<PosInvoice>, DbError> {
    let rows = sqlx::query_as!(
        VersionRow,
        "SELECT v.name, v.version, state, customer, currency, total, subject, lock_mode, lock_wait_ms, saved_at,
                submitted_at, returned_at
         FROM pos_invoices p JOIN pos_invoice_versions v USING (name)
         WHERE name = $1 AND v.version > $2 ORDER BY v.version LIMIT $3",
        name,
        after,
        limit,
    )
    .fetch_all(&mut *conn)
    .await?;
    with_items(conn, name, rows).await
}

struct VersionRow {
    name: String,
    version: i64,
    state: String,
    customer: Option<String>,
    currency: String,
    total: Decimal,
    subject: String,
    lock_mode: String,
    lock_wait_ms: i32,
    saved_at: DateTime<Utc>,
    submitted_at: Option<DateTime<Utc>>,
    returned_at: Option<DateTime<Utc>>,
}

async fn with_items(
    conn: &mut PgConnection,
    name: &str,
    versions: Vec<VersionRow>,
) -> Result<Vec<PosInvoice>, DbError> {
    let numbers: Vec<_> = versions.iter().map(|row| row.version).collect();
    let rows = sqlx::query!(
        "SELECT version, item_id, variant_id, sku, quantity, unit_price FROM pos_invoice_items
         WHERE name = $1 AND version = ANY($2) ORDER BY version, position",
        name,
        &numbers,
    )
    .fetch_all(conn)
    .await?;
    let mut items: HashMap<i64, Vec<PosItem>> = HashMap::new();
    for row in rows {
        items.entry(row.version).or_default().push(PosItem {
            item_id: row.item_id,
            variant_id: row.variant_id,
            sku: row.sku,
            quantity: row.quantity,
            unit_price: row.unit_price,
            line_total: row.unit_price * Decimal::from(row.quantity),
        });
    }
    versions.into_iter().map(|row| invoice(items.remove(&row.version).unwrap_or_default(), row)).collect()
}

/// Amounts are written as when they were stored: the database does not keep the zeros of a zero.
fn invoice(mut items: Vec<PosItem>, row: VersionRow) -> Result<PosInvoice, DbError> {
    let currency = stored_currency(&row.currency)?;
    for item in &mut items {
        item.unit_price = currency.written(item.unit_price);
        item.line_total = currency.written(item.line_total);
    }
    Ok(PosInvoice {
        name: row.name,
        version: row.version,
        state: stored_state(&row.state)?,
        customer: row.customer,
        currency,
        total: currency.written(row.total),
        items,
        saved_by: row.subject,
        saved_at: row.saved_at,
        submitted_at: row.submitted_at,
        returned_at: row.returned_at,
        lock: LockSeen { mode: row.lock_mode, wait_ms: row.lock_wait_ms },
    })
}

fn stored_state(state: &str) -> Result<PosState, DbError> {
    let unknown = || DbError::Unexpected(sqlx::Error::Decode("a stored invoice has no known state".into()));
    PosState::ALL.into_iter().find(|known| known.as_str() == state).ok_or_else(unknown)
}

fn missing() -> DbError {
    DbError::Unexpected(sqlx::Error::RowNotFound)
}
