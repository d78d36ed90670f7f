//! The SQL of holds; of their ends in a file of its own. No decisions here: rows in, rows out.

mod ending;

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;
use sqlx::PgConnection;
use uuid::Uuid;

pub(crate) use self::ending::purge_in_tx;
pub(super) use self::ending::{
    Due, end_all_in_tx, find_due, resolve_all_in_tx, resolve_in_tx, set_end_in_tx,
};
use super::error::HoldError;
use super::model::{Hold, HoldLine, HoldState, HoldTtl};
use crate::app::App;
use crate::db::DbError;
use crate::inventory::model::{Level, LockSeen, Witness};
use crate::inventory::store::{lock_levels_in_tx, stored_currency};
use crate::locks::LockKeys;

/// Whoever counts the same user's holds, or makes one last longer, waits until this transaction has ended. Taken before
/// any row is locked.
pub(super) async fn lock_number_of_holds_in_tx(
    conn: &mut PgConnection,
    user_id: &str,
) -> Result<(), DbError> {
    sqlx::query!(
        r#"SELECT 1 AS "one!" FROM pg_advisory_xact_lock(hashtextextended('holds of ' || $1, 0))"#,
        user_id
    )
    .fetch_one(conn)
    .await?;
    Ok(())
}

/// How many holds of a user live now: in a statement of its own, that it sees what was committed while the lock was
/// waited for.
pub(super) async fn count_live_holds_in_tx(conn: &mut PgConnection, user_id: &str) -> Result<i64, DbError> {
    Ok(sqlx::query_scalar!(
        r#"SELECT count(*) AS "live!" FROM holds
           WHERE user_id = $1 AND state = 'held' AND expires_at > (SELECT clock_timestamp())"#,
        user_id,
    )
    .fetch_one(conn)
    .await?)
}

/// Inserts a hold and its lines, and adds them to what is held. Gives its beginning and its end, by the database's
/// clock.
pub(super) async fn insert_hold_in_tx(
    conn: &mut PgConnection,
    hold: &Hold,
    ttl: HoldTtl,
    witness: Witness<'_>,
) -> Result<(DateTime<Utc>, DateTime<Utc>), DbError> {
    let lines = &hold.lines;
    let inserted = sqlx::query!(
        r#"WITH moment AS MATERIALIZED (
            SELECT clock_timestamp() AS at, clock_timestamp() + make_interval(secs => $5) AS till
        ), kept AS (
            INSERT INTO holds (hold_id, user_id, currency, total, expires_at, subject, request_id, lock_mode,
                lock_wait_ms, held_at)
            SELECT $1, $2, $3, $4, till, $6, $7, $8, $9, at FROM moment
            RETURNING held_at, expires_at
        ), lined AS (
            INSERT INTO hold_lines (hold_id, line_id, position, variant_id, sku, quantity, unit_price, line_total,
                expires_at)
            SELECT $1, l.line_id, l.position, l.variant_id, l.sku, l.quantity, l.unit_price, l.line_total, till
            FROM moment, UNNEST($10::uuid[], $11::uuid[], $12::text[], $13::bigint[], $14::numeric[],
                $15::numeric[])
                WITH ORDINALITY AS l (line_id, variant_id, sku, quantity, unit_price, line_total, position)
            RETURNING variant_id, quantity
        ), added AS (
            UPDATE stock SET held = stock.held + l.quantity, updated_at = at
            FROM moment, (SELECT variant_id, sum(quantity)::bigint AS quantity FROM lined GROUP BY variant_id) AS l
            WHERE stock.variant_id = l.variant_id
            RETURNING 1
        )
        SELECT held_at, expires_at, (SELECT count(*) FROM lined) AS "lines!",
               (SELECT count(*) FROM added) AS "added!"
        FROM kept"#,
        hold.hold_id,
        hold.user_id,
        hold.currency.code(),
        hold.total,
        ttl.seconds(),
        witness.subject,
        witness.request_id,
        witness.lock.mode.as_str(),
        i32::try_from(witness.lock.wait_ms).unwrap_or(i32::MAX),
        &lines.iter().map(|line| line.line_id).collect::<Vec<_>>(),
        &lines.iter().map(|line| line.variant_id).collect::<Vec<_>>(),
        &lines.iter().map(|line| line.sku.clone()).collect::<Vec<_>>(),
        &lines.iter().map(|line| line.quantity).collect::<Vec<_>>(),
        &lines.iter().map(|line| line.unit_price).collect::<Vec<_>>(),
        &lines.iter().map(|line| line.line_total).collect::<Vec<_>>(),
    )
    .fetch_one(conn)
    .await?;
    let whole = inserted.lines == lines.len() as i64 && inserted.added >= 1;
    if whole { Ok((inserted.held_at, inserted.expires_at)) } else { Err(missing()) }
}

/// Whose a hold is, and of what: neither ever changes.
#[derive(Debug)]
pub struct Whose {
    /// The user.
    pub(super) user_id: String,
    /// What each of its lines is of.
    pub(super) variants: Vec<Uuid>,
}

/// Asked before anything is locked.
pub(super) async fn find_whose(app: &App, hold_id: Uuid) -> Result<Whose, HoldError> {
    let mut conn = app.db.read().await?;
    let found = sqlx::query_as!(
        Whose,
        r#"SELECT user_id, (SELECT array_agg(variant_id) FROM hold_lines l WHERE l.hold_id = h.hold_id)
                  AS "variants!"
           FROM holds h WHERE hold_id = $1"#,
        hold_id,
    )
    .fetch_optional(&mut *conn)
    .await
    .map_err(DbError::from)?;
    found.ok_or(HoldError::NotFound)
}

/// Locks a hold's row, then the stock rows of its variants, and only then looks at the clock: whatever was decided
/// on the hold's end before is committed, and nothing will be until this transaction ends.
pub(super) async fn lock_hold_in_tx(
    conn: &mut PgConnection,
    hold_id: Uuid,
    keys: &LockKeys,
) -> Result<(Hold, HashMap<Uuid, Level>), HoldError> {
    if !lock_row_in_tx(conn, hold_id).await? {
        return Err(HoldError::NotFound);
    }
    let levels = lock_levels_in_tx(conn, &keys.variant_ids()).await?;
    let hold = find_hold(conn, hold_id).await?.ok_or(HoldError::NotFound)?;
    Ok((hold, levels))
}

/// Locks those of these holds' rows that nobody has locked. Gives which.
pub(crate) async fn lock_free_holds_in_tx(
    conn: &mut PgConnection,
    ids: &[Uuid],
) -> Result<Vec<Uuid>, DbError> {
    Ok(sqlx::query_scalar!(
        "SELECT hold_id FROM holds WHERE hold_id = ANY($1) ORDER BY hold_id FOR UPDATE SKIP LOCKED",
        ids,
    )
    .fetch_all(conn)
    .await?)
}

/// Locks one.
pub(crate) async fn lock_row_in_tx(conn: &mut PgConnection, hold_id: Uuid) -> Result<bool, DbError> {
    let locked = sqlx::query!("SELECT hold_id FROM holds WHERE hold_id = $1 FOR UPDATE", hold_id);
    Ok(locked.fetch_optional(conn).await?.is_some())
}

/// One hold with its lines, as of now by the database's clock.
pub(super) async fn find_hold(conn: &mut PgConnection, hold_id: Uuid) -> Result<Option<Hold>, DbError> {
    Ok(find_holds(conn, &[hold_id]).await?.pop())
}

/// The same for several; unknown ones are missing.
pub(crate) async fn find_holds(conn: &mut PgConnection, ids: &[Uuid]) -> Result<Vec<Hold>, DbError> {
    let rows = sqlx::query_as!(
        HoldRow,
        r#"SELECT hold_id, user_id, CASE WHEN state = 'held' AND expires_at <= clock_timestamp() THEN 'expired'
                                        ELSE state END AS "state!",
                  currency, total, expires_at, order_id, held_at, lock_mode, lock_wait_ms
           FROM holds WHERE hold_id = ANY($1)"#,
        ids,
    )
    .fetch_all(&mut *conn)
    .await?;
    if rows.is_empty() { Ok(Vec::new()) } else { with_lines(conn, rows).await }
}

/// A user's holds with their lines, newest first.
pub(super) async fn list_holds(
    conn: &mut PgConnection,
    user_id: &str,
    state: Option<&str>,
    before: Option<Uuid>,
    limit: i64,
) -> Result<Vec<Hold>, DbError> {
    let rows = sqlx::query_as!(
        HoldRow,
        r#"SELECT * FROM (
               SELECT hold_id, user_id, CASE WHEN state = 'held' AND expires_at <= clock_timestamp() THEN 'expired'
                                            ELSE state END AS "state!",
                      currency, total, expires_at, order_id, held_at, lock_mode, lock_wait_ms
               FROM holds WHERE user_id = $1 AND hold_id < $2
           ) AS of_now
           WHERE $3::text IS NULL OR "state!" = $3
           ORDER BY hold_id DESC LIMIT $4"#,
        user_id,
        before.unwrap_or(Uuid::max()),
        state,
        limit,
    )
    .fetch_all(&mut *conn)
    .await?;
    with_lines(conn, rows).await
}

struct HoldRow {
    hold_id: Uuid,
    user_id: String,
    state: String,
    currency: String,
    total: Decimal,
    expires_at: DateTime<Utc>,
    order_id: Option<Uuid>,
    held_at: DateTime<Utc>,
    lock_mode: String,
    lock_wait_ms: i32,
}

async fn with_lines(conn: &mut PgConnection, holds: Vec<HoldRow>) -> Result<Vec<Hold>, DbError> {
    let ids: Vec<_> = holds.iter().map(|hold| hold.hold_id).collect();
    let rows = sqlx::query!(
        "SELECT hold_id, line_id, variant_id, sku, quantity, unit_price, line_total
         FROM hold_lines WHERE hold_id = ANY($1) ORDER BY hold_id, position",
        &ids,
    )
    .fetch_all(conn)
    .await?;
    let mut lines: HashMap<Uuid, Vec<HoldLine>> = HashMap::new();
    for row in rows {
        lines.entry(row.hold_id).or_default().push(HoldLine {
            line_id: row.line_id,
            variant_id: row.variant_id,
            sku: row.sku,
            quantity: row.quantity,
            unit_price: row.unit_price,
            line_total: row.line_total,
        });
    }
    holds.into_iter().map(|row| hold(lines.remove(&row.hold_id).unwrap_or_default(), row)).collect()
}

/// Amounts are written as when they were stored: the database does not keep the zeros of a zero.
fn hold(mut lines: Vec<HoldLine>, row: HoldRow) -> Result<Hold, DbError> {
    let currency = stored_currency(&row.currency)?;
    for line in &mut lines {
        line.unit_price = currency.written(line.unit_price);
        line.line_total = currency.written(line.line_total);
    }
    Ok(Hold {
        hold_id: row.hold_id,
        user_id: row.user_id,
        state: stored_state(&row.state)?,
        expires_at: row.expires_at,
        currency,
        total: currency.written(row.total),
        lines,
        order_id: row.order_id,
        held_at: row.held_at,
        lock: LockSeen { mode: row.lock_mode, wait_ms: row.lock_wait_ms },
    })
}

fn stored_state(state: &str) -> Result<HoldState, DbError> {
    let all = [HoldState::Held, HoldState::Captured, HoldState::Released, HoldState::Expired];
    let unknown = || DbError::Unexpected(sqlx::Error::Decode("a stored hold has no known state".into()));
    all.into_iter().find(|known| known.as_str() == state).ok_or_else(unknown)
}

fn missing() -> DbError {
    DbError::Unexpected(sqlx::Error::RowNotFound)
}
