//! What is written of conflicts while records are judged.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::PgConnection;

use crate::counts::records::model::{Conflict, Kept, Record, RecordKey};
use crate::db::DbError;

/// A conflict about to be kept.
#[derive(Debug)]
pub(in super::super) struct NewConflict<'a> {
    pub(in super::super) record: &'a Record,
    pub(in super::super) sent: &'a Value,
    /// When the record counts as counted.
    pub(in super::super) counted_at: Option<DateTime<Utc>>,
    pub(in super::super) told: &'a Conflict,
}

/// Keeps conflicts for a person; one that is kept already stays as it is. Gives the session of each that is new.
pub(in super::super) async fn keep_conflicts_in_tx(
    conn: &mut PgConnection,
    conflicts: &[NewConflict<'_>],
    there: &HashMap<RecordKey, Value>,
) -> Result<Vec<String>, DbError> {
    if conflicts.is_empty() {
        return Ok(Vec::new());
    }
    let rows: Vec<Value> = conflicts
        .iter()
        .map(|NewConflict { record, sent, counted_at, told: conflict }| {
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
            })
        })
        .collect();
    Ok(sqlx::query_scalar!(
        "INSERT INTO count_conflicts (conflict_id, session_id, client_record_id, conflict_type, message, details, local,
             server, updated_at, counted_at)
         SELECT c.conflict_id, c.session_id, c.client_record_id, c.conflict_type, c.message, c.details, c.local, c.server,
             c.updated_at, c.counted_at
         FROM jsonb_to_recordset($1) AS c (conflict_id uuid, session_id text, client_record_id text, conflict_type text,
             message text, details jsonb, local jsonb, server jsonb, updated_at timestamptz, counted_at timestamptz)
         ON CONFLICT ON CONSTRAINT conflict_is_told_once DO NOTHING RETURNING session_id",
        Value::Array(rows),
    )
    .fetch_all(conn)
    .await?)
}

/// Closes what conflicts these records had, in this version or an earlier one, that could be kept after all.
pub(in super::super) async fn close_conflicts_in_tx(
    conn: &mut PgConnection,
    kept: &[Kept],
    user_id: &str,
) -> Result<(), DbError> {
    let sessions: Vec<_> = kept.iter().map(|kept| kept.session_id.as_str()).collect();
    let ids: Vec<_> = kept.iter().map(|kept| kept.client_record_id.as_str()).collect();
    let times: Vec<_> = kept.iter().map(|kept| kept.updated_at).collect();
    sqlx::query!(
        "UPDATE count_conflicts AS c SET resolution = 'accept_local', resolved_by = $3, policy = 'synced_later',
             reason = 'a later version could be kept', resolved_at = clock_timestamp()
         FROM unnest($1::text[], $2::text[], $4::timestamptz[]) AS k (session_id, client_record_id, updated_at)
         WHERE c.session_id = k.session_id AND c.client_record_id = k.client_record_id AND c.updated_at <= k.updated_at
           AND resolution IS NULL",
        &sessions as &[&str],
        &ids as &[&str],
        user_id,
        &times,
    )
    .execute(conn)
    .await?;
    Ok(())
}
