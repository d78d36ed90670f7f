//! Invoices as they are read: one, some, and lists.

use std::collections::HashMap;

use chrono::{DateTime, NaiveDate, Utc};
use rust_decimal::Decimal;
use sqlx::PgConnection;
use uuid::Uuid;

use super::stored_state;
use crate::db::DbError;
use crate::http::page::{Limit, cut_to_a_page};
use crate::inventory::model::LockSeen;
use crate::inventory::store::stored_currency;
use crate::invoices::intake::model::{Decision, Invoice, InvoiceLine, Match};
use crate::invoices::intake::rules::Kind;

/// One invoice.
pub(in super::super) async fn find(
    conn: &mut PgConnection,
    invoice_id: Uuid,
) -> Result<Option<Invoice>, DbError> {
    let row = sqlx::query_as!(
        InvoiceRow,
        "SELECT invoice_id, account_id, vendor_name, invoice_number, invoice_date, total, currency, file_hash, state,
                verdict, compared_all, subject, uploaded_at, lock_mode, lock_wait_ms
         FROM invoices WHERE invoice_id = $1",
        invoice_id,
    )
    .fetch_optional(&mut *conn)
    .await?;
    let Some(row) = row else { return Ok(None) };
    Ok(with_details(conn, vec![row]).await?.pop())
}

/// Invoices by their ids, in the order of these.
pub(in super::super) async fn find_all(
    conn: &mut PgConnection,
    ids: &[Uuid],
) -> Result<Vec<Invoice>, DbError> {
    let rows = sqlx::query_as!(
        InvoiceRow,
        "SELECT invoice_id, account_id, vendor_name, invoice_number, invoice_date, total, currency, file_hash, state,
                verdict, compared_all, subject, uploaded_at, lock_mode, lock_wait_ms
         FROM invoices WHERE invoice_id = ANY($1) ORDER BY invoice_id",
        ids,
    )
    .fetch_all(&mut *conn)
    .await?;
    with_details(conn, rows).await
}

/// The names a vendor is known under, given one of them.
pub(in super::super) async fn find_names_of_vendor(
    conn: &mut PgConnection,
    account_id: &str,
    vendor_key: &str,
) -> Result<Vec<String>, DbError> {
    Ok(sqlx::query_scalar!(
        r#"WITH known AS (
               SELECT coalesce((SELECT vendor_key FROM vendor_aliases WHERE account_id = $1 AND alias_key = $2), $2) AS key
           )
           SELECT key AS "key!" FROM known
           UNION ALL
           SELECT alias_key FROM known JOIN vendor_aliases ON account_id = $1 AND vendor_key = key"#,
        account_id,
        vendor_key,
    )
    .fetch_all(conn)
    .await?)
}

/// Which invoices are listed.
pub(in super::super) struct Filter<'a> {
    pub(in super::super) account_id: Option<&'a str>,
    pub(in super::super) vendor_keys: Option<&'a [String]>,
    pub(in super::super) number_key: Option<&'a str>,
    pub(in super::super) state: Option<&'a str>,
    pub(in super::super) from: Option<NaiveDate>,
    pub(in super::super) to: Option<NaiveDate>,
    pub(in super::super) before: Option<Uuid>,
}

/// One of the ways to list: its condition has an index, and whatever else is asked for is looked at row by row.
macro_rules! listed {
    ($conn:expr, $filter:expr, $limit:expr, $by:tt) => {
        sqlx::query_as!(
            InvoiceRow,
            "SELECT invoice_id, account_id, vendor_name, invoice_number, invoice_date, total, currency, file_hash, state,
                    verdict, compared_all, subject, uploaded_at, lock_mode, lock_wait_ms
             FROM invoices WHERE "
                + $by
                + " AND invoice_id < $1 AND ($2::text IS NULL OR account_id = $2)
               AND ($3::text[] IS NULL OR vendor_key = ANY($3))
               AND ($4::text IS NULL OR number_key = $4) AND ($5::text IS NULL OR state = $5)
               AND ($6::date IS NULL OR invoice_date >= $6) AND ($7::date IS NULL OR invoice_date <= $7)
             ORDER BY invoice_id DESC LIMIT $8",
            $filter.before.unwrap_or(Uuid::max()),
            $filter.account_id,
            $filter.vendor_keys,
            $filter.number_key,
            $filter.state,
            $filter.from,
            $filter.to,
            $limit,
        )
        .fetch_all(&mut *$conn)
        .await?
    };
}

/// Up to so many invoices, the last uploaded first, and whether there are more.
pub(in super::super) async fn list(
    conn: &mut PgConnection,
    filter: &Filter<'_>,
    limit: Limit,
) -> Result<(Vec<Invoice>, bool), DbError> {
    let mut rows = list_rows(&mut *conn, filter, limit.and_one()).await?;
    let ids: Vec<_> = rows.iter().map(|row| row.invoice_id).collect();
    // What is told of the lines that two share counts as lines do.
    let counted = sqlx::query_scalar!(
        r#"SELECT (SELECT count(*) FROM invoice_lines l WHERE l.invoice_id = listed.invoice_id)
                + (SELECT count(*) FROM invoice_matches m, jsonb_array_elements(m.evidence) AS e (field),
                          jsonb_array_elements(CASE WHEN jsonb_typeof(field->'shared_lines') = 'array'
                                                    THEN field->'shared_lines' ELSE '[]' END)
                   WHERE m.invoice_id = listed.invoice_id) AS "lines!"
           FROM unnest($1::uuid[]) WITH ORDINALITY AS listed (invoice_id, place) ORDER BY place"#,
        &ids,
    )
    .fetch_all(&mut *conn)
    .await?;
    let more = cut_to_a_page(&mut rows, &counted, limit);
    Ok((with_details(conn, rows).await?, more))
}

async fn list_rows(
    conn: &mut PgConnection,
    filter: &Filter<'_>,
    limit: i64,
) -> Result<Vec<InvoiceRow>, DbError> {
    Ok(match filter {
        Filter { account_id: Some(_), number_key: Some(_), .. } => {
            listed!(conn, filter, limit, "account_id = $2 AND number_key = $4")
        }
        Filter { account_id: Some(_), vendor_keys: Some(_), .. } => {
            listed!(conn, filter, limit, "account_id = $2 AND vendor_key = ANY($3)")
        }
        Filter { account_id: Some(_), state: Some("flagged"), .. } => {
            listed!(conn, filter, limit, "account_id = $2 AND state = 'flagged'")
        }
        Filter { account_id: Some(_), .. } => listed!(conn, filter, limit, "account_id = $2"),
        Filter { state: Some("flagged"), .. } => listed!(conn, filter, limit, "state = 'flagged'"),
        _ => listed!(conn, filter, limit, "true"),
    })
}

struct InvoiceRow {
    invoice_id: Uuid,
    account_id: String,
    vendor_name: String,
    invoice_number: String,
    invoice_date: NaiveDate,
    total: Decimal,
    currency: String,
    file_hash: Option<String>,
    state: String,
    verdict: String,
    compared_all: bool,
    subject: String,
    uploaded_at: DateTime<Utc>,
    lock_mode: String,
    lock_wait_ms: i32,
}

async fn with_details(conn: &mut PgConnection, rows: Vec<InvoiceRow>) -> Result<Vec<Invoice>, DbError> {
    let ids: Vec<_> = rows.iter().map(|row| row.invoice_id).collect();
    let mut invoices = rows.into_iter().map(invoice).collect::<Result<Vec<_>, _>>()?;
    let places: HashMap<Uuid, usize> = ids.iter().copied().zip(0..).collect();
    let lines = sqlx::query!(
        "SELECT invoice_id, line_id, sku, description, quantity, unit_price, received_quantity
         FROM invoice_lines WHERE invoice_id = ANY($1) ORDER BY invoice_id, position",
        &ids,
    );
    for row in lines.fetch_all(&mut *conn).await? {
        let Some(invoice) = places.get(&row.invoice_id).and_then(|place| invoices.get_mut(*place)) else {
            continue;
        };
        let unit_price = invoice.currency.written(row.unit_price);
        let (line_id, sku, description) = (row.line_id, row.sku, row.description);
        let (quantity, received_quantity) = (row.quantity, row.received_quantity);
        invoice.lines.push(InvoiceLine {
            line_id,
            sku,
            description,
            quantity,
            unit_price,
            received_quantity,
        });
    }
    let matches = sqlx::query!(
        "SELECT invoice_id, earlier_id, score, evidence FROM invoice_matches
         WHERE invoice_id = ANY($1) ORDER BY invoice_id, score DESC, earlier_id",
        &ids,
    );
    for row in matches.fetch_all(&mut *conn).await? {
        let Some(invoice) = places.get(&row.invoice_id).and_then(|place| invoices.get_mut(*place)) else {
            continue;
        };
        let score = f64::from(row.score) / 100.0;
        invoice.matches.push(Match { invoice_id: row.earlier_id, score, evidence: row.evidence });
    }
    let decisions = sqlx::query!(
        "SELECT invoice_id, kind, reason, subject, decided_at FROM invoice_decisions
         WHERE invoice_id = ANY($1) ORDER BY invoice_id, decided_at",
        &ids,
    );
    for row in decisions.fetch_all(conn).await? {
        let Some(invoice) = places.get(&row.invoice_id).and_then(|place| invoices.get_mut(*place)) else {
            continue;
        };
        let (kind, reason, decided_by) = (row.kind, row.reason, row.subject);
        invoice.decisions.push(Decision { kind, reason, decided_by, decided_at: row.decided_at });
    }
    Ok(invoices)
}

/// Amounts are written as when they were stored: the database does not keep the zeros of a zero.
fn invoice(row: InvoiceRow) -> Result<Invoice, DbError> {
    let currency = stored_currency(&row.currency)?;
    Ok(Invoice {
        invoice_id: row.invoice_id,
        account_id: row.account_id,
        vendor_name: row.vendor_name,
        invoice_number: row.invoice_number,
        invoice_date: row.invoice_date,
        total: currency.written(row.total),
        currency,
        file_hash: row.file_hash,
        state: stored_state(&row.state)?,
        verdict: if row.verdict == "near" { Kind::Near } else { Kind::New },
        matches: Vec::new(),
        compared_all: row.compared_all,
        lines: Vec::new(),
        decisions: Vec::new(),
        uploaded_by: row.subject,
        uploaded_at: row.uploaded_at,
        lock: LockSeen { mode: row.lock_mode, wait_ms: row.lock_wait_ms },
    })
}
