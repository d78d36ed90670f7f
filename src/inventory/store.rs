//! The SQL of stock. No decisions here: rows in, rows out.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;
use sqlx::PgConnection;
use uuid::Uuid;

use super::ledger::Draft;
use super::model::{Level, LockSeen, Movement, Variant};
use crate::db::DbError;
use crate::money::Currency;

/// Locks the rows of `ids` in the order of their ids and reads them. Unknown ids are missing from the
/// answer. The order is what keeps two requests from deadlocking; it is by a column that never changes. What is held by
/// holds whose time is over does not count any more.
pub(crate) async fn lock_levels_in_tx(
    conn: &mut PgConnection,
    ids: &[Uuid],
) -> Result<HashMap<Uuid, Level>, DbError> {
    let rows = sqlx::query_as!(
        Level,
        "SELECT variant_id, on_hand, held, version FROM stock
         WHERE variant_id = ANY($1) ORDER BY variant_id FOR UPDATE",
        ids,
    )
    .fetch_all(&mut *conn)
    .await?;
    still_held(conn, rows).await
}

/// The same for those rows that nobody has locked: the others are missing too.
pub(crate) async fn lock_free_levels_in_tx(
    conn: &mut PgConnection,
    ids: &[Uuid],
) -> Result<HashMap<Uuid, Level>, DbError> {
    let rows = sqlx::query_as!(
        Level,
        "SELECT variant_id, on_hand, held, version FROM stock
         WHERE variant_id = ANY($1) ORDER BY variant_id FOR UPDATE SKIP LOCKED",
        ids,
    )
    .fetch_all(&mut *conn)
    .await?;
    still_held(conn, rows).await
}

async fn still_held(conn: &mut PgConnection, rows: Vec<Level>) -> Result<HashMap<Uuid, Level>, DbError> {
    let mut levels: HashMap<_, _> = rows.into_iter().map(|level| (level.variant_id, level)).collect();
    forget_lapsed_in_tx(conn, levels.values_mut()).await?;
    Ok(levels)
}

/// Takes out of `levels`, whose rows are locked, what is held by holds whose time is over. A statement of its own, for
/// one that waited for a row would look at the holds, and at the clock, as of before. (The clock is asked once a statement,
/// in a subquery: asked for each row, it could not be compared with by the index.)
pub(crate) async fn forget_lapsed_in_tx<'a>(
    conn: &mut PgConnection,
    levels: impl Iterator<Item = &'a mut Level>,
) -> Result<(), DbError> {
    let mut held: HashMap<_, _> =
        levels.filter(|level| level.held > 0).map(|level| (level.variant_id, level)).collect();
    if held.is_empty() {
        return Ok(());
    }
    let lapsed = sqlx::query!(
        r#"SELECT variant_id, sum(quantity)::bigint AS "quantity!" FROM hold_lines
           WHERE variant_id = ANY($1) AND open AND expires_at <= (SELECT clock_timestamp()) GROUP BY variant_id"#,
        &held.keys().copied().collect::<Vec<_>>(),
    )
    .fetch_all(conn)
    .await?;
    for row in lapsed {
        if let Some(level) = held.get_mut(&row.variant_id) {
            level.held -= row.quantity;
        }
    }
    Ok(())
}

/// Writes movements and the levels they lead to, all at one time by the database's clock, which is
/// returned.
pub(crate) async fn write_movements_in_tx(
    conn: &mut PgConnection,
    levels: &[Level],
    drafts: &[Draft<'_>],
) -> Result<DateTime<Utc>, DbError> {
    if let ([_], [draft]) = (levels, drafts) {
        return write_movement_in_tx(conn, draft).await;
    }
    let each = |number: fn(&Level) -> i64| levels.iter().map(number).collect::<Vec<_>>();
    let ids: Vec<_> = levels.iter().map(|level| level.variant_id).collect();
    let moved: Vec<_> = drafts.iter().map(|draft| draft.step.after).collect();
    let reasons: Vec<_> = drafts.iter().map(|d| d.occasion.reason.as_ref().map(|r| r.as_str())).collect();
    let references: Vec<_> =
        drafts.iter().map(|d| d.occasion.reference.as_ref().map(|r| r.as_str())).collect();
    let kinds: Vec<_> = drafts.iter().map(|draft| draft.step.kind.as_str()).collect();
    let subjects: Vec<_> = drafts.iter().map(|draft| draft.witness.subject).collect();
    let requests: Vec<_> = drafts.iter().map(|draft| draft.witness.request_id).collect();
    let modes: Vec<_> = drafts.iter().map(|draft| draft.witness.lock.mode.as_str()).collect();
    let waits: Vec<_> = drafts.iter().map(|draft| draft.witness.wait_ms()).collect();
    let written = sqlx::query!(
        r#"WITH moment AS MATERIALIZED (SELECT clock_timestamp() AS at),
        moved AS (
            INSERT INTO stock_movements (movement_id, variant_id, version, kind, delta, on_hand_after, reason,
                reference, order_id, source_id, subject, request_id, lock_mode, lock_wait_ms, created_at)
            SELECT m.movement_id, m.variant_id, m.version, m.kind, m.delta, m.on_hand_after, m.reason,
                m.reference, m.order_id, m.source_id, m.subject, m.request_id, m.lock_mode, m.lock_wait_ms, moment.at
            FROM moment, UNNEST($1::uuid[], $2::uuid[], $3::bigint[], $4::text[], $5::bigint[], $6::bigint[],
                $7::text[], $8::text[], $9::uuid[], $10::uuid[], $11::text[], $12::text[], $13::text[], $14::int[])
                AS m (movement_id, variant_id, version, kind, delta, on_hand_after, reason, reference, order_id,
                      source_id, subject, request_id, lock_mode, lock_wait_ms)
            RETURNING 1
        ),
        levelled AS (
            UPDATE stock SET on_hand = l.on_hand, version = l.version, updated_at = moment.at
            FROM moment, UNNEST($15::uuid[], $16::bigint[], $17::bigint[]) AS l (variant_id, on_hand, version)
            WHERE stock.variant_id = l.variant_id
            RETURNING 1
        )
        SELECT at AS "at!", (SELECT count(*) FROM moved) AS "moved!", (SELECT count(*) FROM levelled) AS "levelled!"
        FROM moment"#,
        &drafts.iter().map(|draft| draft.movement_id).collect::<Vec<_>>(),
        &moved.iter().map(|level| level.variant_id).collect::<Vec<_>>(),
        &moved.iter().map(|level| level.version).collect::<Vec<_>>(),
        &kinds as &[&str],
        &drafts.iter().map(|draft| draft.step.delta).collect::<Vec<_>>(),
        &moved.iter().map(|level| level.on_hand).collect::<Vec<_>>(),
        &reasons as &[Option<&str>],
        &references as &[Option<&str>],
        &drafts.iter().map(|draft| draft.occasion.order_id).collect::<Vec<_>>() as &[Option<Uuid>],
        &drafts.iter().map(|draft| draft.occasion.source_id).collect::<Vec<_>>() as &[Option<Uuid>],
        &subjects as &[&str],
        &requests as &[&str],
        &modes as &[&str],
        &waits,
        &ids,
        &each(|level| level.on_hand),
        &each(|level| level.version),
    )
    .fetch_one(conn)
    .await?;
    let whole = written.moved == drafts.len() as i64 && written.levelled == levels.len() as i64;
    if whole { Ok(written.at) } else { Err(DbError::Unexpected(sqlx::Error::RowNotFound)) }
}

/// The same for one alone, which is most of what a shop at rest writes: without arrays it takes Postgres half the time.
async fn write_movement_in_tx(conn: &mut PgConnection, draft: &Draft<'_>) -> Result<DateTime<Utc>, DbError> {
    let (after, occasion, witness) = (&draft.step.after, &draft.occasion, &draft.witness);
    Ok(sqlx::query_scalar!(
        "WITH moved AS (
            INSERT INTO stock_movements (movement_id, variant_id, version, kind, delta, on_hand_after, reason,
                reference, order_id, source_id, subject, request_id, lock_mode, lock_wait_ms, created_at)
            VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, clock_timestamp())
            RETURNING created_at
        )
        UPDATE stock SET on_hand = $6, version = $3, updated_at = created_at FROM moved WHERE variant_id = $2
        RETURNING updated_at",
        draft.movement_id,
        after.variant_id,
        after.version,
        draft.step.kind.as_str(),
        draft.step.delta,
        after.on_hand,
        occasion.reason.as_ref().map(|reason| reason.as_str()),
        occasion.reference.as_ref().map(|reference| reference.as_str()),
        occasion.order_id,
        occasion.source_id,
        witness.subject,
        witness.request_id,
        witness.lock.mode.as_str(),
        witness.wait_ms(),
    )
    .fetch_one(conn)
    .await?)
}

/// A variant about to be made.
pub(crate) struct NewVariant<'a> {
    pub(crate) variant_id: Uuid,
    pub(crate) sku: &'a str,
    pub(crate) name: &'a str,
    pub(crate) price: Decimal,
    pub(crate) currency: Currency,
}

/// Inserts a variant with no stock. False if the SKU is taken.
pub(crate) async fn insert_variant_in_tx(
    conn: &mut PgConnection,
    new: &NewVariant<'_>,
) -> Result<bool, DbError> {
    let inserted = sqlx::query!(
        "WITH variant AS (
            INSERT INTO variants (variant_id, sku, name, price, currency) VALUES ($1, $2, $3, $4, $5)
            ON CONFLICT ON CONSTRAINT sku_is_taken_once DO NOTHING RETURNING variant_id
        )
        INSERT INTO stock (variant_id, on_hand, version) SELECT variant_id, 0, 0 FROM variant",
        new.variant_id,
        new.sku,
        new.name,
        new.price,
        new.currency.code(),
    )
    .execute(conn)
    .await?;
    Ok(inserted.rows_affected() == 1)
}

/// One variant, as last committed.
pub(crate) async fn find_variant(conn: &mut PgConnection, id: Uuid) -> Result<Option<Variant>, DbError> {
    let row = sqlx::query!(
        "SELECT variant_id, sku, name, price, currency, on_hand FROM variants JOIN stock USING (variant_id)
         WHERE variant_id = $1",
        id,
    )
    .fetch_optional(conn)
    .await?;
    row.map(|r| variant(r.variant_id, r.sku, r.name, r.price, &r.currency, r.on_hand)).transpose()
}

/// Variants in the order they were made, after `after`.
pub(crate) async fn list_variants(
    conn: &mut PgConnection,
    after: Option<Uuid>,
    limit: i64,
) -> Result<Vec<Variant>, DbError> {
    let rows = sqlx::query!(
        "SELECT variant_id, sku, name, price, currency, on_hand FROM variants JOIN stock USING (variant_id)
         WHERE variant_id > $1 ORDER BY variant_id LIMIT $2",
        after.unwrap_or(Uuid::nil()),
        limit,
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(|r| variant(r.variant_id, r.sku, r.name, r.price, &r.currency, r.on_hand)).collect()
}

/// Variants whose SKU begins with `prefix`, by their SKUs, after the variant `after`.
pub(crate) async fn list_variants_by_prefix(
    conn: &mut PgConnection,
    prefix: &str,
    after: Option<Uuid>,
    limit: i64,
) -> Result<Vec<Variant>, DbError> {
    let rows = sqlx::query!(
        r#"SELECT variant_id, sku, name, price, currency, on_hand FROM variants JOIN stock USING (variant_id)
           WHERE sku COLLATE "C" >= $1 AND sku COLLATE "C" < $1 || chr(1114111)
             AND sku COLLATE "C" > coalesce((SELECT sku FROM variants WHERE variant_id = $2), '')
           ORDER BY sku COLLATE "C" LIMIT $3"#,
        prefix,
        after,
        limit,
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(|r| variant(r.variant_id, r.sku, r.name, r.price, &r.currency, r.on_hand)).collect()
}

/// The variant with this SKU.
pub(crate) async fn find_variant_by_sku(
    conn: &mut PgConnection,
    sku: &str,
) -> Result<Option<Variant>, DbError> {
    let row = sqlx::query!(
        "SELECT variant_id, sku, name, price, currency, on_hand FROM variants JOIN stock USING (variant_id)
         WHERE sku = $1",
        sku,
    )
    .fetch_optional(conn)
    .await?;
    row.map(|r| variant(r.variant_id, r.sku, r.name, r.price, &r.currency, r.on_hand)).transpose()
}

fn variant(
    variant_id: Uuid,
    sku: String,
    name: String,
    price: Decimal,
    currency: &str,
    on_hand: i64,
) -> Result<Variant, DbError> {
    let currency = stored_currency(currency)?;
    Ok(Variant { variant_id, sku, name, price: currency.written(price), currency, on_hand })
}

/// A currency read back: one that is not in ISO 4217 was not written by us.
pub(crate) fn stored_currency(code: &str) -> Result<Currency, DbError> {
    let unknown = || DbError::Unexpected(sqlx::Error::Decode("a stored currency is not in ISO 4217".into()));
    Currency::from_code(code).ok_or_else(unknown)
}

/// A level with its variant's name, as last committed.
pub(crate) struct NamedLevel {
    pub(crate) level: Level,
    pub(crate) sku: String,
    pub(crate) updated_at: DateTime<Utc>,
}

/// The levels of `ids`; unknown ids are missing.
pub(crate) async fn find_levels(conn: &mut PgConnection, ids: &[Uuid]) -> Result<Vec<NamedLevel>, DbError> {
    let rows = sqlx::query!(
        r#"SELECT variant_id, sku, on_hand, version, updated_at,
                  CASE held WHEN 0 THEN 0 ELSE held - (
                      SELECT coalesce(sum(quantity), 0)::bigint FROM hold_lines AS line
                      WHERE line.variant_id = stock.variant_id AND open AND expires_at <= (SELECT clock_timestamp())
                  ) END AS "held!"
           FROM stock JOIN variants USING (variant_id)
           WHERE variant_id = ANY($1)"#,
        ids,
    )
    .fetch_all(conn)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| NamedLevel {
            level: Level {
                variant_id: row.variant_id,
                on_hand: row.on_hand,
                held: row.held,
                version: row.version,
            },
            sku: row.sku,
            updated_at: row.updated_at,
        })
        .collect())
}

/// A balance as the movements have it.
pub(crate) struct PastLevel {
    pub(crate) sku: String,
    pub(crate) on_hand: i64,
    pub(crate) version: i64,
}

/// The balance after the last movement at or before `at`; 0 at version 0 before the first.
pub(crate) async fn find_level_at(
    conn: &mut PgConnection,
    id: Uuid,
    at: DateTime<Utc>,
) -> Result<Option<PastLevel>, DbError> {
    let row = sqlx::query!(
        r#"SELECT sku, coalesce(on_hand_after, 0) AS "on_hand!", coalesce(version, 0) AS "version!"
           FROM variants LEFT JOIN LATERAL (
               SELECT on_hand_after, m.version FROM stock s JOIN stock_movements m USING (variant_id)
               WHERE s.variant_id = variants.variant_id AND m.version = version_at(s.variant_id, $2, s.version)
           ) AS last ON true
           WHERE variant_id = $1"#,
        id,
        at,
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|row| PastLevel { sku: row.sku, on_hand: row.on_hand, version: row.version }))
}

/// A variant's movements below version `before`, newest first.
pub(crate) async fn list_movements(
    conn: &mut PgConnection,
    id: Uuid,
    before: Option<i64>,
    limit: i64,
) -> Result<Vec<Movement>, DbError> {
    let rows = sqlx::query_as!(
        MovementRow,
        "SELECT position, movement_id, variant_id, version, kind, delta, on_hand_after, reason, reference, lock_mode,
                lock_wait_ms, created_at
         FROM stock_movements WHERE variant_id = $1 AND version < $2
         ORDER BY version DESC LIMIT $3",
        id,
        before.unwrap_or(i64::MAX),
        limit,
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(movement).collect())
}

/// Movements after one position up to another, as events are read, with their positions.
pub(crate) async fn movements_between(
    conn: &mut PgConnection,
    after: i64,
    until: i64,
    limit: i64,
) -> Result<Vec<(i64, Movement)>, DbError> {
    let rows = sqlx::query_as!(
        MovementRow,
        "SELECT position, movement_id, variant_id, version, kind, delta, on_hand_after, reason, reference, lock_mode,
                lock_wait_ms, created_at
         FROM stock_movements WHERE position > $1 AND position <= $2
         ORDER BY position LIMIT $3",
        after,
        until,
        limit,
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|row| (row.position.unwrap_or_default(), movement(row))).collect())
}

struct MovementRow {
    /// None if it was written before there were positions.
    position: Option<i64>,
    movement_id: Uuid,
    variant_id: Uuid,
    version: i64,
    kind: String,
    delta: i64,
    on_hand_after: i64,
    reason: Option<String>,
    reference: Option<String>,
    lock_mode: String,
    lock_wait_ms: i32,
    created_at: DateTime<Utc>,
}

fn movement(row: MovementRow) -> Movement {
    Movement {
        movement_id: row.movement_id,
        variant_id: row.variant_id,
        version: row.version,
        kind: row.kind,
        delta: row.delta,
        previous_quantity: row.on_hand_after - row.delta,
        new_quantity: row.on_hand_after,
        reason: row.reason,
        reference: row.reference,
        lock: LockSeen { mode: row.lock_mode, wait_ms: row.lock_wait_ms },
        created_at: row.created_at,
    }
}
