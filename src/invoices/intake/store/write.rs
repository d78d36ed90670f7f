//! What an upload writes.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use super::{NewInvoice, missing};
use crate::db::DbError;
use crate::inventory::model::Witness;
use crate::invoices::intake::model::{Invoice, InvoiceLine};
use crate::invoices::intake::rules::Kind;
use crate::invoices::intake::spelling;

/// Inserts invoices with their lines and matches, all at one time by the database's clock, which is returned. One whose
/// vendor's name came to stand for another, or for itself again, since it was judged collides: begun anew, it is judged by
/// that.
#[expect(clippy::too_many_lines, reason = "one statement")]
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
                request_id, lock_mode, lock_wait_ms, uploaded_at, vendor_form, compared_all, lines_in_order)
            SELECT i.id, i.account, i.vendor, i.number, i.day, i.total, i.currency, i.hash, i.vendor_key, i.number_key,
                   extract(year FROM i.day)::smallint, i.line_keys::bigint[], i.amount_keys::bigint[], i.state, i.verdict,
                   $14, $15, $16, $17, at, i.vendor_form, i.compared_all, true
            FROM moment, UNNEST($1::uuid[], $2::text[], $3::text[], $4::text[], $5::date[], $6::numeric[], $7::text[],
                    $8::text[], $9::text[], $10::text[], $11::text[], $12::text[], $13::text[], $18::text[],
                    $30::text[], $31::text[], $32::bool[])
                AS i (id, account, vendor, number, day, total, currency, hash, vendor_key, number_key, line_keys,
                      amount_keys, state, verdict, vendor_form, judged_as, compared_all)
            WHERE i.judged_as = coalesce((SELECT a.vendor_key FROM vendor_aliases a
                                          WHERE a.account_id = i.account AND a.alias_key = i.vendor_key), i.vendor_key)
            RETURNING 1
        ), lined AS (
            INSERT INTO invoice_lines (invoice_id, line_id, position, sku, description, quantity, unit_price)
            SELECT * FROM UNNEST($19::uuid[], $20::uuid[], $21::int[], $22::text[], $23::text[], $24::bigint[],
                $25::numeric[])
            WHERE (SELECT count(*) FROM taken) = cardinality($1::uuid[])
            RETURNING 1
        ), matched AS (
            INSERT INTO invoice_matches (invoice_id, earlier_id, score, evidence)
            SELECT m.id, m.earlier, m.score, m.evidence::jsonb
            FROM UNNEST($26::uuid[], $27::uuid[], $28::smallint[], $29::text[]) AS m (id, earlier, score, evidence)
            WHERE (SELECT count(*) FROM taken) = cardinality($1::uuid[])
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
        &new.iter().map(|new| spelling::vendor_key(&new.facts.vendor.written)).collect::<Vec<_>>(),
        &new.iter().map(|new| new.facts.number.1.clone()).collect::<Vec<_>>(),
        &new.iter().map(|new| array(new.facts.lines.placed(), |line| line.0)).collect::<Vec<_>>(),
        &new.iter().map(|new| array(new.facts.lines.placed(), |line| line.1)).collect::<Vec<_>>(),
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
        &texts(|invoice| spelling::vendor_form(&invoice.vendor_name)) as &[&str],
        &new.iter().map(|new| new.facts.vendor.key.clone()).collect::<Vec<_>>(),
        &new.iter().map(|new| new.invoice.compared_all).collect::<Vec<_>>(),
    )
    .fetch_one(conn)
    .await
    .map_err(by_constraint)?;
    if inserted.taken != new.len() as i64 {
        return Err(DbError::Collision(sqlx::Error::RowNotFound));
    }
    let whole = (inserted.lined, inserted.matched) == (lines.len() as i64, matches.len() as i64);
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

/// One number of each line as Postgres reads an array: one in another can't be sent as such.
fn array(lines: &[(i64, i64)], number: fn(&(i64, i64)) -> i64) -> String {
    format!("{{{}}}", lines.iter().map(|line| number(line).to_string()).collect::<Vec<_>>().join(","))
}

/// A net held what the verdict had not seen: begun anew, it sees it.
fn by_constraint(error: sqlx::Error) -> DbError {
    let constraint = error.as_database_error().and_then(|error| error.constraint());
    match constraint {
        Some("invoice_file_is_in_once" | "invoice_number_is_in_once") => DbError::Collision(error),
        _ => error.into(),
    }
}
