//! The SQL of records: each function one statement, however many records there are. No decisions here.
mod conflicts;

use std::collections::HashMap;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;
use sqlx::PgConnection;
use sqlx::types::Json;

pub(super) use self::conflicts::{
    Disputed, NewConflict, close_conflicts_in_tx, find_disputed, keep_conflicts_in_tx,
};
use super::model::{Anchor, Evidence, Item, Kept, RecordKey, said};
use super::rules::{Own, Serials, Standing, There};
use crate::db::DbError;
use crate::leases::{Ending, Fence, LeaseName};
use crate::text::SessionId;

/// The window in which batches are counted.
const MINUTE_SECS: f64 = 60.0;

/// Counts a batch of the user's. Gives how many it is in this minute, and when the next one begins. A statement of its own:
/// a user's batches do not wait for each other with a connection in their hands, nor for the disk: that a crash of Postgres
/// forgets a batch does no harm.
pub(super) async fn count_batch(conn: &mut PgConnection, user_id: &str) -> Result<(i32, Duration), DbError> {
    let row = sqlx::query!(
        r#"WITH at_leisure AS MATERIALIZED (SELECT set_config('synchronous_commit', 'off', true))
           INSERT INTO sync_minutes AS m (user_id, began_at, batches) SELECT $1, clock_timestamp(), 1 FROM at_leisure
           ON CONFLICT (user_id) DO UPDATE SET
               batches = CASE WHEN m.began_at > clock_timestamp() - make_interval(secs => $2)
                              THEN least(m.batches, 1000000000) + 1 ELSE 1 END,
               began_at = CASE WHEN m.began_at > clock_timestamp() - make_interval(secs => $2)
                               THEN m.began_at ELSE clock_timestamp() END
           RETURNING batches, extract(epoch FROM began_at - clock_timestamp())::float8 + $2 AS "left!""#,
        user_id,
        MINUTE_SECS,
    )
    .fetch_one(conn)
    .await?;
    Ok((row.batches, Duration::from_secs_f64(row.left.clamp(1.0, MINUTE_SECS))))
}

/// Holds the newest claims of these racks, sorted by their leases' names, until the transaction ends. A rack that was
/// never claimed is missing.
pub(super) async fn hold_claims_in_tx(
    conn: &mut PgConnection,
    leases: &[LeaseName],
) -> Result<HashMap<String, Standing>, DbError> {
    let names: Vec<_> = leases.iter().map(LeaseName::as_str).collect();
    let rows = sqlx::query!(
        r#"WITH held AS MATERIALIZED (
               SELECT name, fence, owner, ending, expires_at FROM leases WHERE name = ANY($1)
               ORDER BY name FOR KEY SHARE
           )
           SELECT name, fence, owner, s.user_id AS "user_id?", ending,
                  ending IS NULL AND expires_at > clock_timestamp() AS "is_live!"
           FROM held LEFT JOIN count_sessions s ON s.session_id = owner"#,
        &names as &[&str],
    )
    .fetch_all(conn)
    .await?;
    let standing = |name: String, fence, owner, user_id, ending: Option<String>, is_live| {
        let ending = ending.as_deref().and_then(Ending::named);
        (name, Standing { fence: Fence(fence), owner, user_id, ending, is_live })
    };
    Ok(rows
        .into_iter()
        .map(|row| standing(row.name, row.fence, row.owner, row.user_id, row.ending, row.is_live))
        .collect())
}

/// The claims that each of these sessions ever had of these racks. What is unbroken counts only for a session whose claim is
/// the newest and was not taken away.
pub(super) async fn find_own_claims(
    conn: &mut PgConnection,
    sessions: &[String],
    racks: &[String],
) -> Result<HashMap<(String, String), Own>, DbError> {
    let rows = sqlx::query!(
        r#"WITH own AS (
               SELECT session_id, rack_id, min(fence) AS first, max(fence) AS newest, min(claimed_at) AS first_at
               FROM rack_claims WHERE session_id = ANY($1) AND rack_id = ANY($2) GROUP BY session_id, rack_id
           )
           SELECT session_id AS "session_id!", rack_id AS "rack_id!", newest AS "newest!", first_at AS "first_at!",
                  coalesce(unbroken.fence, newest) AS "unbroken!", coalesce(unbroken.claimed_at, first_at) AS "unbroken_at!",
                  coalesce(unbroken.fence > first, false) AS "was_interrupted!"
           FROM own JOIN racks USING (rack_id) LEFT JOIN LATERAL (
               SELECT c.fence, c.claimed_at FROM rack_claims c
               WHERE (c.session_id, c.rack_id) = (own.session_id, own.rack_id)
                 AND c.claimed_at > coalesce(taken_away_at, '-infinity') AND c.fence > coalesce((
                     SELECT max(o.fence) FROM rack_claims o
                     WHERE o.rack_id = own.rack_id AND o.session_id <> own.session_id), 0)
               ORDER BY c.fence LIMIT 1) AS unbroken ON true"#,
        sessions,
        racks,
    )
    .fetch_all(conn)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| {
            let own = Own {
                newest: Fence(row.newest),
                first_at: row.first_at,
                unbroken: Fence(row.unbroken),
                unbroken_at: row.unbroken_at,
                was_interrupted: row.was_interrupted,
            };
            ((row.session_id, row.rack_id), own)
        })
        .collect())
}

/// A session that records are for.
#[derive(Debug)]
pub(super) struct Into {
    pub(super) is_over: bool,
    pub(super) is_new: bool,
}

/// Opens those of these sessions, sorted by their ids, that may be opened, or notes that they were heard of, and keeps
/// others from writing to them until the transaction ends. Those of another user are missing.
pub(super) async fn enter_sessions_in_tx(
    conn: &mut PgConnection,
    sessions: &[String],
    may_open: &[bool],
    (user_id, blind): (&str, bool),
) -> Result<HashMap<String, Into>, DbError> {
    let rows = sqlx::query!(
        r#"INSERT INTO count_sessions (session_id, user_id, blind)
           SELECT s, $3, $4 FROM unnest($1::text[], $2::boolean[]) AS asked (s, may_open)
           WHERE may_open OR EXISTS (SELECT FROM count_sessions WHERE session_id = s) ORDER BY s
           ON CONFLICT (session_id) DO UPDATE SET last_seen_at =
                   CASE WHEN count_sessions.is_over THEN count_sessions.last_seen_at ELSE clock_timestamp() END
               WHERE count_sessions.user_id = excluded.user_id
           RETURNING session_id, is_over, xmax = 0 AS "is_new!""#,
        sessions,
        may_open,
        user_id,
        blind,
    )
    .fetch_all(conn)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| (row.session_id, Into { is_over: row.is_over, is_new: row.is_new }))
        .collect())
}

/// The database's time.
pub(super) async fn now(conn: &mut PgConnection) -> Result<DateTime<Utc>, DbError> {
    Ok(sqlx::query_scalar!(r#"SELECT clock_timestamp() AS "now!""#).fetch_one(conn).await?)
}

/// Finds each item by its SKU, and the movements that were its newest at the time beside it and so much later. In the order
/// asked for.
pub(in crate::counts) async fn find_items(
    conn: &mut PgConnection,
    skus: &[&str],
    times: &[DateTime<Utc>],
    behind: TimeDelta,
) -> Result<Vec<Option<Item>>, DbError> {
    let rows = sqlx::query!(
        r#"SELECT asked.place AS "place!", v.variant_id, version_at(v.variant_id, asked.at, s.version) AS "version!",
                  CASE WHEN $3::float8 > 0 THEN version_at(v.variant_id, asked.at + make_interval(secs => $3), s.version)
                  ELSE 0 END AS "latest!", s.version AS newest
           FROM unnest($1::text[], $2::timestamptz[]) WITH ORDINALITY AS asked (sku, at, place)
           JOIN variants v ON v.sku = asked.sku JOIN stock s ON s.variant_id = v.variant_id"#,
        skus as &[&str],
        times,
        behind.as_seconds_f64(),
    )
    .fetch_all(conn)
    .await?;
    let mut items = vec![None; skus.len()];
    for row in rows {
        let place = usize::try_from(row.place - 1).ok().and_then(|place| items.get_mut(place));
        if let Some(place) = place {
            *place = Some(Item {
                variant_id: row.variant_id,
                version: row.version,
                latest: row.latest,
                newest: row.newest,
            });
        }
    }
    Ok(items)
}

/// Those of these records that are there. Their sessions are locked.
pub(in crate::counts) async fn find_records(
    conn: &mut PgConnection,
    keys: &[RecordKey],
) -> Result<HashMap<RecordKey, There>, DbError> {
    let (sessions, ids): (Vec<_>, Vec<_>) = keys.iter().map(|(s, id)| (s.as_str(), id.as_str())).unzip();
    let rows = sqlx::query!(
        "SELECT r.session_id, r.client_record_id, updated_at, sent, serial_numbers, variant_id, verified_qty, damage_qty,
                counted_at, counted_version, latest_version
         FROM unnest($1::text[], $2::text[]) AS asked (session_id, client_record_id)
         -- One by one: a plan of a join that was made while the table was small would read all of it for long.
         CROSS JOIN LATERAL (
             SELECT * FROM count_records
             WHERE session_id = asked.session_id AND client_record_id = asked.client_record_id LIMIT 1
         ) AS r",
        &sessions as &[&str],
        &ids as &[&str],
    )
    .fetch_all(conn)
    .await?;
    let serials = |value: &Value| serde_json::from_value(value.clone()).unwrap_or_default();
    Ok(rows
        .into_iter()
        .map(|row| {
            let there = There {
                updated_at: row.updated_at,
                said: said(&row.sent),
                serials: serials(&row.serial_numbers),
                variant_id: row.variant_id,
                quantities: (row.verified_qty, row.damage_qty),
                anchor: Anchor {
                    at: row.counted_at,
                    version: row.counted_version,
                    latest_version: row.latest_version,
                },
            };
            ((row.session_id, row.client_record_id), there)
        })
        .collect())
}

/// Keeps others from taking or giving back these serial numbers until the transaction ends, and says who has them. One
/// that nobody has, or whose time is over, has a row without an owner then: [`settle_serials_in_tx`] must follow.
pub(in crate::counts) async fn lock_serials_in_tx(
    conn: &mut PgConnection,
    serials: &[String],
) -> Result<Serials, DbError> {
    if serials.is_empty() {
        return Ok(Serials::default());
    }
    let rows = sqlx::query!(
        r#"INSERT INTO count_serials AS s (serial_number) SELECT n FROM unnest($1::text[]) AS n ORDER BY n
           ON CONFLICT (serial_number) DO UPDATE SET serial_number = excluded.serial_number
           RETURNING serial_number, session_id, client_record_id,
                     coalesce(free_from <= clock_timestamp(), false) AS "is_free!""#,
        serials,
    )
    .fetch_all(conn)
    .await?;
    let owner =
        |session: Option<String>, id: Option<String>, is_free: bool| session.zip(id).filter(|_| !is_free);
    Ok(Serials(
        rows.into_iter()
            .map(|row| (row.serial_number, owner(row.session_id, row.client_record_id, row.is_free)))
            .collect(),
    ))
}

/// Writes down who has which of the numbers that are locked, and lets go those that nobody has.
pub(in crate::counts) async fn settle_serials_in_tx(
    conn: &mut PgConnection,
    serials: &Serials,
) -> Result<(), DbError> {
    if serials.0.is_empty() {
        return Ok(());
    }
    let (mut numbers, mut sessions, mut ids, mut free) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for (number, owner) in &serials.0 {
        match owner {
            Some((session, id)) => {
                numbers.push(number.as_str());
                sessions.push(session.as_str());
                ids.push(id.as_str());
            }
            None => free.push(number.as_str()),
        }
    }
    sqlx::query!(
        "WITH freed AS (DELETE FROM count_serials WHERE serial_number = ANY($4))
         UPDATE count_serials AS s SET session_id = o.session_id, client_record_id = o.client_record_id, free_from = NULL
         FROM unnest($1::text[], $2::text[], $3::text[]) AS o (serial_number, session_id, client_record_id)
         WHERE s.serial_number = o.serial_number
           AND (s.session_id, s.client_record_id) IS DISTINCT FROM (o.session_id, o.client_record_id)",
        &numbers as &[&str],
        &sessions as &[&str],
        &ids as &[&str],
        &free as &[&str],
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Writes records, each over the version that is there.
pub(in crate::counts) async fn write_records_in_tx(
    conn: &mut PgConnection,
    records: &[Kept],
) -> Result<(), DbError> {
    if records.is_empty() {
        return Ok(());
    }
    let written = sqlx::query!(
        "INSERT INTO count_records (session_id, client_record_id, variant_id, rack_id, floor, verified_qty, damage_qty,
             serial_numbers, status, lease_name, fence, counted_at, counted_version, updated_at, sent, latest_version)
         SELECT r.session_id, r.client_record_id, r.variant_id, r.rack_id, r.floor, r.verified_qty, r.damage_qty,
             r.serial_numbers, r.status, r.lease_name, r.fence, r.counted_at, r.counted_version, r.updated_at, r.sent,
             r.latest_version
         FROM jsonb_to_recordset($1) AS r (session_id text, client_record_id text, variant_id uuid, rack_id text,
             floor text, verified_qty bigint, damage_qty bigint, serial_numbers jsonb, status text, lease_name text,
             fence bigint, counted_at timestamptz, counted_version bigint, updated_at timestamptz, sent jsonb,
             latest_version bigint)
         ON CONFLICT ON CONSTRAINT record_is_counted_once DO UPDATE SET
             variant_id = excluded.variant_id, rack_id = excluded.rack_id, floor = excluded.floor,
             verified_qty = excluded.verified_qty, damage_qty = excluded.damage_qty,
             serial_numbers = excluded.serial_numbers, status = excluded.status, lease_name = excluded.lease_name,
             fence = excluded.fence, counted_at = excluded.counted_at, counted_version = excluded.counted_version,
             updated_at = excluded.updated_at, sent = excluded.sent, synced_at = clock_timestamp(),
             latest_version = excluded.latest_version",
        Json(records) as _,
    )
    .execute(conn)
    .await?;
    let whole = written.rows_affected() == records.len() as u64;
    if whole { Ok(()) } else { Err(DbError::Unexpected(sqlx::Error::RowNotFound)) }
}

/// Records of a session by their ids: all, or those of an item.
pub(super) async fn list(
    conn: &mut PgConnection,
    session_id: &SessionId,
    item_code: Option<&str>,
    after: &str,
    limit: i64,
) -> Result<Vec<Evidence>, DbError> {
    Ok(sqlx::query_as!(
        Evidence,
        "SELECT client_record_id, variant_id, sku AS item_code, rack_id, floor, verified_qty, damage_qty, serial_numbers,
                status, fence, counted_at, counted_version, updated_at, synced_at
         FROM count_records JOIN variants USING (variant_id)
         WHERE session_id = $1 AND ($2::text IS NULL OR sku = $2) AND client_record_id > $3
         ORDER BY client_record_id LIMIT $4",
        session_id.as_str(),
        item_code,
        after,
        limit,
    )
    .fetch_all(conn)
    .await?)
}

/// Whether there is such a session.
pub(super) async fn is_a_session(conn: &mut PgConnection, session_id: &SessionId) -> Result<bool, DbError> {
    let found =
        sqlx::query!(r#"SELECT 1 AS "one!" FROM count_sessions WHERE session_id = $1"#, session_id.as_str(),);
    Ok(found.fetch_optional(conn).await?.is_some())
}
