//! The SQL of suppliers' invoices: what an upload is judged by, and what it writes. No decisions here: rows in, rows out.

mod candidates;
mod decisions;
mod policies;
mod read;
mod receipts;
mod write;

use chrono::NaiveDate;
use sqlx::PgConnection;
use uuid::Uuid;

pub(super) use self::candidates::*;
pub(super) use self::decisions::*;
pub(super) use self::policies::*;
pub(super) use self::read::*;
pub(super) use self::receipts::*;
pub(super) use self::write::*;
use super::compare::{Evidence, Facts, Lines, Vendor};
use super::model::{GivenInvoice, InvoiceState};
use super::rules::Policy;
use super::spelling;
use crate::db::DbError;

/// What is known of an upload before it is compared.
pub(super) struct Known {
    /// How strict its account is.
    pub(super) policy: Policy,
    /// The name its vendor is known under, if by another than its own.
    pub(super) vendor_key: Option<String>,
    /// Today, by the database's clock.
    pub(super) today: NaiveDate,
}

/// Reads the policy and the vendor of each, in the same order.
pub(super) async fn find_known(
    conn: &mut PgConnection,
    given: &[GivenInvoice],
) -> Result<Vec<Known>, DbError> {
    let accounts: Vec<_> = given.iter().map(|invoice| invoice.account_id.as_str()).collect();
    let vendors: Vec<_> = given.iter().map(|invoice| invoice.vendor_name.key()).collect();
    let rows = sqlx::query!(
        r#"SELECT a.vendor_key AS "vendor_key?", (clock_timestamp() AT TIME ZONE 'UTC')::date AS "today!",
                  p.rules AS "rules?", p.on_duplicate AS "on_duplicate?", p.threshold AS "threshold?",
                  p.date_window_days AS "days?", p.total_tolerance AS "tolerance?"
           FROM UNNEST($1::text[], $2::text[]) WITH ORDINALITY AS g (account_id, vendor_key, place)
           LEFT JOIN vendor_aliases a ON a.account_id = g.account_id AND a.alias_key = g.vendor_key
           LEFT JOIN invoice_policies p ON p.account_id = g.account_id
           ORDER BY g.place"#,
        &accounts as &[&str],
        &vendors as &[&str],
    )
    .fetch_all(conn)
    .await?;
    let known = rows.into_iter().map(|row| Known {
        policy: match (row.rules, row.on_duplicate, row.threshold, row.days, row.tolerance) {
            (Some(rules), Some(on_duplicate), Some(threshold), Some(days), Some(tolerance)) => {
                stored_policy(&rules, &on_duplicate, threshold, days, tolerance)
            }
            _ => Policy::default(),
        },
        vendor_key: row.vendor_key,
        today: row.today,
    });
    Ok(known.collect())
}

/// What an invoice is locked by, and whose it is. Asked before anything is locked: it never changes.
pub(super) async fn find_facts(
    conn: &mut PgConnection,
    invoice_id: Uuid,
) -> Result<Option<(String, Facts)>, DbError> {
    let row = sqlx::query!(
        "SELECT account_id, vendor_name, vendor_key, invoice_number, number_key, invoice_date, total, currency,
                lower(file_hash) AS file_hash, vendor_form
         FROM invoices WHERE invoice_id = $1",
        invoice_id,
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|row| {
        let facts = Facts {
            vendor: Vendor { written: row.vendor_name, key: row.vendor_key, form: row.vendor_form },
            number: (row.invoice_number.clone(), row.number_key, spelling::squashed(&row.invoice_number)),
            date: row.invoice_date,
            total: row.total,
            currency: row.currency,
            file_hash: row.file_hash,
            lines: Lines::default(),
        };
        (row.account_id, facts)
    }))
}

/// An earlier invoice that a new one is near to.
#[derive(Debug, Clone)]
pub(super) struct NewMatch {
    pub(super) earlier_id: Uuid,
    pub(super) score: i32,
    pub(super) evidence: Vec<Evidence>,
}

/// An invoice about to be written.
pub(super) struct NewInvoice<'a> {
    pub(super) facts: &'a Facts,
    pub(super) invoice: &'a super::model::Invoice,
    pub(super) matches: &'a [NewMatch],
}

fn stored_state(state: &str) -> Result<InvoiceState, DbError> {
    let unknown = || DbError::Unexpected(sqlx::Error::Decode("a stored invoice has no known state".into()));
    InvoiceState::ALL.into_iter().find(|known| known.as_str() == state).ok_or_else(unknown)
}

fn missing() -> DbError {
    DbError::Unexpected(sqlx::Error::RowNotFound)
}
