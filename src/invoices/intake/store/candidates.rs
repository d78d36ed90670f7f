//! What an upload is compared with.

use chrono::NaiveDate;
use futures_util::TryStreamExt;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::db::DbError;
use crate::invoices::intake::compare::{Facts, Limits, Lines, Vendor, turned};
use crate::invoices::intake::spelling;

/// The most invoices that are read for one by each way in which they may be alike.
pub(in super::super) const CANDIDATES_MAX: i64 = 1_000;

/// An invoice that is in, and may be the one that is judged.
pub(in super::super) struct Candidate {
    /// Which of those that are judged.
    pub(in super::super) place: usize,
    pub(in super::super) invoice_id: Uuid,
    pub(in super::super) facts: Facts,
}

/// Finds whatever may be one of `facts`: of the same file, of the vendor's number, and what agrees in two of number, total
/// and date, as [`Limits::comparable`] has it. Of those that are more than [`CANDIDATES_MAX`] by one way, one more is read,
/// so that the caller sees it; those of the nearest days come first. Each is told as it comes: together they may have some
/// millions of lines.
#[expect(clippy::too_many_lines, reason = "one statement")]
pub(in super::super) async fn find_candidates(
    conn: &mut PgConnection,
    judged: &[(&str, &Facts, Limits)],
    mut found: impl FnMut(Candidate) + Send,
) -> Result<(), DbError> {
    let each = |read: fn(&Facts) -> &str| judged.iter().map(|(_, facts, _)| read(facts)).collect::<Vec<_>>();
    let accounts: Vec<_> = judged.iter().map(|(account, ..)| *account).collect();
    let hashes: Vec<_> = judged.iter().map(|(_, facts, _)| facts.file_hash.as_deref()).collect();
    let (from, to): (Vec<_>, Vec<_>) =
        judged.iter().map(|(_, facts, limits)| limits.around(facts.date)).unzip();
    let mut rows = sqlx::query!(
        r#"SELECT g.place AS "place!", i.invoice_id, i.vendor_name, coalesce(a.vendor_key, i.vendor_key) AS "vendor_key!",
                  CASE WHEN a.vendor_key IS NULL THEN i.vendor_form ELSE '' END AS "vendor_form!",
                  i.invoice_number, i.number_key, i.invoice_date, i.total, i.currency, lower(i.file_hash) AS file_hash,
                  i.line_keys, i.amount_keys, i.lines_in_order
           FROM UNNEST($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::date[], $7::date[], $8::date[],
                       $9::numeric[], $10::numeric[])
                WITH ORDINALITY AS g (account_id, file_hash, number_key, vendor_key, currency, from_day, to_day, turned_day,
                                      total, tolerance, place)
           CROSS JOIN LATERAL (
               WITH named AS (
                   SELECT g.vendor_key AS key
                   UNION ALL
                   SELECT v.alias_key FROM vendor_aliases v WHERE v.account_id = g.account_id AND v.vendor_key = g.vendor_key)
               SELECT f.invoice_id FROM invoices f
               WHERE f.account_id = g.account_id AND lower(f.file_hash) = g.file_hash AND f.file_hash IS NOT NULL
                 AND f.state <> 'voided'
               UNION
               (SELECT e.invoice_id FROM named JOIN invoices e
                    ON e.account_id = g.account_id AND e.number_key = g.number_key AND e.vendor_key = named.key
                WHERE e.state = 'accepted'
                LIMIT $11)
               UNION
               (SELECT o.invoice_id FROM named JOIN invoices o
                    ON o.account_id = g.account_id AND o.number_key = g.number_key AND o.vendor_key = named.key
                WHERE o.state IN ('flagged', 'overridden')
                LIMIT $11)
               UNION
               (SELECT n.invoice_id FROM invoices n
                WHERE n.account_id = g.account_id AND n.number_key = g.number_key AND n.state <> 'voided'
                  AND n.total >= g.total - g.tolerance AND n.total <= g.total + g.tolerance
                LIMIT $11)
               UNION
               (SELECT m.invoice_id FROM invoices m
                WHERE m.account_id = g.account_id AND m.number_key = g.number_key AND m.state <> 'voided'
                  AND (m.invoice_date >= g.from_day AND m.invoice_date <= g.to_day OR m.invoice_date = g.turned_day)
                LIMIT $11)
               UNION
               (SELECT t.invoice_id
                FROM (SELECT day FROM (
                          SELECT g.from_day + n AS day FROM generate_series(0, g.to_day - g.from_day) AS n
                          UNION SELECT g.turned_day WHERE g.turned_day IS NOT NULL) AS near
                      ORDER BY abs(day - (g.from_day + (g.to_day - g.from_day) / 2))) AS days
                CROSS JOIN LATERAL (
                    SELECT d.invoice_id FROM invoices d
                    WHERE d.account_id = g.account_id AND d.currency = g.currency AND d.invoice_date = days.day
                      AND d.total >= g.total - g.tolerance AND d.total <= g.total + g.tolerance AND d.state <> 'voided'
                    LIMIT $11) AS t
                LIMIT $11)
           ) AS c
           JOIN invoices i ON i.invoice_id = c.invoice_id
           LEFT JOIN vendor_aliases a ON a.account_id = i.account_id AND a.alias_key = i.vendor_key"#,
        &accounts as &[&str],
        &hashes as &[Option<&str>],
        &each(|facts| &facts.number.1) as &[&str],
        &each(|facts| &facts.vendor.key) as &[&str],
        &each(|facts| &facts.currency) as &[&str],
        &from,
        &to,
        &judged.iter().map(|(_, facts, _)| turned(facts.date)).collect::<Vec<_>>() as &[Option<NaiveDate>],
        &judged.iter().map(|(_, facts, _)| facts.total).collect::<Vec<_>>(),
        &judged.iter().map(|(.., limits)| limits.tolerance).collect::<Vec<_>>(),
        CANDIDATES_MAX + 1,
    )
    .fetch(conn);
    while let Some(row) = rows.try_next().await? {
        let facts = Facts {
            vendor: Vendor { written: row.vendor_name, key: row.vendor_key, form: row.vendor_form },
            number: (row.invoice_number.clone(), row.number_key, spelling::squashed(&row.invoice_number)),
            date: row.invoice_date,
            total: row.total,
            currency: row.currency,
            file_hash: row.file_hash,
            lines: if row.lines_in_order {
                Lines::new(row.line_keys.into_iter().zip(row.amount_keys).collect())
            } else {
                Lines::unplaced(row.line_keys, row.amount_keys)
            },
        };
        let place = usize::try_from(row.place - 1).unwrap_or(usize::MAX);
        found(Candidate { place, invoice_id: row.invoice_id, facts });
    }
    Ok(())
}
