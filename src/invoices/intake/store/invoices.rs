//! Rows of invoices: written, read, changed.

use std::collections::HashMap;

use chrono::{DateTime, NaiveDate, Utc};
use rust_decimal::Decimal;
use sqlx::PgConnection;
use uuid::Uuid;

use super::NewInvoice;
use crate::db::DbError;
use crate::ids;
use crate::inventory::model::{LockSeen, Witness};
use crate::inventory::store::stored_currency;
use crate::invoices::intake::model::{Decision, Invoice, InvoiceLine, InvoiceState, Match};
use crate::invoices::intake::rules::Kind;

/// Inserts invoices with their lines and matches, all at one time by the database's clock, which is returned.
pub(in super::super) async fn insert_in_tx(
    conn: &mut PgConnection,
    new: &[NewInvoice<'_>],
    witness: Witness<'_>,
) -> Result<DateTime<Utc>, DbError> {
    let texts = |read: fn(&Invoice) -> &str| new.iter().map(|new| read(new.invoice)).collect::<Vec<_>>();
    let (lines, matches) = (lines_of(new), matches_of(new));
    let skus: Vec<_> = lines.iter().map(|(.., line)| line.sku.as_deref()).collect();
    let words: Vec<_> = lines.iter().map(|(.., line)| line.description.as_str()).collect();
    let hashes: Vec<_> = new.iter().map(|new| new.invoice.file_hash.as_deref()).collect();
    let inserted = sqlx::query!(
        r#"WITH moment AS MATERIALIZED (SELECT clock_timestamp() AS at),
        taken AS (
            INSERT INTO invoices (invoice_id, account_id, vendor_name, invoice_number, invoice_date, total, currency,
                file_hash, vendor_key, number_key, number_year, line_keys, amount_keys, state, verdict, subject,
                request_id, lock_mode, lock_wait_ms, uploaded_at)
            SELECT i.id, i.account, i.vendor, i.number, i.day, i.total, i.currency, i.hash, i.vendor_key, i.number_key,
                   extract(year FROM i.day)::smallint, i.line_keys::bigint[], i.amount_keys::bigint[], i.state, i.verdict,
                   $14, $15, $16, $17, at
            FROM moment, UNNEST($1::uuid[], $2::text[], $3::text[], $4::text[], $5::date[], $6::numeric[], $7::text[],
                    $8::text[], $9::text[], $10::text[], $11::text[], $12::text[], $13::text[], $18::text[])
                AS i (id, account, vendor, number, day, total, currency, hash, vendor_key, number_key, line_keys,
                      amount_keys, state, verdict)
            RETURNING 1
        ), lined AS (
            INSERT INTO invoice_lines (invoice_id, line_id, position, sku, description, quantity, unit_price)
            SELECT * FROM UNNEST($19::uuid[], $20::uuid[], $21::int[], $22::text[], $23::text[], $24::bigint[],
                $25::numeric[])
            RETURNING 1
        ), matched AS (
            INSERT INTO invoice_matches (invoice_id, earlier_id, score, evidence)
            SELECT m.id, m.earlier, m.score, m.evidence::jsonb
            FROM UNNEST($26::uuid[], $27::uuid[], $28::smallint[], $29::text[]) AS m (id, earlier, score, evidence)
            RETURNING 1
        )
        SELECT at AS "at!", (SELECT count(*) FROM taken) AS "taken!", (SELECT count(*) FROM lined) AS "lined!",
               (SELECT count(*) FROM matched) AS "matched!" FROM moment"#,
        &new.iter().map(|new| new.invoice.invoice_id).collect::<Vec<_>>(),
        &texts(|invoice| &invoice.account_id) as &[&str],
        &texts(|invoice| &invoice.vendor_name) as &[&str],
        &texts(|invoice| &invoice.invoice_number) as &[&str],
        &new.iter().map(|new| new.invoice.invoice_date).collect::<Vec<_>>(),
        &new.iter().map(|new| new.invoice.total).collect::<Vec<_>>(),
        &texts(|invoice| invoice.currency.code()) as &[&str],
        &hashes as &[Option<&str>],
        &new.iter().map(|new| new.facts.vendor.1.clone()).collect::<Vec<_>>(),
        &new.iter().map(|new| new.facts.number.1.clone()).collect::<Vec<_>>(),
        &new.iter().map(|new| array(&new.facts.lines.whole)).collect::<Vec<_>>(),
        &new.iter().map(|new| array(&new.facts.lines.amounts)).collect::<Vec<_>>(),
        &texts(|invoice| invoice.state.as_str()) as &[&str],
        witness.subject,
        witness.request_id,
        witness.lock.mode.as_str(),
        witness.wait_ms(),
        &texts(|invoice| if invoice.verdict == Kind::Near { "near" } else { "new" }) as &[&str],
        &lines.iter().map(|(id, ..)| *id).collect::<Vec<_>>(),
        &lines.iter().map(|(.., line)| line.line_id).collect::<Vec<_>>(),
        &lines.iter().map(|(_, place, _)| *place).collect::<Vec<_>>(),
        &skus as &[Option<&str>],
        &words as &[&str],
        &lines.iter().map(|(.., line)| line.quantity).collect::<Vec<_>>(),
        &lines.iter().map(|(.., line)| line.unit_price).collect::<Vec<_>>(),
        &matches.iter().map(|(id, ..)| *id).collect::<Vec<_>>(),
        &matches.iter().map(|(_, earlier_id, ..)| *earlier_id).collect::<Vec<_>>(),
        &matches.iter().map(|(_, _, score, _)| *score).collect::<Vec<_>>(),
        &matches.iter().map(|(.., evidence)| evidence.clone()).collect::<Vec<_>>(),
    )
    .fetch_one(conn)
    .await
    .map_err(by_constraint)?;
    let whole = (inserted.taken, inserted.lined, inserted.matched)
        == (new.len() as i64, lines.len() as i64, matches.len() as i64);
    if whole { Ok(inserted.at) } else { Err(missing()) }
}

fn lines_of<'a>(new: &[NewInvoice<'a>]) -> Vec<(Uuid, i32, &'a InvoiceLine)> {
    let of_one = |new: &NewInvoice<'a>| {
        let (id, lines) = (new.invoice.invoice_id, &new.invoice.lines);
        (1_i32..).zip(lines).map(move |(place, line)| (id, place, line))
    };
    new.iter().flat_map(of_one).collect()
}

/// Of each: the invoice, the earlier one, the score, and the evidence as JSON.
fn matches_of(new: &[NewInvoice<'_>]) -> Vec<(Uuid, Uuid, i16, String)> {
    let mut all = Vec::new();
    for new in new {
        for found in new.matches {
            let evidence = serde_json::to_string(&found.evidence).unwrap_or_else(|_| "[]".to_owned());
            let score = i16::try_from(found.score).unwrap_or(100);
            all.push((new.invoice.invoice_id, found.earlier_id, score, evidence));
        }
    }
    all
}

/// As Postgres reads an array: one in another can't be sent as such.
fn array(numbers: &[i64]) -> String {
    format!("{{{}}}", numbers.iter().map(i64::to_string).collect::<Vec<_>>().join(","))
}

/// A net held what the verdict had not seen: begun anew, it sees it.
fn by_constraint(error: sqlx::Error) -> DbError {
    let constraint = error.as_database_error().and_then(|error| error.constraint());
    match constraint {
        Some("invoice_file_is_in_once" | "invoice_number_is_in_once") => DbError::Collision(error),
        _ => error.into(),
    }
}

/// Locks an invoice's row and tells its state.
pub(in super::super) async fn lock_in_tx(
    conn: &mut PgConnection,
    invoice_id: Uuid,
) -> Result<Option<InvoiceState>, DbError> {
    let state =
        sqlx::query_scalar!("SELECT state FROM invoices WHERE invoice_id = $1 FOR UPDATE", invoice_id)
            .fetch_optional(conn)
            .await?;
    state.map(|state| stored_state(&state)).transpose()
}

/// Writes down in what state an invoice is from now on, whose row is locked, and who decided so.
pub(in super::super) async fn decide_in_tx(
    conn: &mut PgConnection,
    invoice_id: Uuid,
    state: InvoiceState,
    reason: &str,
    same_vendor: Option<bool>,
    witness: Witness<'_>,
) -> Result<(), DbError> {
    let kind = if state == InvoiceState::Voided { "void" } else { "override" };
    let decided = sqlx::query!(
        r#"WITH set AS (UPDATE invoices SET state = $2 WHERE invoice_id = $1 RETURNING invoice_id)
           INSERT INTO invoice_decisions (decision_id, invoice_id, kind, reason, same_vendor, subject, request_id)
           SELECT $3, invoice_id, $4, $5, $6, $7, $8 FROM set"#,
        invoice_id,
        state.as_str(),
        ids::fresh(),
        kind,
        reason,
        same_vendor,
        witness.subject,
        witness.request_id,
    )
    .execute(conn)
    .await?;
    if decided.rows_affected() == 1 { Ok(()) } else { Err(missing()) }
}

/// Learns that the vendor of an invoice is that of the earlier one it is most like. Names that stood for the one stand
/// for the other from now on.
pub(in super::super) async fn learn_alias_in_tx(
    conn: &mut PgConnection,
    invoice_id: Uuid,
    subject: &str,
) -> Result<(), DbError> {
    sqlx::query!(
        "WITH names AS (
            SELECT i.account_id, i.vendor_key AS alias_key, coalesce(a.vendor_key, e.vendor_key) AS vendor_key
            FROM invoices i JOIN invoice_matches m USING (invoice_id) JOIN invoices e ON e.invoice_id = m.earlier_id
            LEFT JOIN vendor_aliases a ON a.account_id = e.account_id AND a.alias_key = e.vendor_key
            WHERE i.invoice_id = $1 ORDER BY m.score DESC, m.earlier_id LIMIT 1
         ), moved AS (
            UPDATE vendor_aliases v SET vendor_key = n.vendor_key FROM names n
            WHERE v.account_id = n.account_id AND v.vendor_key = n.alias_key AND v.alias_key <> n.vendor_key
         )
         INSERT INTO vendor_aliases (account_id, alias_key, vendor_key, subject)
         SELECT account_id, alias_key, vendor_key, $2 FROM names WHERE alias_key <> vendor_key
         ON CONFLICT ON CONSTRAINT alias_stands_for_one_vendor DO NOTHING",
        invoice_id,
        subject,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Accepts whatever was flagged for the sake of an invoice that is voided now, and of no other that is in. Their rows are
/// locked in a statement before, so that of two who void the second sees the first.
pub(in super::super) async fn free_in_tx(
    conn: &mut PgConnection,
    voided_id: Uuid,
) -> Result<Vec<Uuid>, DbError> {
    let flagged = sqlx::query_scalar!(
        "SELECT invoice_id FROM invoices
         WHERE invoice_id IN (SELECT m.invoice_id FROM invoice_matches m WHERE m.earlier_id = $1) AND state = 'flagged'
         ORDER BY invoice_id FOR UPDATE",
        voided_id,
    )
    .fetch_all(&mut *conn)
    .await?;
    Ok(sqlx::query_scalar!(
        "UPDATE invoices SET state = 'accepted'
         WHERE invoice_id = ANY($1) AND state = 'flagged' AND NOT EXISTS (
             SELECT FROM invoice_matches m JOIN invoices e ON e.invoice_id = m.earlier_id
             WHERE m.invoice_id = invoices.invoice_id AND e.state <> 'voided')
         RETURNING invoice_id",
        &flagged,
    )
    .fetch_all(conn)
    .await?)
}

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

/// One invoice.
pub(in super::super) async fn find(
    conn: &mut PgConnection,
    invoice_id: Uuid,
) -> Result<Option<Invoice>, DbError> {
    let row = sqlx::query_as!(
        InvoiceRow,
        "SELECT invoice_id, account_id, vendor_name, invoice_number, invoice_date, total, currency, file_hash, state,
                verdict, subject, uploaded_at, lock_mode, lock_wait_ms
         FROM invoices WHERE invoice_id = $1",
        invoice_id,
    )
    .fetch_optional(&mut *conn)
    .await?;
    let Some(row) = row else { return Ok(None) };
    Ok(with_details(conn, vec![row]).await?.pop())
}

/// Which invoices are listed.
pub(in super::super) struct Filter<'a> {
    pub(in super::super) account_id: Option<&'a str>,
    pub(in super::super) vendor_key: Option<&'a str>,
    pub(in super::super) number_key: Option<&'a str>,
    pub(in super::super) state: Option<&'a str>,
    pub(in super::super) from: Option<NaiveDate>,
    pub(in super::super) to: Option<NaiveDate>,
    pub(in super::super) before: Option<Uuid>,
}

/// Invoices, the last uploaded first.
pub(in super::super) async fn list(
    conn: &mut PgConnection,
    filter: &Filter<'_>,
    limit: i64,
) -> Result<Vec<Invoice>, DbError> {
    let before = filter.before.unwrap_or(Uuid::max());
    // Two statements, each with its index.
    let rows = match filter.account_id {
        Some(account_id) => sqlx::query_as!(
            InvoiceRow,
            "SELECT invoice_id, account_id, vendor_name, invoice_number, invoice_date, total, currency, file_hash, state,
                    verdict, subject, uploaded_at, lock_mode, lock_wait_ms
             FROM invoices WHERE account_id = $1 AND invoice_id < $2 AND ($3::text IS NULL OR vendor_key = $3)
               AND ($4::text IS NULL OR number_key = $4) AND ($5::text IS NULL OR state = $5)
               AND ($6::date IS NULL OR invoice_date >= $6) AND ($7::date IS NULL OR invoice_date <= $7)
             ORDER BY invoice_id DESC LIMIT $8",
            account_id,
            before,
            filter.vendor_key,
            filter.number_key,
            filter.state,
            filter.from,
            filter.to,
            limit,
        )
        .fetch_all(&mut *conn)
        .await?,
        None => sqlx::query_as!(
            InvoiceRow,
            "SELECT invoice_id, account_id, vendor_name, invoice_number, invoice_date, total, currency, file_hash, state,
                    verdict, subject, uploaded_at, lock_mode, lock_wait_ms
             FROM invoices WHERE invoice_id < $1 AND ($2::text IS NULL OR vendor_key = $2)
               AND ($3::text IS NULL OR number_key = $3) AND ($4::text IS NULL OR state = $4)
               AND ($5::date IS NULL OR invoice_date >= $5) AND ($6::date IS NULL OR invoice_date <= $6)
             ORDER BY invoice_id DESC LIMIT $7",
            before,
            filter.vendor_key,
            filter.number_key,
            filter.state,
            filter.from,
            filter.to,
            limit,
        )
        .fetch_all(&mut *conn)
        .await?,
    };
    with_details(conn, rows).await
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
        lines: Vec::new(),
        decisions: Vec::new(),
        uploaded_by: row.subject,
        uploaded_at: row.uploaded_at,
        lock: LockSeen { mode: row.lock_mode, wait_ms: row.lock_wait_ms },
    })
}

fn stored_state(state: &str) -> Result<InvoiceState, DbError> {
    let unknown = || DbError::Unexpected(sqlx::Error::Decode("a stored invoice has no known state".into()));
    InvoiceState::ALL.into_iter().find(|known| known.as_str() == state).ok_or_else(unknown)
}

fn missing() -> DbError {
    DbError::Unexpected(sqlx::Error::RowNotFound)
}
