//! How strict accounts are.

use rust_decimal::Decimal;
use sqlx::PgConnection;

use super::missing;
use crate::db::DbError;
use crate::ids;
use crate::invoices::intake::compare::Limits;
use crate::invoices::intake::rules::{OnDuplicate, Policy, Rules};

/// A policy read back; checks of its table keep it in bounds.
pub(in super::super) fn stored_policy(
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
pub(in super::super) async fn find_policy(
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

/// Writes an account's policy, and keeps it for good that it was set.
pub(in super::super) async fn set_policy_in_tx(
    conn: &mut PgConnection,
    account_id: &str,
    policy: &Policy,
    subject: &str,
    request_id: &str,
) -> Result<(), DbError> {
    let set = sqlx::query!(
        "WITH now_in_force AS (
            INSERT INTO invoice_policies (account_id, rules, on_duplicate, threshold, date_window_days, total_tolerance,
                subject)
            VALUES ($1, $2, $3, $4, $5, $6, $7)
            ON CONFLICT ON CONSTRAINT policy_is_one_an_account DO UPDATE SET rules = excluded.rules,
                on_duplicate = excluded.on_duplicate, threshold = excluded.threshold,
                date_window_days = excluded.date_window_days, total_tolerance = excluded.total_tolerance,
                subject = excluded.subject, updated_at = clock_timestamp()
            RETURNING *
         )
         INSERT INTO invoice_policy_changes (change_id, account_id, rules, on_duplicate, threshold, date_window_days,
             total_tolerance, subject, request_id)
         SELECT $8, account_id, rules, on_duplicate, threshold, date_window_days, total_tolerance, subject, $9
         FROM now_in_force",
        account_id,
        policy.rules.as_str(),
        policy.on_duplicate.as_str(),
        i16::try_from(policy.threshold).unwrap_or(i16::MAX),
        i16::try_from(policy.limits.days).unwrap_or(i16::MAX),
        policy.limits.tolerance,
        subject,
        ids::fresh(),
        request_id,
    )
    .execute(conn)
    .await?;
    if set.rows_affected() == 1 { Ok(()) } else { Err(missing()) }
}
