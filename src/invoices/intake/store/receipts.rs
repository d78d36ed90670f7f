//! What of invoices came into stock.

use std::collections::HashMap;

use sqlx::PgConnection;
use uuid::Uuid;

use super::missing;
use crate::db::DbError;
use crate::inventory::model::Witness;

/// The variants that lines of an invoice are of, by their stock keeping units. Neither ever changes.
pub(in super::super) async fn find_variants(
    conn: &mut PgConnection,
    invoice_id: Uuid,
) -> Result<HashMap<String, Uuid>, DbError> {
    let rows = sqlx::query!(
        "SELECT DISTINCT v.sku, v.variant_id FROM invoice_lines l JOIN variants v ON v.sku = l.sku WHERE invoice_id = $1",
        invoice_id,
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|row| (row.sku, row.variant_id)).collect())
}

/// Writes what came in of an invoice's lines: receipt, line and units of each.
pub(in super::super) async fn write_receipts_in_tx(
    conn: &mut PgConnection,
    invoice_id: Uuid,
    receipts: &[(Uuid, Uuid, i64)],
    witness: Witness<'_>,
) -> Result<(), DbError> {
    let written = sqlx::query!(
        r#"WITH receipts AS (
            INSERT INTO invoice_receipts (invoice_id, receipt_id, line_id, quantity, subject, request_id)
            SELECT $1, r.receipt_id, r.line_id, r.quantity, $5, $6
            FROM UNNEST($2::uuid[], $3::uuid[], $4::bigint[]) AS r (receipt_id, line_id, quantity)
            RETURNING line_id, quantity
        )
        UPDATE invoice_lines l SET received_quantity = received_quantity + r.quantity
        FROM receipts r WHERE l.invoice_id = $1 AND l.line_id = r.line_id"#,
        invoice_id,
        &receipts.iter().map(|(receipt_id, ..)| *receipt_id).collect::<Vec<_>>(),
        &receipts.iter().map(|(_, line_id, _)| *line_id).collect::<Vec<_>>(),
        &receipts.iter().map(|(.., units)| *units).collect::<Vec<_>>(),
        witness.subject,
        witness.request_id,
    )
    .execute(conn)
    .await?;
    if written.rows_affected() == receipts.len() as u64 { Ok(()) } else { Err(missing()) }
}
