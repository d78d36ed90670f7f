//! The SQL of suppliers' invoices: what an upload is judged by, and what it writes. No decisions here: rows in, rows out.

mod invoices;

use chrono::NaiveDate;
use rust_decimal::Decimal;
use sqlx::PgConnection;
use uuid::Uuid;

pub(super) use self::invoices::*;
use super::compare::{Evidence, Facts, Limits, Lines, turned};
use super::model::{GivenInvoice, locks_of};
use super::rules::{OnDuplicate, Policy, Rules};
use super::spelling;
use crate::db::DbError;
use crate::locks::{LockKeys, TooManyKeys};

/// The most invoices that one is compared with of those that share its number, or its total and day.
const CANDIDATES_MAX: i64 = 50;

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

/// A policy read back; checks of its table keep it in bounds.
pub(super) fn stored_policy(
    rules: &str,
    on_duplicate: &str,
    threshold: i16,
    days: i16,
    tolerance: Decimal,
) -> Policy {
    let usual = Policy::default();
    Policy {
        rules: Rules::ALL.into_iter().find(|known| known.as_str() == rules).unwrap_or(usual.rules),
        on_duplicate: OnDuplicate::ALL
            .into_iter()
            .find(|known| known.as_str() == on_duplicate)
            .unwrap_or(usual.on_duplicate),
        threshold: threshold.into(),
        limits: Limits { days: days.unsigned_abs(), tolerance },
    }
}

/// An account's policy, if it has one of its own.
pub(super) async fn find_policy(
    conn: &mut PgConnection,
    account_id: &str,
) -> Result<Option<Policy>, DbError> {
    let row = sqlx::query!(
        "SELECT rules, on_duplicate, threshold, date_window_days, total_tolerance FROM invoice_policies
         WHERE account_id = $1",
        account_id,
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|row| {
        let (threshold, days, tolerance) = (row.threshold, row.date_window_days, row.total_tolerance);
        stored_policy(&row.rules, &row.on_duplicate, threshold, days, tolerance)
    }))
}

/// Writes an account's policy.
pub(super) async fn set_policy_in_tx(
    conn: &mut PgConnection,
    account_id: &str,
    policy: &Policy,
    subject: &str,
) -> Result<(), DbError> {
    let set = sqlx::query!(
        "INSERT INTO invoice_policies (account_id, rules, on_duplicate, threshold, date_window_days, total_tolerance,
             subject)
         VALUES ($1, $2, $3, $4, $5, $6, $7)
         ON CONFLICT ON CONSTRAINT policy_is_one_an_account DO UPDATE SET rules = excluded.rules,
             on_duplicate = excluded.on_duplicate, threshold = excluded.threshold,
             date_window_days = excluded.date_window_days, total_tolerance = excluded.total_tolerance,
             subject = excluded.subject, updated_at = clock_timestamp()",
        account_id,
        policy.rules.as_str(),
        policy.on_duplicate.as_str(),
        i16::try_from(policy.threshold).unwrap_or(i16::MAX),
        i16::try_from(policy.limits.days).unwrap_or(i16::MAX),
        policy.limits.tolerance,
        subject,
    )
    .execute(conn)
    .await?;
    if set.rows_affected() == 1 { Ok(()) } else { Err(DbError::Unexpected(sqlx::Error::RowNotFound)) }
}

/// The locks that uploads take who could be the same as this invoice. Asked before anything is locked: what they are
/// made of never changes.
pub(super) async fn find_locks(
    conn: &mut PgConnection,
    invoice_id: Uuid,
) -> Result<Option<Result<LockKeys, TooManyKeys>>, DbError> {
    let row = sqlx::query!(
        "SELECT account_id, vendor_name, vendor_key, invoice_number, number_key, invoice_date, total, currency,
                lower(file_hash) AS file_hash
         FROM invoices WHERE invoice_id = $1",
        invoice_id,
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|row| {
        let facts = Facts {
            vendor: (row.vendor_name, row.vendor_key),
            number: (row.invoice_number.clone(), row.number_key, spelling::squashed(&row.invoice_number)),
            date: row.invoice_date,
            total: row.total,
            currency: row.currency,
            file_hash: row.file_hash,
            lines: Lines::default(),
        };
        locks_of([(row.account_id.as_str(), &facts)].into_iter())
    }))
}

/// An invoice that is in, and may be the one that is judged.
pub(super) struct Candidate {
    /// Which of those that are judged.
    pub(super) place: usize,
    pub(super) invoice_id: Uuid,
    pub(super) facts: Facts,
}

/// Finds whatever may be one of `facts`: of the same file, of the same number, or of about the same total on a day
/// nearby.
pub(super) async fn find_candidates(
    conn: &mut PgConnection,
    judged: &[(&str, &Facts, Limits)],
) -> Result<Vec<Candidate>, DbError> {
    let each = |read: fn(&Facts) -> &str| judged.iter().map(|(_, facts, _)| read(facts)).collect::<Vec<_>>();
    let accounts: Vec<_> = judged.iter().map(|(account, ..)| *account).collect();
    let hashes: Vec<_> = judged.iter().map(|(_, facts, _)| facts.file_hash.as_deref()).collect();
    let (from, to): (Vec<_>, Vec<_>) =
        judged.iter().map(|(_, facts, limits)| limits.around(facts.date)).unzip();
    let rows = sqlx::query!(
        r#"SELECT g.place AS "place!", i.invoice_id, i.vendor_name, coalesce(a.vendor_key, i.vendor_key) AS "vendor_key!",
                  i.invoice_number, i.number_key, i.invoice_date, i.total, i.currency, lower(i.file_hash) AS file_hash,
                  i.line_keys, i.amount_keys
           FROM UNNEST($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::date[], $7::date[], $8::date[],
                       $9::numeric[], $10::numeric[])
                WITH ORDINALITY AS g (account_id, file_hash, number_key, vendor_key, currency, from_day, to_day, turned_day,
                                      total, tolerance, place)
           CROSS JOIN LATERAL (
               SELECT f.invoice_id FROM invoices f
               WHERE f.account_id = g.account_id AND lower(f.file_hash) = g.file_hash AND f.file_hash IS NOT NULL
                 AND f.state <> 'voided'
               UNION
               SELECT e.invoice_id FROM invoices e
               WHERE e.account_id = g.account_id AND e.number_key = g.number_key AND e.state <> 'voided'
                 AND e.vendor_key = ANY (ARRAY(SELECT v.alias_key FROM vendor_aliases v
                     WHERE v.account_id = g.account_id AND v.vendor_key = g.vendor_key) || g.vendor_key)
               UNION
               (SELECT n.invoice_id FROM invoices n
                WHERE n.account_id = g.account_id AND n.number_key = g.number_key AND n.state <> 'voided'
                ORDER BY abs(n.total - g.total), n.invoice_id LIMIT $11)
               UNION
               SELECT t.invoice_id
               FROM (SELECT g.from_day + n AS day FROM generate_series(0, g.to_day - g.from_day) AS n
                     UNION SELECT g.turned_day WHERE g.turned_day IS NOT NULL) AS days
               CROSS JOIN LATERAL (
                   SELECT d.invoice_id FROM invoices d
                   WHERE d.account_id = g.account_id AND d.currency = g.currency AND d.invoice_date = days.day
                     AND d.total >= g.total - g.tolerance AND d.total <= g.total + g.tolerance AND d.state <> 'voided'
                   ORDER BY (d.vendor_key = g.vendor_key) DESC, d.invoice_id LIMIT $11) AS t
           ) AS c
           JOIN invoices i ON i.invoice_id = c.invoice_id
           LEFT JOIN vendor_aliases a ON a.account_id = i.account_id AND a.alias_key = i.vendor_key"#,
        &accounts as &[&str],
        &hashes as &[Option<&str>],
        &each(|facts| &facts.number.1) as &[&str],
        &each(|facts| &facts.vendor.1) as &[&str],
        &each(|facts| &facts.currency) as &[&str],
        &from,
        &to,
        &judged.iter().map(|(_, facts, _)| turned(facts.date)).collect::<Vec<_>>() as &[Option<NaiveDate>],
        &judged.iter().map(|(_, facts, _)| facts.total).collect::<Vec<_>>(),
        &judged.iter().map(|(.., limits)| limits.tolerance).collect::<Vec<_>>(),
        CANDIDATES_MAX,
    )
    .fetch_all(conn)
    .await?;
    let candidates = rows.into_iter().map(|row| Candidate {
        place: usize::try_from(row.place - 1).unwrap_or(usize::MAX),
        invoice_id: row.invoice_id,
        facts: Facts {
            vendor: (row.vendor_name, row.vendor_key),
            number: (row.invoice_number.clone(), row.number_key, spelling::squashed(&row.invoice_number)),
            date: row.invoice_date,
            total: row.total,
            currency: row.currency,
            file_hash: row.file_hash,
            lines: Lines { whole: row.line_keys, amounts: row.amount_keys },
        },
    });
    Ok(candidates.collect())
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
