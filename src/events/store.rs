//! The SQL of events. No decisions here: rows in, rows out.

use serde::Serialize;
use sqlx::PgConnection;

use super::model::{About, EventKind, NewEvent};
use crate::db::DbError;

/// Appends an event beside the write that it tells of: call it after that write, in its transaction.
///
/// # Errors
/// [`DbError`].
pub async fn append_in_tx(
    conn: &mut PgConnection,
    kind: EventKind,
    about: About<'_>,
    data: &impl Serialize,
) -> Result<(), DbError> {
    append_all_in_tx(conn, &[NewEvent::new(kind, about, data)?]).await
}

/// The same for several, in their order, in one statement. None if there are none.
///
/// # Errors
/// [`DbError`].
pub async fn append_all_in_tx(conn: &mut PgConnection, events: &[NewEvent]) -> Result<(), DbError> {
    if events.is_empty() {
        return Ok(());
    }
    let kinds: Vec<_> = events.iter().map(|event| event.kind.as_str()).collect();
    let abouts: Vec<_> = events.iter().map(|event| event.about).collect();
    let about_ids: Vec<_> = events.iter().map(|event| event.about_id.as_deref()).collect();
    let data: Vec<_> = events.iter().map(|event| event.data.as_str()).collect();
    let appended = sqlx::query!(
        "INSERT INTO events (event_id, kind, about, about_id, data)
         SELECT e.event_id, e.kind, e.about, e.about_id, e.data::json
         FROM UNNEST($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[])
             AS e (event_id, kind, about, about_id, data)",
        &events.iter().map(|event| event.event_id).collect::<Vec<_>>(),
        &kinds as &[&str],
        &abouts as &[Option<&str>],
        &about_ids as &[Option<&str>],
        &data as &[&str],
    )
    .execute(conn)
    .await?;
    let whole = appended.rows_affected() == events.len() as u64;
    if whole { Ok(()) } else { Err(DbError::Unexpected(sqlx::Error::RowNotFound)) }
}
