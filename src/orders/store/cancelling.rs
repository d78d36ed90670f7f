//! What cancelling an order locks and writes.

use std::collections::HashMap;

use sqlx::PgConnection;
use uuid::Uuid;

use super::super::model::OrderStatus;
use crate::db::DbError;
use crate::inventory::model::Witness;

/// Locks an order's row. What is read of the order afterwards stays true until the commit.
pub(crate) async fn lock_order_in_tx(conn: &mut PgConnection, order_id: Uuid) -> Result<(), DbError> {
    sqlx::query!("SELECT order_id FROM orders WHERE order_id = $1 FOR UPDATE", order_id)
        .fetch_optional(conn)
        .await?;
    Ok(())
}

/// The same for those of `ids` that nobody has locked. Gives which.
pub(crate) async fn lock_free_orders_in_tx(
    conn: &mut PgConnection,
    ids: &[Uuid],
) -> Result<Vec<Uuid>, DbError> {
    Ok(sqlx::query_scalar!(
        "SELECT order_id FROM orders WHERE order_id = ANY($1) ORDER BY order_id FOR UPDATE SKIP LOCKED",
        ids,
    )
    .fetch_all(conn)
    .await?)
}

/// One line's cancellation.
#[derive(Debug)]
pub(crate) struct Cancellation {
    pub(in crate::orders) cancellation_id: Uuid,
    pub(in crate::orders) line_id: Uuid,
    pub(in crate::orders) quantity: i64,
}

/// What is cancelled of an order, and what becomes of that.
#[derive(Debug)]
pub(crate) struct NewCancellation<'a> {
    pub(crate) order_id: Uuid,
    pub(crate) lines: &'a [Cancellation],
    pub(crate) reason: Option<&'a str>,
    pub(crate) status: OrderStatus,
    pub(crate) witness: Witness<'a>,
}

/// Keeps cancellations, adds them to their lines, and sets the orders' status: of several of one order, that of the last.
pub(crate) async fn insert_cancellations_in_tx(
    conn: &mut PgConnection,
    new: &[NewCancellation<'_>],
) -> Result<(), DbError> {
    let lines: Vec<_> = new.iter().flat_map(|new| new.lines.iter().map(move |line| (new, line))).collect();
    let subjects: Vec<_> = lines.iter().map(|(new, _)| new.witness.subject).collect();
    let requests: Vec<_> = lines.iter().map(|(new, _)| new.witness.request_id).collect();
    let reasons: Vec<_> = lines.iter().map(|(new, _)| new.reason).collect();
    let statuses: HashMap<_, _> = new.iter().map(|new| (new.order_id, new.status.as_str())).collect();
    let (turned, statuses): (Vec<Uuid>, Vec<&str>) = statuses.into_iter().unzip();
    let written = sqlx::query!(
        r#"WITH given AS MATERIALIZED (
            SELECT * FROM UNNEST($1::uuid[], $2::uuid[], $3::uuid[], $4::bigint[], $5::text[], $6::text[], $7::text[])
                AS c (cancellation_id, order_id, line_id, quantity, reason, subject, request_id)
        ), kept AS (
            INSERT INTO order_cancellations (cancellation_id, order_id, line_id, quantity, reason, subject, request_id)
            SELECT * FROM given
            RETURNING 1
        ), by_line AS MATERIALIZED (
            SELECT order_id, line_id, sum(quantity)::bigint AS quantity FROM given GROUP BY order_id, line_id
        ), added AS (
            UPDATE order_lines AS l SET cancelled_quantity = cancelled_quantity + c.quantity
            FROM by_line AS c WHERE l.order_id = c.order_id AND l.line_id = c.line_id
            RETURNING 1
        ), turned AS (
            UPDATE orders AS o SET status = t.status
            FROM UNNEST($8::uuid[], $9::text[]) AS t (order_id, status) WHERE o.order_id = t.order_id
            RETURNING 1
        )
        SELECT (SELECT count(*) FROM kept) AS "kept!",
               (SELECT count(*) FROM added) = (SELECT count(*) FROM by_line) AS "added_all!",
               (SELECT count(*) FROM turned) AS "turned!""#,
        &lines.iter().map(|(_, line)| line.cancellation_id).collect::<Vec<_>>(),
        &lines.iter().map(|(new, _)| new.order_id).collect::<Vec<_>>(),
        &lines.iter().map(|(_, line)| line.line_id).collect::<Vec<_>>(),
        &lines.iter().map(|(_, line)| line.quantity).collect::<Vec<_>>(),
        &reasons as &[Option<&str>],
        &subjects as &[&str],
        &requests as &[&str],
        &turned,
        &statuses as &[&str],
    )
    .fetch_one(conn)
    .await?;
    let whole =
        written.kept == lines.len() as i64 && written.added_all && written.turned == turned.len() as i64;
    if whole { Ok(()) } else { Err(DbError::Unexpected(sqlx::Error::RowNotFound)) }
}

/// Keeps a cancellation that came before its order. One that is there already stays as it is.
pub(in crate::orders) async fn insert_early_cancellation_in_tx(
    conn: &mut PgConnection,
    user_id: &str,
    key: &str,
    reason: Option<&str>,
    witness: Witness<'_>,
) -> Result<(), DbError> {
    sqlx::query!(
        "INSERT INTO early_cancellations (user_id, idempotency_key, reason, subject, request_id)
         VALUES ($1, $2, $3, $4, $5) ON CONFLICT ON CONSTRAINT order_is_cancelled_early_once DO NOTHING",
        user_id,
        key,
        reason,
        witness.subject,
        witness.request_id,
    )
    .execute(conn)
    .await?;
    Ok(())
}
