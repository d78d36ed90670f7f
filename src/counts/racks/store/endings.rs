//! How claims end that their sessions do not end themselves: taken away, over with their session, lapsed.

use sqlx::PgConnection;

use crate::db::DbError;

/// A rack that was taken away from its session.
pub(in super::super) struct TakenAway {
    pub(in super::super) rack_id: String,
    pub(in super::super) session_id: String,
    pub(in super::super) floor: String,
    pub(in super::super) is_completed: bool,
}

/// Notes that an operator has just ended the claim of this lease, if it is a rack's. The lease's row is locked.
pub(in super::super) async fn take_away_in_tx(
    conn: &mut PgConnection,
    lease: &str,
) -> Result<Option<TakenAway>, DbError> {
    Ok(sqlx::query_as!(
        TakenAway,
        r#"UPDATE racks SET paused_at = NULL, taken_away_at = clock_timestamp()
           FROM leases l WHERE l.name = $1 AND l.name = 'rack:lock:' || rack_id
           RETURNING rack_id, owner AS session_id, floor, completed_at IS NOT NULL AS "is_completed!""#,
        lease,
    )
    .fetch_optional(conn)
    .await?)
}

/// A claim that ended with its session.
pub(in super::super) struct EndedClaim {
    pub(in super::super) rack_id: String,
    pub(in super::super) session_id: String,
    pub(in super::super) floor: String,
    pub(in super::super) fence: i64,
    pub(in super::super) is_completed: bool,
    /// Whether it was told already that it had lapsed.
    pub(in super::super) lapse_told: bool,
}

/// Ends the claims that these sessions have, sorted by their leases' names.
pub(in super::super) async fn end_claims_in_tx(
    conn: &mut PgConnection,
    sessions: &[&str],
) -> Result<Vec<EndedClaim>, DbError> {
    Ok(sqlx::query_as!(
        EndedClaim,
        r#"WITH held AS MATERIALIZED (
            SELECT l.name, l.fence, c.rack_id, c.session_id
            FROM rack_claims c JOIN leases l ON l.name = 'rack:lock:' || c.rack_id AND l.fence = c.fence
            WHERE c.session_id = ANY($1) AND l.ended_at IS NULL ORDER BY l.name FOR UPDATE OF l
        ), ended AS (
            UPDATE leases SET ended_at = clock_timestamp(), ending = 'released'
            FROM held WHERE leases.name = held.name RETURNING 1
        )
        UPDATE racks r SET paused_at = NULL FROM held WHERE r.rack_id = held.rack_id
        RETURNING r.rack_id, session_id, floor, fence, completed_at IS NOT NULL AS "is_completed!",
                  lapse_told AND claim_told IS NOT DISTINCT FROM fence AS "lapse_told!""#,
        sessions as &[&str],
    )
    .fetch_all(conn)
    .await?)
}

/// Whether a claim of one of these sessions has not ended.
pub(in super::super) async fn is_any_claimed(
    conn: &mut PgConnection,
    sessions: &[&str],
) -> Result<bool, DbError> {
    Ok(sqlx::query_scalar!(
        r#"SELECT EXISTS (
               SELECT FROM rack_claims c JOIN leases l ON l.name = 'rack:lock:' || c.rack_id AND l.fence = c.fence
               WHERE c.session_id = ANY($1) AND l.ended_at IS NULL) AS "is_any!""#,
        sessions as &[&str],
    )
    .fetch_one(conn)
    .await?)
}

/// A claim of which something else is told from now on.
pub(in super::super) struct Turned {
    pub(in super::super) rack_id: String,
    pub(in super::super) session_id: String,
    pub(in super::super) floor: String,
    pub(in super::super) fence: i64,
    pub(in super::super) seconds_left: i64,
    pub(in super::super) is_paused: bool,
    pub(in super::super) is_completed: bool,
    /// Whether it has lapsed, or is held again; nothing if it ended in another way.
    pub(in super::super) has_lapsed: Option<bool>,
}

/// Notes of up to so many claims, sorted by their leases' names, that it is told of them what they are now. Those that
/// somebody is changing are passed over.
pub(in super::super) async fn tell_of_lapses_in_tx(
    conn: &mut PgConnection,
    limit: i64,
) -> Result<Vec<Turned>, DbError> {
    Ok(sqlx::query_as!(
        Turned,
        r#"WITH now AS MATERIALIZED (SELECT clock_timestamp() AS at), due AS MATERIALIZED (
            SELECT r.rack_id, l.fence, l.owner, l.expires_at - at AS left,
                   CASE WHEN l.fence = r.claim_told AND l.ended_at IS NULL THEN l.expires_at <= at END AS has_lapsed
            FROM now, racks r JOIN leases l ON l.name = 'rack:lock:' || r.rack_id
            WHERE r.claim_told IS NOT NULL
              AND (l.fence <> r.claim_told OR l.ended_at IS NOT NULL OR r.lapse_told <> (l.expires_at <= at))
            ORDER BY l.name LIMIT $1 FOR UPDATE OF l SKIP LOCKED
        )
        UPDATE racks r SET lapse_told = coalesce(has_lapsed, false),
               claim_told = CASE WHEN has_lapsed IS NOT NULL THEN r.claim_told END
        FROM due WHERE r.rack_id = due.rack_id
        RETURNING r.rack_id, owner AS session_id, r.floor, fence, has_lapsed AS "has_lapsed?",
                  greatest(extract(epoch FROM due.left), 0)::bigint AS "seconds_left!",
                  paused_at IS NOT NULL AS "is_paused!", completed_at IS NOT NULL AS "is_completed!""#,
        limit,
    )
    .fetch_all(conn)
    .await?)
}
