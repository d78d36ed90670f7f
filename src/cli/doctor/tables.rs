//! Whether Postgres cleans up behind the updates: dead rows, bloated files, autovacuum, the age of transaction ids.

use sqlx::PgConnection;

use super::Finding;

/// Fewer dead rows than these are no matter.
const DEAD_MIN: i64 = 10_000;
/// A smaller file is no matter, in bytes.
const BLOAT_MIN: i64 = 8 << 20;
/// A file so many times as large as its rows need is bloated.
const BLOAT_TIMES: f64 = 5.0;
/// What a row costs beside its values, in bytes.
const ROW_OVERHEAD: i64 = 32;
/// Far above where autovacuum should have frozen (200 million), far below where Postgres stops (2,100 million).
const XID_AGE_MAX: i32 = 600_000_000;

/// All that is wrong; one good finding if nothing is.
pub(super) async fn look(conn: &mut PgConnection) -> sqlx::Result<Vec<Finding>> {
    let mut findings = look_at_autovacuum(conn).await?;
    findings.extend(look_at_dead_rows(conn).await?);
    findings.extend(look_at_files(conn).await?);
    if findings.is_empty() {
        findings.push(Finding::good("Postgres: dead rows are cleaned up"));
    }
    Ok(findings)
}

async fn look_at_autovacuum(conn: &mut PgConnection) -> sqlx::Result<Vec<Finding>> {
    let off: Vec<String> = sqlx::query_scalar(
        "SELECT name || ' is off' FROM pg_settings WHERE name IN ('autovacuum', 'track_counts') AND setting = 'off'
         UNION ALL
         SELECT 'autovacuum is off for table ' || relname FROM pg_class, pg_options_to_table(reloptions)
         WHERE relkind = 'r' AND option_name = 'autovacuum_enabled' AND NOT option_value::bool",
    )
    .fetch_all(&mut *conn)
    .await?;
    let age: i32 =
        sqlx::query_scalar("SELECT age(datfrozenxid) FROM pg_database WHERE datname = current_database()")
            .fetch_one(conn)
            .await?;
    let mut findings: Vec<_> = off
        .into_iter()
        .map(|what| {
            format!(
                "Postgres: {what}: dead rows stay, and stock that sells gets slower and slower; set it to on"
            )
        })
        .map(Finding::warning)
        .collect();
    if age > XID_AGE_MAX {
        let text = format!(
            "Postgres: {} million transactions since this database was frozen last: long before 2,000 Postgres takes no more; \
             run VACUUM (FREEZE), and see what holds autovacuum back",
            age / 1_000_000
        );
        findings.push(Finding::warning(text));
    }
    Ok(findings)
}

async fn look_at_dead_rows(conn: &mut PgConnection) -> sqlx::Result<Vec<Finding>> {
    let tables: Vec<(String, i64, i64)> = sqlx::query_as(
        "SELECT relname::text, n_dead_tup, n_live_tup FROM pg_stat_user_tables
         WHERE n_dead_tup > $1 AND n_dead_tup > n_live_tup ORDER BY n_dead_tup DESC LIMIT 5",
    )
    .bind(DEAD_MIN)
    .fetch_all(conn)
    .await?;
    let told = |(table, dead, live)| {
        Finding::warning(format!(
            "Postgres: table {table} has {dead} dead rows beside {live} live ones: autovacuum does not keep up, or a transaction \
             that does not end holds it back; run VACUUM {table}, and lower autovacuum_vacuum_cost_delay"
        ))
    };
    Ok(tables.into_iter().map(told).collect())
}

/// By the same count as the planner's: rows and pages as they were vacuumed or analyzed last.
async fn look_at_files(conn: &mut PgConnection) -> sqlx::Result<Vec<Finding>> {
    let tables: Vec<(String, i64, f64)> = sqlx::query_as(
        "SELECT relname::text, bytes, needed FROM (
            SELECT c.relname, c.relpages::bigint * current_setting('block_size')::bigint AS bytes,
                c.reltuples::float8 * (w.width + $1) AS needed
            FROM pg_class c
            JOIN pg_namespace n ON n.oid = c.relnamespace
            CROSS JOIN LATERAL (SELECT sum(avg_width) AS width FROM pg_stats s
                                WHERE s.schemaname = n.nspname AND s.tablename = c.relname) w
            WHERE c.relkind = 'r' AND c.reltuples >= 0 AND n.nspname = ANY (current_schemas(false))) t
         WHERE bytes > $2 AND bytes > needed * $3 ORDER BY bytes DESC LIMIT 5",
    )
    .bind(ROW_OVERHEAD)
    .bind(BLOAT_MIN)
    .bind(BLOAT_TIMES)
    .fetch_all(conn)
    .await?;
    let told = |(table, bytes, needed): (String, i64, f64)| {
        Finding::warning(format!(
            "Postgres: table {table} takes {} MiB for rows that need {:.0}: it was bloated once; at a quiet time run \
             VACUUM (FULL) {table}, which locks it meanwhile",
            bytes >> 20,
            needed / f64::from(1 << 20)
        ))
    };
    Ok(tables.into_iter().map(told).collect())
}
