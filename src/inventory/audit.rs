//! Recomputes every balance from its movements, every order from its lines, and every invoice from both, and reports
//! what does not agree. Repairs nothing.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use schemars::JsonSchema;
use serde::Serialize;
use sqlx::PgConnection;
use uuid::Uuid;

use super::audits;
use super::error::StockError;
use crate::app::App;
use crate::db::{Db, DbError};
use crate::http::auth::Caller;
use crate::invoices;

/// The most violations of one invariant that are listed.
const LISTED_MAX: i64 = 100;

/// What an audit found.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Audit {
    /// Whether nothing was found.
    pub ok: bool,
    /// Variants looked at.
    pub variants_checked: i64,
    /// Movements looked at.
    pub movements_checked: i64,
    /// Orders looked at.
    pub orders_checked: i64,
    /// What does not agree; at most 100 of each kind.
    pub violations: Vec<Violation>,
}

/// One thing that does not agree.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Violation {
    /// Which invariant is broken.
    pub invariant: String,
    /// The variant, order or order line it is broken for.
    pub subject_id: Uuid,
    /// What it should be and what it is.
    pub detail: String,
}

/// `GET /inventory/audit`
///
/// # Errors
/// [`StockError`].
pub async fn audit(State(app): State<Arc<App>>, caller: Caller) -> Result<Json<Audit>, StockError> {
    // One at a time: each keeps a connection busy for as long as it takes to read everything.
    let _alone = app.auditing.lock().await;
    Ok(Json(audits::run_on_record(&app.db, &caller.principal.subject).await?))
}

/// Looks at everything as of one moment, while the shop goes on.
///
/// # Errors
/// [`DbError`].
pub async fn run(db: &Db) -> Result<Audit, DbError> {
    let mut tx = db.begin().await?;
    store::freeze_in_tx(&mut tx).await?;
    let counts = store::counts_in_tx(&mut tx).await?;
    let violations = violations_in_tx(&mut tx).await?;
    tx.commit().await?;
    let (variants_checked, movements_checked, orders_checked) = counts;
    Ok(Audit { ok: violations.is_empty(), variants_checked, movements_checked, orders_checked, violations })
}

/// All that does not agree, as this transaction sees it.
///
/// # Errors
/// [`DbError`].
pub async fn violations_in_tx(conn: &mut PgConnection) -> Result<Vec<Violation>, DbError> {
    let mut all = store::balances_in_tx(conn, LISTED_MAX).await?;
    all.extend(store::chains_in_tx(conn, LISTED_MAX).await?);
    all.extend(store::order_totals_in_tx(conn, LISTED_MAX).await?);
    all.extend(store::order_lines_in_tx(conn, LISTED_MAX).await?);
    all.extend(store::holds_in_tx(conn, LISTED_MAX).await?);
    all.extend(store::strays_in_tx(conn, LISTED_MAX).await?);
    all.extend(store::deliveries_in_tx(conn, LISTED_MAX).await?);
    all.extend(store::guards_in_tx(conn).await?);
    all.extend(invoices::audit::violations_in_tx(conn, LISTED_MAX).await?);
    Ok(all)
}

mod store {
    use sqlx::{Executor, PgConnection};

    use super::Violation;
    use crate::db::DbError;

    /// One snapshot for all that follows, and time to read it.
    pub(super) async fn freeze_in_tx(conn: &mut PgConnection) -> Result<(), DbError> {
        conn.execute(
            "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY;
             SET LOCAL statement_timeout = '10min';
             SET LOCAL plan_cache_mode = auto; SET LOCAL enable_seqscan = on",
        )
        .await?;
        Ok(())
    }

    pub(super) async fn counts_in_tx(conn: &mut PgConnection) -> Result<(i64, i64, i64), DbError> {
        let row = sqlx::query!(
            r#"SELECT (SELECT count(*) FROM stock) AS "variants!",
                      (SELECT count(*) FROM stock_movements) AS "movements!",
                      (SELECT count(*) FROM orders) AS "orders!""#
        )
        .fetch_one(conn)
        .await?;
        Ok((row.variants, row.movements, row.orders))
    }

    /// `on_hand` is the sum of the deltas, `version` the number of movements, and both are in range.
    pub(super) async fn balances_in_tx(
        conn: &mut PgConnection,
        limit: i64,
    ) -> Result<Vec<Violation>, DbError> {
        Ok(sqlx::query_as!(
            Violation,
            r#"SELECT 'balance_is_the_sum_of_movements' AS "invariant!", variant_id AS "subject_id!",
                      format('on_hand %s, version %s; %s movements sum to %s, last version %s', on_hand,
                             stock.version, coalesce(n, 0), coalesce(total, 0), coalesce(last, 0)) AS "detail!"
               FROM stock FULL JOIN (
                   SELECT variant_id, sum(delta) AS total, count(*) AS n, max(version) AS last
                   FROM stock_movements GROUP BY variant_id
               ) AS m USING (variant_id)
               WHERE on_hand IS DISTINCT FROM coalesce(total, 0)
                  OR stock.version IS DISTINCT FROM coalesce(n, 0)
                  OR coalesce(last, 0) <> coalesce(n, 0)
                  OR on_hand < 0 OR held < 0
               LIMIT $1"#,
            limit,
        )
        .fetch_all(conn)
        .await?)
    }

    /// Versions are 1, 2, 3, …, and each movement starts where the one before it ended.
    pub(super) async fn chains_in_tx(conn: &mut PgConnection, limit: i64) -> Result<Vec<Violation>, DbError> {
        Ok(sqlx::query_as!(
            Violation,
            r#"SELECT 'movements_form_a_chain' AS "invariant!", variant_id AS "subject_id!",
                      format('version %s: %s then %s leaves %s', version, before, delta, on_hand_after) AS "detail!"
               FROM (
                   SELECT variant_id, version, delta, on_hand_after,
                          coalesce(lag(on_hand_after) OVER w, 0) AS before, coalesce(lag(version) OVER w, 0) AS previous
                   FROM stock_movements WINDOW w AS (PARTITION BY variant_id ORDER BY version)
               ) AS chain
               WHERE before + delta <> on_hand_after OR previous + 1 <> version
               LIMIT $1"#,
            limit,
        )
        .fetch_all(conn)
        .await?)
    }

    /// An order has lines, its total is theirs, and its status says what was cancelled.
    pub(super) async fn order_totals_in_tx(
        conn: &mut PgConnection,
        limit: i64,
    ) -> Result<Vec<Violation>, DbError> {
        Ok(sqlx::query_as!(
            Violation,
            r#"SELECT 'orders_agree_with_their_lines' AS "invariant!", order_id AS "subject_id!",
                      format('status %s, total %s; lines total %s, ordered %s, cancelled %s', status, total,
                             lines_total, ordered, cancelled) AS "detail!"
               FROM orders LEFT JOIN (
                   SELECT order_id, sum(line_total) AS lines_total, sum(quantity) AS ordered,
                          sum(cancelled_quantity) AS cancelled
                   FROM order_lines GROUP BY order_id
               ) AS l USING (order_id)
               WHERE total IS DISTINCT FROM lines_total
                  OR status IS DISTINCT FROM CASE cancelled WHEN 0 THEN 'placed' WHEN ordered THEN 'cancelled'
                                             ELSE 'partly_cancelled' END
               LIMIT $1"#,
            limit,
        )
        .fetch_all(conn)
        .await?)
    }

    /// Each line was sold by exactly one movement of its variant and quantity, and each cancellation was
    /// returned by exactly one. An order whose cancellation came before it has neither.
    pub(super) async fn order_lines_in_tx(
        conn: &mut PgConnection,
        limit: i64,
    ) -> Result<Vec<Violation>, DbError> {
        Ok(sqlx::query_as!(
            Violation,
            r#"WITH moved AS (
                   SELECT source_id, kind, count(*) AS n, sum(delta) AS delta, min(variant_id::text) AS variant
                   FROM stock_movements WHERE source_id IS NOT NULL GROUP BY source_id, kind
               ), cancelled AS (
                   SELECT line_id, sum(quantity) AS quantity FROM order_cancellations GROUP BY line_id
               )
               SELECT 'lines_are_sold_and_returned_once' AS "invariant!", line_id AS "subject_id!",
                      format('ordered %s, cancelled %s; sold %s by %s movements, cancellations say %s', l.quantity,
                             cancelled_quantity, coalesce(-m.delta, 0), coalesce(n, 0),
                             coalesce(c.quantity, 0)) AS "detail!"
               FROM order_lines l
               LEFT JOIN moved m ON m.source_id = line_id AND kind = 'sale'
               LEFT JOIN cancelled c USING (line_id)
               LEFT JOIN (SELECT order_id AS born_cancelled FROM orders JOIN early_cancellations
                              USING (user_id, idempotency_key)) AS born ON born_cancelled = l.order_id
               WHERE CASE WHEN born_cancelled IS NULL
                   THEN n IS DISTINCT FROM 1 OR m.delta <> -l.quantity OR m.variant <> l.variant_id::text
                        OR coalesce(c.quantity, 0) <> cancelled_quantity
                   ELSE n IS NOT NULL OR c.quantity IS NOT NULL OR cancelled_quantity <> l.quantity END
               UNION ALL
               SELECT 'lines_are_sold_and_returned_once', cancellation_id,
                      format('cancelled %s; returned %s by %s movements', quantity, coalesce(delta, 0), coalesce(n, 0))
               FROM order_cancellations c LEFT JOIN moved m ON m.source_id = cancellation_id AND kind = 'return'
               WHERE n IS DISTINCT FROM 1 OR delta <> quantity
               LIMIT $1"#,
            limit,
        )
        .fetch_all(conn)
        .await?)
    }

    /// What the inbox says was done is done, and nothing waits for an order that is there.
    pub(super) async fn deliveries_in_tx(
        conn: &mut PgConnection,
        limit: i64,
    ) -> Result<Vec<Violation>, DbError> {
        Ok(sqlx::query_as!(
            Violation,
            r#"SELECT 'deliveries_have_their_effect' AS "invariant!", entry_id AS "subject_id!",
                      format('%s, of order %s, which is %s', state, i.order_id, coalesce(status, 'not there')) AS "detail!"
               FROM webhook_inbox i LEFT JOIN orders o USING (order_id)
               WHERE state IN ('cancelled', 'already_cancelled')
                 AND coalesce(status, '') NOT IN ('partly_cancelled', 'cancelled')
               UNION ALL
               SELECT 'deliveries_have_their_effect', entry_id, 'waits for an order, and nothing awaits that order'
               FROM webhook_inbox LEFT JOIN early_cancellations e USING (user_id, idempotency_key)
               WHERE state = 'waiting_for_order' AND e.came_at IS NULL
               UNION ALL
               SELECT 'early_cancellations_hold', order_id, format('cancelled before it came, and %s', status)
               FROM orders JOIN early_cancellations USING (user_id, idempotency_key)
               WHERE status <> 'cancelled'
               LIMIT $1"#,
            limit,
        )
        .fetch_all(conn)
        .await?)
    }

    /// What is held is what the open lines say, and a hold's lines are open exactly while it is held.
    pub(super) async fn holds_in_tx(conn: &mut PgConnection, limit: i64) -> Result<Vec<Violation>, DbError> {
        Ok(sqlx::query_as!(
            Violation,
            r#"SELECT 'held_is_the_sum_of_open_holds' AS "invariant!", variant_id AS "subject_id!",
                      format('held %s; open lines sum to %s', held, coalesce(kept, 0)) AS "detail!"
               FROM stock LEFT JOIN (
                   SELECT variant_id, sum(quantity) AS kept FROM hold_lines WHERE open GROUP BY variant_id
               ) AS l USING (variant_id)
               WHERE held <> coalesce(kept, 0)
               UNION ALL
               SELECT 'holds_agree_with_their_lines', hold_id,
                      format('state %s, until %s; a line is open: %s, until %s', state, h.expires_at, open,
                             l.expires_at)
               FROM holds h LEFT JOIN hold_lines l USING (hold_id)
               WHERE open IS DISTINCT FROM (state = 'held') OR l.expires_at IS DISTINCT FROM h.expires_at
               LIMIT $1"#,
            limit,
        )
        .fetch_all(conn)
        .await?)
    }

    /// An order's movement sells one of its lines or returns one of its cancellations, a claim has its answer, and an
    /// order and the answer kept with its key are of the same request.
    pub(super) async fn strays_in_tx(conn: &mut PgConnection, limit: i64) -> Result<Vec<Violation>, DbError> {
        Ok(sqlx::query_as!(
            Violation,
            r#"SELECT 'movements_have_their_order' AS "invariant!", movement_id AS "subject_id!",
                      format('%s of order %s, which has no such line or cancellation', kind, m.order_id) AS "detail!"
               FROM stock_movements m
               WHERE m.order_id IS NOT NULL AND NOT EXISTS (
                   SELECT 1 FROM order_lines l
                   WHERE l.order_id = m.order_id AND l.variant_id = m.variant_id AND CASE kind
                       WHEN 'sale' THEN l.line_id = m.source_id
                       WHEN 'return' THEN EXISTS (
                           SELECT 1 FROM order_cancellations c
                           WHERE c.cancellation_id = m.source_id AND c.line_id = l.line_id)
                       ELSE false END)
               UNION ALL
               SELECT 'claims_have_their_answer', '00000000-0000-0000-0000-000000000000',
                      format('a key in scope %s is claimed and has no answer', scope)
               FROM idempotency_keys WHERE status IS NULL
               UNION ALL
               SELECT 'keys_keep_their_request', order_id,
                      format('its key in scope %s is kept for another request', scope)
               FROM orders JOIN idempotency_keys k ON k.scope = 'user:' || user_id AND k.key = idempotency_key
               WHERE k.request_hash <> orders.request_hash
               LIMIT $1"#,
            limit,
        )
        .fetch_all(conn)
        .await?)
    }

    /// Nobody has taken away what keeps history from being rewritten.
    pub(super) async fn guards_in_tx(conn: &mut PgConnection) -> Result<Vec<Violation>, DbError> {
        Ok(sqlx::query_as!(
            Violation,
            r#"SELECT 'history_is_append_only' AS "invariant!", '00000000-0000-0000-0000-000000000000'::uuid AS "subject_id!",
                      format('the trigger %s is gone or disabled', guard) AS "detail!"
               FROM unnest(ARRAY['movements_are_append_only', 'stock_rows_are_kept',
                                 'early_cancellations_are_append_only', 'webhook_replays_are_append_only',
                                 'lock_releases_are_append_only']) AS guards (guard)
               WHERE NOT EXISTS (SELECT 1 FROM pg_trigger WHERE tgname = guard AND tgenabled IN ('O', 'A'))"#,
        )
        .fetch_all(conn)
        .await?)
    }
}
