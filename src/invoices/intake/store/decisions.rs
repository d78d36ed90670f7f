//! What people decide on invoices, and what becomes of others by it.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use super::{missing, stored_state};
use crate::db::DbError;
use crate::ids;
use crate::inventory::model::Witness;
use crate::invoices::intake::model::InvoiceState;
use crate::invoices::intake::rules::MATCHES_MAX;

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

/// The vendor of a flagged invoice and that of the earlier one it is most like, by the names they are known under.
pub(in super::super) struct Names {
    pub(in super::super) account_id: String,
    pub(in super::super) ours: String,
    pub(in super::super) theirs: String,
}

/// Reads the names that overriding a verdict may teach to be one vendor's.
pub(in super::super) async fn find_names(
    conn: &mut PgConnection,
    invoice_id: Uuid,
) -> Result<Option<Names>, DbError> {
    Ok(sqlx::query_as!(
        Names,
        r#"SELECT i.account_id, coalesce(b.vendor_key, i.vendor_key) AS "ours!",
                  coalesce(a.vendor_key, e.vendor_key) AS "theirs!"
           FROM invoices i JOIN invoice_matches m USING (invoice_id) JOIN invoices e ON e.invoice_id = m.earlier_id
           LEFT JOIN vendor_aliases a ON a.account_id = e.account_id AND a.alias_key = e.vendor_key
           LEFT JOIN vendor_aliases b ON b.account_id = i.account_id AND b.alias_key = i.vendor_key
           WHERE i.invoice_id = $1 ORDER BY m.score DESC, m.earlier_id LIMIT 1"#,
        invoice_id,
    )
    .fetch_optional(conn)
    .await?)
}

/// Learns that `ours` stands for `theirs`, each of which stands for itself; names that stood for the one stand for the
/// other from now on. Under the lock of the account's aliases, so that none ever leads to another alias.
pub(in super::super) async fn learn_alias_in_tx(
    conn: &mut PgConnection,
    names: &Names,
    subject: &str,
) -> Result<(), DbError> {
    let learned = sqlx::query!(
        "WITH moved AS (
            UPDATE vendor_aliases SET vendor_key = $3 WHERE account_id = $1 AND vendor_key = $2
         )
         INSERT INTO vendor_aliases (account_id, alias_key, vendor_key, subject) VALUES ($1, $2, $3, $4)",
        names.account_id,
        names.ours,
        names.theirs,
        subject,
    )
    .execute(conn)
    .await?;
    if learned.rows_affected() == 1 { Ok(()) } else { Err(missing()) }
}

/// A name that stands for itself again.
pub(in super::super) struct ForgottenName {
    pub(in super::super) vendor_key: String,
    pub(in super::super) learned_from: String,
    pub(in super::super) learned_at: DateTime<Utc>,
    pub(in super::super) forgotten_at: DateTime<Utc>,
}

/// Forgets what a name stands for, if it stands for another, and keeps for good that it did. Under the lock of the
/// account's aliases.
pub(in super::super) async fn forget_alias_in_tx(
    conn: &mut PgConnection,
    account_id: &str,
    alias_key: &str,
    reason: &str,
    witness: Witness<'_>,
) -> Result<Option<ForgottenName>, DbError> {
    Ok(sqlx::query_as!(
        ForgottenName,
        "WITH gone AS (DELETE FROM vendor_aliases WHERE account_id = $1 AND alias_key = $2 RETURNING *)
         INSERT INTO forgotten_vendor_names (forgotten_id, account_id, alias_key, vendor_key, learned_from, learned_at,
             reason, subject, request_id)
         SELECT $3, account_id, alias_key, vendor_key, subject, learned_at, $4, $5, $6 FROM gone
         RETURNING vendor_key, learned_from, learned_at, forgotten_at",
        account_id,
        alias_key,
        ids::fresh(),
        reason,
        witness.subject,
        witness.request_id,
    )
    .fetch_optional(conn)
    .await?)
}

/// Accepts whatever was flagged for the sake of an invoice that is voided now, and of no other that is in. Of what is near to
/// as many as are kept nobody knows whether there are more: that waits for somebody. Their rows are locked in a statement
/// before, so that of two who void the second sees the first.
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
           AND (SELECT count(*) FROM invoice_matches m WHERE m.invoice_id = invoices.invoice_id) < $2
         RETURNING invoice_id",
        &flagged,
        MATCHES_MAX,
    )
    .fetch_all(conn)
    .await?)
}
