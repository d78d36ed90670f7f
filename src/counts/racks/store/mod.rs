//! The SQL of racks. No decisions here: rows in, rows out.

mod endings;

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use sqlx::postgres::PgQueryResult;

pub(super) use self::endings::{
    Turned, end_claims_in_tx, is_any_claimed, take_away_in_tx, tell_of_lapses_in_tx,
};
use super::import::NewRack;
use super::model::{FloorTally, Held, HeldBy, Rack};
use crate::counts::error;
use crate::counts::error::CountError;
use crate::db::DbError;
use crate::leases::Fence;
use crate::text::{Floor, Name, RackId, SessionId};

/// The class of the advisory locks by which first claims of racks wait for records of them.
const FIRST_CLAIMS: i32 = 730_504;

/// Registers a rack. False if it is registered.
pub(in crate::counts) async fn insert_in_tx(
    conn: &mut PgConnection,
    rack_id: &RackId,
    floor: &Floor,
    name: Option<&Name>,
) -> Result<bool, DbError> {
    let inserted = sqlx::query!(
        "INSERT INTO racks (rack_id, floor, name) VALUES ($1, $2, $3) ON CONFLICT (rack_id) DO NOTHING",
        rack_id.as_str(),
        floor.as_str(),
        name.map(Name::as_str),
    )
    .execute(conn)
    .await?;
    Ok(inserted.rows_affected() == 1)
}

/// Registers those of these racks that are not, which are sorted by their ids. Gives those that it did.
pub(super) async fn insert_each_in_tx(
    conn: &mut PgConnection,
    racks: &[&NewRack],
) -> Result<HashSet<String>, DbError> {
    let ids: Vec<_> = racks.iter().map(|rack| rack.rack_id.as_str()).collect();
    let floors: Vec<_> = racks.iter().map(|rack| rack.floor.as_str()).collect();
    let names: Vec<_> = racks.iter().map(|rack| rack.name.as_ref().map(Name::as_str)).collect();
    let inserted = sqlx::query_scalar!(
        "INSERT INTO racks (rack_id, floor, name)
         SELECT rack_id, floor, name FROM unnest($1::text[], $2::text[], $3::text[]) AS r (rack_id, floor, name)
         ORDER BY rack_id ON CONFLICT (rack_id) DO NOTHING RETURNING rack_id",
        &ids as &[&str],
        &floors as &[&str],
        &names as &[Option<&str>],
    )
    .fetch_all(conn)
    .await?;
    Ok(inserted.into_iter().collect())
}

/// Where these racks stand.
pub(super) async fn find_floors(
    conn: &mut PgConnection,
    racks: &[&NewRack],
) -> Result<HashMap<String, String>, DbError> {
    let ids: Vec<_> = racks.iter().map(|rack| rack.rack_id.as_str()).collect();
    let rows = sqlx::query!("SELECT rack_id, floor FROM racks WHERE rack_id = ANY($1)", &ids as &[&str])
        .fetch_all(conn)
        .await?;
    Ok(rows.into_iter().map(|row| (row.rack_id, row.floor)).collect())
}

/// Which of these racks are registered.
pub(in crate::counts) async fn find_registered(
    conn: &mut PgConnection,
    racks: &[String],
) -> Result<HashSet<String>, DbError> {
    let found = sqlx::query_scalar!("SELECT rack_id FROM racks WHERE rack_id = ANY($1)", racks);
    Ok(found.fetch_all(conn).await?.into_iter().collect())
}

/// Where a rack stands, which never changes, for whoever is about to claim it. If nobody ever has, waits for those who write
/// records of it meanwhile.
pub(super) async fn find_floor_in_tx(
    conn: &mut PgConnection,
    rack_id: &RackId,
) -> Result<Option<String>, DbError> {
    Ok(sqlx::query_scalar!(
        r#"SELECT (SELECT floor FROM racks WHERE rack_id = $1) AS floor FROM (
               SELECT CASE WHEN NOT EXISTS (SELECT FROM leases WHERE name = 'rack:lock:' || $1)
                   THEN pg_advisory_xact_lock($2, hashtext('rack:lock:' || $1) & 255)::text END AS waited
           ) AS first WHERE waited IS NULL OR waited = ''"#,
        rack_id.as_str(),
        FIRST_CLAIMS,
    )
    .fetch_one(conn)
    .await?)
}

/// Notes the claim that was just granted. False if it is one that its session repeated.
pub(super) async fn note_claim_in_tx(
    conn: &mut PgConnection,
    rack_id: &RackId,
    session_id: &SessionId,
    fence: Fence,
    ttl_seconds: i32,
) -> Result<bool, DbError> {
    let noted = sqlx::query!(
        r#"WITH rack AS (
            UPDATE racks SET ttl_seconds = $4, paused_at = NULL, completed_at = NULL, claim_told = $3,
                   -- That one lapsed which its session repeats is told, and that it is held again is not yet.
                   lapse_told = lapse_told AND claim_told IS NOT DISTINCT FROM $3
            WHERE rack_id = $1 RETURNING 1
        ), session AS (
            UPDATE count_sessions SET rack_id = $1 WHERE session_id = $2 RETURNING 1
        ), claim AS (
            -- A claim that its session repeated has been noted.
            INSERT INTO rack_claims (rack_id, fence, session_id) VALUES ($1, $3, $2)
            ON CONFLICT ON CONSTRAINT rack_fence_is_granted_once DO NOTHING RETURNING 1
        )
        SELECT (SELECT count(*) FROM rack) + (SELECT count(*) FROM session) AS "rows!",
               EXISTS (SELECT FROM claim) AS "is_new!""#,
        rack_id.as_str(),
        session_id.as_str(),
        fence.0,
        ttl_seconds,
    )
    .fetch_one(conn)
    .await?;
    if noted.rows == 2 { Ok(noted.is_new) } else { Err(DbError::Unexpected(sqlx::Error::RowNotFound)) }
}

/// Locks a rack's claim, if there ever was one, against whoever else would change it, but not against writes under it.
pub(super) async fn lock_claim_to_renew_in_tx(
    conn: &mut PgConnection,
    rack_id: &RackId,
) -> Result<(), DbError> {
    let rack_id = rack_id.as_str();
    sqlx::query!("SELECT fence FROM leases WHERE name = 'rack:lock:' || $1 FOR NO KEY UPDATE", rack_id)
        .fetch_optional(conn)
        .await?;
    Ok(())
}

/// Locks a rack's claim, if there ever was one, against whoever else would change it, and waits for the writes under it.
pub(super) async fn lock_claim_in_tx(conn: &mut PgConnection, rack_id: &RackId) -> Result<(), DbError> {
    let rack_id = rack_id.as_str();
    sqlx::query!("SELECT fence FROM leases WHERE name = 'rack:lock:' || $1 FOR UPDATE", rack_id)
        .fetch_optional(conn)
        .await?;
    Ok(())
}

/// The rack, if its newest claim is by this session and the session is the user's.
pub(super) async fn find_held_in_tx(
    conn: &mut PgConnection,
    rack_id: &RackId,
    session_id: &SessionId,
    user_id: &str,
) -> Result<Held, CountError> {
    let lease = rack_id.lease().ok_or_else(error::rack_not_found)?;
    let row = sqlx::query!(
        r#"SELECT floor, ttl_seconds, paused_at IS NOT NULL AS "is_paused!",
                  completed_at IS NOT NULL AS "is_completed!", l.fence AS "fence?",
                  coalesce(l.ended_at IS NOT NULL, false) AS "is_ended!",
                  coalesce(extract(epoch FROM l.expires_at - clock_timestamp()), 0)::float8 AS "left!",
                  coalesce(l.owner = $2 AND EXISTS (
                      SELECT FROM count_sessions WHERE session_id = $2 AND user_id = $3), false) AS "is_owner!"
           FROM racks LEFT JOIN leases l ON l.name = $4 WHERE racks.rack_id = $1"#,
        rack_id.as_str(),
        session_id.as_str(),
        user_id,
        lease.as_str(),
    )
    .fetch_optional(conn)
    .await
    .map_err(DbError::from)?
    .ok_or_else(error::rack_not_found)?;
    let fence = row.fence.filter(|_| row.is_owner).ok_or_else(error::not_rack_owner)?;
    let (floor, ttl_seconds) = (row.floor, row.ttl_seconds);
    let (is_paused, is_ended, is_completed) = (row.is_paused, row.is_ended, row.is_completed);
    let left = Duration::try_from_secs_f64(row.left).unwrap_or_default();
    Ok(Held { lease, fence: Fence(fence), floor, ttl_seconds, is_paused, is_ended, left, is_completed })
}

/// Notes that a rack is paused. Its lease's row is locked.
pub(super) async fn pause_in_tx(conn: &mut PgConnection, rack_id: &RackId) -> Result<(), DbError> {
    let marked =
        sqlx::query!("UPDATE racks SET paused_at = clock_timestamp() WHERE rack_id = $1", rack_id.as_str());
    the_one(&marked.execute(conn).await?)
}

/// Notes that a rack is no longer paused.
pub(super) async fn unpause_in_tx(conn: &mut PgConnection, rack_id: &RackId) -> Result<(), DbError> {
    let marked = sqlx::query!("UPDATE racks SET paused_at = NULL WHERE rack_id = $1", rack_id.as_str());
    the_one(&marked.execute(conn).await?)
}

/// Notes that a rack is counted.
pub(super) async fn complete_in_tx(conn: &mut PgConnection, rack_id: &RackId) -> Result<(), DbError> {
    let marked = sqlx::query!(
        "UPDATE racks SET paused_at = NULL, completed_at = coalesce(completed_at, clock_timestamp()) WHERE rack_id = $1",
        rack_id.as_str()
    );
    the_one(&marked.execute(conn).await?)
}

/// Keeps these leases, which nobody ever claimed, from being claimed for the first time until the transaction ends: they have
/// no row to hold. A few locks stand for all names: not so many that batches of a thousand racks would fill Postgres' table of
/// locks, nor so few that a warehouse whose devices all begin by claiming would wait at them.
pub(in crate::counts) async fn keep_unclaimed_in_tx(
    conn: &mut PgConnection,
    leases: &[&str],
) -> Result<(), DbError> {
    sqlx::query!(
        "SELECT pg_advisory_xact_lock_shared($1, bucket)
         FROM (SELECT DISTINCT hashtext(name) & 255 AS bucket FROM unnest($2::text[]) AS name ORDER BY 1) AS buckets",
        FIRST_CLAIMS,
        leases as &[&str],
    )
    .fetch_all(conn)
    .await?;
    Ok(())
}

fn the_one(done: &PgQueryResult) -> Result<(), DbError> {
    if done.rows_affected() == 1 { Ok(()) } else { Err(DbError::Unexpected(sqlx::Error::RowNotFound)) }
}

/// The user of the session that owns a lease.
pub(super) async fn find_user(conn: &mut PgConnection, session_id: &str) -> Result<Option<String>, DbError> {
    Ok(sqlx::query_scalar!("SELECT user_id FROM count_sessions WHERE session_id = $1", session_id)
        .fetch_optional(conn)
        .await?)
}

struct RackRow {
    rack_id: String,
    floor: String,
    name: Option<String>,
    state: String,
    fence: Option<i64>,
    owner: Option<String>,
    user_id: Option<String>,
    claimed_at: Option<DateTime<Utc>>,
    expires_at: Option<DateTime<Utc>>,
}

impl From<RackRow> for Rack {
    fn from(row: RackRow) -> Self {
        let is_held = matches!(&*row.state, "active" | "paused");
        let holder = || {
            Some(HeldBy {
                user_id: row.user_id?,
                session_id: row.owner?,
                fence: Fence(row.fence?),
                claimed_at: row.claimed_at?,
                expires_at: row.expires_at?,
            })
        };
        let holder = if is_held { holder() } else { None };
        Self { rack_id: row.rack_id, floor: row.floor, name: row.name, state: row.state, holder }
    }
}

/// Racks by their id, each as of now by the database's clock: one, or those of a floor in a state.
pub(super) async fn list(
    conn: &mut PgConnection,
    one: Option<&str>,
    floor: Option<&str>,
    state: Option<&str>,
    after: Option<&str>,
    limit: i64,
) -> Result<Vec<Rack>, DbError> {
    let rows = sqlx::query_as!(
        RackRow,
        r#"SELECT rack_id, floor, name, state AS "state!", fence AS "fence?", owner AS "owner?",
                  user_id AS "user_id?", claimed_at AS "claimed_at?", expires_at AS "expires_at?"
           FROM (
               SELECT r.rack_id, floor, r.name, fence, owner, s.user_id, claimed_at, expires_at,
                      CASE WHEN l.ended_at IS NULL AND expires_at > (SELECT clock_timestamp())
                               THEN CASE WHEN paused_at IS NULL THEN 'active' ELSE 'paused' END
                           WHEN completed_at IS NOT NULL THEN 'completed' ELSE 'available' END AS state
               FROM racks r LEFT JOIN leases l ON l.name = 'rack:lock:' || r.rack_id
                   LEFT JOIN count_sessions s ON s.session_id = l.owner
               WHERE ($1::text IS NULL OR r.rack_id = $1) AND ($2::text IS NULL OR floor = $2)
                 AND ($4::text IS NULL OR r.rack_id > $4)
           ) AS of_now
           WHERE $3::text IS NULL OR state = $3
           ORDER BY rack_id LIMIT $5"#,
        one,
        floor,
        state,
        after,
        limit,
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(Rack::from).collect())
}

/// How many racks of each floor are in which state.
pub(super) async fn tally_floors(conn: &mut PgConnection) -> Result<Vec<FloorTally>, DbError> {
    Ok(sqlx::query_as!(
        FloorTally,
        r#"SELECT floor, count(*) AS "racks!",
                  count(*) FILTER (WHERE NOT held AND completed_at IS NULL) AS "available!",
                  count(*) FILTER (WHERE held AND paused_at IS NULL) AS "active!",
                  count(*) FILTER (WHERE held AND paused_at IS NOT NULL) AS "paused!",
                  count(*) FILTER (WHERE NOT held AND completed_at IS NOT NULL) AS "completed!"
           FROM (
               SELECT floor, paused_at, completed_at,
                      coalesce(l.ended_at IS NULL AND expires_at > (SELECT clock_timestamp()), false) AS held
               FROM racks r LEFT JOIN leases l ON l.name = 'rack:lock:' || r.rack_id
           ) AS of_now
           GROUP BY floor ORDER BY floor"#,
    )
    .fetch_all(conn)
    .await?)
}
