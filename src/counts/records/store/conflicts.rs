//! What is written of conflicts while records are judged.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::PgConnection;

use crate::counts::records::model::{Conflict, Kept, Record, RecordKey, said};
use crate::db::DbError;

/// A version of a record that was in conflict.
#[derive(Debug)]
pub(in super::super) struct Disputed {
    pub(in super::super) updated_at: DateTime<Utc>,
    pub(in super::super) said: Value,
    pub(in super::super) is_resolved: bool,
    /// Whether that was decided, and its record, if there is one, not written since: a later version decides nothing.
    pub(in super::super) is_the_last: bool,
}

/// Which versions of these records, by their time and what they say, are in conflict or were.
pub(in super::super) async fn find_disputed(
    conn: &mut PgConnection,
    keys: &[RecordKey],
) -> Result<HashMap<RecordKey, Vec<Disputed>>, DbError> {
    let (sessions, ids): (Vec<_>, Vec<_>) = keys.iter().map(|(s, id)| (s.as_str(), id.as_str())).unzip();
    let rows = sqlx::query!(
        r#"SELECT c.session_id, c.client_record_id, c.updated_at, c.local, c.resolution IS NOT NULL AS "is_resolved!",
                  policy IS DISTINCT FROM 'synced_later' AND coalesce(c.resolved_at >= r.synced_at, true) AS "is_the_last!"
           FROM unnest($1::text[], $2::text[]) AS asked (session_id, client_record_id)
           JOIN count_conflicts c USING (session_id, client_record_id)
           LEFT JOIN count_records r USING (session_id, client_record_id)"#,
        &sessions as &[&str],
        &ids as &[&str],
    )
    .fetch_all(conn)
    .await?;
    let mut disputed: HashMap<_, Vec<_>> = HashMap::new();
    for row in rows {
        let (updated_at, said) = (row.updated_at, said(&row.local));
        let (is_resolved, is_the_last) = (row.is_resolved, row.is_the_last);
        let of_record = disputed.entry((row.session_id, row.client_record_id)).or_default();
        of_record.push(Disputed { updated_at, said, is_resolved, is_the_last });
    }
    Ok(disputed)
}

/// A conflict about to be kept.
#[derive(Debug)]
pub(in super::super) struct NewConflict<'a> {
    pub(in super::super) record: &'a Record,
    pub(in super::super) sent: &'a Value,
    /// When the record counts as counted.
    pub(in super::super) counted_at: Option<DateTime<Utc>>,
    pub(in super::super) told: &'a Conflict,
    /// Whether a later version was kept since.
    pub(in super::super) is_over: bool,
}

/// Keeps conflicts for a person, or as closed where nobody has to decide any more; one that is kept already stays as it is.
/// Gives the session of each that is new and open.
pub(in super::super) async fn keep_conflicts_in_tx(
    conn: &mut PgConnection,
    conflicts: &[NewConflict<'_>],
    there: &HashMap<RecordKey, Value>,
    user_id: &str,
) -> Result<Vec<String>, DbError> {
    if conflicts.is_empty() {
        return Ok(Vec::new());
    }
    let rows: Vec<Value> = conflicts
        .iter()
        .map(|NewConflict { record, sent, counted_at, told: conflict, is_over }| {
            serde_json::json!({
                "conflict_id": crate::ids::fresh(),
                "session_id": record.session_id,
                "client_record_id": record.client_record_id,
                "conflict_type": conflict.conflict_type,
                "message": conflict.message,
                "details": conflict.details,
                "local": sent,
                "server": there.get(&record.key()),
                "updated_at": record.updated_at.get(),
                "counted_at": counted_at,
                "is_over": is_over,
            })
        })
        .collect();
    Ok(sqlx::query_scalar!(
        "WITH new AS (
            INSERT INTO count_conflicts (conflict_id, session_id, client_record_id, conflict_type, message, details, local,
                server, updated_at, counted_at, resolution, resolved_by, policy, reason, resolved_at)
            SELECT c.conflict_id, c.session_id, c.client_record_id, c.conflict_type, c.message, c.details, c.local, c.server,
                c.updated_at, c.counted_at, o.resolution, o.resolved_by, o.policy, o.reason, o.resolved_at
            FROM jsonb_to_recordset($1) AS c (conflict_id uuid, session_id text, client_record_id text, conflict_type text,
                message text, details jsonb, local jsonb, server jsonb, updated_at timestamptz, counted_at timestamptz,
                is_over boolean)
            LEFT JOIN (VALUES ('accept_local', $2::text, 'synced_later', 'a later version could be kept', clock_timestamp()))
                AS o (resolution, resolved_by, policy, reason, resolved_at) ON is_over
            ON CONFLICT ON CONSTRAINT conflict_is_told_once DO NOTHING RETURNING session_id, resolution
        )
        SELECT session_id FROM new WHERE resolution IS NULL",
        Value::Array(rows),
        user_id,
    )
    .fetch_all(conn)
    .await?)
}

/// Closes what open conflicts these records had: in this version or an earlier one, where it could be kept after all; and in an
/// earlier one, where a later one is in conflict itself, for only the last is to be decided on.
pub(in super::super) async fn close_conflicts_in_tx(
    conn: &mut PgConnection,
    kept: &[Kept],
    conflicts: &[NewConflict<'_>],
    user_id: &str,
) -> Result<(), DbError> {
    let kept = kept.iter().map(|kept| {
        let (session_id, id) = (kept.session_id.as_str(), kept.client_record_id.as_str());
        (session_id, id, kept.updated_at, true)
    });
    let in_conflict = conflicts.iter().map(|NewConflict { record, .. }| {
        let (session_id, id) = (record.session_id.as_str(), record.client_record_id.as_str());
        (session_id, id, record.updated_at.get(), false)
    });
    let (mut sessions, mut ids, mut times, mut are_kept) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for (session_id, id, updated_at, is_kept) in kept.chain(in_conflict) {
        sessions.push(session_id);
        ids.push(id);
        times.push(updated_at);
        are_kept.push(is_kept);
    }
    sqlx::query!(
        "UPDATE count_conflicts AS c SET resolved_by = $3, policy = 'synced_later', resolved_at = clock_timestamp(),
             resolution = CASE WHEN is_kept THEN 'accept_local' ELSE 'ignore' END,
             reason = CASE WHEN is_kept THEN 'a later version could be kept' ELSE 'a later version came' END
         FROM unnest($1::text[], $2::text[], $4::timestamptz[], $5::boolean[])
             AS k (session_id, client_record_id, updated_at, is_kept)
         WHERE c.session_id = k.session_id AND c.client_record_id = k.client_record_id
           AND (c.updated_at < k.updated_at OR is_kept AND c.updated_at = k.updated_at) AND resolution IS NULL",
        &sessions as &[&str],
        &ids as &[&str],
        user_id,
        &times,
        &are_kept,
    )
    .execute(conn)
    .await?;
    Ok(())
}
