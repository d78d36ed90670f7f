//! What must be true of invoices between any two transactions: asked by the [audit](crate::inventory::audit) of the whole.
//! Repairs nothing.

use sqlx::PgConnection;

use crate::db::DbError;
use crate::inventory::audit::Violation;
use crate::invoices::intake::rules::MATCHES_MAX;

/// All that does not agree, as this transaction sees it; at most `limit` of each kind.
///
/// # Errors
/// [`DbError`].
pub async fn violations_in_tx(conn: &mut PgConnection, limit: i64) -> Result<Vec<Violation>, DbError> {
    let mut all = receipts_in_tx(conn, limit).await?;
    all.extend(tills_in_tx(conn, limit).await?);
    all.extend(verdicts_in_tx(conn, limit).await?);
    all.extend(guards_in_tx(conn).await?);
    Ok(all)
}

/// What came in of a line is the sum of its receipts, and each receipt is one movement of its units.
async fn receipts_in_tx(conn: &mut PgConnection, limit: i64) -> Result<Vec<Violation>, DbError> {
    Ok(sqlx::query_as!(
        Violation,
        r#"SELECT 'receipts_are_what_came_in' AS "invariant!", line_id AS "subject_id!",
                  format('received %s; receipts sum to %s', received_quantity, coalesce(came, 0)) AS "detail!"
           FROM invoice_lines LEFT JOIN (
               SELECT invoice_id, line_id, sum(quantity) AS came FROM invoice_receipts GROUP BY invoice_id, line_id
           ) AS r USING (invoice_id, line_id)
           WHERE received_quantity <> coalesce(came, 0)
           UNION ALL
           SELECT 'receipts_are_what_came_in', receipt_id,
                  format('received %s; moved %s by %s movements', quantity, coalesce(delta, 0), coalesce(n, 0))
           FROM invoice_receipts LEFT JOIN (
               SELECT source_id, count(*) AS n, sum(delta) AS delta FROM stock_movements
               WHERE kind = 'receipt' AND source_id IS NOT NULL GROUP BY source_id
           ) AS m ON source_id = receipt_id
           WHERE n IS DISTINCT FROM 1 OR delta <> quantity
           UNION ALL
           SELECT 'receipts_are_what_came_in', movement_id, 'a receipt of no invoice'
           FROM stock_movements WHERE kind = 'receipt' AND source_id IS NOT NULL
               AND NOT EXISTS (SELECT FROM invoice_receipts WHERE receipt_id = source_id)
           LIMIT $1"#,
        limit,
    )
    .fetch_all(conn)
    .await?)
}

/// A till's versions are dense, and the newest one's items are sold once if it was submitted, and back if it was returned.
async fn tills_in_tx(conn: &mut PgConnection, limit: i64) -> Result<Vec<Violation>, DbError> {
    Ok(sqlx::query_as!(
        Violation,
        r#"SELECT 'till_versions_are_dense' AS "invariant!", '00000000-0000-0000-0000-000000000000'::uuid AS "subject_id!",
                  format('%s: version %s; %s versions, the last %s', name, version, coalesce(n, 0), coalesce(last, 0))
                      AS "detail!"
           FROM pos_invoices LEFT JOIN (
               SELECT name, count(*) AS n, max(version) AS last FROM pos_invoice_versions GROUP BY name
           ) AS v USING (name)
           WHERE version IS DISTINCT FROM n OR n <> last
           UNION ALL
           SELECT 'till_items_are_sold_and_returned_once', item_id,
                  format('%s, %s: quantity %s; sold %s, returned %s', name, state, quantity, coalesce(-sold, 0),
                         coalesce(returned, 0))
           FROM (
               SELECT i.name, item_id, quantity,
                      CASE WHEN i.version = p.version THEN state ELSE 'an old version' END AS state
               FROM pos_invoice_items i JOIN pos_invoices p USING (name)
           ) AS items LEFT JOIN (
               SELECT source_id, sum(delta) FILTER (WHERE kind = 'sale') AS sold,
                      sum(delta) FILTER (WHERE kind = 'return') AS returned
               FROM stock_movements WHERE source_id IS NOT NULL GROUP BY source_id
           ) AS m ON source_id = item_id
           WHERE coalesce(-sold, 0) <> CASE WHEN state IN ('submitted', 'returned') THEN quantity ELSE 0 END
              OR coalesce(returned, 0) <> CASE WHEN state = 'returned' THEN quantity ELSE 0 END
           LIMIT $1"#,
        limit,
    )
    .fetch_all(conn)
    .await?)
}

/// A vendor's number that nobody let pass is in once, a flagged invoice is like another that is in, unless it is like as
/// many as are kept and waits for somebody; and a name stands for one that stands for itself.
async fn verdicts_in_tx(conn: &mut PgConnection, limit: i64) -> Result<Vec<Violation>, DbError> {
    Ok(sqlx::query_as!(
        Violation,
        r#"SELECT 'numbers_are_in_once' AS "invariant!", min(invoice_id::text)::uuid AS "subject_id!",
                  format('%s: %s of %s in %s is in %s times', account_id, number_key, vendor_key, number_year, count(*))
                      AS "detail!"
           FROM invoices WHERE state = 'accepted'
           GROUP BY account_id, number_key, vendor_key, number_year, vendor_form HAVING count(*) > 1
           UNION ALL
           SELECT 'flagged_are_like_another', invoice_id, 'flagged, and like none that is in'
           FROM invoices i WHERE state = 'flagged' AND NOT EXISTS (
               SELECT FROM invoice_matches m JOIN invoices e ON e.invoice_id = m.earlier_id
               WHERE m.invoice_id = i.invoice_id AND e.state <> 'voided')
             AND (SELECT count(*) FROM invoice_matches m WHERE m.invoice_id = i.invoice_id) < $2
           UNION ALL
           SELECT 'names_stand_for_one_vendor', '00000000-0000-0000-0000-000000000000'::uuid,
                  format('%s: %s stands for %s, which stands for %s', a.account_id, a.alias_key, a.vendor_key, b.vendor_key)
           FROM vendor_aliases a JOIN vendor_aliases b
               ON b.account_id = a.account_id AND b.alias_key = a.vendor_key
           LIMIT $1"#,
        limit,
        MATCHES_MAX,
    )
    .fetch_all(conn)
    .await?)
}

/// Nobody has taken away what keeps history from being rewritten.
async fn guards_in_tx(conn: &mut PgConnection) -> Result<Vec<Violation>, DbError> {
    Ok(sqlx::query_as!(
        Violation,
        r#"SELECT 'history_is_append_only' AS "invariant!", '00000000-0000-0000-0000-000000000000'::uuid AS "subject_id!",
                  format('the trigger %s is gone or disabled', guard) AS "detail!"
           FROM unnest(ARRAY['pos_versions_are_append_only', 'pos_items_are_append_only',
                             'invoice_decisions_are_append_only', 'invoice_receipts_are_append_only',
                             'invoice_matches_are_append_only', 'invoice_policy_changes_are_append_only',
                             'forgotten_names_are_append_only'])
               AS guards (guard)
           WHERE NOT EXISTS (SELECT 1 FROM pg_trigger WHERE tgname = guard AND tgenabled IN ('O', 'A'))"#,
    )
    .fetch_all(conn)
    .await?)
}
