//! What the last audit that is on [record](super::audits) found, in short: for metrics, and for `holdfast doctor`.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use crate::db::DbError;

/// What an audit found.
#[derive(Debug, Clone)]
pub struct Verdict {
    /// When.
    pub audited_at: DateTime<Utc>,
    /// How long ago, in seconds.
    pub age: f64,
    /// How many things did not agree, by the invariant that is broken; empty if all did.
    pub violations: BTreeMap<String, i64>,
}

/// What the last audit found; none if none was made, or so long ago that it is forgotten.
///
/// # Errors
/// [`DbError`].
pub async fn find_last(conn: &mut PgConnection) -> Result<Option<Verdict>, DbError> {
    let last = sqlx::query!(
        r#"SELECT ended_at, extract(epoch FROM clock_timestamp() - ended_at)::float8 AS "age!",
                  array(SELECT v ->> 'invariant' FROM jsonb_array_elements(violations) AS v) AS "invariants!"
           FROM audits ORDER BY audit_id DESC LIMIT 1"#
    )
    .fetch_optional(conn)
    .await?;
    Ok(last.map(|last| {
        let mut violations = BTreeMap::new();
        for invariant in last.invariants {
            *violations.entry(invariant).or_default() += 1;
        }
        Verdict { audited_at: last.ended_at, age: last.age, violations }
    }))
}
